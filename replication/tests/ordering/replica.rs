//! A replica of the simulation: the machine, its disk, and the runtime between them.

use crate::checkers::agreement::digest_after;
use crate::disk::{Checkpoint, Disk, Record, replica};
use crate::random::Random;
use skink_engine::position::Instance;
use skink_replication::header::BatchId;
use skink_replication::paxos::{
    Configuration, Delivered, DeliveredContent, Effect, Entry, Event, Options, Protocol, Start,
};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub struct Replica {
    pub index: usize,
    pub disk: Disk,
    pub running: Option<Running>,
    /// Counts crashes: what was under way in an earlier life doesn't come back.
    pub life: u64,
    /// What the disk is known by.
    pub incarnation: u64,
    pub has_lost_disk: bool,
    /// Log writes stall until then.
    pub slow_until: u64,
}

/// What is gone with a crash.
pub struct Running {
    pub protocol: Protocol,
    pub executed: Instance,
    pub digest: u64,
    pub delivered: VecDeque<Delivered>,
    /// Where the frames of cycles are.
    cycles: BTreeMap<u64, u64>,
    /// The last cycle whose frame is before a position.
    pub writing: Option<u64>,
    cycle_numbers: Vec<(u64, skink_replication::paxos::CycleNumber)>,
    pub takes_checkpoint: bool,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "executed {}, {:?}", self.executed, self.protocol.leadership())
    }
}

impl Replica {
    pub fn new(index: usize) -> Replica {
        Replica {
            index,
            disk: Disk::default(),
            running: None,
            life: 0,
            incarnation: 1,
            has_lost_disk: false,
            slow_until: 0,
        }
    }

    /// Starts from the disk.
    pub fn start(&mut self, configuration: Configuration, options: Options) -> Result<(), String> {
        let (state, cycles) = self.disk.recover(configuration, options.rules)?;
        let start = match self.has_lost_disk {
            true => Start::Lost { incarnation: self.incarnation },
            false => Start::Known { incarnation: self.incarnation },
        };
        let checkpoint = self.disk.checkpoint;
        self.running = Some(Running {
            protocol: Protocol::start(replica(self.index), start, state, options),
            executed: checkpoint.map_or(Instance::ZERO, |it| it.instance),
            digest: checkpoint.map_or(0, |it| it.digest),
            delivered: VecDeque::new(),
            cycles,
            writing: None,
            cycle_numbers: Vec::new(),
            takes_checkpoint: false,
        });
        Ok(())
    }

    pub fn crash(&mut self, random: &mut Random) -> Result<(), String> {
        self.running = None;
        self.life += 1;
        self.disk.crash(random)
    }

    /// The disk is gone; the next start knows that there was one.
    pub fn lose_disk(&mut self) {
        self.running = None;
        self.disk = Disk::new();
        self.incarnation += 1;
        self.has_lost_disk = true;
    }

    /// Tells the machine; what it wants done, unless more is to come first.
    pub fn event(&mut self, event: Event, gathers: bool) -> Vec<Effect> {
        let Some(running) = &mut self.running else { return Vec::new() };
        running.protocol.handle(event);
        if gathers { Vec::new() } else { running.protocol.take_effects() }
    }

    /// A payload arrived: into the log with it.
    pub fn store_payload(&mut self, id: BatchId) -> Vec<Effect> {
        let Some(running) = &mut self.running else { return Vec::new() };
        // The machine alone knows which copy counts.
        if running.protocol.payload(&id).is_some() {
            return Vec::new();
        }
        let position = self.disk.append(Record::Payload(id));
        self.event(Event::PayloadStored { id, position }, false)
    }

    pub fn append(&mut self, cycle: skink_replication::paxos::CycleNumber, bytes: Vec<u8>) {
        let position = self.disk.append(Record::Frame(bytes));
        if let Some(running) = &mut self.running {
            running.cycles.entry(cycle.get()).or_insert(position.get());
            running.cycle_numbers.retain(|(_, number)| *number != cycle);
            running.cycle_numbers.push((position.get(), cycle));
        }
    }

