//! The ordering state in memory: the kept part of the log, promise, accepted round, decided index, payloads.
//!
//! ```text
//! 1 ............ base | kept ........ decided ........ len
//!   (checkpoint)        (payloads here may be missing | here never: O1)
//! ```
//!
//! Changes gather in the open cycle until it is closed with a frame for the log. Lengths count from the
//! configuration's start; the prefix below `base` is in this replica's own checkpoint (rule 1).

use super::configuration::{Ballot, Configuration, ReplicaId};
use super::durability::{CycleNumber, Durability, Facts};
use super::entry::Entry;
use super::event::Delivered;
use super::frame::{OrderingFrame, StopSign, Suffix};
use super::rules::{Rule, Rules};
use crate::header::BatchId;
use skink_engine::position::LogPosition;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// An entry, in which cycle's frame it is, and the length of the payloads of the kept log up to it.
#[derive(Debug, Clone)]
struct Kept {
    entry: Entry,
    cycle: CycleNumber,
    payload_bytes: u64,
}

/// What the open cycle changed.
#[derive(Debug, Default)]
struct OpenCycle {
    is_dirty: bool,
    /// The shortest length that the log had.
    shortest: Option<usize>,
    payloads: Vec<(BatchId, LogPosition)>,
}

/// What was found at a start, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableState {
    pub(super) configuration: Configuration,
    pub(super) base: usize,
    pub(super) decided: usize,
    pub(super) promise: Ballot,
    pub(super) accepted_round: Ballot,
    pub(super) stop_sign: Option<StopSign>,
    pub(super) incarnations: BTreeMap<ReplicaId, u64>,
    pub(super) entries: Vec<(Entry, CycleNumber)>,
    pub(super) payloads: HashMap<BatchId, LogPosition>,
    pub(super) last_cycle: CycleNumber,
    pub(super) checkpoint: usize,
    /// What was decided in configurations before, above the checkpoint.
    pub(super) earlier: Vec<Delivered>,
}

