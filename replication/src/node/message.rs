//! What replicas say to each other, and its encoding.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | kind |
//! | 2 | | by kind: postcard of the fields; of a payload and of a part of a file, then the bytes as they are |
//!
//! Peers are authenticated, and still may send anything: what can't be decoded is an error, and nothing is allocated
//! on the word of a length.

use super::handoff::message::Handoff;
use crate::header::{BatchId, Header};
use crate::paxos::{Envelope, MembershipChange, Request};
use crate::status::ReplicaStatus;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use std::sync::Arc;
use thiserror::Error;

/// The version that is spoken.
pub const VERSION: u8 = 1;

/// A message between replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMessage {
    /// Of the order.
    Order(Envelope),
    /// Batches of the sender's clients, for the leader to give places to. Their payloads come by themselves.
    Propose(Vec<Arc<Header>>),
    /// A payload.
    Payload {
        /// Whose.
        id: BatchId,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Asks for something that is missing.
    Ask(Request),
    /// How the sender stands, and what its clock says, in milliseconds since 1970.
    Status(ReplicaStatus, u64),
    /// What the sender's state adds up to at an instance (S3).
    Digest(StateDigest),
    /// A part of a checkpoint, for a replica that is too far behind.
    Transfer(Transfer),
    /// A step of a hand-off.
    Handoff(Handoff),
    /// A client of the sender changes the members.
    Change(MembershipChange),
    /// The leader does not make the change.
    ChangeRefused {
        /// The configuration that it would have changed.
        configuration: u32,
        /// Why.
        why: String,
    },
}

/// The sum of the segments' digests at an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDigest {
    /// Where the cut is.
    pub instance: Instance,
    /// The sum.
    pub digest: u64,
}

/// A step of the transfer of a checkpoint. They come in order, on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// It begins: the donor's manifest, as its file.
    Begin {
        /// The manifest's bytes.
        manifest: Bytes,
    },
    /// Bytes of a segment's file.
    Part {
        /// The last instance of the checkpoint that it is of.
        instance: Instance,
        /// The segment.
        segment: u16,
        /// Where in the file.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Everything was sent.
    End {
        /// The last instance of the checkpoint.
        instance: Instance,
    },
}

/// Why a message can't be decoded.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a message can't be decoded: {0}")]
pub struct PeerMessageError(String);

mod kind {
    pub const ORDER: u8 = 1;
    pub const PROPOSE: u8 = 2;
    pub const PAYLOAD: u8 = 3;
    pub const ASK: u8 = 4;
    pub const STATUS: u8 = 5;
    pub const DIGEST: u8 = 6;
    pub const TRANSFER_BEGIN: u8 = 7;
    pub const TRANSFER_PART: u8 = 8;
    pub const TRANSFER_END: u8 = 9;
    pub const CHANGE: u8 = 10;
    pub const CHANGE_REFUSED: u8 = 11;
    pub const HANDOFF: u8 = 12;
}

#[derive(Serialize, Deserialize)]
struct PartHead {
    instance: Instance,
    segment: u16,
    offset: u64,
}

