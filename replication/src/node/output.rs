//! What a node wants done by its runtime, in this order.

use super::ChangeReply;
use crate::batch::{BatchOutcome, Refusal};
use crate::paxos::{Configuration, Leadership, ReplicaId, SessionNumber};
use crate::replica::{BatchReply, CheckpointReply};
use bytes::Bytes;
use skink_engine::command::{Command, Footprint};
use skink_engine::engine::{Cut, Incoming};
use skink_engine::key::KeyHash;
use smallvec::SmallVec;
use std::sync::Arc;

/// A connection of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The order's messages, and what is small.
    Control,
    /// What is large: it must not delay the others.
    Payload,
}

/// Which reads of a question something is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passes {
    /// All that it was not told of before.
    Rest,
    /// Those with these numbers, from 0; possibly none: then the question is known, and its reads are told of one by one.
    Some(Vec<usize>),
}

/// From which states reads may be answered. Something may be executed ahead of order in all but the present one.
#[derive(Debug, Clone)]
pub enum View {
    /// From the present one, or any later one.
    Later,
    /// The same, as long as this is there: of several keys, a later state could show a new version of one, and not yet what
    /// came before it of another. Nothing is executed ahead of order meanwhile.
    Held(Arc<()>),
    /// From the present one, while the teller runs: it is ahead of what is executed in order, so that there may be an older
    /// one next.
    Now,
}

/// Is told which reads may be answered, and from which states; or that they never may.
pub type TellReads = Arc<dyn Fn(Passes, Result<View, Refusal>) + Send + Sync>;

/// What a read touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touches {
    /// These keys, each once.
    Keys(SmallVec<[KeyHash; 1]>),
    /// Any.
    Everything,
}

impl Touches {
    /// What a command touches.
    pub fn of(command: &Command, hash: impl Fn(&[u8]) -> KeyHash) -> Touches {
        let mut keys = SmallVec::new();
        match command.footprint(&mut |key, _| keys.push(hash(key))) {
            Footprint::Keys => {
                keys.sort_unstable();
                keys.dedup();
                Touches::Keys(keys)
            }
            Footprint::Everything => Touches::Everything,
        }
    }

    /// Whether it is more than one key.
    pub fn is_wide(&self) -> bool {
        !matches!(self, Touches::Keys(keys) if keys.len() <= 1)
    }
}

/// Reads that are asked for together.
pub struct Question {
    /// What each of them touches.
    pub touches: Vec<Touches>,
    /// Is told of each of them once.
    pub tell: TellReads,
}

/// Something to do.
pub enum Output {
    /// Send a message in a session, if that is still open.
    Send {
        /// To whom.
        peer: ReplicaId,
        /// In which session.
        session: SessionNumber,
        /// On which of its connections.
        channel: Channel,
        /// The message's first bytes.
        head: Vec<u8>,
        /// Its other bytes.
        body: Bytes,
    },
    /// Send a heartbeat.
    Heartbeat {
        /// To whom.
        peer: ReplicaId,
        /// The message.
        bytes: Vec<u8>,
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
    /// Talk to a peer no more until it comes with another disk.
    RefusePeer {
        /// The peer.
        peer: ReplicaId,
        /// The incarnation that its disk should have, or more.
        known: u64,
    },
    /// Answer a batch.
    Answer(BatchReply, BatchOutcome),
    /// Answer those who wait to read.
    Pass(TellReads, Passes, Result<View, Refusal>),
    /// Make a cut durable, then say so with [`Node::checkpoint_done`](super::Node::checkpoint_done).
    Checkpoint {
        /// The cut.
        cut: Cut,
        /// Who waits for it.
        replies: Vec<CheckpointReply>,
    },
    /// Check a checkpoint that has arrived, then say so with [`Node::incoming_checked`](super::Node::incoming_checked).
    CheckIncoming(Box<Incoming>),
    /// Who leads has changed.
    LeadershipChanged(Leadership),
    /// The members have changed: talk to these from now on.
    MembersChanged(Configuration),
    /// Answer who asked for that, after it.
    AnswerChange(ChangeReply, Result<(), String>),
}
