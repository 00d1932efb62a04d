//! The fuzz targets on mutations of good inputs: every run of the tests tries some, and never the same ones twice
//! unless `SKINK_FUZZ_SEED` says so. `SKINK_FUZZ_SECONDS` is for how long each target is tried, one second by default.
//!
//! `cargo fuzz run TARGET` is guided by coverage and finds more, but needs a build of its own:
//! `docs/decisions/0007-fuzzing-in-the-tests.md`.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

use skink_fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest input, in bytes.
const MAX_LEN: usize = 16 << 10;
/// Mutations of one input, at most.
const MAX_MUTATIONS: u64 = 8;

/// Random numbers (splitmix64): a seed gives the same inputs for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        const INTERESTING: [u64; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, u64::MAX];
        let at = self.below(input.len() + 1);
        let len = self.below(16.min(input.len() - at + 1));
        match self.next() % 8 {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = self.next() as u8,
            3 => {
                let number = INTERESTING[self.below(INTERESTING.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                for (byte, new) in input[at..].iter_mut().zip(&number[..width]) {
                    *byte = *new;
                }
            }
            4 => drop(input.drain(at..at + len)),
            5 => {
                let bytes: Vec<u8> = (0..=len).map(|_| self.next() as u8).collect();
                input.splice(at..at, bytes);
            }
            6 => {
                let copy = input[at..at + len].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            _ => {
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
        }
        input.truncate(MAX_LEN);
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}: no number")))
}

fn try_target(target: &Target, seed: u64, time: Duration) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty() && !seeds.contains(&Vec::new()), "{}: seeds are missing", target.name);
    let attempt = |input: &[u8], number: u64| {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
            let text: String =
                input.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
            panic!(
                "{} fails on input {number}, b\"{text}\"; again: SKINK_FUZZ_SEED={seed} cargo test -p skink-tests --test fuzz",
                target.name
            );
        }
    };
    for (number, input) in (0..).zip(&seeds) {
        attempt(input, number);
    }
    let mut random = Random(seed);
    let started = Instant::now();
    let mut number = seeds.len() as u64;
    while started.elapsed() < time {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.next() % MAX_MUTATIONS {
            let other = &seeds[random.below(seeds.len())];
            random.mutate(&mut input, other);
        }
        attempt(&input, number);
        number += 1;
    }
    println!("{}: {number} inputs from seed {seed}", target.name);
}

#[test]
fn no_target_panics() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = number_of("SKINK_FUZZ_SEED").unwrap_or(now);
    let time = Duration::from_secs(number_of("SKINK_FUZZ_SECONDS").unwrap_or(1));
    for target in &TARGETS {
        try_target(target, seed, time);
    }
}
