//! The transport between replicas: sessions over TCP, driven by the thread that polls it.
//!
//! ```text
//! dial, accept -> handshake -> session: heartbeat, control, payload -> Connected, Received.., Disconnected
//!                          \-> discovery: what each tells about itself -> Discovered
//! ```
//!
//! A session is three connections that live and die together, each with an order of its own: a large payload delays neither
//! a message of the order nor a heartbeat. What the order relies on (rules 12 and 13 of `docs/ordering.md`):
//!
//! - Bodies of a channel arrive in their order, or not at all; none of another session comes in between.
//! - The numbers of a pair's sessions rise.
//! - If one connection breaks, the session is over at this end, and at the other as soon as it hears of that.
//! - A peer of which nothing is heard for a time is gone. Each end says something by itself, as long as it is polled.
//!
//! And what whoever runs a replica relies on:
//!
//! - Both ends of a connection prove that they know the cluster's secret before anything else counts.
//! - Everything is bounded: what waits for a peer, what a peer can make this end hold, strangers, what is said of troubles.
//! - Nothing blocks, and no peer takes more than its turn.
//!
//! What follows a handshake is neither encrypted nor authenticated, only checked for damage: whoever can change packets
//! between replicas can do harm. Keep them in a network of their own, or in a tunnel.

mod agreement;
mod dial;
mod discovery;
mod event;
mod forming;
mod frame;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
mod handshake;
mod host;
mod listener;
mod lobby;
mod negotiation;
mod options;
mod output;
mod peer;
mod resolve;
mod round;
mod secret;
mod session;
mod stream;
mod trouble;

#[cfg(test)]
mod tests;

pub use agreement::Agreement;
pub use discovery::MAX_BLOB_LEN;
pub use event::{Channel, Sent, TransportEvent};
pub use handshake::{OLDEST_VERSION, VERSION};
pub use options::{ChannelLimits, Random, TransportError, TransportOptions};
pub use secret::Secret;

use crate::paxos::{ReplicaId, SessionNumber};
use discovery::{Discovery, Exchange};
use host::{Agreed, Host};
use listener::Listener;
use lobby::Lobby;
use mio::{Events, Poll, Token};
use peer::Peer;
use resolve::Resolver;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Events of the system in one poll. There are some ninety sockets at most: what is left comes with the next poll.
const MAX_EVENTS: usize = 256;

/// Wakes the thread that polls a transport.
#[derive(Debug, Clone)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Lets the poll that is under way return, or else the next one.
    ///
    /// # Errors
    /// What the system said.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

/// The connections of a replica.
#[derive(Debug)]
pub struct Transport {
    poll: Poll,
    ready: Events,
    waker: Waker,
    listener: Listener,
    host: Host,
    peers: BTreeMap<ReplicaId, Peer>,
    lobby: Lobby,
    /// Discoveries that this end began.
    discoveries: BTreeMap<ReplicaId, Discovery>,
    /// Those that others began.
    exchanges: Vec<Exchange>,
}

impl Transport {
    /// Listens. No session is opened yet, but discovery is answered.
    ///
    /// # Errors
    /// Settings that can't be used, or an address that can't be had.
    pub fn bind(options: TransportOptions) -> Result<Transport, TransportError> {
        options.check()?;
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        let listener = Listener::bind(poll.registry(), LISTENER, options.listen)?;
        let peers = options.peers.clone();
        let resolver = Resolver::new(waker.clone());
        let host = Host::new(options, poll.registry().try_clone()?, resolver, LISTENER.0);
        let mut transport = Transport {
            poll,
            ready: Events::with_capacity(MAX_EVENTS),
            waker,
            listener,
            host,
            peers: BTreeMap::new(),
            lobby: Lobby::default(),
            discoveries: BTreeMap::new(),
            exchanges: Vec::new(),
        };
        transport.set_peers(peers);
        Ok(transport)
    }

    /// For other threads, to interrupt a poll.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Sets what this replica tells about itself to every replica that knows the secret; nothing before.
    ///
    /// # Panics
    /// If it is longer than [`MAX_BLOB_LEN`].
    pub fn set_discovery(&mut self, blob: Vec<u8>) {
        assert!(blob.len() <= MAX_BLOB_LEN, "a blob of {} bytes", blob.len());
        self.host.blob = blob;
    }

    /// Dials a peer once, so that each tells the other about itself, unless that is under way. What comes of it is `Discovered`, or
    /// `Trouble` where that is news; of a peer that has no address, nothing.
    pub fn discover(&mut self, peer: ReplicaId) {
        if self.peers.contains_key(&peer) && !self.discoveries.contains_key(&peer) {
            self.discoveries.insert(peer, Discovery::Wanted);
            self.serve_discoveries(Instant::now());
        }
    }

    /// Dials and accepts sessions from now on, with those that have the same agreement.
    /// `incarnation` is what this replica's disk is known by. Sessions that are open stay open.
    pub fn open_sessions(&mut self, agreement: Agreement, incarnation: u64) {
        self.host.agreed = Some(Agreed { agreement, incarnation });
    }

    /// The other members, and how this replica reaches them. Sessions with others end.
    pub fn set_peers(&mut self, mut addresses: BTreeMap<ReplicaId, String>) {
        addresses.remove(&self.host.own());
        let now = Instant::now();
        for (_, mut peer) in self.peers.extract_if(.., |id, _| !addresses.contains_key(id)) {
            peer.end(&mut self.host, now);
        }
        self.discoveries.retain(|peer, _| addresses.contains_key(peer));
        for (id, address) in addresses {
            match self.peers.get_mut(&id) {
                Some(peer) => peer.address = address,
                None => drop(self.peers.insert(id, Peer::new(id, address, now))),
            }
        }
    }

    /// The other members, and how this replica reaches them.
    pub fn peers(&self) -> BTreeMap<ReplicaId, String> {
        self.peers.iter().map(|(id, peer)| (*id, peer.address.clone())).collect()
    }

    /// Adds a body, these parts in a row, to what waits to be written.
    pub fn send(&mut self, peer: ReplicaId, session: SessionNumber, channel: Channel, parts: &[&[u8]]) -> Sent {
        match self.peers.get_mut(&peer).and_then(Peer::session_mut) {
            Some(open) if open.number() == session => open.send(channel, parts, &self.host, Instant::now()),
            _ => Sent::NoSession,
        }
    }

    /// Writes what waits, as far as that goes at once; the rest is written by later polls.
    pub fn flush(&mut self) {
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            peer.flush(&mut self.host, now);
        }
    }

    /// Bytes that wait to be written to a peer.
    pub fn backlog(&self, peer: ReplicaId, channel: Channel) -> usize {
        let session = self.peers.get(&peer).and_then(Peer::session);
        session.map_or(0, |session| session.stream(channel).backlog())
    }

    /// Ends a session, if it is open; the next one begins soon.
    pub fn restart_session(&mut self, peer: ReplicaId, session: SessionNumber) {
        if let Some(peer) = self.peers.get_mut(&peer).filter(|peer| peer.is_in(session)) {
            peer.end(&mut self.host, Instant::now());
        }
    }

    /// Ends a session, if it is open. The next one begins later, and whoever asks for one before is told why.
    pub fn refuse_peer(&mut self, peer: ReplicaId, session: SessionNumber, reason: String) {
        if let Some(peer) = self.peers.get_mut(&peer).filter(|peer| peer.is_in(session)) {
            peer.refuse(reason, &mut self.host, Instant::now());
        }
    }
}
