//! The workload: numbered keys, incompressible values that can be checked, and pickers of key numbers.
//!
//! Everything derives from one seed, so that every contender sees the same keys and two runs with the same seed
//! see the same sequence. A key is the bijective scramble of its number: keys are unique, and neither loaded nor
//! ranked by popularity in key order, which would favour trees.
//!
//! | offset in the value | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | number of the key, little endian |
//! | 8 | 8 | version: which write of the key this is, chosen by the writer |
//! | 16 | rest | random bytes, a window of the pool whose start derives from number and version |

use std::ops::Range;

/// Length of every key in bytes.
pub const KEY_BYTES: usize = 8;
/// Length of the header at the start of every value; no value is shorter.
pub const VALUE_HEADER_BYTES: usize = 16;
/// Random bytes that values are cut from. Larger than the window of fast compressors times a few, small enough
/// to stay in a core's second-level cache, so that making a value costs a copy and nothing more.
const POOL_BYTES: usize = 1 << 20;

/// SplitMix64: one addition and three shifts a number, good enough to pick keys and far cheaper than a request.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose sequence is fixed by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.state)
    }

    /// A number below `bound`, uniform up to a bias of `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// SplitMix64's finalizer: a bijection of `u64`.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Keys and values of one run.
#[derive(Debug)]
pub struct Workload {
    keys: u64,
    value_bytes: usize,
    seed: u64,
    pool: Vec<u8>,
}

impl Workload {
    /// `keys` keys with values of `value_bytes` bytes.
    ///
    /// # Panics
    /// If there are no keys, or values are shorter than [`VALUE_HEADER_BYTES`].
    pub fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        assert!(keys > 0, "a workload has at least one key");
        assert!(value_bytes >= VALUE_HEADER_BYTES, "values hold a header of {VALUE_HEADER_BYTES} bytes");
        let mut random = Random::new(seed ^ 0x706f_6f6c);
        let pool = (0..(POOL_BYTES + value_bytes).div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        Self { keys, value_bytes, seed, pool }
    }

    /// How many keys there are; their numbers are `0..keys`.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Length of every value in bytes.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// The seed that pickers of this run derive theirs from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Keys and values together, in bytes: what a contender has to hold at least.
    pub fn live_bytes(&self) -> u64 {
        self.keys * (KEY_BYTES + self.value_bytes) as u64
    }

    /// The key with this number.
    pub fn key(&self, number: u64) -> [u8; KEY_BYTES] {
        scramble(number ^ self.seed).to_be_bytes()
    }

    fn body(&self, number: u64, version: u64) -> &[u8] {
        let start = scramble(number.rotate_left(32) ^ version) as usize % POOL_BYTES;
        &self.pool[start..start + self.value_bytes - VALUE_HEADER_BYTES]
    }

    /// Appends the value that write `version` gives to key `number`.
    pub fn append_value(&self, number: u64, version: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(self.body(number, version));
    }

    /// The version in `value`, if it is a whole and unaltered value of key `number`.
    pub fn check_value(&self, number: u64, value: &[u8]) -> Option<u64> {
        let version = self.check_header(number, value)?;
        (value.get(VALUE_HEADER_BYTES..)? == self.body(number, version)).then_some(version)
    }

    /// The same from length and header alone: cheap enough for every read of a measurement.
    pub fn check_header(&self, number: u64, value: &[u8]) -> Option<u64> {
        let (stored, rest) = value.split_first_chunk::<8>()?;
        let (version, _) = rest.split_first_chunk::<8>()?;
        (value.len() == self.value_bytes && u64::from_le_bytes(*stored) == number)
            .then_some(u64::from_le_bytes(*version))
    }
}

/// How key numbers are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pick {
    /// All keys alike.
    Uniform,
    /// Zipf's law with this exponent, which lies in `(0, 1)`: 0.99 is customary.
    Zipf(f64),
}

/// A sequence of key numbers.
#[derive(Debug, Clone)]
pub enum Picker {
    /// Each number of the range once, in order: for loading.
    Sequence(Range<u64>),
    /// Uniform below the bound, without end.
    Uniform(Random, u64),
    /// Zipf, without end.
    Zipf(Random, Zipf),
}

impl Picker {
    /// A picker over the keys of `workload`. `stream` sets apart the pickers of one run's threads.
    pub fn new(pick: Pick, workload: &Workload, stream: u64) -> Self {
        let random = Random::new(scramble(workload.seed().wrapping_add(stream.wrapping_mul(0x5851_f42d_4c95_7f2d))));
        match pick {
            Pick::Uniform => Self::Uniform(random, workload.keys()),
            Pick::Zipf(exponent) => Self::Zipf(random, Zipf::new(workload.keys(), exponent)),
        }
    }

