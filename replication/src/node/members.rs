//! Members: one replica more or one less, on both sides of a stop sign (rule 15).
//!
//! ```text
//! change -> leader: stop sign -> ... executed -> a machine of the next configuration, in the same log
//!                                            '-> a cut: whoever missed the stop sign gets that checkpoint
//! ```
//!
//! A replica goes over when it has executed the stop sign, or with a checkpoint from behind it. From then on it takes no
//! part in what was before, so that it need not remember it. One that was cut off meanwhile hears from others that they
//! are further, and asks for a checkpoint; so does one that was added, which has nothing of before.

use super::message::PeerMessage;
use super::{Channel, Node, Output};
use crate::header::BatchId;
use crate::paxos::{
    Ballot, ChangeError, CheckpointFacts, Configuration, Event, MembershipChange, Protocol, ReplicaId, Request, Start,
    StopSign,
};
use skink_engine::error::Fault;
use skink_engine::position::{Instance, LogPosition};
use std::collections::{BTreeMap, HashMap};

/// Is told what became of a change: it is in force here, or why not.
pub type ChangeReply = Box<dyn FnOnce(Result<(), String>) + Send>;

/// Ticks after which a change that is not in force is handed in again.
const REPEAT: u64 = 50;
/// Ticks in which a replica that heard of a later configuration executes nothing, before it asks for a checkpoint: most
/// get there by themselves.
const PATIENCE: u64 = 100;
/// Ticks between two questions for a checkpoint.
const ASK: u64 = 50;

/// A change that somebody here waits for.
struct Pending {
    change: MembershipChange,
    reply: ChangeReply,
    since: u64,
}

/// What is under way with the members.
#[derive(Default)]
pub(super) struct Members {
    pending: Option<Pending>,
    /// Peers that take part in a later configuration, and which.
    ahead: BTreeMap<ReplicaId, u32>,
    /// What was executed when it was looked at last, and when that was.
    progress: (Instance, u64),
    asked: u64,
    tries: usize,
    /// Payloads in the log of configurations that are over: others may still ask for them.
    earlier_payloads: HashMap<BatchId, LogPosition>,
}

impl Members {
    pub(super) fn earlier_payload(&self, id: &BatchId) -> Option<LogPosition> {
        self.earlier_payloads.get(id).copied()
    }

    pub(super) fn forget_payloads(&mut self, before: LogPosition) {
        self.earlier_payloads.retain(|_, position| *position >= before);
    }
}

impl Node {
    /// The members in force here.
    pub fn configuration(&self) -> &Configuration {
        self.protocol.configuration()
    }

    /// Whether this replica was removed: it takes part no more.
    pub fn is_removed(&self) -> bool {
        !self.protocol.is_member()
    }

    /// Whether it should ask around which members there are: it reaches no majority, or nobody who leads.
    pub fn is_looking(&self) -> bool {
        let is_reached = |member: ReplicaId| member == self.own || self.sessions.contains_key(&member);
        let configuration = self.configuration();
        let reached = configuration.members().iter().filter(|member| is_reached(**member)).count();
        let is_led = reached >= configuration.majority() && self.leader().is_some_and(is_reached);
        !self.is_removed() && !is_led
    }

    // ---- changes ----

    /// Changes the members; the answer comes when that is in force here.
    pub fn change_members(&mut self, change: MembershipChange, reply: ChangeReply) {
        if let Some(refusal) = self.refusal() {
            return reply(Err(refusal.to_string()));
        }
        if self.members.pending.is_some() {
            return reply(Err(ChangeError::UnderWay.to_string()));
        }
        if let Err(error) = change.stop_sign(self.configuration()) {
            return reply(Err(error.to_string()));
        }
        self.members.pending = Some(Pending { change, reply, since: self.now });
        self.hand_in_change();
    }

