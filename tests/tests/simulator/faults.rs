//! What goes wrong with machines and the network.

use crate::plan::MS;
use crate::process::Phase;
use crate::world::{Next, World};
use skink_engine::env::Disk;
use skink_engine::env::sim::Faults;
use skink_engine::error::Fault;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the power: what was not durable survives in part.
    PowerCut,
    /// Alone, as with `kill -9`: all that it wrote is there.
    Killed,
}

impl World {
    /// The disk may fail while the replica starts.
    pub fn before_start(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if self.has_faults && self.random.percent(10) {
            let changes_until_power_cut = Some(self.random.below(40));
            machine.is_faulty = true;
            machine.disk.set_faults(Faults { changes_until_power_cut, ..Faults::default() });
        }
    }

    /// Something that the replica's thread or another one of its process can't go on after.
    pub fn failed(&mut self, at: usize, fault: &Fault) -> Result<(), String> {
        self.note(|| format!("{at} fails: {fault}"));
        let machine = &self.machines[at];
        let is_injected = match fault {
            Fault::Io { .. } => machine.is_faulty,
            // A start on a full disk ends, and is tried again.
            Fault::Full { .. } => machine.process.is_none() && machine.full_until > self.now,
            _ => false,
        };
        // Damage is found, and the disk replaced.
        let is_damage = machine.is_damaged && matches!(fault, Fault::Corrupt { .. } | Fault::Refused(_));
        if !is_injected && !is_damage {
            return Err(format!("FAULT of {at}: {fault}"));
        }
        self.crash_for_a_while(at)?;
        if is_damage {
            self.replace_disk(at);
        }
        Ok(())
    }

    /// Ends a process, if there is one; its machine starts again after a while.
    pub fn crash_for_a_while(&mut self, at: usize) -> Result<(), String> {
        let end = if self.random.percent(60) { End::PowerCut } else { End::Killed };
        self.crash(at, end)?;
        let delay = self.random.between(10 * MS, 400 * MS);
        self.plan_in(delay, Next::Start(at));
        Ok(())
    }

    fn crash(&mut self, at: usize, end: End) -> Result<(), String> {
        self.note(|| format!("{at} ends: {end:?}"));
        for peer in 0..self.plan.members {
            self.cut(at, peer, 20 * MS);
        }
        let (torn_after, is_written) = (self.random.below(3), self.random.percent(30));
        let machine = &mut self.machines[at];
        if let Some(process) = &mut machine.process
            && process.phase == Phase::Writing
        {
            // The log write that was under way is torn, or done, and nobody has heard of it.
            if !is_written {
                machine.disk.set_faults(Faults { changes_until_power_cut: Some(torn_after), ..Faults::default() });
            }
            let _ = process.node.write();
        }
        machine.end_process();
        if end == End::PowerCut || !machine.disk.is_powered() {
            machine.disk.power_cut();
        } else {
            machine.disk.kill();
            machine.disk.set_faults(Faults::default());
        }
        machine.is_faulty = false;
        (machine.slow_until, machine.paused_until, machine.full_until) = (0, 0, 0);
        self.connections_closed(at);
        Ok(())
    }

    /// Whether the disk may be lost: all others have everything then, and are sound.
    fn may_lose_disk(&self, at: usize) -> bool {
        if self.machines.iter().any(|machine| machine.is_damaged) {
            return false;
        }
        let last = self.reference.last().get();
        let is_whole = |machine: &crate::machine::Machine| {
            let status = machine.process.as_ref().map(|process| process.node.status());
            let is_silent = status.is_none_or(|status| {
                status
                    .replicas
                    .iter()
                    .any(|it| it.replica == status.own && it.role == skink_replication::status::Role::Silent)
            });
            !is_silent && machine.process.as_ref().is_some_and(|it| it.node.executed().get() + 5 >= last)
        };
        self.machines.iter().filter(|machine| machine.index != at).all(is_whole) && is_whole(&self.machines[at])
    }

    /// An empty disk in the place of the one that was there.
    pub fn replace_disk(&mut self, at: usize) {
        let plan = self.plan;
        self.machines[at].lose_disk(&plan);
        self.note(|| format!("{at} has lost its disk"));
    }

