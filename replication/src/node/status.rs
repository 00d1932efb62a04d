//! How this node stands, and what the others said of themselves.

use super::message::PeerMessage;
use super::{Channel, Node};
use crate::paxos::{Leadership, ReplicaId};
use crate::status::{ClusterStatus, Condition, ReplicaStatus, Role};
use skink_engine::position::Instance;
use std::collections::{BTreeMap, BTreeSet};

/// Ticks between two words about itself.
const SAY: u64 = 10;
/// Ticks for which a leader's disk may be full before another one should lead.
const FULL_LEADER: u64 = 50;
/// Decided batches that may wait for execution at a replica that counts as up to date.
const SMALL_BACKLOG: u64 = 1024;

/// Clocks that differ by more make expiry times of one replica's clients those of nobody else's, in milliseconds.
const CLOCK_SKEW_MS: u64 = 5000;

/// What peers said last.
#[derive(Default)]
pub(super) struct PeerStatuses {
    heard: BTreeMap<ReplicaId, ReplicaStatus>,
    /// Whose clocks were complained of.
    skewed: BTreeSet<ReplicaId>,
}

impl PeerStatuses {
    fn heard(&mut self, peer: ReplicaId, status: ReplicaStatus) {
        // Of itself alone.
        self.heard.insert(peer, ReplicaStatus { replica: peer, ..status });
    }

    pub(super) fn lost(&mut self, peer: ReplicaId) {
        if let Some(status) = self.heard.get_mut(&peer) {
            status.condition = Condition::Unreachable;
        }
    }

    /// Compares clocks; says once where they are far apart.
    fn compare_clocks(&mut self, peer: ReplicaId, theirs: u64, own: u64) {
        let differ_ms = theirs.abs_diff(own);
        if differ_ms <= CLOCK_SKEW_MS {
            self.skewed.remove(&peer);
        } else if self.skewed.insert(peer) {
            tracing::warn!(
                %peer,
                differ_ms,
                "the clocks are far apart: keys expire by the clock of the replica that a client writes to; let both \
                 follow the same time server"
            );
        }
    }

    /// Whether a peer said in this session that it is there, and has a vote.
    pub(super) fn has_vote(&self, peer: ReplicaId) -> bool {
        let is_away = |condition| matches!(condition, Condition::Unreachable | Condition::Removed);
        self.heard.get(&peer).is_some_and(|status| status.role != Role::Silent && !is_away(status.condition))
    }

    /// Whether a peer said in this session that all that is decided up to an instance is on its disk.
    pub(super) fn has_all(&self, peer: ReplicaId, upto: Instance) -> bool {
        let status = self.of(peer);
        let is_whole = status.condition == Condition::Serving && status.durable >= status.executed;
        is_whole && status.decided.min(status.durable) >= upto
    }

    fn of(&self, peer: ReplicaId) -> ReplicaStatus {
        let unknown = ReplicaStatus {
            replica: peer,
            role: Role::Searching,
            condition: Condition::Unreachable,
            decided: Instance::ZERO,
            executed: Instance::ZERO,
            durable: Instance::ZERO,
            checkpoint: Instance::ZERO,
        };
        self.heard.get(&peer).copied().unwrap_or(unknown)
    }

    fn has_heard(&self, peer: ReplicaId) -> bool {
        self.heard.contains_key(&peer)
    }

    fn decided(&self) -> Instance {
        self.heard.values().map(|status| status.decided).max().unwrap_or_default()
    }
}

/// What a replica that has old commands to execute does out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyCounts {
    /// Reads that wait now for old commands on their keys.
    pub parked_reads: u64,
    /// Batches of its own clients that wait now for old commands.
    pub parked_batches: u64,
    /// Reads, since the start, that were answered while there were old commands that they did not have to wait for.
    pub reads: u64,
    /// Commands, since the start, that were executed before older ones.
    pub commands: u64,
    /// Ticks that the request waited that waited longest, since the start, while there were old commands.
    pub longest_wait: u64,
}

impl Node {
    pub(super) fn tick_status(&mut self) {
        self.watch_full_leader();
        self.note_waits();
        if self.now.is_multiple_of(SAY) {
            let time_ms = self.engine.environment().clock.now_ms();
            let status = PeerMessage::Status(self.own_status(), time_ms);
            let peers: Vec<ReplicaId> = self.sessions.keys().copied().collect();
            for peer in peers {
                self.send(peer, Channel::Control, &status);
            }
        }
    }

    pub(super) fn status_heard(&mut self, peer: ReplicaId, status: ReplicaStatus, time_ms: u64) {
        self.statuses.heard(peer, status);
        self.statuses.compare_clocks(peer, time_ms, self.engine.environment().clock.now_ms());
    }

