//! Reads at this replica and at the leader: who asks whom. How the index comes about is in `read_index.rs`.

use super::configuration::{Ballot, ReplicaId};
use super::event::Effect;
use super::message::Message;
use super::protocol::Protocol;
use super::read_index::ReadId;

impl Protocol {
    pub(super) fn read_arrived(&mut self, read: ReadId) {
        if self.reads.add_own(read) {
            self.ask_for_index(read);
        } else {
            self.effects.push(Effect::RefuseRead { read });
        }
    }

    /// Asks whoever leads; nobody, if nobody is known to: it is repeated.
    fn ask_for_index(&mut self, read: ReadId) {
        match self.leader() {
            Some(leader) => self.say_aside(leader, Message::ReadRequest { read }),
            None => self.read_requested(None, read),
        }
    }

    fn read_requested(&mut self, from: Option<ReplicaId>, read: ReadId) {
        // What is decided by a vote of this leader that isn't durable was executed, and so acknowledged, by nobody yet.
        let decided = self.configuration.instance(self.log.lock().deliverable());
        if let Some(round) = self.reads.arrived(from, read, decided, self.options.rules) {
            self.begin_round(round);
        }
    }

    fn begin_round(&mut self, (ballot, round): (Ballot, u64)) {
        for peer in self.sessions.peers() {
            self.say_aside(peer, Message::ConfirmRequest { ballot, round });
        }
    }

    pub(super) fn repeat_reads(&mut self) {
        for read in self.reads.all_own() {
            self.ask_for_index(read);
        }
    }

    pub(super) fn tick_reads(&mut self) {
        let retry = self.options.ticks.retry;
        for read in self.reads.tick_own(retry) {
            self.ask_for_index(read);
        }
        if let Some(round) = self.reads.tick_leader(retry) {
            self.begin_round(round);
        }
    }

    /// Messages that don't go through the gates: they say nothing that must be durable.
    pub(super) fn aside(&mut self, peer: ReplicaId, message: Message) {
        match message {
            Message::SeedRequest { incarnation } => self.seed_requested(peer, incarnation),
            Message::Seed { incarnation, ballot } => self.seeded(incarnation, ballot),
            Message::ReadRequest { read } => self.read_requested(Some(peer), read),
            Message::ConfirmRequest { ballot, round } if ballot == self.role.promise => {
                self.say_aside(peer, Message::Confirm { ballot, round });
            }
            Message::Confirm { ballot, round } => self.reads.confirmed(peer, ballot, round),
            Message::ReadAnswer { read, index } if self.reads.answered(read) => {
                self.effects.push(Effect::ReadIndex { read, index });
            }
            _ => {}
        }
    }

    pub(super) fn answer_reads(&mut self) {
        let (ready, next) = self.reads.ready(self.configuration.majority(), self.options.rules);
        for waiting in ready {
            match waiting.from {
                Some(peer) => {
                    self.say_aside(peer, Message::ReadAnswer { read: waiting.read, index: waiting.index });
                }
                None if self.reads.answered(waiting.read) => {
                    self.effects.push(Effect::ReadIndex { read: waiting.read, index: waiting.index });
                }
                None => {}
            }
        }
        if let Some(round) = next {
            self.begin_round(round);
        }
    }
}
