//! From the object to sessions: the departure gate at work, and the end of a cycle.

use super::configuration::ReplicaId;
use super::departure::{Departing, Durable};
use super::durability::CycleNumber;
use super::event::Effect;
use super::message::{Envelope, Heartbeat, Message};
use super::object::{Outgoing, from_object};
use super::protocol::Protocol;
use super::rules::Rule;

impl Protocol {
    /// Takes what the object wants to send. It relies on the state as it is now.
    pub(super) fn collect(&mut self) {
        let mut outgoing = Vec::new();
        if let Some(object) = &mut self.object {
            object.take_outgoing_messages(&mut outgoing);
        }
        if outgoing.is_empty() {
            return;
        }
        let needs = self.log.lock().present_cycle();
        // Rule 13: who can't write can't lead, and must not look as if it could.
        let is_stalled =
            self.liveness.is_stalled(&self.options.ticks) && self.options.rules.hold(Rule::SilentWhenStalled);
        let is_silent = is_stalled || self.is_incomplete;
        for message in outgoing {
            match from_object(message, &self.configuration) {
                Some((peer, Outgoing::Ordered(message))) => self.say_after(peer, message, needs),
                Some((peer, Outgoing::Sign(sign))) if !is_silent => {
                    let heartbeat = Heartbeat { configuration: self.configuration.id(), sign };
                    self.effects.push(Effect::SendHeartbeat { peer, heartbeat });
                }
                Some((_, Outgoing::Sign(_))) | None => {}
            }
        }
    }

    pub(super) fn say_after(&mut self, peer: ReplicaId, message: Message, needs: CycleNumber) {
        let (rules, max_held) = (self.options.rules, self.options.max_held);
        // Without a session nothing is said: the object starts again with the next one.
        let Some(session) = self.sessions.get_mut(peer) else { return };
        if !session.is_new_promise(&message, rules) {
            return;
        }
        session.say(Departing { needs, message });
        if session.outbound_weight > max_held {
            self.restart_session(peer, "too much waits for the log");
        }
    }

    /// Says something beside the gates.
    pub(super) fn say_aside(&mut self, peer: ReplicaId, message: Message) {
        let configuration = self.configuration.id();
        if let Some(session) = self.sessions.get(peer) {
            let envelope = Envelope { configuration, session: session.number, message };
            self.effects.push(Effect::Send { peer, envelope });
        }
    }

    pub(super) fn restart_session(&mut self, peer: ReplicaId, reason: &'static str) {
        if let Some(session) = self.sessions.get_mut(peer) {
            session.end();
            self.effects.push(Effect::RestartSession { peer, session: session.number, reason });
        }
    }

    /// Rule 2: one frame for all that the cycle changed.
    pub(super) fn close_cycle(&mut self) {
        let closed = self.log.lock().close_cycle();
        if let Some((cycle, frames)) = closed {
            self.effects.extend(frames.into_iter().map(|frame| Effect::Append { cycle, frame }));
        }
    }

    /// Lets go what may leave.
    pub(super) fn release(&mut self) {
        let (rules, gate, configuration) = (self.options.rules, self.options.gate, self.configuration.id());
        let facts = *self.log.lock().durability().durable();
        let durable = Durable { facts: &facts, end: self.configuration.instance(facts.len) };
        for peer in self.sessions.peers() {
            let Some(session) = self.sessions.get_mut(peer) else { continue };
            let number = session.number;
            for message in session.leaving(&durable, gate, rules) {
                let envelope = Envelope { configuration, session: number, message };
                self.effects.push(Effect::Send { peer, envelope });
            }
        }
    }

    /// Rule 12: tells those to whom nothing was said for a while how far this leader is.
    pub(super) fn probe(&mut self) {
        // What the object has to say goes first, and makes the probe needless.
        self.collect();
        let probe = Message::Probe { ballot: self.role.promise, accepted: self.accepted(), decided: self.decided() };
        for peer in self.sessions.peers() {
            let Some(session) = self.sessions.get_mut(peer) else { continue };
            if std::mem::replace(&mut session.is_idle, true) && session.outbound.is_empty() {
                self.say(peer, probe.clone());
                if let Some(session) = self.sessions.get_mut(peer) {
                    session.is_idle = true;
                }
            }
        }
    }
}
