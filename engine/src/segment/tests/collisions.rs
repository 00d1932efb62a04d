//! Digests that collide: found by brute force for whole segments, made up for images.

use super::harness::{Key, SEED};
use crate::key::KeyHash;
use crate::segment::image::Image;
use std::convert::Infallible;
use std::sync::OnceLock;

/// Keys of which each has the digest of another one.
pub(super) fn keys(count: usize) -> Vec<Key> {
    static FOUND: OnceLock<Vec<Key>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        // A million keys have some 116 pairs.
        let mut digests: Vec<(u32, u32)> =
            (0..1_000_000_u32).map(|number| (KeyHash::of(&number.to_le_bytes(), SEED).digest(), number)).collect();
        digests.sort_unstable();
        let pairs = digests.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        pairs.flatten().map(|(_, number)| number.to_le_bytes().to_vec()).collect()
    });
    assert!(found.len() >= count, "only {} keys collide", found.len());
    found[..count].to_vec()
}

fn all<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Every entry is found by its digest, in order, and by a scan from any digest.
fn check(digests: &[u32]) {
    let entries: Vec<(u32, u64)> = digests.iter().zip(1..).map(|(&digest, number)| (digest, number * 8)).collect();
    let image = Image::build(&entries);
    assert_eq!(image.len(), entries.len());
    for (number, &(digest, offset)) in entries.iter().enumerate() {
        let (slot, _) = all(image.find(digest, |other| Ok(other == offset))).unwrap();
        assert_eq!((image.offset(slot), image.sorted(number)), (offset, slot));
        assert!(all(image.find(digest, |_| Ok(false))).is_none());
    }
    for limit in [1, 5, 1000] {
        let (mut from, mut found) = (0_u64, Vec::new());
        while let Ok(digest) = u32::try_from(from) {
            let (offsets, covered) = image.offsets_from_digest(digest, limit);
            let is_wanted = |offset: &u64| (from..covered).contains(&u64::from(entries[*offset as usize / 8 - 1].0));
            found.extend(offsets.into_iter().filter(is_wanted));
            assert!(covered > from);
            from = covered;
        }
        found.sort_unstable();
        assert_eq!(found, entries.iter().map(|(_, offset)| *offset).collect::<Vec<_>>());
    }
}

#[test]
fn an_image_finds_keys_of_one_digest_wherever_it_is() {
    for digest in [0, 1, 1 << 31, u32::MAX - 1, u32::MAX] {
        for count in [1, 12, 13, 60, 108] {
            check(&vec![digest; count]);
        }
    }
}

#[test]
fn an_image_finds_keys_that_crowd_the_end() {
    let crowd = (0..1000_u32).map(|number| u32::MAX - number * 3);
    check(&crowd.chain((0..1000).map(|number| number << 20)).collect::<Vec<_>>());
    check(&(0..3000_u32).map(|number| number.wrapping_mul(0x9e37_79b9)).collect::<Vec<_>>());
}
