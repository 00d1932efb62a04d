//! The simulator of whole replicas: nodes on simulated disks, with the runtime around them, in one thread under a virtual
//! clock, with everything going wrong that they must live with. See `docs/simulator.md`.
//!
//! `SKINK_SIM_SEED=N` runs one seed, `SKINK_SIM_WITHOUT=Name,Name` without these rules of the order or with this mistake,
//! `SKINK_SIM_SECONDS=N` fresh seeds for so long; `SKINK_SIM_RULES=N` makes the tables of `docs/simulator.md`, with at most N
//! seeds a line. `SKINK_SIM_TRACE=PATH` writes what happened in the last run to a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod background;
mod batches;
mod campaign;
mod checkers;
mod clients;
mod clock;
mod disk_log;
mod faults;
mod health;
mod history;
mod machine;
mod mistakes;
mod network;
mod operations;
mod plan;
mod process;
#[path = "../../../replication/tests/ordering/random.rs"]
mod random;
mod reference;
mod runtime;
mod sessions;
mod watch;
mod world;

use campaign::{number, one_run};
use mistakes::Mistake;
use plan::Plan;
use skink_replication::paxos::{Rule, Rules};
use std::time::{Duration, Instant};
use world::World;

/// Seeds that every test run takes.
const FIXED_SEEDS: u64 = 20;

/// Rules that are switched off, and the mistake that is made.
fn switches() -> (Rules, Option<Mistake>) {
    let without = std::env::var("SKINK_SIM_WITHOUT").unwrap_or_default();
    let is_named = |switch: &dyn std::fmt::Debug| without.split(',').any(|name| name == format!("{switch:?}"));
    let off: Vec<Rule> = Rule::ALL.iter().filter(|rule| is_named(rule)).copied().collect();
    (Rules::without(&off), Mistake::ALL.into_iter().find(|mistake| is_named(mistake)))
}

#[test]
fn whole_replicas_keep_their_promises() {
    let (rules, mistake) = switches();
    if let Some(seed) = number("SKINK_SIM_SEED") {
        let done = one_run(seed, rules, mistake).unwrap_or_else(|what| panic!("{what}"));
        return println!("{done:?}");
    }
    let seconds = number("SKINK_SIM_SECONDS").map(Duration::from_secs);
    let first = if seconds.is_some() { campaign::fresh_seed() } else { 1 };
    let started = Instant::now();
    let (mut runs, mut operations) = (0, 0);
    while seconds.map_or(runs < FIXED_SEEDS, |seconds| started.elapsed() < seconds) {
        let seed = first + runs;
        let done = one_run(seed, rules, mistake).unwrap_or_else(|what| {
            let command = "cargo test -p skink-tests --test simulator whole_replicas";
            panic!("{what}\nreproduce: SKINK_SIM_SEED={seed} {command}");
        });
        assert_eq!(done.undecided, 0, "seed {seed}: histories are decided");
        assert!(done.instances >= done.batches && done.batches > 0, "seed {seed}: something is executed");
        runs += 1;
        operations += done.operations;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{runs} runs from seed {first}, {operations} operations, in {seconds:.1} s");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let mut world = World::new(Plan::of_seed(3, Rules::default(), None));
        world.trace = Some(String::new());
        world.run().unwrap();
        world.trace.unwrap()
    };
    let (first, second) = (trace(), trace());
    assert!(first.len() > 100_000, "a run is long");
    let differ = first.lines().zip(second.lines()).find(|(one, other)| one != other);
    assert!(first == second, "byte for byte: {differ:?}");
}

/// Mistakes and rules whose lack shows within so many seeds. `docs/simulator.md` has all of them, and after how many each.
const SOON: u64 = 60;
const SHOWN: [Rule; 11] = [
    Rule::OneFrame,
    Rule::GapInSync,
    Rule::GapInPromise,
    Rule::CutOverlap,
    Rule::PayloadsBeforeAccept,
    Rule::PayloadsBeforeSync,
    Rule::PayloadsBeforePromise,
    Rule::KeepPayloads,
    Rule::DurableBeforeSend,
    Rule::Barrier,
    Rule::IndexFromStart,
];

#[test]
fn mistakes_and_rules_that_are_switched_off_are_noticed() {
    if let Some(most) = number("SKINK_SIM_RULES") {
        for mistake in Mistake::ALL {
            println!("{}", campaign::catch(&[], Some(mistake), most).0);
        }
        for rule in Rule::ALL {
            println!("{}", campaign::catch(&[*rule], None, most).0);
        }
        return;
    }
    for mistake in Mistake::ALL {
        let (line, caught) = campaign::catch(&[], Some(mistake), SOON);
        assert!(caught.is_some(), "{line}");
    }
    for rule in SHOWN {
        let (line, caught) = campaign::catch(&[rule], None, SOON);
        assert!(caught.is_some(), "{line}");
    }
}

/// `SKINK_SIM_FIRST=N SKINK_SIM_COUNT=M`: all that goes wrong in these runs, where one is not enough to see what it is.
#[test]
fn survey() {
    let (Some(first), Some(count)) = (number("SKINK_SIM_FIRST"), number("SKINK_SIM_COUNT")) else { return };
    let (rules, _) = switches();
    for (kind, (times, seed, what)) in campaign::survey(first, count, rules) {
        println!("{kind}: {times} of {count}, first with seed {seed}: {what}");
    }
}
