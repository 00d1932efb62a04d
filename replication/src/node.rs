//! A node: a replica among others, as a machine with a disk.
//!
//! ```text
//! what happened -> handle ----> begin_cycle -------> write --------> end_cycle -> what to do
//!                                | the order's gates  | one durable   | what waited for it leaves,
//!                                | frames to the log  | log write     | decided batches are executed and answered
//!                                | what may leave now |               |
//! ```
//!
//! It holds the order's protocol, the log, the state, the batches of its own clients and the reads that wait. It has no
//! network, no threads and no clock but its ticks: a runtime feeds it and does what comes out, in a server as in the
//! simulator. What gathers between two cycles shares a log write; there is no timer in the way of a write.

mod availability;
mod batches;
mod checkpoints;
mod early;
mod execution;
mod handoff;
mod inbox;
mod log;
mod members;
pub mod message;
mod output;
mod parallel;
mod part;
mod payloads;
mod plan;
mod proposals;
mod reads;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod transfer;

pub use handoff::{HandoffOptions, HandoffReport, Jump};
pub use members::ChangeReply;
pub use output::{Channel, Output, Passes, Question, TellReads, Touches, View};
pub use start::{Membership, OrderingFacts};

use crate::batch::{BatchEncoder, LocalBatch};
use crate::header::BatchId;
use crate::paxos::{self, Ballot, Effect, Event, Leadership, Protocol, ReadId, ReplicaId, Request, SessionNumber};
use crate::recovery::RecoveryMode;
use crate::replica::BatchReply;
use batches::OwnBatches;
use bytes::Bytes;
use checkpoints::Checkpoints;
use execution::Execution;
use handoff::Handoffs;
use inbox::Inbox;
use log::NodeLog;
use members::Members;
use message::PeerMessage;
use payloads::Payloads;
use reads::WaitingReads;
use skink_engine::command::Command;
use skink_engine::engine::Engine;
use skink_engine::error::Fault;
use skink_engine::position::LogPosition;
use status::PeerStatuses;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use transfer::Transfers;

/// Payloads up to this length go the way of control messages: one write to a socket holds them and their header.
const SMALL_PAYLOAD: usize = 16 << 10;
/// Batches that a server executes before heartbeats and messages get their turn.
pub const DEFAULT_BURST: usize = 64;
/// Batches that wait before a server executes ahead: those of some bursts are executed as soon.
pub const DEFAULT_EARLY_LAG: usize = 4 * DEFAULT_BURST;
/// Ticks for a payload to come by itself before it is asked for.
const PAYLOAD_GRACE: u64 = 3;
/// Ticks after which a batch is proposed again that is not answered.
const REPEAT: u64 = 30;

/// How a node works.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// What the order does.
    pub order: paxos::Options,
    /// Time between two ticks.
    pub tick: Duration,
    /// Bytes of log after which a leader asks for checkpoints.
    pub checkpoint_log_bytes: u64,
    /// Time after which it does if anything was written.
    pub checkpoint_interval: Duration,
    /// How long a request waits for a majority.
    pub request_timeout: Duration,
    /// How it comes back.
    pub recovery: RecoveryMode,
    /// Batches that are executed before messages get their turn.
    pub burst: usize,
    /// How a state is handed over.
    pub handoff: HandoffOptions,
    /// Delivered batches that wait for execution from which on it is worth to execute ahead what somebody waits for.
    pub early_lag: usize,
}

impl NodeOptions {
    fn ticks(&self, duration: Duration) -> u64 {
        (duration.as_nanos() / self.tick.as_nanos().max(1)).max(1) as u64
    }
}

/// An open session with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PeerSession {
    number: SessionNumber,
    /// What the peer's disk is known by.
    incarnation: u64,
}

/// A replica among others.
pub struct Node {
    own: ReplicaId,
    /// What its disk is known by.
    incarnation: u64,
    options: NodeOptions,
    engine: Arc<Engine>,
    protocol: Protocol,
    log: NodeLog,
    payloads: Payloads,
    batches: OwnBatches,
    inbox: Inbox,
    reads: WaitingReads,
    execution: Execution,
    checkpoints: Checkpoints,
    transfers: Transfers,
    handoffs: Handoffs,
    statuses: PeerStatuses,
    members: Members,
    encoder: BatchEncoder,
    sessions: BTreeMap<ReplicaId, PeerSession>,
    /// Ticks since the start.
    now: u64,
    /// The ballot in which everything was proposed that has no answer: in another one, some of it may have no place.
    proposed_in: Ballot,
    /// A request waited too long. Until this read has its index, others are refused at once.
    down: Option<ReadId>,
    /// Since which tick it leads with a full disk.
    full_since: Option<u64>,
    outputs: Vec<Output>,
    /// Something may be ready that was not before: another cycle may find work.
    is_stirred: bool,
}

