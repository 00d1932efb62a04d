//! Many runs: their plans, and what became of them.

use crate::world::{Plan, World};
use skink_replication::paxos::{Gate, Rule, Rules};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A seed that was not used before.
pub fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Seeds differ in the size of the cluster, in the gate, and in how wild they are.
pub fn plan_of_seed(seed: u64, rules: Rules) -> Plan {
    let members = if seed % 3 == 2 { 5 } else { 3 };
    let gate = if seed % 5 < 2 { Gate::Strict } else { Gate::Eager };
    Plan { members, gate, rules, seed, faulty_ms: 12_000 }
}

/// A run; a panic is what it says.
pub fn one_run(seed: u64, rules: Rules) -> Result<(), String> {
    let trace = std::env::var_os("SKINK_SIM_TRACE");
    let run = || {
        let mut world = World::new(plan_of_seed(seed, rules))?;
        world.trace = trace.as_ref().map(|_| String::new());
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        if let (Some(path), Some(trace)) = (&trace, &world.trace) {
            std::fs::write(path, trace).unwrap();
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("PANIC: {}", text.unwrap_or_default()))
    })
}

/// What goes wrong in these runs, each kind with its first seed.
pub fn survey(first: u64, count: u64, rules: Rules) -> BTreeMap<String, (u64, u64, String)> {
    let mut kinds: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    for seed in first..first + count {
        if let Err(what) = one_run(seed, rules) {
            let kind = what.split([':', ' ']).next().unwrap_or_default().to_owned();
            kinds.entry(kind).or_insert((0, seed, what)).0 += 1;
        }
    }
    kinds
}

/// After how many seeds the lack of rules shows: as a line of a table, and the seed.
pub fn catch(rules: &[Rule], most: u64) -> (String, Option<u64>) {
    let caught = (1..=most).find_map(|seed| Some((seed, one_run(seed, Rules::without(rules)).err()?)));
    let names: Vec<String> = rules.iter().map(|rule| format!("{rule:?}")).collect();
    let names = names.join(", ");
    match caught {
        Some((seed, what)) => {
            let what: String = what.chars().take(60).collect();
            (format!("| {names} | {seed} | {what} |"), Some(seed))
        }
        None => (format!("| {names} | none of {most} | |"), None),
    }
}
