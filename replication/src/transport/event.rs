//! What a transport says, and how sending goes.

use crate::paxos::{ReplicaId, SessionNumber};
use bytes::Bytes;

/// A connection of a session. Bodies of one channel arrive in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// For election messages, before all others: a few bytes each.
    Heartbeat,
    /// For messages of the order and what is urgent.
    Control,
    /// For payloads and whatever is large.
    Payload,
}

impl Channel {
    /// All, the most urgent first.
    pub const ALL: [Channel; 3] = [Channel::Heartbeat, Channel::Control, Channel::Payload];
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// A session with a peer is open: all its connections are authenticated.
    Connected {
        /// The peer.
        peer: ReplicaId,
        /// The session's number, higher than that of any before between the two.
        session: SessionNumber,
        /// What the peer's disk is known by.
        incarnation: u64,
    },
    /// A session that was open is over. What was sent in it and did not arrive never will.
    Disconnected {
        /// The peer.
        peer: ReplicaId,
        /// The session.
        session: SessionNumber,
    },
    /// A body came. Those of a session come between its Connected and its Disconnected.
    Received {
        /// From whom.
        peer: ReplicaId,
        /// In which session.
        session: SessionNumber,
        /// Through which of its connections.
        channel: Channel,
        /// What came.
        body: Bytes,
    },
    /// What a peer tells about itself, as it asked or was asked. It knows the secret.
    Discovered {
        /// The peer.
        peer: ReplicaId,
        /// What it tells.
        blob: Bytes,
    },
    /// Something is wrong that somebody should read of. Said once for each peer and text, until a session opens.
    Trouble {
        /// With whom, if that is known.
        peer: Option<ReplicaId>,
        /// What is wrong, and what to do.
        text: String,
    },
}

/// What became of a body that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It waits to be written: it arrives if the session lives.
    Buffered,
    /// The session is over, or none is open.
    NoSession,
    /// So much waits already that it was not taken. Nothing of it was sent.
    Full,
    /// No peer would take it: it is longer than the channel's limit.
    TooLong,
}