impl Node {
    // ---- what happens ----

    /// Time passed.
    ///
    /// # Errors
    /// Faults of the disk: stop.
    pub fn tick(&mut self) -> Result<(), Fault> {
        self.now += 1;
        self.protocol.set_incomplete(self.lacks_start());
        self.protocol.handle(Event::Tick);
        self.log.tick()?;
        self.expire();
        if self.batches.is_repeat_due(self.now, REPEAT) {
            self.propose_all();
        }
        self.tick_status();
        self.tick_checkpoints();
        self.tick_transfers();
        self.tick_handoffs();
        self.tick_members();
        self.is_stirred = true;
        Ok(())
    }

    /// A session with a peer is open at both ends.
    pub fn connected(&mut self, peer: ReplicaId, session: SessionNumber, incarnation: u64) {
        self.sessions.insert(peer, PeerSession { number: session, incarnation });
        self.transfers.session_ended(peer);
        self.handoff_session_ended(peer);
        self.meet(peer, session, incarnation);
        if self.leader() == Some(peer) {
            self.propose_all();
        }
        self.is_stirred = true;
    }

    fn is_in(&self, peer: ReplicaId, session: SessionNumber) -> bool {
        self.sessions.get(&peer).is_some_and(|open| open.number == session)
    }

    /// A session is over.
    pub fn disconnected(&mut self, peer: ReplicaId, session: SessionNumber) {
        if self.is_in(peer, session) {
            self.sessions.remove(&peer);
            self.transfers.session_ended(peer);
            self.handoff_session_ended(peer);
            self.statuses.lost(peer);
        }
        self.part(peer, session);
    }

