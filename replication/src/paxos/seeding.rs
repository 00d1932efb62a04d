//! Lost disks (rule 14; O4): a replica that has forgotten its votes takes no part until they can't matter.
//!
//! ```text
//! lost replica: silent ---- SeedRequest ----> leader: takes a new ballot, proposes a barrier
//!                                             majority without the lost one: decides it
//!               promises that ballot <- Seed - leader
//! ```
//!
//! Whatever the lost disk had voted for is then in the log of a majority without it, in a ballot that is at least the
//! one it promises now. It has no accepted round, so that its log counts least; entries come with the next sync.

use super::configuration::{Ballot, ReplicaId};
use super::entry::{Barrier, Entry};
use super::event::Effect;
use super::message::Message;
use super::object::Object;
use super::protocol::Protocol;
use super::rules::Rule;
use super::sessions::SessionNumber;
use std::collections::BTreeMap;

/// A barrier on its way.
#[derive(Debug)]
struct Asked {
    incarnation: u64,
    /// The ballot that was taken for it.
    ballot: Ballot,
    /// The ballot in which it was proposed last.
    proposed: Option<Ballot>,
}

/// Who waits for a barrier.
#[derive(Debug)]
pub(super) struct Seeding {
    /// This replica does, to come back with this incarnation.
    awaits: Option<u64>,
    age: u64,
    asked: BTreeMap<ReplicaId, Asked>,
}

impl Seeding {
    pub(super) fn new(awaits: Option<u64>) -> Seeding {
        Seeding { awaits, age: 0, asked: BTreeMap::new() }
    }
}

impl Protocol {
    /// Whether this replica is silent: sessions say so of it.
    pub fn is_silent(&self) -> bool {
        self.seeding.awaits.is_some()
    }

    /// Whether a session with a peer may go on: its disk is not one that came back from before a barrier.
    pub(super) fn is_admitted(&mut self, peer: ReplicaId, session: SessionNumber, incarnation: u64) -> bool {
        let known = self.log.lock().incarnation(peer);
        match known.filter(|known| *known > incarnation && self.options.rules.hold(Rule::Barrier)) {
            Some(known) => {
                self.effects.push(Effect::RefusePeer { peer, known });
                self.sessions.close(peer, session);
                false
            }
            None => true,
        }
    }

    /// A peer speaks as one who has a vote. A replica that lost its disk does not before it is seeded: so this disk is
    /// the one that counts, even if the barrier was not delivered here yet. Only what comes in a session says so: a late
    /// heartbeat may be one of the old disk's.
    pub(super) fn hear(&mut self, peer: ReplicaId) {
        if let Some(session) = self.sessions.get(peer) {
            let mut state = self.log.lock();
            if state.incarnation(peer) < Some(session.incarnation) {
                state.set_incarnation(peer, session.incarnation);
            }
        }
    }

    pub(super) fn session_opened(&mut self, peer: ReplicaId) {
        if let Some(incarnation) = self.seeding.awaits {
            self.say_aside(peer, Message::SeedRequest { incarnation });
        }
    }

    pub(super) fn tick_seeding(&mut self) {
        let Some(incarnation) = self.seeding.awaits else { return };
        self.seeding.age += 1;
        if self.seeding.age.is_multiple_of(self.options.ticks.retry) {
            for peer in self.sessions.peers() {
                self.say_aside(peer, Message::SeedRequest { incarnation });
            }
        }
    }

    // ---- at the leader ----

    pub(super) fn seed_requested(&mut self, peer: ReplicaId, incarnation: u64) {
        let is_sessions = self.sessions.get(peer).is_some_and(|session| session.incarnation == incarnation);
        if !is_sessions || !self.role.leads || !self.role.accepts {
            return;
        }
        let known = self.log.lock().incarnation(peer);
        if known == Some(incarnation) {
            // The barrier is decided. Every ballot since then was taken without the replica.
            return self.say_aside(peer, Message::Seed { incarnation, ballot: self.role.promise });
        }
        if known > Some(incarnation) {
            return;
        }
        if self.seeding.asked.get(&peer).is_some_and(|asked| asked.incarnation == incarnation) {
            return;
        }
        // What the old disk promised or accepted may be counted in the present ballot.
        self.with_object(Object::try_become_leader);
        self.seeding.asked.insert(peer, Asked { incarnation, ballot: self.role.promise, proposed: None });
    }

    /// Proposes the barriers that were asked for.
    pub(super) fn seed(&mut self) {
        if self.seeding.asked.is_empty() {
            return;
        }
        if !self.role.leads {
            // Whoever leads now is asked, too.
            return self.seeding.asked.clear();
        }
        let ballot = self.role.promise;
        let is_due = |asked: &Asked| asked.ballot <= ballot && asked.proposed != Some(ballot);
        let due = self.seeding.asked.iter().filter(|(_, asked)| is_due(asked));
        let due: Vec<Barrier> =
            due.map(|(replica, asked)| Barrier { replica: *replica, incarnation: asked.incarnation }).collect();
        for barrier in due {
            let is_proposed = self.role.accepts && self.propose(Entry::Barrier(barrier)).is_ok();
            if let Some(asked) = self.seeding.asked.get_mut(&barrier.replica).filter(|_| is_proposed) {
                asked.proposed = Some(ballot);
            }
        }
    }

    /// A barrier is decided, and durable here.
    pub(super) fn barrier_delivered(&mut self, barrier: Barrier) {
        let Barrier { replica, incarnation } = barrier;
        if self.log.lock().incarnation(replica) >= Some(incarnation) {
            return;
        }
        self.log.lock().set_incarnation(replica, incarnation);
        self.seeding.asked.remove(&replica);
        if self.sessions.get(replica).is_some_and(|session| session.incarnation < incarnation) {
            self.restart_session(replica, "its disk is an old one");
        }
        if self.role.leads && self.role.accepts {
            self.seed_requested(replica, incarnation);
        }
    }

    // ---- at the replica that lost its disk ----

    pub(super) fn seeded(&mut self, incarnation: u64, ballot: Ballot) {
        if self.seeding.awaits != Some(incarnation) {
            return;
        }
        self.seeding.awaits = None;
        self.log.lock().set_promise(ballot);
        self.rebuild();
        // What was said to it before was not heard.
        for peer in self.sessions.peers() {
            self.with_object(|object| object.reconnected(peer.pid()));
        }
    }
}
