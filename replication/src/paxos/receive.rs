//! From sessions to the object: queues, the receive gate, and what the machine adds to the object's own handling.

use super::admission::{Fit, Verdict, View};
use super::configuration::ReplicaId;
use super::message::{Envelope, Heartbeat, Message, Request, Sign};
use super::object::{self, Object};
use super::protocol::Protocol;
use super::rules::Rule;
use super::sessions::SessionNumber;
use crate::header::BatchId;
use skink_engine::position::Instance;
use std::collections::BTreeMap;

/// Ballots that a leader takes at once to get above another one. What is further up takes another message.
const MAX_OUTBIDS: usize = 64;
/// Payloads of the first of these decided headers are asked for. More would come in one flood, which the replica and those
/// that send them would have to deal with before anything else.
const MAX_INCOMPLETE: usize = 32;

impl Protocol {
    pub(super) fn connected(&mut self, peer: ReplicaId, session: SessionNumber, incarnation: u64) {
        if peer == self.own || !self.configuration.members().contains(&peer) {
            return;
        }
        // What the object said before belongs to the session before.
        self.collect();
        if !self.sessions.open(peer, session, incarnation) {
            return;
        }
        if self.is_admitted(peer, session, incarnation) && self.options.rules.hold(Rule::Reconnected) {
            self.with_object(|object| object.reconnected(peer.pid()));
        }
        self.session_opened(peer);
        if self.leader() == Some(peer) {
            // What it was asked before it could be reached is lost.
            self.repeat_reads();
        }
    }

    pub(super) fn received(&mut self, peer: ReplicaId, envelope: Envelope) {
        let Envelope { configuration, session, message } = envelope;
        let rules = self.options.rules;
        let Some(open) = self.sessions.get_mut(peer) else { return };
        let is_stale = open.number != session && rules.hold(Rule::DropStale);
        if configuration != self.configuration.id() || is_stale {
            return;
        }
        if !message.is_possible(peer, &self.configuration) {
            return self.restart_session(peer, "an impossible message");
        }
        if !message.is_ordered() {
            return self.aside(peer, message);
        }
        if self.object.is_none() {
            return;
        }
        self.hear(peer);
        let is_ahead = matches!(message, Message::Prepare { .. }) && rules.hold(Rule::PrepareOvertakes);
        if is_ahead {
            self.hand_over(peer, message);
        } else if let Some(open) = self.sessions.get_mut(peer) {
            open.push_inbound(message);
            if open.inbound_weight > self.options.max_held {
                return self.restart_session(peer, "too much waits for payloads");
            }
        }
        self.pump();
    }

    /// Hands over what may be, until nothing more may.
    pub(super) fn pump(&mut self) {
        loop {
            let mut has_moved = false;
            for peer in self.sessions.peers() {
                while let Some(message) = self.next_inbound(peer) {
                    self.hand_over(peer, message);
                    has_moved = true;
                }
            }
            if !has_moved {
                return;
            }
        }
    }

    fn next_inbound(&mut self, peer: ReplicaId) -> Option<Message> {
        let rules = self.options.rules;
        let state = self.log.lock();
        let view = View { role: self.role, state: &state, configuration: &self.configuration, rules };
        let session = self.sessions.get_mut(peer)?;
        let is_free = |message: &Message| view.judge(message) == Verdict::HandOver;
        if !rules.hold(Rule::WaitInOrder)
            && let Some(at) = session.inbound.iter().position(is_free)
        {
            let message = session.inbound.remove(at)?;
            session.inbound_weight -= message.weight();
            return Some(message);
        }
        is_free(session.inbound.front()?).then(|| session.pop_inbound())?
    }

    fn hand_over(&mut self, peer: ReplicaId, message: Message) {
        let rules = self.options.rules;
        if let Message::Prepare { .. } = message
            && let Some(session) = self.sessions.get_mut(peer)
        {
            session.promised = None;
        }
        let fit = {
            let state = self.log.lock();
            View { role: self.role, state: &state, configuration: &self.configuration, rules }.fit(message)
        };
        let message = match fit {
            Fit::Message(message) => message,
            Fit::TooShort => return self.with_object(|object| object.reconnected(peer.pid())),
            Fit::Impossible(what) => return self.restart_session(peer, what),
            Fit::Over => return,
        };
        // Rule 11: a follower that promised to a candidate that died takes no part until a leader is above that.
        let above = match message {
            Message::PrepareRequest { ballot } if rules.hold(Rule::OutbidRequest) => Some(ballot),
            Message::NotAccepted { ballot } if rules.hold(Rule::OutbidRefusal) => Some(ballot),
            Message::Probe { ballot, accepted, decided } => {
                return self.probed(peer, ballot == self.role.promise, accepted, decided);
            }
            _ => None,
        };
        let has_led = self.role.leads;
        let is_of_accept_phase =
            matches!(message, Message::AcceptDecide { .. } | Message::Accepted { .. } | Message::Decide { .. });
        let Some(message) = object::to_object(message, peer, self.own, &self.configuration) else { return };
        self.with_object(|object| object.handle_incoming(message));
        if let Some(above) = above.filter(|_| has_led) {
            for _ in 0..MAX_OUTBIDS {
                if self.role.promise >= above {
                    break;
                }
                self.with_object(Object::try_become_leader);
            }
        }
        // Until its messages are taken, the object adds new entries to the last AcceptDecide, even if a sync without
        // them stands behind that one: the follower's log would lack them, and go on.
        if !is_of_accept_phase && rules.hold(Rule::TakeBetween) {
            self.collect();
        }
    }

