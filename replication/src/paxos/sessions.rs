//! Sessions: what is said between two connections of the same pair of replicas (rule 12).
//!
//! Messages of a session arrive in their order or not at all; what it held goes with it. A session ends at both ends
//! when its connection does, and the object hears of every new one.

use super::configuration::{Ballot, ReplicaId};
use super::departure::Departing;
use super::message::Message;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The number of a session. Of two of the same pair, the later one has the higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SessionNumber(u64);

impl SessionNumber {
    /// The session with this number.
    pub fn new(number: u64) -> SessionNumber {
        SessionNumber(number)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// An open session with a peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    /// What the peer's disk is known by.
    pub(super) incarnation: u64,
    /// The ballot of the last Promise in it (rule 8).
    pub(super) promised: Option<Ballot>,
    /// What waits for payloads or a checkpoint, and what came after it.
    pub(super) inbound: VecDeque<Message>,
    pub(super) inbound_weight: usize,
    /// What waits for the log.
    pub(super) outbound: VecDeque<Departing>,
    pub(super) outbound_weight: usize,
    /// Nothing was sent since the last look.
    pub(super) is_idle: bool,
    /// It was asked to end: nothing more is sent or received in it.
    pub(super) is_ending: bool,
}

impl Session {
    fn new(number: SessionNumber, incarnation: u64) -> Session {
        Session {
            number,
            incarnation,
            promised: None,
            inbound: VecDeque::new(),
            inbound_weight: 0,
            outbound: VecDeque::new(),
            outbound_weight: 0,
            is_idle: false,
            is_ending: false,
        }
    }

    pub(super) fn push_inbound(&mut self, message: Message) {
        self.inbound_weight += message.weight();
        self.inbound.push_back(message);
    }

    pub(super) fn pop_inbound(&mut self) -> Option<Message> {
        let message = self.inbound.pop_front()?;
        self.inbound_weight -= message.weight();
        Some(message)
    }

    /// Drops what it held, and takes nothing more.
    pub(super) fn end(&mut self) {
        let Session { number, incarnation, .. } = *self;
        *self = Session { is_ending: true, ..Session::new(number, incarnation) };
    }
}

/// The open sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<ReplicaId, Session>,
}

impl Sessions {
    /// Opens a session; the peer's earlier one is over. False for one that is older than that.
    pub(super) fn open(&mut self, peer: ReplicaId, number: SessionNumber, incarnation: u64) -> bool {
        if self.open.get(&peer).is_some_and(|session| session.number >= number) {
            return false;
        }
        self.open.insert(peer, Session::new(number, incarnation));
        true
    }

    /// Forgets a session, if it is the peer's present one.
    pub(super) fn close(&mut self, peer: ReplicaId, number: SessionNumber) {
        if self.open.get(&peer).is_some_and(|session| session.number == number) {
            self.open.remove(&peer);
        }
    }

    /// The session with a peer in which something can be said.
    pub(super) fn get_mut(&mut self, peer: ReplicaId) -> Option<&mut Session> {
        self.open.get_mut(&peer).filter(|session| !session.is_ending)
    }

    /// The session with a peer in which something can be said.
    pub(super) fn get(&self, peer: ReplicaId) -> Option<&Session> {
        self.open.get(&peer).filter(|session| !session.is_ending)
    }

    /// Who can be reached, ascending.
    pub(super) fn peers(&self) -> Vec<ReplicaId> {
        self.open.iter().filter(|(_, session)| !session.is_ending).map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ReplicaId, SessionNumber, Sessions};

    #[test]
    fn a_later_session_takes_the_place_of_an_earlier_one_only() {
        let peer = ReplicaId::new(2).unwrap();
        let number = SessionNumber::new;
        let mut sessions = Sessions::default();
        assert!(sessions.open(peer, number(5), 1));
        assert!(!sessions.open(peer, number(5), 1), "the same");
        assert!(!sessions.open(peer, number(4), 1), "an older one");
        sessions.close(peer, number(4));
        assert_eq!(sessions.peers(), [peer]);
        assert!(sessions.open(peer, number(6), 1));
        sessions.get_mut(peer).unwrap().end();
        assert!(sessions.get(peer).is_none() && sessions.peers().is_empty());
        assert!(!sessions.open(peer, number(6), 1), "it stays known until it is closed");
        sessions.close(peer, number(6));
        assert!(sessions.open(peer, number(1), 1), "numbers are compared among open ones alone");
    }
}