    /// One bit of a segment, an image or a manifest is not what was written. The log's last write is left alone: its damage
    /// can't be told from a write that never ended.
    fn flip_bit(&mut self, at: usize) {
        let paths = self.machines[at].disk.paths();
        let is_state = |path: &&std::path::PathBuf| {
            let path = path.to_string_lossy();
            path.contains("/segments/") || path.contains("/checkpoints/") || path.contains("/images/")
        };
        let paths: Vec<_> = paths.iter().filter(is_state).collect();
        if paths.is_empty() {
            return;
        }
        let path = paths[self.random.below(paths.len() as u64) as usize];
        let machine = &mut self.machines[at];
        let Ok(len) = machine.disk.metadata(path).map(|metadata| metadata.len) else { return };
        if len == 0 {
            return;
        }
        let (offset, bit) = (self.random.below(len), self.random.below(8) as u8);
        if machine.disk.flip_bit(path, offset, bit).is_ok() {
            machine.is_damaged = true;
            self.note(|| format!("bit {bit} of byte {offset} of {} of {at} is flipped", path.display()));
        }
    }

    pub fn fault(&mut self) -> Result<(), String> {
        if !self.has_faults {
            return Ok(());
        }
        let pause = self.random.between(MS, 2 * self.plan.calm_ms * MS);
        self.plan_in(pause, Next::Fault);
        let members = self.plan.members as u64;
        let (a, b) = (self.random.below(members) as usize, self.random.below(members) as usize);
        let long = MS << self.random.between(3, 10);
        match self.random.below(100) {
            0..14 if a != b => {
                let pause = self.random.between(MS, 200 * MS);
                self.cut(a, b, pause);
            }
            14..24 => self.block(a, b, long),
            24..28 => (0..self.plan.members).for_each(|to| self.block(a, to, long)),
            28..32 => (0..self.plan.members).for_each(|from| self.block(from, a, long)),
            32..38 => {
                for other in 0..self.plan.members {
                    self.block(a, other, long);
                    self.block(other, a, long);
                }
            }
            38..44 => self.machines[a].slow_until = self.now + long / 2,
            44..50 => self.machines[a].paused_until = self.now + long / 2,
            50..66 if self.machines[a].process.is_some() => self.crash_for_a_while(a)?,
            66..70 => {
                // All at once, as when the power fails everywhere.
                for at in 0..self.plan.members {
                    self.crash(at, End::PowerCut)?;
                    let delay = self.random.between(10 * MS, 100 * MS);
                    self.plan_in(delay, Next::Start(at));
                }
            }
            70..75 if self.may_lose_disk(a) => {
                self.crash(a, End::PowerCut)?;
                self.replace_disk(a);
                let delay = self.random.between(10 * MS, 2 * long);
                self.plan_in(delay, Next::Start(a));
            }
            75..81 => self.disk_fails_soon(a),
            81..86 => self.fill_disk(a, long),
            86..92 => {
                let ahead = self.random.between(0, 20_000) as i64 - 10_000;
                self.machines[a].clock.jump(ahead);
            }
            92..96 if self.may_lose_disk(a) => self.flip_bit(a),
            _ => {}
        }
        Ok(())
    }

    /// Some change later the power goes, or a sync fails.
    fn disk_fails_soon(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.process.is_none() || machine.full_until > self.now {
            return;
        }
        let faults = if self.random.percent(60) {
            Faults { changes_until_power_cut: Some(self.random.below(200)), ..Faults::default() }
        } else {
            Faults { syncs_until_failure: Some(self.random.below(60)), ..Faults::default() }
        };
        machine.is_faulty = true;
        machine.disk.set_faults(faults);
    }

    /// Only a little room is left on the disk for a while.
    fn fill_disk(&mut self, at: usize, long: u64) {
        let room = self.random.below(600 << 10);
        let machine = &mut self.machines[at];
        if machine.process.is_none() || machine.is_faulty || machine.full_until > self.now {
            return;
        }
        // Without a limit, what is free says what is used.
        let free = machine.disk.free_bytes(crate::machine::root()).unwrap_or_default();
        let capacity = u64::MAX - free + room;
        machine.disk.set_faults(Faults { capacity, ..Faults::default() });
        machine.full_until = self.now + long;
        self.note(|| format!("the disk of {at} has {room} bytes left"));
        self.plan_in(long, Next::Room(at));
    }

    /// There is room again.
    pub fn make_room(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.full_until != 0 && !machine.is_faulty {
            machine.full_until = 0;
            machine.disk.set_faults(Faults::default());
        }
    }
}
