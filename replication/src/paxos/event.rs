//! What the machine is told, and what it wants done.

use super::configuration::ReplicaId;
use super::durability::CycleNumber;
use super::entry::{Barrier, Entry};
use super::frame::{OrderingFrame, StopSign};
use super::message::{Envelope, Heartbeat, Request};
use super::read_index::ReadId;
use super::recovery::CheckpointFacts;
use super::sessions::SessionNumber;
use crate::header::{BatchId, Content, Header};
use skink_engine::position::{Instance, LogPosition};
use std::sync::Arc;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A session with a peer is open at both ends.
    Connected {
        /// The peer.
        peer: ReplicaId,
        /// The session's number, higher than that of any before between the two.
        session: SessionNumber,
        /// What the peer's disk is known by.
        incarnation: u64,
    },
    /// A session is over. What was sent in it and did not arrive never will.
    Disconnected {
        /// The peer.
        peer: ReplicaId,
        /// The session.
        session: SessionNumber,
    },
    /// A message came.
    Received {
        /// From whom.
        peer: ReplicaId,
        /// The message.
        envelope: Envelope,
    },
    /// A heartbeat came.
    HeartbeatReceived {
        /// From whom.
        peer: ReplicaId,
        /// The heartbeat.
        heartbeat: Heartbeat,
    },
    /// A peer asks for something.
    Asked {
        /// The peer.
        peer: ReplicaId,
        /// For what.
        request: Request,
    },
    /// A batch wants a place in the order. Its payload must have been stored.
    Proposed {
        /// Its header.
        header: Arc<Header>,
    },
    /// A payload was appended to the log.
    PayloadStored {
        /// Whose.
        id: BatchId,
        /// Where.
        position: LogPosition,
    },
    /// The log is durable up to a cycle's frame.
    Durable {
        /// The cycle.
        cycle: CycleNumber,
    },
    /// Reads arrived that need an index.
    ReadArrived {
        /// The batch.
        read: ReadId,
    },
    /// A cut was taken, of an own checkpoint or with a donor's.
    Cut {
        /// Where a start begins to read the log once the checkpoint is durable: as [`Protocol::needed_by`] said.
        ///
        /// [`Protocol::needed_by`]: super::Protocol::needed_by
        log_position: LogPosition,
    },
    /// An own checkpoint is durable.
    CheckpointTaken {
        /// The last instance in it.
        instance: Instance,
    },
    /// A donor's checkpoint is durable here and takes the place of what was executed.
    CheckpointInstalled {
        /// Its manifest.
        checkpoint: CheckpointFacts,
    },
    /// Old log files are gone.
    LogDropped {
        /// What is left starts here.
        before: LogPosition,
    },
    /// The members shall change (rule 15).
    Reconfigured {
        /// The next configuration.
        next: StopSign,
    },
}

/// Why a proposal or a batch of reads is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another replica leads, if any.
    NotLeader(Option<ReplicaId>),
    /// Its payload isn't in the log.
    PayloadMissing,
    /// So much is under way that it must wait.
    Busy,
    /// The configuration ends.
    Ending,
}

/// A decided entry, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its place.
    pub instance: Instance,
    /// The cycle whose frame holds it: a replay from there meets all that comes after.
    pub cycle: CycleNumber,
    /// What it is.
    pub content: DeliveredContent,
}

impl Delivered {
    /// The batch's identity, if it is one.
    pub fn batch(&self) -> Option<BatchId> {
        match &self.content {
            DeliveredContent::Header { header, .. } => Some(header.id),
            DeliveredContent::Barrier(_) | DeliveredContent::StopSign(_) => None,
        }
    }

    /// Whether it is a checkpoint's marker.
    pub fn is_marker(&self) -> bool {
        matches!(&self.content, DeliveredContent::Header { header, .. } if header.content == Content::CheckpointMarker)
    }

    /// The payload that it needs, if that isn't here.
    pub(crate) fn lacks_payload(&self) -> Option<BatchId> {
        match &self.content {
            DeliveredContent::Header { header, payload: None } => Entry::Header(Arc::clone(header)).payload(),
            _ => None,
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveredContent {
    /// A header.
    Header {
        /// The header.
        header: Arc<Header>,
        /// Where its payload is, if it needs one and it is here; one that isn't is asked for.
        payload: Option<LogPosition>,
    },
    /// A replica that lost its disk is back with a new incarnation.
    Barrier(Barrier),
    /// The configuration is over.
    StopSign(StopSign),
}

/// Who leads, as this replica sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Nobody is known to.
    Unknown,
    /// This one.
    Follows(ReplicaId),
    /// This replica wants to.
    Prepares,
    /// This replica does, and takes proposals.
    Leads,
}

/// What must be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append a frame to the log, after all payloads that were stored before.
    Append {
        /// What [`Event::Durable`] calls it.
        cycle: CycleNumber,
        /// The frame.
        frame: OrderingFrame,
    },
    /// Send a message in a session, if that is still open.
    Send {
        /// To whom.
        peer: ReplicaId,
        /// The message, and the session.
        envelope: Envelope,
    },
    /// Send a heartbeat, on its own connection.
    SendHeartbeat {
        /// To whom.
        peer: ReplicaId,
        /// The heartbeat.
        heartbeat: Heartbeat,
    },
    /// Ask a peer for something.
    Ask {
        /// Whom.
        peer: ReplicaId,
        /// For what.
        request: Request,
    },
    /// Send a payload that a peer asked for.
    SendPayload {
        /// To whom.
        peer: ReplicaId,
        /// Whose.
        id: BatchId,
        /// Where it is in the log.
        position: LogPosition,
    },
    /// Send the newest checkpoint to a peer.
    SendCheckpoint {
        /// To whom.
        peer: ReplicaId,
    },
    /// End a session, and open a new one.
    RestartSession {
        /// With whom.
        peer: ReplicaId,
        /// The session.
        session: SessionNumber,
        /// Why.
        reason: &'static str,
    },
    /// A peer whose disk isn't the one that is known (rule 14): no session with it, until it is seeded.
    RefusePeer {
        /// The peer.
        peer: ReplicaId,
        /// The incarnation that is known.
        known: u64,
    },
    /// Entries are decided, and durable here.
    Deliver(Vec<Delivered>),
    /// A proposal was not taken.
    Refuse {
        /// Whose.
        id: BatchId,
        /// Why.
        refusal: Refusal,
    },
    /// The reads may be answered when what they touch is executed up to this instance.
    ReadIndex {
        /// The batch.
        read: ReadId,
        /// The instance.
        index: Instance,
    },
    /// Too many reads wait.
    RefuseRead {
        /// The batch.
        read: ReadId,
    },
    /// Who leads has changed.
    LeadershipChanged(Leadership),
}
