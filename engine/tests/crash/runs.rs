//! Runs with crashes at random.

use crate::oracle::{Commands, Oracle};
use crate::replica::{Machine, Replica};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_engine::env::sim::Faults;
use skink_engine::error::Fault;

/// One seed's run, to the end.
pub fn crashes(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let machine = Machine::new(seed, &mut random);
    let steps = random.random_range(5..80);
    run(machine, &mut random, steps);
}

/// So many steps, with crashes in between, and a last power cut.
pub fn run(machine: Machine, random: &mut StdRng, steps: usize) -> Machine {
    let mut oracle = Oracle::default();
    let mut commands = Commands::new(random);
    let mut replica = recover(&machine, random, &mut oracle);
    for _ in 0..steps {
        plan_faults(&machine, random);
        replica = match step(replica, &machine, random, &mut oracle, &mut commands) {
            Ok(Some(replica)) => replica,
            Ok(None) => recover(&machine, random, &mut oracle),
            Err(fault) => {
                crash(&machine, random, Some(&fault));
                recover(&machine, random, &mut oracle)
            }
        };
    }
    drop(replica);
    machine.disk.power_cut();
    let replica = recover(&machine, random, &mut oracle);
    drop(replica);
    machine
}

fn plan_faults(machine: &Machine, random: &mut StdRng) {
    let none = Faults::default();
    match random.random_range(0..40) {
        0..3 => machine.disk.set_faults(Faults { changes_until_power_cut: Some(random.random_range(0..120)), ..none }),
        3 => machine.disk.set_faults(Faults { syncs_until_failure: Some(random.random_range(0..30)), ..none }),
        4 => {
            let capacity = machine.used() + random.random_range(0..300_000);
            machine.disk.set_faults(Faults { capacity, ..none });
        }
        5..7 => machine.disk.set_faults(none),
        _ => {}
    }
}

/// One step; `None` if the process is gone.
fn step(
    mut replica: Replica,
    machine: &Machine,
    random: &mut StdRng,
    oracle: &mut Oracle,
    commands: &mut Commands,
) -> Result<Option<Replica>, Fault> {
    match random.random_range(0..40) {
        0..4 => replica.maintain(random.random_bool(0.3))?,
        4..7 => replica.cut(),
        7..12 => {
            if random.random_bool(0.3) {
                replica.cut();
            }
            replica.checkpoint()?;
        }
        12 | 13 => replica.seal()?,
        14 => replica.prepare_next_file()?,
        15 => {
            replica.stop()?;
            // Nothing tells a process that has ended from one that was killed; the power may go, too.
            if random.random_bool(0.5) {
                machine.disk.kill()
            } else {
                machine.disk.power_cut()
            }
            return Ok(None);
        }
        16 => {
            drop(replica);
            crash(machine, random, None);
            return Ok(None);
        }
        17 => replica.compare(oracle)?,
        _ => {
            let batches = commands.batches(random, oracle);
            replica.submit(machine, oracle, batches)?;
        }
    }
    Ok(Some(replica))
}

/// Ends the process, with or without the power.
fn crash(machine: &Machine, random: &mut StdRng, fault: Option<&Fault>) {
    match fault {
        None | Some(Fault::Io { .. }) => {}
        Some(other) => panic!("no disk did that: {other:?}"),
    }
    if !machine.disk.is_powered() || random.random_bool(0.5) {
        machine.disk.power_cut();
    } else {
        machine.disk.kill();
        machine.disk.set_faults(Faults::default());
    }
}

/// Opens, again and again until no crash comes in between; then everything is compared.
fn recover(machine: &Machine, random: &mut StdRng, oracle: &mut Oracle) -> Replica {
    loop {
        let none = Faults::default();
        match random.random_range(0..6) {
            0 => machine.disk.set_faults(Faults { changes_until_power_cut: Some(random.random_range(0..40)), ..none }),
            1 => machine.disk.set_faults(Faults { syncs_until_failure: Some(random.random_range(0..12)), ..none }),
            _ => machine.disk.set_faults(none),
        }
        match machine.open() {
            Ok(replica) => {
                oracle.settle(replica.instance());
                if let Err(fault) = replica.compare(oracle) {
                    panic!("reading what came back: {fault:?}");
                }
                machine.expect_clean();
                return replica;
            }
            Err(fault) => crash(machine, random, Some(&fault)),
        }
    }
}
