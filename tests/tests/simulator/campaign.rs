//! Many runs, and what became of them.

use crate::mistakes::Mistake;
use crate::plan::Plan;
use crate::world::World;
use skink_replication::paxos::{Rule, Rules};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A seed that was not used before.
pub fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// What a run did, for those who want to see that it did something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    pub instances: u64,
    pub batches: u64,
    pub operations: u64,
    pub undecided: u64,
}

/// A run; a panic is what it says.
pub fn one_run(seed: u64, rules: Rules, mistake: Option<Mistake>) -> Result<Done, String> {
    let path = std::env::var_os("SKINK_SIM_TRACE");
    let run = || {
        let mut world = World::new(Plan::of_seed(seed, rules, mistake));
        world.trace = path.as_ref().map(|_| String::new());
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        if let (Some(path), Some(trace)) = (&path, &world.trace) {
            std::fs::write(path, trace).unwrap();
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Done {
            instances: world.last().get(),
            batches: world.reference.batches_executed() as u64,
            operations: world.clients.answered,
            undecided: world.checkers.undecided as u64,
        })
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
        if let Err(what) = one_run(seed, rules, None) {
            let kind = what.split([':', ' ']).next().unwrap_or_default().to_owned();
            kinds.entry(kind).or_insert((0, seed, what)).0 += 1;
        }
    }
    kinds
}

/// After how many seeds the lack of rules, or a mistake, shows: as a line of a table, and the seed.
pub fn catch(rules: &[Rule], mistake: Option<Mistake>, most: u64) -> (String, Option<u64>) {
    let caught = (1..=most).find_map(|seed| Some((seed, one_run(seed, Rules::without(rules), mistake).err()?)));
    let rules = rules.iter().map(|rule| format!("`{rule:?}`"));
    let names: Vec<String> = rules.chain(mistake.map(|mistake| format!("`{mistake:?}`"))).collect();
    let names = names.join(", ");
    match caught {
        Some((seed, what)) => {
            let what: String = what.chars().take(70).collect();
            (format!("| {names} | {seed} | {what} |"), Some(seed))
        }
        None => (format!("| {names} | none of {most} | |"), None),
    }
}
