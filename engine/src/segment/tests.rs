//! A segment against a map: index, versions, totals, and the bytes below cuts, whatever refresh and compaction do.
//!
//! ```text
//! put, delete, refresh, compact (with writes in between), cut, reinstall  ->  stored, ranges, scans, totals = map's
//! ```

mod collisions;
mod harness;
mod overwriting;
mod threads;

use harness::{Harness, Key, keys};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;
use proptest::test_runner::Config;

#[derive(Debug, Clone)]
enum Op {
    Put(usize, usize),
    Delete(usize),
    Refresh,
    /// With these writes while it copies.
    Compact(Vec<(usize, Option<usize>)>),
    Cut,
    Reinstall,
    Range(usize, usize, usize),
    Scan(usize),
}

fn op(keys: usize) -> impl Strategy<Value = Op> {
    // Versions of one length can be overwritten, others not.
    let len = prop_oneof![0..300_usize, Just(100)];
    let write = (0..keys, prop_oneof![3 => len.clone().prop_map(Some), 1 => Just(None)]);
    prop_oneof![
        20 => (0..keys, len).prop_map(|(key, len)| Op::Put(key, len)),
        6 => (0..keys).prop_map(Op::Delete),
        3 => Just(Op::Refresh),
        2 => vec(write, 0..40).prop_map(Op::Compact),
        2 => Just(Op::Cut),
        1 => Just(Op::Reinstall),
        3 => (any::<usize>(), any::<usize>(), 0..50_usize).prop_map(|(start, end, limit)| Op::Range(start, end, limit)),
        2 => (1..40_usize).prop_map(Op::Scan),
    ]
}

fn run(keys: Vec<Key>, ops: Vec<Op>) {
    let mut harness = Harness::new(keys);
    for op in ops {
        match op {
            Op::Put(key, len) => harness.write(key, Some(len)),
            Op::Delete(key) => harness.write(key, None),
            Op::Refresh => harness.refresh(),
            Op::Compact(writes) => harness.compact(writes),
            Op::Cut => harness.cut(),
            Op::Reinstall => harness.reinstall(),
            Op::Range(start, end, limit) => harness.check_range(start, end, limit),
            Op::Scan(limit) => harness.check_scan(limit),
        }
        harness.check_totals();
    }
    harness.check_all();
}

proptest! {
    #![proptest_config(Config { cases: 80, ..Config::default() })]

    #[test]
    fn few_keys(ops in vec(op(12), 1..150)) {
        run(keys(12), ops);
    }

    #[test]
    fn many_keys(ops in vec(op(400), 1..300)) {
        run(keys(400), ops);
    }

    #[test]
    fn keys_whose_digests_collide(ops in vec(op(60), 1..200)) {
        run(collisions::keys(60), ops);
    }
}