    /// The next key number; `None` when a sequence is at its end.
    pub fn next_number(&mut self) -> Option<u64> {
        match self {
            Self::Sequence(range) => range.next(),
            Self::Uniform(random, keys) => Some(random.below(*keys)),
            Self::Zipf(random, zipf) => Some(zipf.pick(random)),
        }
    }
}

/// Zipf-distributed ranks by the closed form of Gray et al. ("Quickly generating billion-record synthetic
/// databases", SIGMOD 1994), which YCSB uses as well: exact for the two most popular ranks, close for the others.
#[derive(Debug, Clone)]
pub struct Zipf {
    keys: u64,
    zeta: f64,
    second: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    /// # Panics
    /// If `exponent` isn't in `(0, 1)`, where the closed form holds.
    pub fn new(keys: u64, exponent: f64) -> Self {
        assert!(exponent > 0.0 && exponent < 1.0, "the exponent lies in (0, 1), not {exponent}");
        let zeta: f64 = (1..=keys).map(|rank| (rank as f64).powf(-exponent)).sum();
        let second = 0.5f64.powf(exponent);
        let eta = (1.0 - (2.0 / keys as f64).powf(1.0 - exponent)) / (1.0 - (1.0 + second) / zeta);
        Self { keys, zeta, second, alpha: 1.0 / (1.0 - exponent), eta }
    }

    /// A rank; 0 is the most popular.
    pub fn pick(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + self.second {
            return 1.min(self.keys - 1);
        }
        let rank = self.keys as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.keys - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_unique_and_the_same_for_the_same_seed() {
        let workload = Workload::new(10_000, 64, 7);
        let keys: HashSet<_> = (0..10_000).map(|number| workload.key(number)).collect();
        assert_eq!(keys.len(), 10_000);
        assert_eq!(Workload::new(5, 64, 7).key(3), workload.key(3));
        assert_ne!(Workload::new(5, 64, 8).key(3), workload.key(3));
    }

    #[test]
    fn values_are_checked_in_every_byte() {
        let workload = Workload::new(10, 1024, 1);
        let mut value = Vec::new();
        workload.append_value(4, 77, &mut value);
        assert_eq!(value.len(), 1024);
        assert_eq!(workload.check_value(4, &value), Some(77));
        assert_eq!(workload.check_value(5, &value), None);
        assert_eq!(workload.check_value(4, &value[..1023]), None);
        for position in [0, 8, 16, 500, 1023] {
            let mut altered = value.clone();
            altered[position] ^= 1;
            assert_eq!(workload.check_value(4, &altered), None, "byte {position}");
        }
    }

    #[test]
    fn versions_differ_in_their_bodies() {
        let workload = Workload::new(10, 1024, 1);
        assert_ne!(workload.body(3, 1), workload.body(3, 2));
        assert_ne!(workload.body(3, 1), workload.body(4, 1));
    }

    #[test]
    fn values_use_all_byte_values_about_equally() {
        let workload = Workload::new(1000, 1024, 1);
        let mut all = Vec::new();
        (0..1000).for_each(|number| workload.append_value(number, 0, &mut all));
        let mut counts = [0f64; 256];
        all.iter().for_each(|byte| counts[usize::from(*byte)] += 1.0);
        let entropy: f64 = counts.iter().map(|count| count / all.len() as f64).map(|share| -share * share.log2()).sum();
        assert!(entropy > 7.9, "{entropy} bits a byte");
    }

    #[test]
    fn uniform_picks_every_key_and_repeats_with_its_seed() {
        let workload = Workload::new(100, 64, 3);
        let take = |stream| {
            let mut picker = Picker::new(Pick::Uniform, &workload, stream);
            (0..5000).map(|_| picker.next_number().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert_eq!(take(1).into_iter().collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn zipf_prefers_low_ranks_by_the_law() {
        let workload = Workload::new(1000, 64, 3);
        let mut picker = Picker::new(Pick::Zipf(0.99), &workload, 0);
        let mut counts = vec![0u32; 1000];
        for _ in 0..200_000 {
            counts[picker.next_number().unwrap() as usize] += 1;
        }
        let first_to_second = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.8..2.2).contains(&first_to_second), "2^0.99 = 1.99, measured {first_to_second}");
        let first_to_hundredth = f64::from(counts[0]) / f64::from(counts[99]);
        assert!((50.0..150.0).contains(&first_to_hundredth), "100^0.99 = 95, measured {first_to_hundredth}");
    }

    #[test]
    fn zipf_over_one_key_stays_inside() {
        let mut random = Random::new(1);
        let zipf = Zipf::new(1, 0.5);
        assert!((0..100).all(|_| zipf.pick(&mut random) == 0));
    }
}
