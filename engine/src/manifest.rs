//! Manifests: what a checkpoint says of itself.
//!
//! A checkpoint is a folder `checkpoints/<instance>/` with a file `MANIFEST` and hard links to the segment files
//! and images. A segment file counts up to the length in the manifest; what follows in it is not part of the checkpoint.

use crate::env::Disk;
use crate::error::Fault;
use crate::key::SegmentId;
use crate::page;
use crate::position::{Instance, LogPosition};
use crate::segment::SegmentCut;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SKINKMAN";
const NAME: &str = "MANIFEST";
/// Bound on a manifest's length: 65,536 segments and as many proxies take less.
const MAX_LEN: u64 = 16 << 20;
/// The version that is written, and the oldest one that is read.
const VERSION: u32 = 2;
const OLDEST_VERSION: u32 = 1;

/// Bound on what the order keeps with a checkpoint, in bytes.
pub const MAX_ORDERING_LEN: usize = 1 << 20;

/// The last batch that the order delivered from a proxy (O3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProxyPosition {
    /// The proxy.
    pub proxy: u32,
    /// Its process' start.
    pub incarnation: u64,
    /// Its last batch.
    pub sequence: u64,
}

/// What the state is made of; the same for all checkpoints of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The cluster.
    pub cluster: u64,
    /// Number of segments.
    pub segments: u16,
    /// Seed of the key hash.
    pub seed: u64,
    /// Version of the key hash.
    pub hash_version: u16,
    /// Longest value, in bytes: part of what commands mean.
    pub max_value_len: u32,
}

/// A consistent point of the whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the state is made of.
    pub shape: Shape,
    /// The last instance that is in it.
    pub instance: Instance,
    /// The time of that instance's header, made monotonic, in milliseconds since 1970.
    pub time_ms: u64,
    /// Where in this replica's log the first write starts that is not in it.
    pub log_position: LogPosition,
    /// Whether the log ended there when this was written, as the process stopped in order.
    pub is_clean_stop: bool,
    /// The window of ids.
    pub proxies: Vec<ProxyPosition>,
    /// The segments, by number.
    pub segments: Vec<SegmentCut>,
    /// What the order keeps with a checkpoint; opaque here, and at most [`MAX_ORDERING_LEN`] long. A single replica
    /// keeps nothing.
    pub ordering: Vec<u8>,
}

/// A manifest as version 1 has it.
#[derive(Deserialize)]
struct ManifestVersion1 {
    shape: Shape,
    instance: Instance,
    time_ms: u64,
    log_position: LogPosition,
    is_clean_stop: bool,
    proxies: Vec<ProxyPosition>,
    segments: Vec<SegmentCut>,
}

impl From<ManifestVersion1> for Manifest {
    fn from(old: ManifestVersion1) -> Manifest {
        let ManifestVersion1 { shape, instance, time_ms, log_position, is_clean_stop, proxies, segments } = old;
        let ordering = Vec::new();
        Manifest { shape, instance, time_ms, log_position, is_clean_stop, proxies, segments, ordering }
    }
}

impl Manifest {
    /// The folder of the checkpoint at an instance; names sort as instances do.
    pub fn folder(checkpoints: &Path, instance: Instance) -> PathBuf {
        checkpoints.join(format!("{:016}", instance.get()))
    }

    /// The instance in a checkpoint folder's name.
    pub fn instance_of_name(name: &str) -> Option<Instance> {
        (name.len() == 16).then(|| name.parse().ok().and_then(Instance::new)).flatten()
    }

    /// Path of the manifest in a checkpoint's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Its file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        page::encode_version(MAGIC, VERSION, self)
    }

    /// Reads a checkpoint's manifest.
    ///
    /// # Errors
    /// Damage, and faults of the disk.
    pub fn read(disk: &dyn Disk, folder: &Path) -> Result<Manifest, Fault> {
        let path = Manifest::path(folder);
        let bytes = disk.read(&path, MAX_LEN).map_err(|error| match error.kind() {
            // A checkpoint's folder gets its name with the manifest in it.
            std::io::ErrorKind::NotFound => Fault::corrupt(&path, 0, "the file is missing; restore it from a backup"),
            _ => Fault::io("reading", &path)(error),
        })?;
        Manifest::decode(&bytes).map_err(|what| Fault::corrupt(&path, 0, what))
    }

    /// Decodes a manifest's file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let page = page::open(MAGIC, OLDEST_VERSION..=VERSION, bytes)?;
        let manifest: Manifest =
            if page.version == 1 { page.fields::<ManifestVersion1>()?.into() } else { page.fields()? };
        if manifest.segments.len() != usize::from(manifest.shape.segments) {
            return Err("it does not list as many segments as it says".into());
        }
        if manifest.ordering.len() > MAX_ORDERING_LEN {
            return Err(format!("the order's part of it has {} bytes, more than can be", manifest.ordering.len()));
        }
        Ok(manifest)
    }

    /// The segments that have a file, with where they stand in it.
    pub fn files(&self) -> impl Iterator<Item = (SegmentId, SegmentCut)> + '_ {
        let segments = self.segments.iter().enumerate().filter(|(_, cut)| cut.length > 0);
        segments.map(|(number, cut)| (SegmentId(number as u16), *cut))
    }

    /// Keys in it.
    pub fn live_records(&self) -> u64 {
        self.segments.iter().map(|cut| cut.totals.live_records).sum()
    }

    /// The newest incarnation in its window of ids, 0 where there is none.
    pub fn last_incarnation(&self) -> u64 {
        self.proxies.iter().map(|position| position.incarnation).max().unwrap_or(0)
    }

    /// Sum of the segments' digests: equal on all replicas at the same instance.
    pub fn digest(&self) -> u64 {
        self.segments.iter().fold(0, |sum, cut| sum.wrapping_add(cut.totals.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ORDERING_LEN, Manifest, Shape};
    use crate::position::{Instance, LogPosition};
    use crate::segment::SegmentCut;

    fn manifest(segments: u16, ordering: Vec<u8>) -> Manifest {
        Manifest {
            shape: Shape { cluster: 1, segments: 2, seed: 3, hash_version: 1, max_value_len: 4 },
            instance: Instance::ZERO,
            time_ms: 5,
            log_position: LogPosition::new(6),
            is_clean_stop: false,
            proxies: Vec::new(),
            segments: vec![SegmentCut::default(); usize::from(segments)],
            ordering,
        }
    }

    #[test]
    fn a_manifest_has_as_many_segments_as_it_says_and_bounds_what_the_order_keeps() {
        for good in [manifest(2, Vec::new()), manifest(2, vec![7; MAX_ORDERING_LEN])] {
            assert_eq!(Manifest::decode(&good.encode()), Ok(good));
        }
        assert!(Manifest::decode(&manifest(3, Vec::new()).encode()).unwrap_err().contains("segments"));
        let long = manifest(2, vec![7; MAX_ORDERING_LEN + 1]);
        assert!(Manifest::decode(&long.encode()).unwrap_err().contains("1048577 bytes"));
    }
}