    /// A message came. One that can't be decoded, or that nobody sends, ends the session.
    ///
    /// # Errors
    /// Faults of the disk: stop.
    pub fn received(&mut self, peer: ReplicaId, session: SessionNumber, body: &Bytes) -> Result<(), Fault> {
        if !self.is_in(peer, session) {
            return Ok(());
        }
        let message = match PeerMessage::decode(body) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%peer, %error, "a message of another replica is wrong; the session begins again");
                let reason = "a message that can't be decoded";
                self.outputs.push(Output::RestartSession { peer, session, reason });
                return Ok(());
            }
        };
        self.is_stirred = true;
        match message {
            PeerMessage::Order(envelope) => {
                self.heard_of(peer, envelope.configuration);
                self.order_received(peer, envelope);
            }
            // Who is no member is on its way in or out; what it wants comes again if it is still there.
            _ if !self.configuration().has_member(peer) => {}
            PeerMessage::Propose(headers) => self.proposed(headers),
            PeerMessage::Payload { id, bytes } => self.payload_arrived(id, bytes)?,
            PeerMessage::Ask(request) => self.asked(peer, request)?,
            PeerMessage::Status(status, time_ms) => self.status_heard(peer, status, time_ms),
            PeerMessage::Digest(digest) => self.checkpoints.peer_digest(peer, digest),
            PeerMessage::Transfer(transfer) => self.transfer_arrived(peer, transfer)?,
            PeerMessage::Handoff(handoff) => self.handoff_arrived(peer, handoff)?,
            PeerMessage::Change(change) => self.change_asked(peer, &change),
            PeerMessage::ChangeRefused { configuration, why } => self.change_refused(configuration, why),
        }
        Ok(())
    }

    /// A heartbeat came. One that can't be decoded is worth nothing.
    pub fn heartbeat_received(&mut self, peer: ReplicaId, bytes: &[u8]) {
        if let Ok(heartbeat) = paxos::Heartbeat::decode(bytes) {
            self.heard_of(peer, heartbeat.configuration);
            self.protocol.handle(Event::HeartbeatReceived { peer, heartbeat });
            self.is_stirred = true;
        }
    }

    /// A batch of this replica's clients. Batches of one proxy are executed in the order in which they are handed in.
    pub fn submit(&mut self, proxy: u16, batch: LocalBatch, reply: BatchReply) {
        match self.refusal() {
            Some(refusal) => self.outputs.push(Output::Answer(reply, Err(refusal))),
            None => drop(self.add_batch(proxy, batch, Some(reply))),
        }
    }

    /// Reads wait, each for itself, until the state of what they touch is here as new as all that was acknowledged by
    /// now. What is told then, in the node's thread, is between two batches.
    pub fn when_current(&mut self, question: Question) {
        match self.refusal() {
            Some(refusal) => self.outputs.push(Output::Pass(question.tell, Passes::Rest, Err(refusal))),
            None => {
                self.foresee_read(&question.touches);
                self.reads.add(question);
                self.is_stirred = true;
            }
        }
    }

    /// Removes keys that have expired; at a replica that doesn't lead, nothing.
    pub fn sweep(&mut self, keys: Vec<Bytes>) {
        if self.leads() && self.refusal().is_none() {
            let batch = self.own_batch(vec![Command::Sweep { keys }]);
            let _ = self.add_batch(OWN_PROXY, batch, None);
        }
    }

    // ---- cycles ----

    /// Ends what has gathered: appends to the log, and gives out what may leave before the log is durable.
    ///
    /// # Errors
    /// Faults of the disk: stop.
    pub fn begin_cycle(&mut self) -> Result<(), Fault> {
        self.is_stirred = false;
        self.look_at_segments();
        if let Some(read) = self.reads.close_group(self.now) {
            self.protocol.handle(Event::ReadArrived { read });
        }
        self.propose_waiting()?;
        self.perform_all()
    }

    /// One durable write of what was appended; it blocks. Whether there was anything.
    ///
    /// # Errors
    /// Faults of the disk: stop.
    pub fn write(&mut self) -> Result<bool, Fault> {
        let Some(cycle) = self.log.write()? else { return Ok(false) };
        self.protocol.handle(Event::Durable { cycle });
        Ok(true)
    }

    /// Gives out what waited for the log, executes what is decided, answers.
    ///
    /// # Errors
    /// Faults of the disk, and a state that is not that of the others: stop.
    pub fn end_cycle(&mut self) -> Result<(), Fault> {
        self.jump()?;
        self.install_arrived()?;
        self.perform_all()?;
        self.finish_handoff()?;
        self.execute_ready()?;
        self.give()?;
        self.plan_ahead();
        self.execute_early()?;
        self.execute_meanwhile()?;
        self.pass_reads()?;
        self.pull();
        self.compare_digests()
    }

    /// Whether another cycle should follow at once.
    pub fn has_work(&self) -> bool {
        self.is_stirred || self.log.has_work() || self.gives()
    }

    /// What must be done now.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Whether it waits for room on its disk, and so takes part in nothing: sessions should be closed.
    pub fn is_stalled(&self) -> bool {
        self.log.is_blocked() || self.execution.is_stalled()
    }

    fn perform_all(&mut self) -> Result<(), Fault> {
        loop {
            let effects = self.protocol.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(effect)?;
            }
        }
        if self.protocol.promise() != self.proposed_in {
            self.proposed_in = self.protocol.promise();
            self.propose_all();
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Append { cycle, frame } => self.log.append_frame(cycle, &frame)?,
            Effect::Send { peer, envelope } => {
                let session = envelope.session;
                let (head, body) = PeerMessage::Order(envelope).encode();
                self.outputs.push(Output::Send { peer, session, channel: Channel::Control, head, body });
            }
            Effect::SendHeartbeat { peer, heartbeat } => {
                self.outputs.push(Output::Heartbeat { peer, bytes: heartbeat.encode() });
            }
            Effect::Ask { peer, request } => self.ask(peer, request)?,
            Effect::SendPayload { peer, id, position } => self.send_payload_at(peer, id, position)?,
            Effect::SendCheckpoint { peer } => self.begin_donation(peer)?,
            Effect::RestartSession { peer, session, reason } => {
                self.outputs.push(Output::RestartSession { peer, session, reason });
            }
            Effect::RefusePeer { peer, known } => self.outputs.push(Output::RefusePeer { peer, known }),
            Effect::Deliver(delivered) => {
                for id in delivered.iter().filter_map(paxos::Delivered::batch) {
                    self.batches.decided(&id);
                }
                self.execution.deliver(delivered);
            }
            // The protocol is asked directly: see `propose_waiting`.
            Effect::Refuse { .. } => {}
            Effect::ReadIndex { read, index } if self.down == Some(read) => self.is_up_again(index),
            Effect::ReadIndex { read, index } => {
                self.reads.set_index(read, index);
                self.is_stirred = true;
            }
            // It waits until it has waited too long.
            Effect::RefuseRead { .. } => {}
            Effect::LeadershipChanged(leadership) => self.leadership_changed(leadership),
        }
        Ok(())
    }

    fn leadership_changed(&mut self, leadership: Leadership) {
        if !matches!(leadership, Leadership::Leads | Leadership::Prepares) {
            self.inbox.clear();
        }
        for read in self.reads.forget_indexes() {
            self.protocol.handle(Event::ReadArrived { read });
        }
        if leadership == Leadership::Leads {
            self.propose_all();
            self.hand_in_change();
        }
        self.outputs.push(Output::LeadershipChanged(leadership));
        self.is_stirred = true;
    }

    // ---- sending ----

    /// Sends a message to a peer with whom there is a session.
    fn send(&mut self, peer: ReplicaId, channel: Channel, message: &PeerMessage) {
        if let Some(session) = self.sessions.get(&peer).map(|open| open.number) {
            let (head, body) = message.encode();
            self.outputs.push(Output::Send { peer, session, channel, head, body });
        }
    }

    fn send_payload(&mut self, peer: ReplicaId, id: BatchId, bytes: Bytes) {
        let channel = if bytes.len() <= SMALL_PAYLOAD { Channel::Control } else { Channel::Payload };
        self.send(peer, channel, &PeerMessage::Payload { id, bytes });
    }

    fn send_payload_at(&mut self, peer: ReplicaId, id: BatchId, position: LogPosition) -> Result<(), Fault> {
        let files = self.engine.log_files();
        let bytes = match self.payload_in_memory(&id) {
            Some(bytes) => bytes,
            // The peer asks again.
            None if !self.log.is_written(position) => return Ok(()),
            None => match skink_engine::log::BodyReader::new(files).read(position) {
                Ok(bytes) => bytes.into(),
                // A checkpoint has just let go of it, in the background. The peer asks again, and gets that one.
                Err(_) if position < files.start()? => return Ok(()),
                Err(fault) => return Err(fault),
            },
        };
        self.send_payload(peer, id, bytes);
        Ok(())
    }

    /// Asks a peer for what is missing here, unless it is on its way.
    fn ask(&mut self, peer: ReplicaId, request: Request) -> Result<(), Fault> {
        match request {
            Request::Payload { id, instance } => {
                if self.store_payload(id)? {
                    return Ok(());
                }
                let since = self.payloads.want(id, self.now);
                // What was decided long ago comes only if it is asked for.
                let is_fresh = instance > self.protocol.decided();
                if is_fresh && self.now.saturating_sub(since) < PAYLOAD_GRACE {
                    return Ok(());
                }
            }
            Request::Checkpoint { .. } if self.transfers.is_receiving() || self.asks_donor_instead(peer) => {
                return Ok(());
            }
            Request::Checkpoint { .. } => {}
        }
        self.send(peer, Channel::Control, &PeerMessage::Ask(request));
        Ok(())
    }

    /// A peer asks for what it lacks.
    fn asked(&mut self, peer: ReplicaId, request: Request) -> Result<(), Fault> {
        if let Request::Payload { id, .. } = request {
            if let Some(bytes) = self.payload_in_memory(&id) {
                self.send_payload(peer, id, bytes);
                return Ok(());
            }
            if let (None, Some(position)) = (self.protocol.payload(&id), self.members.earlier_payload(&id)) {
                return self.send_payload_at(peer, id, position);
            }
        }
        self.protocol.handle(Event::Asked { peer, request });
        Ok(())
    }

    // ---- who leads ----

    fn leads(&self) -> bool {
        self.protocol.leadership() == Leadership::Leads
    }

    fn leader(&self) -> Option<ReplicaId> {
        match self.protocol.leadership() {
            Leadership::Leads => Some(self.own),
            Leadership::Follows(leader) => Some(leader),
            Leadership::Prepares | Leadership::Unknown => None,
        }
    }
}

/// The proxy of the node itself: sweeps and markers.
const OWN_PROXY: u16 = 0;
