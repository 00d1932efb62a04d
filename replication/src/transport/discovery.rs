//! Discovery: two replicas tell each other about themselves, before there are sessions or beside them.
//!
//! The connection is authenticated as all are. Then each end sends one frame, what it tells, and the connection is over.

use super::dial::{Dial, DialError};
use super::event::TransportEvent;
use super::handshake::Purpose;
use super::host::Host;
use super::stream::Stream;
use crate::paxos::{ReplicaId, SessionNumber};
use std::time::Instant;

/// Longest that a replica tells about itself, in bytes.
pub const MAX_BLOB_LEN: usize = 64 << 10;

/// Both ends are authenticated, and tell.
#[derive(Debug)]
pub(super) struct Exchange {
    peer: ReplicaId,
    stream: Stream,
    deadline: Instant,
    is_told: bool,
}

impl Exchange {
    pub(super) fn new(peer: ReplicaId, mut stream: Stream, host: &Host, now: Instant) -> Exchange {
        stream.set_max_body_len(MAX_BLOB_LEN);
        stream.push(&[&host.blob]);
        Exchange { peer, stream, deadline: now + host.options.handshake_deadline, is_told: false }
    }

    pub(super) fn peer(&self) -> ReplicaId {
        self.peer
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Goes on; answers with whether it is over.
    pub(super) fn progress(&mut self, host: &mut Host, now: Instant) -> Result<bool, DialError> {
        self.stream.flush(usize::MAX)?;
        if !self.is_told
            && let Some(blob) = self.stream.receive_one(&mut host.scratch)?
        {
            self.is_told = true;
            host.events.push(TransportEvent::Discovered { peer: self.peer, blob });
        }
        let is_over = self.is_told && self.stream.backlog() == 0;
        if !is_over && now >= self.deadline { Err(DialError::Late) } else { Ok(is_over) }
    }
}

/// A discovery that this end began.
#[derive(Debug)]
pub(super) enum Discovery {
    /// The peer's address is being looked up.
    Wanted,
    /// In its handshake.
    Dialing(Dial),
    /// Both tell.
    Telling(Exchange),
}

impl Discovery {
    /// Goes on; answers with whether it is over.
    pub(super) fn progress(
        &mut self,
        peer: ReplicaId,
        address: &str,
        host: &mut Host,
        now: Instant,
    ) -> Result<bool, String> {
        if let Discovery::Wanted = self {
            let Some(addresses) = host.resolver.lookup(address, now) else { return Ok(false) };
            let addresses = addresses?;
            let address = addresses.first().ok_or("its name has no address")?;
            let dial = host.dial(peer, *address, Purpose::Discovery, SessionNumber::default(), now);
            *self = Discovery::Dialing(dial.map_err(|error| error.to_string())?);
        }
        if let Discovery::Dialing(dial) = self {
            if dial.progress(host, now).map_err(|error| error.to_string())?.is_none() {
                return Ok(false);
            }
            let Discovery::Dialing(dial) = std::mem::replace(self, Discovery::Wanted) else { return Ok(true) };
            *self = Discovery::Telling(Exchange::new(peer, dial.into_stream(), host, now));
        }
        match self {
            Discovery::Telling(exchange) => exchange.progress(host, now).map_err(|error| error.to_string()),
            Discovery::Wanted | Discovery::Dialing(_) => Ok(false),
        }
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Discovery::Wanted => None,
            Discovery::Dialing(dial) => Some(dial.stream_mut()),
            Discovery::Telling(exchange) => Some(exchange.stream_mut()),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Discovery::Wanted => None,
            Discovery::Dialing(dial) => Some(dial.deadline()),
            Discovery::Telling(exchange) => Some(exchange.deadline()),
        }
    }
}
