//! Crash consistency: a replica on a simulated disk, interrupted at any moment, in thousands of seeded runs.
//!
//! ```text
//! steps (write, maintain, checkpoint, seal, stop) -> crash -> open, replay -> equal to what was acknowledged?
//!                                                      ^------ crash again ------|
//! ```
//!
//! `SKINK_SEEDS=from..to` runs other seeds than the usual ones; a failure prints the command that repeats it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod flips;
mod oracle;
mod replica;
mod runs;

use rand::SeedableRng;
use rand::rngs::StdRng;
use replica::Machine;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prints how to repeat a run when it fails.
struct Reproduce {
    test: &'static str,
    seed: u64,
}

impl Drop for Reproduce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (test, seed) = (self.test, self.seed);
            eprintln!("SKINK_SEEDS={seed}..{} cargo test -p skink-engine --test crash -- {test}", seed + 1);
        }
    }
}

fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("SKINK_SEEDS") else { return usual };
    let ends: Option<(u64, u64)> =
        text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match ends {
        Some((from, to)) => from..to,
        None => panic!("SKINK_SEEDS is {text:?} where from..to belongs"),
    }
}

/// Runs every seed, on all processors.
fn for_seeds(test: &'static str, usual: Range<u64>, run: impl Fn(u64) + Sync) {
    let seeds = seeds(usual);
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let _reproduce = Reproduce { test, seed };
                    run(seed);
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_outlives_every_crash() {
    for_seeds("what_was_acknowledged_outlives_every_crash", 0..3000, runs::crashes);
}

#[test]
fn a_flipped_bit_is_found_or_changes_nothing() {
    for_seeds("a_flipped_bit_is_found_or_changes_nothing", 0..1500, flips::flips);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let trace = |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let machine = Machine::new(seed, &mut random);
        runs::run(machine, &mut random, 40).files()
    };
    for seed in seeds(0..5) {
        let _reproduce = Reproduce { test: "a_seed_gives_the_same_run_twice", seed };
        assert!(trace(seed) == trace(seed), "seed {seed}");
    }
}
