//! What a replica that comes back and its donor say to each other, and its encoding.
//!
//! Versions are one after the other, in bytes that are not copied again:
//!
//! | bytes | field |
//! | --- | --- |
//! | 2 | length of the key |
//! | 4 | length of the value |
//! | 8 | revision |
//! | 8 | when it expires, in milliseconds since 1970; 0 for never |
//! | | key, value |
//!
//! All integers are little-endian.

use super::jump::Jump;
use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};
use skink_engine::engine::Version;
use skink_engine::position::{Instance, Revision};
use std::ops::Range;

/// Bytes before a version's key.
const HEAD_LEN: usize = 22;

/// A step of a hand-off. Each answer names what it answers, so that one that is lost is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handoff {
    /// The sender has executed up to here, and asks for a cut that is not below another instance.
    Ask {
        /// The last instance that it has executed.
        executed: Instance,
        /// The lowest instance that is any good.
        at_least: Instance,
        /// The last instance that its log has.
        log_end: Instance,
    },
    /// The donor holds a cut.
    Pinned {
        /// The last instance that is in it.
        instance: Instance,
        /// Where the order and execution are there, if the asker may jump to it.
        jump: Option<Box<Jump>>,
    },
    /// The sender can't give anything.
    Refused,
    /// So little was missed that it is not worth it.
    Little,
    /// Asks for the versions of all keys that have these hashes.
    PullKeys {
        /// Of which cut.
        instance: Instance,
        /// The hashes.
        hashes: Vec<u64>,
    },
    /// The versions of keys.
    Keys {
        /// Of which cut.
        instance: Instance,
        /// The hashes that were asked for.
        hashes: Vec<u64>,
        /// The versions that there are.
        versions: Versions,
    },
    /// Asks for what has changed of the keys of a segment.
    PullRange {
        /// Of which cut.
        instance: Instance,
        /// Since this instance.
        base: Instance,
        /// The segment.
        segment: u16,
        /// From this digest on.
        from: u32,
    },
    /// What has changed of the keys of a segment, and which have not.
    Range {
        /// Of which cut.
        instance: Instance,
        /// The segment.
        segment: u16,
        /// From this digest on.
        from: u32,
        /// Before this digest, up to 2^32.
        to: u64,
        /// Hashes of the keys that are as they were.
        kept: Vec<u64>,
        /// Versions that are newer than the base.
        versions: Versions,
    },
    /// The sender needs the cut no more.
    Done {
        /// Which cut.
        instance: Instance,
    },
}

/// Versions, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions(Bytes);

/// Gathers versions.
#[derive(Debug, Default)]
pub(super) struct VersionsWriter(Vec<u8>);

impl VersionsWriter {
    pub(super) fn add(&mut self, version: &Version<'_>) {
        let (key_len, value_len) = (version.key.len() as u16, version.value.len() as u32);
        self.0.extend_from_slice(&key_len.to_le_bytes());
        self.0.extend_from_slice(&value_len.to_le_bytes());
        self.0.extend_from_slice(&version.revision.get().to_le_bytes());
        self.0.extend_from_slice(&version.expires_at_ms.to_le_bytes());
        self.0.extend_from_slice(version.key);
        self.0.extend_from_slice(version.value);
    }

    pub(super) fn finish(self) -> Versions {
        Versions(self.0.into())
    }
}

/// Gathers versions in any order, of which those with lower digests are sent first.
#[derive(Debug, Default)]
pub(super) struct SortedVersions {
    all: VersionsWriter,
    /// Digest, and where in the bytes.
    places: Vec<(u32, Range<usize>)>,
}

impl SortedVersions {
    pub(super) fn add(&mut self, digest: u32, version: &Version<'_>) {
        let start = self.all.0.len();
        self.all.add(version);
        self.places.push((digest, start..self.all.0.len()));
    }

    /// Their bytes.
    pub(super) fn len(&self) -> usize {
        self.all.0.len()
    }

    /// The digest, up to `to`, before which there are about so many bytes. There is something before it.
    pub(super) fn bound(&mut self, from: u32, to: u64, len: usize) -> u64 {
        if self.all.0.len() <= 2 * len {
            return to;
        }
        self.places.sort_unstable_by_key(|(digest, _)| *digest);
        let mut before = 0;
        for (digest, place) in &self.places {
            if before >= len && *digest > from {
                return u64::from(*digest).min(to);
            }
            before += place.len();
        }
        to
    }

    /// Those with digests before a bound.
    pub(super) fn finish(self, to: u64) -> Versions {
        if self.places.iter().all(|(digest, _)| u64::from(*digest) < to) {
            return self.all.finish();
        }
        let places = self.places.into_iter().filter(|(digest, _)| u64::from(*digest) < to);
        let parts: Vec<&[u8]> = places.map(|(_, place)| &self.all.0[place]).collect();
        Versions(parts.concat().into())
    }
}

impl Versions {
    /// Reads them one after the other; `None` where the bytes are none.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<Version<'_>>> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let version = take(&mut rest);
            if version.is_none() {
                rest = &[];
            }
            Some(version)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn take<'b>(rest: &mut &'b [u8]) -> Option<Version<'b>> {
    let (mut head, after) = rest.split_at_checked(HEAD_LEN)?;
    let (key_len, value_len) = (usize::from(head.get_u16_le()), head.get_u32_le() as usize);
    let (revision, expires_at_ms) = (Revision::from_raw(head.get_u64_le()), head.get_u64_le());
    let (key, after) = after.split_at_checked(key_len)?;
    let (value, after) = after.split_at_checked(value_len)?;
    *rest = after;
    Some(Version { key, value, revision, expires_at_ms })
}

#[cfg(test)]
mod tests {
    use super::{Revision, Version, Versions, VersionsWriter};
    use bytes::Bytes;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>, u64, u64);

    fn written(versions: &[Owned]) -> Versions {
        let mut writer = VersionsWriter::default();
        for (key, value, revision, expires_at_ms) in versions {
            let revision = Revision::from_raw(*revision);
            writer.add(&Version { key, value, revision, expires_at_ms: *expires_at_ms });
        }
        writer.finish()
    }

    fn read(versions: &Versions) -> Option<Vec<Owned>> {
        versions
            .iter()
            .map(|it| it.map(|it| (it.key.to_vec(), it.value.to_vec(), it.revision.get(), it.expires_at_ms)))
            .collect()
    }

    proptest! {
        #[test]
        fn versions_come_back(versions in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..40), proptest::collection::vec(any::<u8>(), 0..300), any::<u64>(), any::<u64>()), 0..5)) {
            let bytes = written(&versions);
            prop_assert_eq!(read(&bytes), Some(versions));
            for len in 0..bytes.0.len() {
                if let Some(fewer) = read(&Versions(bytes.0.slice(..len))) {
                    prop_assert_eq!(written(&fewer).0.len(), len, "cut between two of them");
                }
            }
        }

        #[test]
        fn garbage_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let versions = Versions(Bytes::from(bytes));
            prop_assert!(versions.iter().count() <= versions.len());
        }
    }
}
