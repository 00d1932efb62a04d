//! Where a key belongs: its hash, its segment, its digest.

use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the hash function and of how its bits are used; replicas that differ in it don't talk.
pub const HASH_VERSION: u16 = 1;

/// A key's 64-bit hash under the cluster's seed: the high bits choose the segment, the low 32 are the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a key.
    #[inline]
    pub fn of(key: &[u8], seed: u64) -> KeyHash {
        KeyHash(xxh3_64_with_seed(key, seed))
    }

    /// The hash with these bits.
    pub fn from_raw(bits: u64) -> KeyHash {
        KeyHash(bits)
    }

    /// All 64 bits.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The key digest, which headers carry.
    #[inline]
    pub fn digest(self) -> u32 {
        self.0 as u32
    }

    /// The segment, of `count`.
    #[inline]
    pub fn segment(self, count: u16) -> SegmentId {
        SegmentId((((self.0 >> 32) * u64::from(count)) >> 32) as u16)
    }
}

/// Number of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u16);

impl SegmentId {
    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// A segment's file is replaced by one of the next generation when it is compacted or emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation(pub u32);

impl Generation {
    /// The one after it.
    pub fn next(self) -> Generation {
        assert!(self.0 < u32::MAX, "generations are exhausted");
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyHash;

    #[test]
    fn keys_spread_over_all_segments() {
        let mut counts = [0_u32; 256];
        for number in 0..256_000_u64 {
            counts[KeyHash::of(&number.to_le_bytes(), 7).segment(256).index()] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)));
    }

    #[test]
    fn the_hash_is_the_one_of_version_1() {
        // Segment files and headers hold these values: a change needs a new HASH_VERSION.
        assert_eq!(KeyHash::of(b"skink", 42).get(), 13_170_814_088_427_125_140);
    }
}
