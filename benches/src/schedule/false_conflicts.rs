//! False conflicts: the share of pairs of batches that share no key and meet all the same, as two of their keys have the same
//! bit, or the same digest.

use super::batches::{COMMANDS, digest};
use crate::workload::Random;

/// Digests of so many batches of fifty keys, no key twice.
fn batches(count: usize, seed: u64) -> Vec<Vec<u32>> {
    let first = Random::new(seed).next_u64() >> 8;
    let key = |batch: usize, place: usize| first + (batch * COMMANDS + place) as u64;
    (0..count).map(|batch| (0..COMMANDS).map(|place| digest(key(batch, place))).collect()).collect()
}

/// The share of all pairs among so many batches that meet in a bitmap of so many bits.
pub fn by_bitmap(bits: u32, count: usize, seed: u64) -> f64 {
    let mut batches = batches(count, seed);
    for batch in &mut batches {
        batch.iter_mut().for_each(|digest| *digest %= bits);
        batch.sort_unstable();
    }
    let meets = |left: &[u32], right: &[u32]| right.iter().any(|bit| left.binary_search(bit).is_ok());
    let pairs = (0..count).flat_map(|left| (0..left).map(move |right| (left, right)));
    let met = pairs.filter(|(left, right)| meets(&batches[*left], &batches[*right])).count();
    met as f64 / pairs_of(count)
}

/// The share of all pairs among so many batches that share a 32-bit digest.
pub fn by_digest(count: usize, seed: u64) -> f64 {
    let batches = batches(count, seed);
    let mut digests: Vec<(u32, usize)> = batches
        .iter()
        .enumerate()
        .flat_map(|(number, batch)| batch.iter().map(move |digest| (*digest, number)))
        .collect();
    digests.sort_unstable();
    let met = digests.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1).count();
    met as f64 / pairs_of(count)
}

fn pairs_of(count: usize) -> f64 {
    (count * count.saturating_sub(1) / 2).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{by_bitmap, by_digest};

    #[test]
    fn shares_are_those_of_chance() {
        let share = by_bitmap(100_000, 1_000, 1);
        assert!((0.022..0.028).contains(&share), "{share}, by chance 0.0247");
        assert!(by_bitmap(100, 50, 1) > 0.99);
        assert!(by_digest(2_000, 1) < 1e-4);
    }
}
