//! The order's own simulator: replicas of the machine in one thread, under a virtual clock, with everything going wrong
//! that the rules of `docs/ordering.md` are for.
//!
//! `SKINK_SIM_SEED=N` runs one seed, `SKINK_SIM_WITHOUT=Name,Name` without these rules, `SKINK_SIM_SECONDS=N` fresh seeds for so long; `SKINK_SIM_RULES=N` makes the table
//! of `docs/ordering.md`, with at most N seeds a rule, `SKINK_SIM_RULE=Name` a line of it. `SKINK_SIM_TRACE=PATH` writes
//! what happened in the last run to a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod campaign;
mod checkers;
mod disk;
mod faults;
mod load;
mod network;
mod random;
mod replica;
mod world;

use campaign::{number, one_run, plan_of_seed};
use skink_replication::paxos::{Rule, Rules};
use std::time::{Duration, Instant};
use world::World;

/// Seeds that every test run takes.
const FIXED_SEEDS: u64 = 500;

#[test]
fn every_rule_on_nothing_goes_wrong() {
    if let Some(seed) = number("SKINK_SIM_SEED") {
        let without = std::env::var("SKINK_SIM_WITHOUT").unwrap_or_default();
        let is_off = |rule: &&Rule| without.split(',').any(|name| name == format!("{rule:?}"));
        let off: Vec<Rule> = Rule::ALL.iter().filter(is_off).copied().collect();
        return one_run(seed, Rules::without(&off)).unwrap_or_else(|what| panic!("{what}"));
    }
    let seconds = number("SKINK_SIM_SECONDS").map(Duration::from_secs);
    let first = if seconds.is_some() { campaign::fresh_seed() } else { 1 };
    let started = Instant::now();
    let mut runs = 0;
    while seconds.map_or(runs < FIXED_SEEDS, |seconds| started.elapsed() < seconds) {
        let seed = first + runs;
        one_run(seed, Rules::default()).unwrap_or_else(|what| {
            let command = "cargo test -p skink-replication --test ordering every_rule_on";
            panic!("{what}\nreproduce: SKINK_SIM_SEED={seed} {command}");
        });
        runs += 1;
    }
    println!("{runs} runs from seed {first} in {:.1} s", started.elapsed().as_secs_f64());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let mut world = World::new(plan_of_seed(3, Rules::default())).unwrap();
        world.trace = Some(String::new());
        world.run().unwrap();
        world.trace.unwrap()
    };
    let (first, second) = (trace(), trace());
    assert!(first.len() > 100_000, "a run is long");
    assert!(first == second, "byte for byte");
}

/// Rules whose lack shows within so many seeds. `docs/ordering.md` has all of them, and after how many each.
const SOON: u64 = 40;
const SHOWN: [Rule; 19] = [
    Rule::OneFrame,
    Rule::KeepRound,
    Rule::KeepTail,
    Rule::GapInSync,
    Rule::GapInPromise,
    Rule::CutOverlap,
    Rule::PayloadsBeforeAccept,
    Rule::PayloadsBeforeSync,
    Rule::PayloadsBeforePromise,
    Rule::WaitInOrder,
    Rule::CheckpointForGone,
    Rule::KeepPayloads,
    Rule::DurableBeforeSend,
    Rule::EagerBound,
    Rule::DeliverDurable,
    Rule::ProposeOwn,
    Rule::SilentWhenStalled,
    Rule::ConfirmLeadership,
    Rule::IndexFromStart,
];

#[test]
fn rules_that_are_switched_off_are_missed() {
    let Some(most) = number("SKINK_SIM_RULES") else {
        for rule in SHOWN {
            let (line, caught) = campaign::catch(&[rule], SOON);
            assert!(caught.is_some(), "{line}");
        }
        return;
    };
    let only = std::env::var("SKINK_SIM_RULE").ok();
    // Each covers for the other: only without both something is never noticed.
    let pairs = [vec![Rule::Reconnected, Rule::Probe], vec![Rule::OutbidRefusal, Rule::OutbidRequest]];
    for rules in Rule::ALL.iter().map(|rule| vec![*rule]).chain(pairs) {
        if only.as_ref().is_none_or(|only| *only == format!("{:?}", rules[0])) {
            println!("{}", campaign::catch(&rules, most).0);
        }
    }
}

/// `SKINK_SIM_FIRST=N SKINK_SIM_COUNT=M`: all that goes wrong in these runs, where one is not enough to see what it is.
#[test]
fn survey() {
    let (Some(first), Some(count)) = (number("SKINK_SIM_FIRST"), number("SKINK_SIM_COUNT")) else { return };
    for (kind, (times, seed, what)) in campaign::survey(first, count, Rules::default()) {
        println!("{kind}: {times} of {count}, first with seed {seed}: {what}");
    }
}