impl PeerMessage {
    /// Its bytes, in two parts: long ones are not copied.
    pub fn encode(&self) -> (Vec<u8>, Bytes) {
        let none = Bytes::new();
        match self {
            PeerMessage::Order(envelope) => {
                let mut bytes = vec![VERSION, kind::ORDER];
                bytes.extend_from_slice(&envelope.encode());
                (bytes, none)
            }
            PeerMessage::Propose(headers) => {
                let mut bytes = fields(kind::PROPOSE, &(headers.len() as u64));
                for header in headers {
                    bytes = extend(bytes, header.as_ref());
                }
                (bytes, none)
            }
            PeerMessage::Payload { id, bytes } => (fields(kind::PAYLOAD, id), bytes.clone()),
            PeerMessage::Ask(request) => (fields(kind::ASK, request), none),
            PeerMessage::Status(status, time_ms) => (fields(kind::STATUS, &(status, time_ms)), none),
            PeerMessage::Digest(digest) => (fields(kind::DIGEST, digest), none),
            PeerMessage::Transfer(Transfer::Begin { manifest }) => {
                (vec![VERSION, kind::TRANSFER_BEGIN], manifest.clone())
            }
            PeerMessage::Transfer(Transfer::Part { instance, segment, offset, bytes }) => {
                let head = PartHead { instance: *instance, segment: *segment, offset: *offset };
                (fields(kind::TRANSFER_PART, &head), bytes.clone())
            }
            PeerMessage::Transfer(Transfer::End { instance }) => (fields(kind::TRANSFER_END, instance), none),
            PeerMessage::Handoff(handoff) => (fields(kind::HANDOFF, handoff), none),
            PeerMessage::Change(change) => (fields(kind::CHANGE, change), none),
            PeerMessage::ChangeRefused { configuration, why } => {
                (fields(kind::CHANGE_REFUSED, &(configuration, why)), none)
            }
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(body: &Bytes) -> Result<PeerMessage, PeerMessageError> {
        let [version, kind, ..] = body[..] else { return Err(PeerMessageError("it is cut off".into())) };
        if version != VERSION {
            return Err(PeerMessageError(format!("version {version} is not spoken here")));
        }
        let rest = body.slice(2..);
        Ok(match kind {
            kind::ORDER => {
                PeerMessage::Order(Envelope::decode(&rest).map_err(|error| PeerMessageError(error.to_string()))?)
            }
            kind::PROPOSE => PeerMessage::Propose(headers(&rest)?),
            kind::PAYLOAD => {
                let (id, bytes) = split(&rest)?;
                PeerMessage::Payload { id, bytes }
            }
            kind::ASK => PeerMessage::Ask(whole(&rest)?),
            kind::STATUS => {
                let (status, time_ms) = whole(&rest)?;
                PeerMessage::Status(status, time_ms)
            }
            kind::DIGEST => PeerMessage::Digest(whole(&rest)?),
            kind::TRANSFER_BEGIN => PeerMessage::Transfer(Transfer::Begin { manifest: rest }),
            kind::TRANSFER_PART => {
                let (PartHead { instance, segment, offset }, bytes) = split(&rest)?;
                PeerMessage::Transfer(Transfer::Part { instance, segment, offset, bytes })
            }
            kind::TRANSFER_END => PeerMessage::Transfer(Transfer::End { instance: whole(&rest)? }),
            kind::HANDOFF => PeerMessage::Handoff(whole(&rest)?),
            kind::CHANGE => PeerMessage::Change(whole(&rest)?),
            kind::CHANGE_REFUSED => {
                let (configuration, why) = whole(&rest)?;
                PeerMessage::ChangeRefused { configuration, why }
            }
            other => return Err(PeerMessageError(format!("unknown kind {other}"))),
        })
    }
}

fn fields<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    extend(vec![VERSION, kind], value)
}

fn extend<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    match postcard::to_extend(value, bytes) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("messages can be encoded: {error}"),
    }
}

fn split<'b, T: Deserialize<'b>>(bytes: &'b Bytes) -> Result<(T, Bytes), PeerMessageError> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|error| PeerMessageError(error.to_string()))?;
    Ok((value, bytes.slice(bytes.len() - rest.len()..)))
}

fn whole<'b, T: Deserialize<'b>>(bytes: &'b Bytes) -> Result<T, PeerMessageError> {
    match split(bytes)? {
        (value, rest) if rest.is_empty() => Ok(value),
        (_, rest) => Err(PeerMessageError(format!("{} bytes too many", rest.len()))),
    }
}

fn headers(bytes: &Bytes) -> Result<Vec<Arc<Header>>, PeerMessageError> {
    let (count, mut rest) = split::<u64>(bytes)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let (header, after) = split::<Header>(&rest)?;
        headers.push(Arc::new(header));
        rest = after;
    }
    if rest.is_empty() { Ok(headers) } else { Err(PeerMessageError(format!("{} bytes too many", rest.len()))) }
}

