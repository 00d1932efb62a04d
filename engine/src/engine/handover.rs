//! Handing over versions: from a pinned cut at one replica to the present state of another that is behind.
//!
//! A donor reads versions of single keys by their hash, or of a segment's keys in the order of their digests. The receiver
//! puts them in place of what it has, and removes what the donor did not have. Revisions come with them, so that both states
//! add up to the same digest (S3).

use super::Engine;
use super::range::PinnedCut;
use crate::error::Fault;
use crate::evaluate::Stored;
use crate::key::{KeyHash, SegmentId};
use crate::position::{Instance, Revision};
use crate::segment::{Content, Kind, Record, record_len};
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// A version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Who wrote it.
    pub revision: Revision,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expires_at_ms: u64,
}

impl<'a> Version<'a> {
    fn new(key: &'a [u8], stored: Stored<'a>) -> Version<'a> {
        Version { key, value: stored.value, revision: stored.revision, expires_at_ms: stored.expires_at_ms }
    }
}

impl PinnedCut {
    /// Visits the versions of all keys that have a hash, expired ones too.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn versions_with(&self, hash: KeyHash, visit: &mut dyn FnMut(KeyHash, Version<'_>)) -> Result<(), Fault> {
        let segment = hash.segment(self.segment_count());
        let (file, length) = self.file(segment.index())?;
        let Some(file) = file else { return Ok(()) };
        let offsets = self.with(segment.index(), |installed| installed.offsets_with(hash))?;
        for offset in offsets {
            if let Some(record) = file.version_at(file.record(offset)?, length)?
                && let Some(stored) = record.stored().map_err(|what| file.damaged(record.offset, what))?
            {
                visit(hash, Version::new(record.key, stored));
            }
        }
        Ok(())
    }

    /// Visits the versions of a segment's keys from a digest on, in the order of digests as a whole and about `limit` of them,
    /// expired ones too. Answers with the digest, up to 2^32, before which all were visited.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn versions(
        &self,
        segment: SegmentId,
        from: u32,
        limit: usize,
        visit: &mut dyn FnMut(KeyHash, Version<'_>),
    ) -> Result<u64, Fault> {
        let (file, length) = self.file(segment.index())?;
        let Some(file) = file else { return Ok(1 << 32) };
        self.with(segment.index(), |installed| {
            installed.scan(from, limit, &mut |record| {
                if let Some(record) = file.version_at(*record, length)?
                    && let Some(stored) = record.stored().map_err(|what| file.damaged(record.offset, what))?
                {
                    visit(installed.hash(record.key), Version::new(record.key, stored));
                }
                Ok(())
            })
        })
    }

    /// Bytes that a version of a segment takes on average, 0 where there is none.
    pub fn mean_version_len(&self, segment: SegmentId) -> u64 {
        let totals = self.totals(segment);
        totals.live_bytes / totals.live_records.max(1)
    }
}

impl Engine {
    /// Puts a version in the place of what there is of its key, unless that is as new: for that, tombstones must be
    /// [kept](Engine::keep_tombstones).
    ///
    /// # Errors
    /// A full disk: nothing has changed. Damage, or a failed disk.
    pub fn adopt(&self, version: &Version<'_>) -> Result<(), Fault> {
        let hash = self.hash(version.key);
        let mut guard = self.lock_segment(hash.segment(self.place.segments).index())?;
        let newest = guard.installed().newest(hash, version.key)?;
        if newest.is_some_and(|it| it.head.revision >= version.revision) {
            return Ok(());
        }
        guard.installed_mut().reserve(record_len(version.key.len(), version.value.len()))?;
        let content =
            Content { value: Some(version.value), revision: version.revision, expires_at_ms: version.expires_at_ms };
        guard.append(hash, version.key, &content)
    }

    /// Removes keys, as of a revision.
    ///
    /// # Errors
    /// A full disk: the rest is still there. Damage, or a failed disk.
    pub fn disown(&self, keys: &[Bytes], revision: Revision) -> Result<(), Fault> {
        for key in keys {
            let hash = self.hash(key);
            let mut guard = self.lock_segment(hash.segment(self.place.segments).index())?;
            guard.installed_mut().reserve(record_len(key.len(), 0))?;
            guard.append(hash, key, &Content { value: None, revision, expires_at_ms: 0 })?;
        }
        Ok(())
    }

    /// The keys that have a hash and were written up to an instance, expired ones too.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn keys_with(&self, hash: KeyHash, upto: Instance) -> Result<Vec<Bytes>, Fault> {
        let guard = self.lock_segment(hash.segment(self.place.segments).index())?;
        let installed = guard.installed();
        let mut keys = Vec::new();
        for offset in installed.offsets_with(hash)? {
            let record = installed.record(offset)?;
            if is_live(&record, upto) {
                keys.push(Bytes::copy_from_slice(record.key));
            }
        }
        Ok(keys)
    }

    /// Visits the keys of a segment with digests in a range that were written up to an instance, expired ones too.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn keys_between(
        &self,
        segment: SegmentId,
        digests: Range<u64>,
        upto: Instance,
        visit: &mut dyn FnMut(KeyHash, &[u8]),
    ) -> Result<(), Fault> {
        let guard = self.lock_segment(segment.index())?;
        let installed = guard.installed();
        let mut from = digests.start;
        while let Some(start) = u32::try_from(from).ok().filter(|_| from < digests.end) {
            from = installed.scan(start, KEYS_AT_ONCE, &mut |record| {
                let hash = installed.hash(record.key);
                if is_live(record, upto) && digests.contains(&u64::from(hash.digest())) {
                    visit(hash, record.key);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// From now on tombstones stay where they are, so that nothing older takes their place; or no longer.
    pub fn keep_tombstones(&self, is_kept: bool) {
        self.keeps_tombstones.store(is_kept, Ordering::Release);
    }
}

fn is_live(record: &Record<'_>, upto: Instance) -> bool {
    record.head.kind == Kind::Put && record.head.revision.instance() <= upto
}

/// Keys that one look at an index finds.
const KEYS_AT_ONCE: usize = 4096;