    fn own_status(&self) -> ReplicaStatus {
        let decided = self.protocol.decided();
        let (executed, checkpoint) = (self.settled(), self.engine.last_checkpoint());
        let role = match self.protocol.leadership() {
            _ if self.protocol.is_silent() => Role::Silent,
            Leadership::Leads => Role::Leader,
            Leadership::Prepares => Role::Candidate,
            Leadership::Follows(_) => Role::Follower,
            Leadership::Unknown => Role::Searching,
        };
        let known = decided.max(self.statuses.decided());
        let condition = if self.is_removed() {
            Condition::Removed
        } else if self.is_stalled() || self.execution.is_full() {
            Condition::DiskFull
        } else if self.transfers.is_receiving() || self.protocol.is_silent() || self.lacks_start() {
            Condition::Installing
        } else if self.down.is_some() {
            Condition::NoMajority
        } else if self.handoffs.is_open() || known.get().saturating_sub(executed.get()) > SMALL_BACKLOG {
            Condition::CatchingUp
        } else {
            Condition::Serving
        };
        ReplicaStatus {
            replica: self.own,
            role,
            condition,
            decided,
            executed,
            durable: if checkpoint < self.handoffs.jumped() { checkpoint } else { self.protocol.durable() },
            checkpoint,
        }
    }

    /// Takes note of a leader that can place nothing, as its disk is full, where the others can do without it.
    fn watch_full_leader(&mut self) {
        if self.log.has_refused_payload() && self.engine.check_room(false).is_ok() {
            self.log.forget_refusal();
        }
        let is_full = self.execution.is_full() || self.log.has_refused_payload();
        if !is_full || !self.leads() {
            self.full_since = None;
            return;
        }
        self.full_since.get_or_insert(self.now);
    }

    /// Whether others should choose another leader. Where a majority is not better off, they should not: reads go on at a full
    /// disk.
    pub fn is_in_the_way(&self) -> bool {
        let configuration = self.protocol.configuration();
        let has_room = |member: &&ReplicaId| {
            **member != self.own
                && matches!(self.statuses.of(**member).condition, Condition::Serving | Condition::CatchingUp)
        };
        self.full_since.is_some_and(|since| self.now.saturating_sub(since) >= FULL_LEADER)
            && configuration.members().iter().filter(has_room).count() >= configuration.majority()
    }

    /// How all replicas stand, as far as this one knows.
    pub fn status(&self) -> ClusterStatus {
        let configuration = self.protocol.configuration();
        let of = |member: &ReplicaId| if *member == self.own { self.own_status() } else { self.statuses.of(*member) };
        ClusterStatus {
            own: self.own,
            leader: self.leader(),
            configuration: configuration.id(),
            replicas: configuration.members().iter().chain(self.is_removed().then_some(&self.own)).map(of).collect(),
        }
    }

    /// The last instance that was executed.
    pub fn executed(&self) -> Instance {
        self.execution.progress.instance
    }

    /// The last instance of which the state is here, with all before it: while a state is handed over, not what that has.
    pub fn settled(&self) -> Instance {
        self.handoffs.base().unwrap_or(self.execution.progress.instance)
    }

    /// Time of the last executed instance, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.execution.progress.time_ms
    }

    /// Commands and batches that were executed, and log writes, since the start.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.execution.commands, self.execution.batches, self.log.writes_done())
    }

    /// The last instance that anybody is known to have decided, once there is a leader that this replica talks with.
    pub fn known_decided(&self) -> Option<Instance> {
        let is_heard = |leader| leader == self.own || self.statuses.has_heard(leader);
        self.leader().filter(|leader| is_heard(*leader))?;
        Some(self.protocol.decided().max(self.statuses.decided()))
    }

    /// What is executed and answered out of order, as somebody waits for it.
    pub fn early_counts(&self) -> EarlyCounts {
        let early = &self.execution.early;
        EarlyCounts {
            parked_reads: self.reads.parked(),
            parked_batches: early.waiting() as u64,
            reads: early.reads,
            commands: early.commands,
            longest_wait: early.longest_wait,
        }
    }

    /// Start of the log file that will be needed next.
    pub fn next_log_file(&self) -> skink_engine::position::LogPosition {
        self.log.next_file()
    }

    /// Batches of own clients that were not executed yet.
    pub fn outstanding(&self) -> usize {
        self.batches.len()
    }

    /// Whether a checkpoint is asked for or being made.
    pub fn is_taking_checkpoint(&self) -> bool {
        self.checkpoints.is_wanted()
    }

    /// Whether execution waits for room on the disk.
    pub fn is_full(&self) -> bool {
        self.is_stalled() || self.execution.is_full()
    }
}
