//! What replicas say to each other about the order, and its encoding.
//!
//! A frame is a byte for the version, 1, then postcard's encoding of an [`Envelope`]. Peers may send anything:
//! decoding allocates no more than the bytes there are can fill, and what can't be is an error.

use super::configuration::{Ballot, Configuration, ReplicaId};
use super::entry::Entry;
use super::frame::StopSign;
use super::read_index::ReadId;
use super::sessions::SessionNumber;
use crate::header::BatchId;
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use thiserror::Error;

/// The version that is spoken.
pub const VERSION: u8 = 1;
/// Longest frame that is decoded, in bytes; a sync of a whole log is less.
pub const MAX_LEN: usize = 256 << 20;

/// The place of a message among those that a leader sends to one follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Counts the leader's syncs of this follower.
    pub sync: u64,
    /// Counts messages since then.
    pub number: u64,
}

/// The part of a log that another one lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// The receiver's log counts up to here.
    pub after: Instance,
    /// The sender has no entries up to here: a checkpoint takes their place (rule 4).
    pub gap_end: Option<Instance>,
    /// The entries after the gap, or after `after`.
    pub entries: Vec<Entry>,
    /// The accepted stop sign.
    pub stop_sign: Option<StopSign>,
}

impl Sync {
    /// The instance before its first entry.
    pub fn start(&self) -> Instance {
        self.gap_end.unwrap_or(self.after)
    }
}

/// A message of the order. Messages of one session arrive in their order, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Asks a leader for a Prepare.
    PrepareRequest {
        /// The sender's promise.
        ballot: Ballot,
    },
    /// Asks for a promise.
    Prepare {
        /// The new ballot.
        ballot: Ballot,
        /// The leader's decided instance.
        decided: Instance,
        /// The round of its accepted entries.
        accepted_round: Ballot,
        /// The last of them.
        accepted: Instance,
    },
    /// Promises to take no part in lower ballots.
    Promise {
        /// The ballot.
        ballot: Ballot,
        /// The round of the follower's accepted entries.
        accepted_round: Ballot,
        /// Its decided instance.
        decided: Instance,
        /// Its last accepted entry.
        accepted: Instance,
        /// What the leader lacks, if the follower is ahead.
        sync: Option<Sync>,
    },
    /// Brings a follower's log in line with the leader's.
    AcceptSync {
        /// The ballot.
        ballot: Ballot,
        /// Its place.
        sequence: Sequence,
        /// The leader's decided instance.
        decided: Instance,
        /// What the follower lacks.
        sync: Sync,
    },
    /// New entries.
    AcceptDecide {
        /// The ballot.
        ballot: Ballot,
        /// Its place.
        sequence: Sequence,
        /// The leader's decided instance.
        decided: Instance,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Entries are accepted, and durable.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// The last of them.
        accepted: Instance,
    },
    /// The sender promised a higher ballot.
    NotAccepted {
        /// That ballot.
        ballot: Ballot,
    },
    /// Entries are decided.
    Decide {
        /// The ballot.
        ballot: Ballot,
        /// Its place.
        sequence: Sequence,
        /// The last of them.
        decided: Instance,
    },
    /// The configuration's last entry (rule 15).
    AcceptStopSign {
        /// The ballot.
        ballot: Ballot,
        /// Its place.
        sequence: Sequence,
        /// The entry.
        stop_sign: StopSign,
    },
    /// From an idle leader: how far it is (rule 12).
    Probe {
        /// The ballot.
        ballot: Ballot,
        /// Its last accepted entry.
        accepted: Instance,
        /// Its decided instance.
        decided: Instance,
    },
    /// Asks the leader for the index that a batch of reads must see.
    ReadRequest {
        /// The batch.
        read: ReadId,
    },
    /// Asks a follower whether it still follows.
    ConfirmRequest {
        /// The leader's ballot.
        ballot: Ballot,
        /// Its round of asking.
        round: u64,
    },
    /// It does: its promise is this ballot.
    Confirm {
        /// The ballot.
        ballot: Ballot,
        /// The round.
        round: u64,
    },
    /// The index.
    ReadAnswer {
        /// The batch.
        read: ReadId,
        /// Every write acknowledged before the read arrived is at or below.
        index: Instance,
    },
    /// A replica that lost its disk asks for a barrier (rule 14).
    SeedRequest {
        /// Its new incarnation.
        incarnation: u64,
    },
    /// The barrier is decided: the replica may promise ballots from this one on.
    Seed {
        /// The incarnation.
        incarnation: u64,
        /// The ballot in which the barrier was decided.
        ballot: Ballot,
    },
}

/// A message, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The configuration; the object doesn't check it.
    pub configuration: u32,
    /// The session.
    pub session: SessionNumber,
    /// The message.
    pub message: Message,
}

/// An election message. They have a connection of their own: a late one is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The configuration.
    pub configuration: u32,
    /// What it says.
    pub sign: Sign,
}