    /// Hands the change to whoever leads.
    pub(super) fn hand_in_change(&mut self) {
        let Some(change) = self.members.pending.as_ref().map(|pending| pending.change.clone()) else { return };
        match self.leader() {
            Some(leader) if leader == self.own => {
                if let Err(error) = self.propose_change(&change) {
                    self.end_change(Err(error.to_string()));
                }
            }
            Some(leader) => self.send(leader, Channel::Control, &PeerMessage::Change(change)),
            // With the next leader.
            None => {}
        }
    }

    fn end_change(&mut self, result: Result<(), String>) {
        if let Some(pending) = self.members.pending.take() {
            self.outputs.push(Output::AnswerChange(pending.reply, result));
        }
    }

    fn propose_change(&mut self, change: &MembershipChange) -> Result<(), ChangeError> {
        if !self.leads() {
            return Err(ChangeError::NotLeader);
        }
        let next = change.stop_sign(self.configuration())?;
        match self.protocol.stop_sign() {
            // Handed in again.
            Some(stop_sign) if stop_sign == next => return Ok(()),
            Some(_) => return Err(ChangeError::UnderWay),
            None => {}
        }
        let has_vote = |member| member == self.own || self.statuses.has_vote(member);
        change.check_reach(&next, has_vote)?;
        tracing::info!(?change, configuration = next.configuration, "the members change");
        self.is_stirred = true;
        self.protocol.try_reconfigure(&next).map_err(|_| ChangeError::UnderWay)
    }

    /// A peer's client changes the members.
    pub(super) fn change_asked(&mut self, peer: ReplicaId, change: &MembershipChange) {
        let configuration = self.configuration().id();
        match self.propose_change(change) {
            // It is handed in again, to another one.
            Ok(()) | Err(ChangeError::NotLeader) => {}
            Err(error) => {
                let why = error.to_string();
                self.send(peer, Channel::Control, &PeerMessage::ChangeRefused { configuration, why });
            }
        }
    }

    /// The leader does not make the change. One that is in force there, and not here yet, is no answer.
    pub(super) fn change_refused(&mut self, configuration: u32, why: String) {
        if configuration == self.configuration().id() {
            self.end_change(Err(why));
        }
    }

    // ---- going over ----

    /// The last entry of a configuration was executed.
    pub(super) fn stop_sign_passed(&mut self, at: Instance, stop_sign: &StopSign) -> Result<(), Fault> {
        if stop_sign.configuration > self.configuration().id() {
            let Some(next) = Configuration::after(stop_sign, at) else {
                return Err(Fault::Refused(format!("the members after instance {at} can't be")));
            };
            self.go_over(next, None);
        }
        // A start may find several configurations in the log: only the last one can have a checkpoint.
        if self.configuration().start() == at {
            self.cut(at, Vec::new());
        }
        Ok(())
    }

    /// Takes part in a later configuration from now on: everything before it was executed, or a checkpoint of it
    /// installed, or this replica has no vote in any.
    pub(super) fn go_over(&mut self, next: Configuration, checkpoint: Option<CheckpointFacts>) {
        let incarnation = self.incarnation;
        let start = if self.protocol.is_silent() { Start::Lost { incarnation } } else { Start::Known { incarnation } };
        let leader = self.leader();
        let members: Vec<String> = next.members().iter().map(ToString::to_string).collect();
        tracing::info!(configuration = next.id(), members = members.join(", "), "the members have changed");
        self.members.earlier_payloads.extend(self.protocol.take_payloads());
        let state = self.protocol.successor(next, checkpoint);
        self.protocol = Protocol::start(self.own, start, state, self.options.order);
        self.outputs.push(Output::MembersChanged(self.configuration().clone()));
        let own = self.configuration().id();
        self.members.ahead.retain(|_, configuration| *configuration > own);
        self.inbox.clear();
        // Ballots of different members can't be compared.
        self.proposed_in = Ballot::NONE;
        for (peer, session) in self.sessions.clone() {
            let (session, incarnation) = (session.number, session.incarnation);
            self.protocol.handle(Event::Connected { peer, session, incarnation });
        }
        if self.is_removed() {
            self.refuse_all();
        } else {
            for read in self.reads.unanswered().into_iter().chain(self.down) {
                self.protocol.handle(Event::ReadArrived { read });
            }
            if checkpoint.is_none() {
                self.campaign_first(leader);
            }
        }
        if self.members.pending.as_ref().is_some_and(|pending| pending.change.is_in_force(self.configuration())) {
            self.end_change(Ok(()));
        }
        self.is_stirred = true;
    }

