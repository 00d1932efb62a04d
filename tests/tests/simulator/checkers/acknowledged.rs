//! Acknowledged writes are present: what anybody executed is on the disks of a majority, in the log with its payload or in a
//! checkpoint, and what was acknowledged was executed.

use crate::machine::Machine;
use crate::world::World;
use skink_engine::position::Instance;
use skink_replication::paxos::{Ballot, Entry};

/// An instance is decided.
pub fn check_majority(instance: Instance, entry: &Entry, machines: &[Machine], majority: usize) -> Result<(), String> {
    // A lost disk may have held it. The new one doesn't count before it has a promise.
    let is_held = |machine: &&Machine| {
        let is_new = !machine.is_founder && machine.log.raised() == Ballot::NONE;
        is_new || machine.log.holds(instance, entry)
    };
    let holders = machines.iter().filter(is_held).count();
    if holders >= majority {
        return Ok(());
    }
    Err(format!("LOSS: {instance} is decided, and on {holders} disks of {}", machines.len()))
}

/// A batch was answered.
pub fn check(world: &World, batch: u64) -> Result<(), String> {
    let Some(executed) = world.reference.executed(batch) else {
        return Err(format!("ACKNOWLEDGED: batch {batch} is answered, and in no decided instance"));
    };
    match world.reference.entry(executed.instance) {
        Some(entry) => check_majority(executed.instance, entry, &world.machines, world.plan.majority()),
        None => Err(format!("ACKNOWLEDGED: {} is answered, and not decided", executed.instance)),
    }
}