/// What an election message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// Asks for a reply.
    Request {
        /// The sender's round.
        round: u32,
    },
    /// The reply.
    Reply {
        /// The round of the request.
        round: u32,
        /// The sender's own ballot.
        ballot: Ballot,
        /// The ballot that it follows.
        leader: Ballot,
        /// Whether it sees no need for another leader.
        is_happy: bool,
    },
}

/// What one replica asks of another outside of sessions; the answer is a payload or a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Request {
    /// A payload.
    Payload {
        /// Whose.
        id: BatchId,
        /// Where its header is.
        instance: Instance,
    },
    /// A checkpoint.
    Checkpoint {
        /// The lowest that helps.
        at_least: Instance,
    },
}

/// Why a frame is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// Another version.
    #[error("version {0} of the order's messages is not spoken here")]
    Version(u8),
    /// No message.
    #[error("a message can't be decoded: {0}")]
    Garbage(String),
    /// Too long.
    #[error("a message of {0} bytes")]
    TooLong(usize),
}

macro_rules! coded {
    ($($name:ident),*) => {
        $(impl $name {
            /// Its bytes.
            pub fn encode(&self) -> Vec<u8> {
                match postcard::to_extend(self, vec![VERSION]) {
                    Ok(bytes) => bytes,
                    Err(error) => unreachable!("messages can be encoded: {error}"),
                }
            }

            /// Reads one.
            ///
            /// # Errors
            /// What is wrong with it.
            pub fn decode(bytes: &[u8]) -> Result<$name, MessageError> {
                if bytes.len() > MAX_LEN {
                    return Err(MessageError::TooLong(bytes.len()));
                }
                match bytes.split_first() {
                    Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                        Ok((message, [])) => Ok(message),
                        Ok((_, rest)) => Err(MessageError::Garbage(format!("{} bytes too many", rest.len()))),
                        Err(error) => Err(MessageError::Garbage(error.to_string())),
                    },
                    Some((version, _)) => Err(MessageError::Version(*version)),
                    None => Err(MessageError::Garbage("it is empty".into())),
                }
            }
        })*
    };
}

coded!(Envelope, Heartbeat, Request);

impl Message {
    /// Whether it goes through the gates, in the order of its session; the others may overtake.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(
            self,
            Message::ReadRequest { .. }
                | Message::ConfirmRequest { .. }
                | Message::Confirm { .. }
                | Message::ReadAnswer { .. }
                | Message::SeedRequest { .. }
                | Message::Seed { .. }
        )
    }

    /// How much memory it holds, counted in entries.
    pub(super) fn weight(&self) -> usize {
        1 + match self {
            Message::AcceptDecide { entries, .. } => entries.len(),
            Message::AcceptSync { sync, .. } | Message::Promise { sync: Some(sync), .. } => sync.entries.len(),
            _ => 0,
        }
    }

    /// Whether a member of this configuration can have sent it: tables are indexed by the ballots' replicas.
    pub(super) fn is_possible(&self, from: ReplicaId, configuration: &Configuration) -> bool {
        let sync_is_possible = |sync: &Sync| {
            let end = sync.start().get().saturating_add(sync.entries.len() as u64 + 1);
            let stop_sign_is_possible = sync.stop_sign.as_ref().is_none_or(|it| configuration.can_end_with(it));
            let start_is_possible = sync.start() >= sync.after && configuration.len_at(sync.after).is_some();
            start_is_possible && stop_sign_is_possible && Instance::new(end).is_some()
        };
        let at = |instance: &Instance| configuration.len_at(*instance).is_some();
        let ballot = |ballot: &Ballot| configuration.has_ballot(*ballot);
        let leads = |ballot: &Ballot| ballot.replica() == Some(from) && configuration.has_ballot(*ballot);
        match self {
            Message::PrepareRequest { ballot: b } | Message::NotAccepted { ballot: b } => ballot(b),
            Message::Prepare { ballot: b, decided, accepted_round, accepted } => {
                leads(b) && ballot(accepted_round) && at(decided) && at(accepted)
            }
            Message::Promise { ballot: b, accepted_round, decided, accepted, sync } => {
                let sync_is_possible = sync.as_ref().is_none_or(sync_is_possible);
                ballot(b) && ballot(accepted_round) && at(decided) && at(accepted) && sync_is_possible
            }
            Message::AcceptSync { ballot: b, decided, sync, .. } => leads(b) && at(decided) && sync_is_possible(sync),
            Message::AcceptDecide { ballot: b, decided, .. } | Message::Decide { ballot: b, decided, .. } => {
                leads(b) && at(decided)
            }
            Message::Accepted { ballot: b, accepted } => ballot(b) && at(accepted),
            Message::Probe { ballot: b, accepted, decided } => leads(b) && at(accepted) && at(decided),
            Message::AcceptStopSign { ballot: b, stop_sign, .. } => leads(b) && configuration.can_end_with(stop_sign),
            Message::ReadAnswer { index, .. } => at(index),
            Message::Seed { ballot: b, .. } => leads(b),
            Message::ConfirmRequest { ballot: b, .. } => leads(b),
            Message::Confirm { ballot: b, .. } => ballot(b),
            Message::ReadRequest { .. } | Message::SeedRequest { .. } => true,
        }
    }
}