    /// A log write ended: everything before this position is durable.
    pub fn written(&mut self, until: u64) -> Result<Vec<Effect>, String> {
        self.disk.sync(until)?;
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        running.writing = None;
        let durable = running.cycle_numbers.iter().filter(|(position, _)| *position < until).map(|(_, cycle)| *cycle);
        let Some(cycle) = durable.max() else { return Ok(Vec::new()) };
        running.cycle_numbers.retain(|(position, _)| *position >= until);
        Ok(self.event(Event::Durable { cycle }, false))
    }

    /// The next entry to execute, if its payload is here.
    pub fn next_executable(&self) -> Option<(Instance, Entry)> {
        let running = self.running.as_ref()?;
        let delivered = running.delivered.front()?;
        match &delivered.content {
            DeliveredContent::Header { header, payload } => {
                let entry = Entry::Header(header.clone());
                let position = payload.or_else(|| running.protocol.payload(&entry.payload()?));
                let is_here =
                    entry.payload().is_none() || position.is_some_and(|position| self.disk.has_payload(position));
                is_here.then_some((delivered.instance, entry))
            }
            DeliveredContent::Barrier(barrier) => Some((delivered.instance, Entry::Barrier(*barrier))),
            DeliveredContent::StopSign(_) => None,
        }
    }

    pub fn execute(&mut self, instance: Instance, entry: &Entry) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.delivered.pop_front();
        if instance != running.executed.next() {
            return Err(format!("GAP: {instance} is delivered after {}", running.executed));
        }
        running.executed = instance;
        running.digest = digest_after(running.digest, entry);
        Ok(())
    }

    /// The cut of a checkpoint, to be made durable in the background.
    pub fn cut(&mut self) -> Option<Checkpoint> {
        let newest = self.disk.checkpoint.map_or(Instance::ZERO, |it| it.instance);
        let running = self.running.as_mut().filter(|running| running.executed > newest && !running.takes_checkpoint)?;
        running.takes_checkpoint = true;
        let promise = running.protocol.manifest_promise();
        Some(Checkpoint { instance: running.executed, digest: running.digest, promise })
    }

    pub fn checkpoint_durable(&mut self, checkpoint: Checkpoint, drops_log: bool) -> Vec<Effect> {
        let Some(running) = &mut self.running else { return Vec::new() };
        running.takes_checkpoint = false;
        if self.disk.checkpoint.is_some_and(|newest| newest.instance >= checkpoint.instance) {
            return Vec::new();
        }
        self.disk.checkpoint = Some(checkpoint);
        let mut effects = self.event(Event::CheckpointTaken { instance: checkpoint.instance }, false);
        if drops_log {
            effects.extend(self.drop_log());
        }
        effects
    }

    fn drop_log(&mut self) -> Vec<Effect> {
        let Some(running) = &mut self.running else { return Vec::new() };
        let needed = running.protocol.needed();
        let Some(frame) = running.cycles.get(&needed.cycle.get()).copied() else { return Vec::new() };
        let before = needed.payload.map_or(frame, |payload| payload.get().min(frame));
        let before = self.disk.drop_before(before);
        self.event(Event::LogDropped { before }, false)
    }

    /// A donor's checkpoint takes the place of the state, if it is further.
    pub fn install(&mut self, checkpoint: Checkpoint) -> Vec<Effect> {
        let Some(running) = &mut self.running else { return Vec::new() };
        if checkpoint.instance <= running.executed {
            return Vec::new();
        }
        self.disk.checkpoint = Some(checkpoint);
        running.executed = checkpoint.instance;
        running.digest = checkpoint.digest;
        running.delivered.retain(|delivered| delivered.instance > checkpoint.instance);
        let Checkpoint { instance, promise, .. } = checkpoint;
        let facts = skink_replication::paxos::CheckpointFacts { instance, promise };
        self.event(Event::CheckpointInstalled { checkpoint: facts }, false)
    }
}