    /// Who led goes on leading, or else the first member: an election would take some timeouts.
    fn campaign_first(&mut self, leader: Option<ReplicaId>) {
        let members = self.configuration().members();
        let first = leader.filter(|leader| members.contains(leader)).or(members.first().copied());
        if leader.is_some() && first == Some(self.own) {
            self.protocol.campaign();
        }
    }

    /// A peer takes part in this configuration.
    pub(super) fn heard_of(&mut self, peer: ReplicaId, configuration: u32) {
        if configuration > self.configuration().id() && !self.is_removed() {
            if self.members.ahead.is_empty() {
                self.members.progress = (self.executed(), self.now);
            }
            self.members.ahead.insert(peer, configuration);
        }
    }

    /// Another replica tells which members there are. Answers with whether to go over to them at once: this replica has no
    /// vote yet, so that it may. It must be durable that it is a member of them before it does.
    pub fn discovered(&mut self, peer: ReplicaId, configuration: &Configuration) -> bool {
        if configuration.id() <= self.configuration().id() || self.is_removed() {
            return false;
        }
        if !configuration.has_member(self.own) {
            tracing::error!(%peer, "this replica was removed from the cluster while it was away");
            self.go_over(configuration.clone(), None);
            return false;
        }
        self.heard_of(peer, configuration.id());
        self.protocol.is_silent()
    }

    /// Goes over to members, without having a vote in anything.
    pub fn join(&mut self, configuration: Configuration) {
        if self.protocol.is_silent() && configuration.id() > self.configuration().id() {
            self.go_over(configuration, None);
        }
    }

    // ---- time ----

    pub(super) fn tick_members(&mut self) {
        if let Some(since) = self.members.pending.as_ref().map(|pending| pending.since) {
            let waited = self.now.saturating_sub(since);
            if waited >= self.options.ticks(self.options.request_timeout) {
                let ms = self.options.request_timeout.as_millis();
                self.end_change(Err(format!(
                    "the change was not in force here within {ms} ms; it may still come: see SHOW REPLICAS"
                )));
            } else if waited.is_multiple_of(REPEAT) {
                self.hand_in_change();
            }
        }
        self.ask_for_state();
    }

    /// Asks for a checkpoint where the log alone leads nowhere.
    fn ask_for_state(&mut self) {
        if self.is_removed() || self.protocol.is_silent() || self.transfers.is_receiving() {
            return;
        }
        let start = self.configuration().start();
        let (at_least, peers): (Instance, Vec<ReplicaId>) = if self.lacks_start() {
            (start, self.sessions.keys().copied().collect())
        } else if !self.members.ahead.is_empty() {
            if self.members.progress.0 != self.executed() {
                self.members.progress = (self.executed(), self.now);
            }
            if self.now.saturating_sub(self.members.progress.1) < PATIENCE {
                return;
            }
            let ahead = self.members.ahead.keys().filter(|peer| self.sessions.contains_key(*peer));
            (self.executed().next(), ahead.copied().collect())
        } else {
            return;
        };
        let is_due = self.now.saturating_sub(self.members.asked) >= ASK;
        if let Some(peer) = peers.get(self.members.tries % peers.len().max(1)).copied().filter(|_| is_due) {
            (self.members.asked, self.members.tries) = (self.now, self.members.tries + 1);
            self.send(peer, Channel::Control, &PeerMessage::Ask(Request::Checkpoint { at_least }));
        }
    }

    /// Whether the state up to the start of the configuration is missing: this replica was added.
    pub(super) fn lacks_start(&self) -> bool {
        self.executed() < self.configuration().start() && !self.execution.goes_on()
    }
}