#[cfg(test)]
mod tests {
    use super::{PeerMessage, StateDigest, Transfer};
    use crate::header::{BatchId, Content, Header};
    use crate::paxos::{Envelope, MembershipChange, Message, ReadId, ReplicaId, Request, SessionNumber};
    use crate::status::{Condition, ReplicaStatus, Role};
    use bytes::Bytes;
    use proptest::prelude::*;
    use skink_engine::position::Instance;
    use std::sync::Arc;

    fn samples() -> Vec<PeerMessage> {
        let id = BatchId { proxy: 65_537, incarnation: 3, sequence: 300 };
        let at = Instance::new(70_000).unwrap();
        let header = Header { id, time_ms: 1, content: Content::CheckpointMarker };
        let status = ReplicaStatus {
            replica: ReplicaId::FIRST,
            role: Role::Leader,
            condition: Condition::Serving,
            decided: at,
            executed: at,
            durable: at,
            checkpoint: Instance::ZERO,
        };
        let message = Message::ReadRequest { read: ReadId::new(9) };
        vec![
            PeerMessage::Order(Envelope { configuration: 1, session: SessionNumber::new(2), message }),
            PeerMessage::Propose(vec![Arc::new(header.clone()), Arc::new(header)]),
            PeerMessage::Payload { id, bytes: Bytes::from_static(b"payload") },
            PeerMessage::Ask(Request::Payload { id, instance: at }),
            PeerMessage::Status(status, 1 << 40),
            PeerMessage::Change(MembershipChange::Add { replica: ReplicaId::FIRST, address: "a:1".into() }),
            PeerMessage::Change(MembershipChange::Remove { replica: ReplicaId::FIRST }),
            PeerMessage::ChangeRefused { configuration: 300, why: "why".into() },
            PeerMessage::Digest(StateDigest { instance: at, digest: u64::MAX }),
            PeerMessage::Transfer(Transfer::Begin { manifest: Bytes::from_static(b"manifest") }),
            PeerMessage::Transfer(Transfer::Part {
                instance: at,
                segment: 255,
                offset: 1 << 33,
                bytes: Bytes::from_static(b"part"),
            }),
            PeerMessage::Transfer(Transfer::End { instance: at }),
        ]
    }

    fn bytes_of(message: &PeerMessage) -> Vec<u8> {
        let (mut head, body) = message.encode();
        head.extend_from_slice(&body);
        head
    }

    #[test]
    fn every_message_comes_back() {
        for message in samples() {
            assert_eq!(PeerMessage::decode(&bytes_of(&message).into()), Ok(message));
        }
    }

    #[test]
    fn what_is_cut_off_or_of_another_version_is_an_error() {
        for message in samples() {
            let bytes = bytes_of(&message);
            let carries_bytes = matches!(message, PeerMessage::Payload { .. } | PeerMessage::Transfer(_));
            for len in 0..bytes.len() {
                let decoded = PeerMessage::decode(&Bytes::copy_from_slice(&bytes[..len]));
                // Raw bytes have the length that the frame gives them.
                assert!(decoded.is_err() || carries_bytes, "{message:?} cut to {len}");
            }
            let mut other = bytes.clone();
            other[0] = 2;
            assert!(PeerMessage::decode(&other.into()).unwrap_err().to_string().contains("version 2"));
            let mut longer = bytes;
            longer.push(0);
            assert!(PeerMessage::decode(&longer.into()).is_err() || carries_bytes, "{message:?} with a byte more");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_small(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..12) {
            let bytes: Vec<u8> = [1, kind].into_iter().chain(bytes).collect();
            if let Ok(PeerMessage::Propose(headers)) = PeerMessage::decode(&bytes.into()) {
                prop_assert!(headers.len() < 200);
            }
        }
    }
}
