//! A replica's disk: a log of records of which a prefix is durable, and a checkpoint.

use crate::checkers::durable_log::DurableLog;
use crate::random::Random;
use skink_engine::position::{Instance, LogPosition};
use skink_replication::header::BatchId;
use skink_replication::paxos::{
    Ballot, CheckpointFacts, Configuration, DurableState, OrderingFrame, Recovery, ReplicaId, Rules,
};
use std::collections::{BTreeMap, VecDeque};

/// What the log holds, one position each.
#[derive(Debug, Clone)]
pub enum Record {
    Payload(BatchId),
    /// A frame's bytes, and its cycle's number in the process that wrote it.
    Frame(Vec<u8>),
}

/// The state at an instance. The digest stands for what was executed.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint {
    pub instance: Instance,
    pub digest: u64,
    pub promise: Ballot,
}

#[derive(Debug, Default)]
pub struct Disk {
    records: VecDeque<Record>,
    /// Position of the first record.
    start: u64,
    /// Records before this position are durable.
    durable: u64,
    pub checkpoint: Option<Checkpoint>,
    /// It took the place of one that was lost.
    pub is_new: bool,
    /// What the durable records say, kept by the checkers.
    pub log: DurableLog,
}

impl Disk {
    /// In the place of one that was lost.
    pub fn new() -> Disk {
        Disk { is_new: true, ..Disk::default() }
    }

    pub fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    pub fn append(&mut self, record: Record) -> LogPosition {
        let position = LogPosition::new(self.end());
        self.records.push_back(record);
        position
    }

    pub fn has_payload(&self, position: LogPosition) -> bool {
        position.get() >= self.start && position.get() < self.end()
    }

    /// The records before this position become durable.
    pub fn sync(&mut self, until: u64) -> Result<(), String> {
        for position in self.durable..until {
            let record = &self.records[(position - self.start) as usize];
            self.log.apply(record)?;
        }
        self.durable = self.durable.max(until);
        Ok(())
    }

    /// Drops durable records before this position.
    pub fn drop_before(&mut self, position: u64) -> LogPosition {
        while self.start < position.min(self.durable) {
            if let Some(Record::Payload(id)) = self.records.pop_front() {
                self.log.lost_payload(&id);
            }
            self.start += 1;
        }
        LogPosition::new(self.start)
    }

    /// A power cut: of what was not durable a prefix may be there.
    pub fn crash(&mut self, random: &mut Random) -> Result<(), String> {
        let kept = random.between(self.durable, self.end());
        self.records.truncate((kept - self.start) as usize);
        self.sync(kept)
    }

    /// What a start finds, and where the frames of its cycles are.
    pub fn recover(
        &self,
        configuration: Configuration,
        rules: Rules,
    ) -> Result<(DurableState, BTreeMap<u64, u64>), String> {
        let mut recovery = Recovery::new(configuration, rules);
        let mut cycles = BTreeMap::new();
        for (index, record) in self.records.iter().enumerate() {
            if let Record::Frame(bytes) = record {
                let frame = OrderingFrame::decode(bytes).map_err(|error| error.to_string())?;
                let cycle = recovery.replay(frame).map_err(|error| format!("RECOVERY {error}"))?;
                cycles.insert(cycle.get(), self.start + index as u64);
            }
        }
        let facts = self.checkpoint.map(|it| CheckpointFacts { instance: it.instance, promise: it.promise });
        let state =
            recovery.finish(facts, LogPosition::new(self.start)).map_err(|error| format!("RECOVERY {error}"))?;
        Ok((state, cycles))
    }
}

/// A replica by its index from 0.
pub fn replica(index: usize) -> ReplicaId {
    ReplicaId::new(index as u8 + 1).unwrap()
}
