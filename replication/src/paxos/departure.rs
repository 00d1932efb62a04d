//! The departure gate: when a message may leave (rules 7 and 8; O2).
//!
//! Strict: when the log is durable up to the cycle in which it was said. Eager, the default: an AcceptDecide may
//! leave before the leader's own write is durable, so that the followers' writes go on at the same time. What it says
//! to be decided must be durable here even so: a follower executes it, and the leader's vote was counted.

use super::durability::{CycleNumber, Facts};
use super::message::Message;
use super::rules::{Rule, Rules};
use super::sessions::Session;
use skink_engine::position::Instance;

/// When an AcceptDecide may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// As everything else: when what it says is durable.
    Strict,
    /// At once, if what it says is decided is durable.
    #[default]
    Eager,
}

/// A message, and the cycle that must be durable before it leaves.
#[derive(Debug)]
pub(super) struct Departing {
    pub(super) needs: CycleNumber,
    pub(super) message: Message,
}

/// What is durable, as the gate sees it.
pub(super) struct Durable<'f> {
    pub(super) facts: &'f Facts,
    /// The end of the durable log.
    pub(super) end: Instance,
}

impl Session {
    /// Whether a Promise of this ballot was not yet given in this session (rule 8). A second one would make the leader
    /// send a second sync, which writes again what was accepted after the first.
    pub(super) fn is_new_promise(&mut self, message: &Message, rules: Rules) -> bool {
        let Message::Promise { ballot, .. } = message else { return true };
        let is_new = self.promised != Some(*ballot) || !rules.hold(Rule::OnePromise);
        self.promised = Some(*ballot);
        is_new
    }

    /// Says something in the session: it leaves now or waits its turn.
    pub(super) fn say(&mut self, departing: Departing) {
        self.is_idle = false;
        self.outbound_weight += departing.message.weight();
        self.outbound.push_back(departing);
    }

    /// Takes out what may leave, in its order: nothing overtakes.
    pub(super) fn leaving(&mut self, durable: &Durable<'_>, gate: Gate, rules: Rules) -> Vec<Message> {
        let mut leaving = Vec::new();
        while let Some(departing) = self.outbound.front() {
            let is_durable = departing.needs <= durable.facts.cycle || !rules.hold(Rule::DurableBeforeSend);
            let may_leave = is_durable || gate == Gate::Eager && is_eager(&departing.message, durable, rules);
            if !may_leave {
                break;
            }
            let Some(Departing { message, .. }) = self.outbound.pop_front() else { break };
            self.outbound_weight -= message.weight();
            assert_durable(&message, durable.facts);
            leaving.push(message);
        }
        leaving
    }
}

fn is_eager(message: &Message, durable: &Durable<'_>, rules: Rules) -> bool {
    match message {
        Message::AcceptDecide { decided, .. } => *decided <= durable.end || !rules.hold(Rule::EagerBound),
        _ => false,
    }
}

/// O2: what a peer will rely on is durable.
fn assert_durable(message: &Message, facts: &Facts) {
    match message {
        Message::Prepare { ballot, .. } | Message::Promise { ballot, .. } | Message::AcceptSync { ballot, .. } => {
            assert!(facts.promise >= *ballot, "O2: a promise leaves when it is durable");
        }
        Message::Accepted { ballot, .. } => {
            assert!(facts.accepted_round >= *ballot, "O2: accepted entries are spoken of when they are durable");
        }
        _ => {}
    }
}