impl DurableState {
    /// That of a new configuration's member: nothing was promised or accepted in it.
    pub fn empty(configuration: Configuration) -> DurableState {
        DurableState {
            configuration,
            base: 0,
            decided: 0,
            promise: Ballot::NONE,
            accepted_round: Ballot::NONE,
            stop_sign: None,
            incarnations: BTreeMap::new(),
            entries: Vec::new(),
            payloads: HashMap::new(),
            last_cycle: CycleNumber::default(),
            checkpoint: 0,
            earlier: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct LogState {
    configuration: Configuration,
    rules: Rules,
    base: usize,
    kept: VecDeque<Kept>,
    decided: usize,
    promise: Ballot,
    accepted_round: Ballot,
    stop_sign: Option<StopSign>,
    incarnations: BTreeMap<ReplicaId, u64>,
    payloads: HashMap<BatchId, LogPosition>,
    /// A start reads the log from here on. Payloads before are not found again: nothing more is accepted on their word.
    read_from: LogPosition,
    open: OpenCycle,
    durability: Durability,
    /// The small state of the last frame, for tests that split frames.
    last_frame: OrderingFrame,
}

impl LogState {
    pub(super) fn new(durable: DurableState, rules: Rules) -> LogState {
        let len = durable.base + durable.entries.len() + usize::from(durable.stop_sign.is_some());
        let facts = Facts {
            cycle: durable.last_cycle,
            promise: durable.promise,
            accepted_round: durable.accepted_round,
            written: len,
            len,
        };
        let mut state = LogState {
            last_frame: OrderingFrame {
                configuration: durable.configuration.id(),
                base: durable.configuration.instance(durable.base),
                decided: durable.configuration.instance(durable.decided),
                promise: durable.promise,
                accepted_round: durable.accepted_round,
                stop_sign: durable.stop_sign.clone(),
                incarnations: durable.incarnations.clone().into_iter().collect(),
                suffix: None,
                payloads: Vec::new(),
            },
            configuration: durable.configuration,
            rules,
            base: durable.base,
            kept: VecDeque::with_capacity(durable.entries.len()),
            decided: durable.decided,
            promise: durable.promise,
            accepted_round: durable.accepted_round,
            stop_sign: durable.stop_sign,
            incarnations: durable.incarnations,
            payloads: durable.payloads,
            read_from: LogPosition::ZERO,
            open: OpenCycle::default(),
            durability: Durability::new(facts),
        };
        for (entry, cycle) in durable.entries {
            state.push(entry, cycle);
        }
        state
    }

    // ---- reading ----

    pub(super) fn base(&self) -> usize {
        self.base
    }

    /// Length of the log, without a stop sign, as the object counts.
    pub(super) fn entries_len(&self) -> usize {
        self.base + self.kept.len()
    }

    /// Length of the log.
    pub(super) fn len(&self) -> usize {
        self.entries_len() + usize::from(self.stop_sign.is_some())
    }

    pub(super) fn decided(&self) -> usize {
        self.decided
    }

    pub(super) fn promise(&self) -> Ballot {
        self.promise
    }

    pub(super) fn accepted_round(&self) -> Ballot {
        self.accepted_round
    }

    pub(super) fn stop_sign(&self) -> Option<&StopSign> {
        self.stop_sign.as_ref()
    }

    pub(super) fn incarnation(&self, replica: ReplicaId) -> Option<u64> {
        self.incarnations.get(&replica).copied()
    }

    pub(super) fn incarnations(&self) -> &BTreeMap<ReplicaId, u64> {
        &self.incarnations
    }

    pub(super) fn durability(&self) -> &Durability {
        &self.durability
    }

    /// The entry at this position from 0, if it is kept, and the cycle whose frame holds it.
    pub(super) fn entry(&self, at: usize) -> Option<(&Entry, CycleNumber)> {
        let kept = self.kept.get(at.checked_sub(self.base)?)?;
        Some((&kept.entry, kept.cycle))
    }

    /// The kept entries from this position on.
    pub(super) fn entries_from(&self, from: usize) -> impl Iterator<Item = &Entry> {
        self.kept.iter().skip(from.saturating_sub(self.base)).map(|kept| &kept.entry)
    }

    pub(super) fn payload(&self, id: &BatchId) -> Option<LogPosition> {
        self.payloads.get(id).copied()
    }

    /// Whether a payload is in the part of the log that a start reads.
    pub(super) fn has_payload(&self, id: &BatchId) -> bool {
        self.payloads.get(id).is_some_and(|position| *position >= self.read_from)
    }

    /// Whether everything that the entry needs is in the log.
    pub(super) fn is_complete(&self, entry: &Entry) -> bool {
        entry.payload().is_none_or(|id| self.has_payload(&id))
    }

    /// Bytes of the payloads of entries that are not decided.
    pub(super) fn undecided_bytes(&self) -> u64 {
        let until = |len: usize| {
            len.checked_sub(self.base + 1).and_then(|at| self.kept.get(at)).map_or(0, |kept| kept.payload_bytes)
        };
        let all = self.kept.back().map_or(0, |kept| kept.payload_bytes);
        let dropped = self.kept.front().map_or(0, |kept| kept.payload_bytes - kept.entry.payload_len());
        all - until(self.decided.min(self.entries_len())).max(dropped)
    }

    /// Up to here entries may be executed, served and answered (rule 7): the decided index may count a vote of this
    /// replica's own that isn't durable yet.
    pub(super) fn deliverable(&self) -> usize {
        match self.rules.hold(Rule::DeliverDurable) {
            true => self.decided.min(self.durability.durable().len),
            false => self.decided,
        }
    }

    /// The earliest cycle whose frame must stay in the log: that of the first kept entry from here on, or the last one.
    pub(super) fn needed_cycle(&self, from: usize) -> CycleNumber {
        let first = self.kept.get(from.saturating_sub(self.base)).map(|kept| kept.cycle);
        first.unwrap_or(self.durability.durable().cycle).min(self.durability.durable().cycle)
    }

    /// The earliest payload that must stay in the log, of entries from here on; of all if everything is pinned.
    pub(super) fn needed_payload(&self, from: usize, is_pinned: bool) -> Option<LogPosition> {
        if is_pinned {
            return self.payloads.values().min().copied();
        }
        let named = self.entries_from(from).filter_map(Entry::payload);
        named.filter_map(|id| self.payload(&id)).min()
    }

    // ---- changing ----

    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        self.cut(self.entries_len());
        let cycle = self.durability.last_closed().next();
        for entry in entries {
            assert!(
                self.entries_len() < self.decided || self.is_complete(&entry),
                "O1: a header is accepted only with its payload in the log ({entry:?} at {})",
                self.entries_len()
            );
            self.push(entry, cycle);
        }
    }

    fn push(&mut self, entry: Entry, cycle: CycleNumber) {
        let payload_bytes = self.kept.back().map_or(0, |kept| kept.payload_bytes) + entry.payload_len();
        self.kept.push_back(Kept { entry, cycle, payload_bytes });
    }

    /// Drops what is after this length.
    pub(super) fn cut(&mut self, len: usize) {
        assert!((self.base..=self.entries_len()).contains(&len), "the log is cut where it is kept");
        if len < self.len() && self.rules.hold(Rule::DurableFalls) {
            self.durability.cut(len);
        }
        self.kept.truncate(len - self.base);
        self.open.is_dirty = true;
        self.open.shortest = Some(self.open.shortest.unwrap_or(len).min(len));
    }

    pub(super) fn set_promise(&mut self, promise: Ballot) {
        assert!(promise >= self.promise, "promises only rise");
        self.open.is_dirty |= promise != self.promise;
        self.promise = promise;
    }

    pub(super) fn set_accepted_round(&mut self, round: Ballot) {
        self.open.is_dirty |= round != self.accepted_round;
        self.accepted_round = round;
    }

    pub(super) fn set_decided(&mut self, decided: usize) {
        assert!(decided >= self.decided, "the decided index only rises");
        // No reason for a frame of its own: a majority's log has what is decided, and a start learns it again. The next
        // frame says it.
        self.decided = decided;
    }

    pub(super) fn set_stop_sign(&mut self, stop_sign: Option<StopSign>) {
        if self.stop_sign.is_some() {
            self.durability.cut(self.entries_len());
        }
        self.open.is_dirty |= stop_sign != self.stop_sign;
        self.stop_sign = stop_sign;
    }

    /// This replica's own: its label has it already, so that no frame is needed for it.
    pub(super) fn note_incarnation(&mut self, own: ReplicaId, incarnation: u64) {
        self.incarnations.insert(own, incarnation);
    }

    pub(super) fn set_incarnation(&mut self, replica: ReplicaId, incarnation: u64) {
        self.open.is_dirty |= self.incarnations.insert(replica, incarnation) != Some(incarnation);
    }

    pub(super) fn add_payload(&mut self, id: BatchId, position: LogPosition) {
        // A second copy doesn't count: the first may be durable already, and accepted entries rely on it.
        if !self.has_payload(&id) {
            self.payloads.insert(id, position);
            self.open.is_dirty = true;
            self.open.payloads.push((id, position));
        }
    }

    pub(super) fn take_payloads(&mut self) -> HashMap<BatchId, LogPosition> {
        std::mem::take(&mut self.payloads)
    }

    /// A cut was taken after whose checkpoint a start reads the log from here on.
    pub(super) fn set_read_from(&mut self, position: LogPosition) {
        self.read_from = self.read_from.max(position);
    }

    /// The log's files before this position are gone, and with them their payloads.
    pub(super) fn forget_payloads(&mut self, before: LogPosition) {
        self.payloads.retain(|_, position| *position >= before);
        self.open.payloads.retain(|(_, position)| *position >= before);
    }

    /// The prefix of this length is in an own checkpoint.
    pub(super) fn drop_below(&mut self, len: usize) {
        assert!(len <= self.deliverable().min(self.entries_len()), "only what was executed is dropped");
        if len > self.base {
            self.kept.drain(..len - self.base);
            self.base = len;
            self.open.is_dirty = true;
        }
    }

    /// A donor's checkpoint takes the place of the prefix of this length (rule 3).
    pub(super) fn install(&mut self, len: usize, promise: Ballot) {
        if self.entries_len() < len || !self.rules.hold(Rule::KeepTail) {
            self.kept.clear();
            self.base = len;
            self.stop_sign = None;
            self.open.shortest = Some(len);
        } else if len > self.base {
            self.kept.drain(..len - self.base);
            self.base = len;
        }
        self.open.is_dirty = true;
        self.decided = self.decided.max(len);
        if self.rules.hold(Rule::RaisePromise) {
            self.promise = self.promise.max(promise);
        }
        if !self.rules.hold(Rule::KeepRound) {
            self.accepted_round = self.accepted_round.max(promise);
        }
        self.durability.covered(len);
    }

    // ---- cycles ----

    /// The cycle that must be durable before what is said now may be relied on.
    pub(super) fn present_cycle(&self) -> CycleNumber {
        let closed = self.durability.last_closed();
        if self.open.is_dirty { closed.next() } else { closed }
    }

    /// Closes the open cycle, if anything changed: its frames, usually one, must go into the log together.
    pub(super) fn close_cycle(&mut self) -> Option<(CycleNumber, Vec<OrderingFrame>)> {
        if !self.open.is_dirty {
            return None;
        }
        let cycle = self.present_cycle();
        let OpenCycle { shortest, payloads, .. } = std::mem::take(&mut self.open);
        let suffix = shortest.map(|shortest| {
            let from = shortest.max(self.base);
            let entries = self.entries_from(from).cloned().collect();
            Suffix { after: self.configuration.instance(from), entries }
        });
        let frame = OrderingFrame {
            configuration: self.configuration.id(),
            base: self.configuration.instance(self.base),
            decided: self.configuration.instance(self.decided),
            promise: self.promise,
            accepted_round: self.accepted_round,
            stop_sign: self.stop_sign.clone(),
            incarnations: self.incarnations.iter().map(|(replica, incarnation)| (*replica, *incarnation)).collect(),
            suffix,
            payloads,
        };
        let len = self.len();
        assert!(self.decided <= len, "the decided part of the log is there");
        let facts = Facts { cycle, promise: self.promise, accepted_round: self.accepted_round, written: len, len };
        self.durability.close(facts);
        let small = OrderingFrame { suffix: None, payloads: Vec::new(), ..frame.clone() };
        let before = std::mem::replace(&mut self.last_frame, small);
        if self.rules.hold(Rule::OneFrame) {
            return Some((cycle, vec![frame]));
        }
        let entries_first = OrderingFrame { suffix: frame.suffix.clone(), ..before };
        Some((cycle, vec![entries_first, OrderingFrame { suffix: None, ..frame }]))
    }

    pub(super) fn advance_durable(&mut self, cycle: CycleNumber) {
        self.durability.advance(cycle);
    }
}
