//! Payloads that have arrived and were not executed yet, in memory; and those that somebody waits for.
//!
//! A payload goes into the log when its header is there, so that one write holds both. It stays in memory until it
//! was executed, so that it need not be read again. What is beyond the bound is forgotten: it is in the log, or is
//! asked for again.

use super::Node;
use crate::header::BatchId;
use crate::paxos::Event;
use bytes::Bytes;
use skink_engine::error::Fault;
use std::collections::{HashMap, VecDeque};

/// Bytes that are kept, at most.
const MAX_BYTES: usize = 64 << 20;
/// Payloads that are waited for, at most.
const MAX_WANTED: usize = 4096;

/// Payloads in memory.
#[derive(Default)]
pub(super) struct Payloads {
    kept: HashMap<BatchId, Bytes>,
    /// In which order they came; some are gone already.
    order: VecDeque<BatchId>,
    bytes: usize,
    /// Since which tick.
    wanted: HashMap<BatchId, u64>,
}

impl Payloads {
    /// Keeps one; whether somebody waits for it.
    pub(super) fn insert(&mut self, id: BatchId, bytes: Bytes) -> bool {
        self.bytes += bytes.len();
        match self.kept.insert(id, bytes) {
            Some(before) => self.bytes -= before.len(),
            None => self.order.push_back(id),
        }
        while self.bytes > MAX_BYTES && self.kept.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(&oldest);
        }
        // What was executed leaves its place in the order behind.
        if self.order.len() > 2 * self.kept.len() + 1024 {
            self.order.retain(|id| self.kept.contains_key(id));
        }
        self.wanted.remove(&id).is_some()
    }

    pub(super) fn get(&self, id: &BatchId) -> Option<&Bytes> {
        self.kept.get(id)
    }

    /// It was executed, or never will be.
    pub(super) fn forget(&mut self, id: &BatchId) {
        if let Some(bytes) = self.kept.remove(id) {
            self.bytes -= bytes.len();
        }
        self.wanted.remove(id);
    }

    /// Whether somebody waits for it.
    pub(super) fn is_wanted(&self, id: &BatchId) -> bool {
        self.wanted.contains_key(id)
    }

    /// Somebody waits for it; since when.
    pub(super) fn want(&mut self, id: BatchId, now: u64) -> u64 {
        if self.wanted.len() >= MAX_WANTED {
            self.wanted.clear();
        }
        *self.wanted.entry(id).or_insert(now)
    }
}

impl Node {
    pub(super) fn payload_in_memory(&self, id: &BatchId) -> Option<Bytes> {
        self.payloads.get(id).cloned().or_else(|| self.batches.get(id).map(|own| own.payload.clone()))
    }

    pub(super) fn payload_arrived(&mut self, id: BatchId, bytes: Bytes) -> Result<(), Fault> {
        // A batch may have a second place in the log, which needs its payload, too.
        if self.execution.is_over(&id) && !self.payloads.is_wanted(&id) {
            return Ok(());
        }
        if self.payloads.insert(id, bytes) {
            self.store_payload(id)?;
        }
        self.is_stirred |= self.is_demanded(&id);
        Ok(())
    }

    /// Puts a payload into the log that is in memory; whether it is there now. The first copy counts.
    pub(super) fn store_payload(&mut self, id: BatchId) -> Result<bool, Fault> {
        if self.protocol.has_payload(&id) {
            return Ok(true);
        }
        let Some(bytes) = self.payload_in_memory(&id) else { return Ok(false) };
        let Some(position) = self.log.append_payload(id, &bytes)? else { return Ok(false) };
        self.protocol.handle(Event::PayloadStored { id, position });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchId, Bytes, MAX_BYTES, Payloads};

    fn id(sequence: u64) -> BatchId {
        BatchId { proxy: 1, incarnation: 1, sequence }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut payloads = Payloads::default();
        let quarter = Bytes::from(vec![0; MAX_BYTES / 4]);
        for sequence in 1..=6 {
            payloads.insert(id(sequence), quarter.clone());
        }
        let kept: Vec<u64> = (1..=6).filter(|sequence| payloads.get(&id(*sequence)).is_some()).collect();
        assert_eq!((kept, payloads.bytes), (vec![3, 4, 5, 6], MAX_BYTES));
        payloads.insert(id(7), Bytes::from(vec![0; 2 * MAX_BYTES]));
        assert!(payloads.get(&id(7)).is_some(), "one that is larger than all room is kept alone");
        assert_eq!(payloads.kept.len(), 1);
        payloads.forget(&id(7));
        assert_eq!((payloads.bytes, payloads.kept.len()), (0, 0));
    }

    #[test]
    fn executed_payloads_leave_nothing_behind() {
        let mut payloads = Payloads::default();
        for sequence in 1..100_000 {
            payloads.insert(id(sequence), Bytes::from_static(b"x"));
            payloads.forget(&id(sequence));
        }
        assert!(payloads.order.len() < 2048 && payloads.bytes == 0);
    }

    #[test]
    fn who_waits_is_told_once() {
        let mut payloads = Payloads::default();
        assert_eq!((payloads.want(id(1), 5), payloads.want(id(1), 9)), (5, 5));
        assert!(payloads.insert(id(1), Bytes::new()));
        assert!(!payloads.insert(id(1), Bytes::new()));
    }
}