    /// Rule 12: all that the leader sent before has arrived. If it speaks of more, something was lost.
    fn probed(&mut self, peer: ReplicaId, is_followed: bool, accepted: Instance, decided: Instance) {
        let is_behind = !self.role.accepts || self.accepted() < accepted || self.decided() < decided;
        let has_said_all = self.sessions.get(peer).is_some_and(|session| session.outbound.is_empty());
        if is_followed && is_behind && has_said_all {
            self.with_object(|object| object.reconnected(peer.pid()));
        }
    }

    pub(super) fn heartbeat_received(&mut self, peer: ReplicaId, heartbeat: Heartbeat) {
        let Heartbeat { configuration, sign } = heartbeat;
        let is_member = peer != self.own && self.configuration.members().contains(&peer);
        if configuration != self.configuration.id() || !is_member || self.sessions.get(peer).is_none() {
            return;
        }
        if let Sign::Reply { round, ballot, leader, .. } = sign {
            let is_possible = self.configuration.has_ballot(ballot) && self.configuration.has_ballot(leader);
            if !is_possible || ballot.replica() != Some(peer) || self.heard.insert(peer, round) == Some(round) {
                return;
            }
        }
        let message = object::sign_to_object(sign, peer, self.own, &self.configuration);
        self.with_object(|object| object.handle_incoming(message));
    }

    /// Asks for what holds this replica up.
    pub(super) fn ask(&mut self) {
        let mut needs = Vec::new();
        {
            let rules = self.options.rules;
            let state = self.log.lock();
            let view = View { role: self.role, state: &state, configuration: &self.configuration, rules };
            for peer in self.sessions.peers() {
                let Some(front) = self.sessions.get(peer).and_then(|session| session.inbound.front()) else { continue };
                match view.judge(front) {
                    Verdict::HandOver => {}
                    Verdict::NeedsCheckpoint(at_least) => needs.push((Request::Checkpoint { at_least }, Some(peer))),
                    Verdict::NeedsPayloads(missing) => needs.extend(
                        missing.into_iter().map(|(id, instance)| (Request::Payload { id, instance }, Some(peer))),
                    ),
                }
            }
            let first = self.role.promise.replica().filter(|leader| *leader != self.own);
            let incomplete = first_incomplete(&mut self.incomplete, |id| state.payload(id).is_some());
            needs.extend(incomplete.into_iter().map(|(instance, id)| (Request::Payload { id, instance }, first)));
        }
        if needs.is_empty() && !self.fetch.is_waiting() {
            return;
        }
        let questions = self.fetch.needed(needs, &self.sessions.peers(), self.options.ticks.retry);
        self.effects.extend(questions.into_iter().map(|(peer, request)| super::Effect::Ask { peer, request }));
    }
}

/// The first payloads that are missing. What has come meanwhile is taken out as far as this looks, not everywhere: a
/// replica that was away for some seconds misses tens of thousands, and this is asked many times in each cycle.
fn first_incomplete(
    incomplete: &mut BTreeMap<Instance, BatchId>,
    is_here: impl Fn(&BatchId) -> bool,
) -> Vec<(Instance, BatchId)> {
    let mut first = Vec::new();
    let mut complete = Vec::new();
    for (instance, id) in incomplete.iter() {
        if is_here(id) {
            complete.push(*instance);
        } else {
            first.push((*instance, *id));
        }
        if first.len() == MAX_INCOMPLETE {
            break;
        }
    }
    for instance in complete {
        incomplete.remove(&instance);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, BatchId, Instance, MAX_INCOMPLETE, first_incomplete};
    use std::cell::Cell;

    #[test]
    fn what_is_missing_is_found_without_a_look_at_all_of_it() {
        let at = |number| Instance::new(number).unwrap();
        let id = |sequence| BatchId { proxy: 1, incarnation: 1, sequence };
        let many = 100_000;
        let mut incomplete: BTreeMap<Instance, BatchId> = (1..=many).map(|number| (at(number), id(number))).collect();
        let looks = Cell::new(0);
        let mut first = |here: u64| {
            looks.set(0);
            let is_here = |id: &BatchId| {
                looks.set(looks.get() + 1);
                id.sequence <= here || id.sequence == many
            };
            (first_incomplete(&mut incomplete, is_here), looks.get())
        };
        let (missing, looked) = first(10);
        assert_eq!((missing.first(), missing.len()), (Some(&(at(11), id(11))), MAX_INCOMPLETE));
        assert_eq!(looked, MAX_INCOMPLETE + 10);
        assert_eq!(first(10), (missing, MAX_INCOMPLETE), "what has come is looked at once");
        assert!(first(many).0.is_empty());
        assert!(incomplete.is_empty());
    }
}
