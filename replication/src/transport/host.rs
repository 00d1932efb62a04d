//! This end: all that is not a connection, and that all connections need.

use super::agreement::Agreement;
use super::dial::Dial;
use super::event::TransportEvent;
use super::handshake::{Claim, Hello, Purpose, Terms};
use super::options::TransportOptions;
use super::resolve::Resolver;
use super::secret::{Nonce, Secret};
use super::stream::Stream;
use super::trouble::Troubles;
use crate::paxos::{ReplicaId, SessionNumber};
use bytes::Bytes;
use mio::{Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is read at once; it stays in a processor's cache until frames are cut out of it.
const SCRATCH_LEN: usize = 128 << 10;

/// What sessions are opened with.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) agreement: Agreement,
    pub(super) incarnation: u64,
}

/// This end.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) options: TransportOptions,
    /// Nothing until sessions may be opened.
    pub(super) agreed: Option<Agreed>,
    /// What is told in discovery.
    pub(super) blob: Vec<u8>,
    pub(super) resolver: Resolver,
    /// Events that are handed out with the next poll.
    pub(super) events: Vec<TransportEvent>,
    pub(super) scratch: Box<[u8]>,
    pub(super) bodies: Vec<Bytes>,
    registry: Registry,
    next_token: usize,
    troubles: Troubles,
}

impl Host {
    pub(super) fn new(options: TransportOptions, registry: Registry, resolver: Resolver, first_token: usize) -> Host {
        Host {
            options,
            agreed: None,
            blob: Vec::new(),
            resolver,
            events: Vec::new(),
            scratch: vec![0; SCRATCH_LEN].into(),
            bodies: Vec::new(),
            registry,
            next_token: first_token,
            troubles: Troubles::default(),
        }
    }

    pub(super) fn own(&self) -> ReplicaId {
        self.options.own
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        self.options.secret.as_ref()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A token that no connection had before.
    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub(super) fn nonce(&self) -> Nonce {
        let mut nonce = Nonce::default();
        for piece in nonce.chunks_exact_mut(8) {
            piece.copy_from_slice(&(self.options.random)().to_le_bytes());
        }
        nonce
    }

    /// A time between half of this one and all of it: what failed together is not tried again together.
    pub(super) fn jittered(&self, time: Duration) -> Duration {
        let half = time / 2;
        half + half.mul_f64((((self.options.random)() >> 11) as f64) / (1_u64 << 53) as f64)
    }

    /// Dials a peer.
    pub(super) fn dial(
        &mut self,
        to: ReplicaId,
        address: SocketAddr,
        purpose: Purpose,
        session: SessionNumber,
        now: Instant,
    ) -> io::Result<Dial> {
        self.options.check_reach(&[address]).map_err(io::Error::other)?;
        let agreed = self.agreed.as_ref().filter(|_| purpose != Purpose::Discovery);
        let claim = Claim {
            incarnation: agreed.map_or(0, |agreed| agreed.incarnation),
            session,
            agreement: agreed.map(|agreed| agreed.agreement.claim()),
        };
        let hello = Hello { purpose, from: self.own(), to, nonce: self.nonce() };
        let token = self.token();
        let stream = Stream::dial(&self.registry, token, address)?;
        Ok(Dial::new(stream, &hello, claim, now + self.options.handshake_deadline))
    }

    /// What this end says of itself in a session.
    pub(super) fn terms(&self, session: SessionNumber) -> Terms {
        Terms { incarnation: self.agreed.as_ref().map_or(0, |agreed| agreed.incarnation), session }
    }

    /// Tells of a trouble, once.
    pub(super) fn trouble(&mut self, peer: Option<ReplicaId>, text: String, now: Instant) {
        if self.troubles.is_news(peer, &text, now) {
            self.events.push(TransportEvent::Trouble { peer, text });
        }
    }

    /// Says that a session is open.
    pub(super) fn connected(&mut self, peer: ReplicaId, session: SessionNumber, incarnation: u64) {
        self.troubles.forget(peer);
        self.events.push(TransportEvent::Connected { peer, session, incarnation });
    }
}
