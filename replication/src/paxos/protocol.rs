//! The machine: events in, effects out.
//!
//! ```text
//! Tick, Received, Durable, Proposed, ... -> Protocol -> Append, Send, Deliver, Ask, ...
//!                                             |  receive gate -> object -> departure gate
//!                                             |                   |
//!                                             |              ordering state -> frame of the cycle
//! ```
//!
//! What gathers between two calls of [`Protocol::take_effects`] is one cycle. The runtime does the effects in their
//! order and reports back; a call with the same events gives the same effects.

use super::admission::Role;
use super::configuration::{Ballot, Configuration, ReplicaId};
use super::departure::Gate;
use super::entry::Entry;
use super::event::{Delivered, DeliveredContent, Effect, Event, Leadership};
use super::fetch::Fetch;
use super::liveness::{Liveness, Ticks};
use super::message::Message;
use super::object::{self, Object};
use super::read_index::Reads;
use super::rules::{Rule, Rules};
use super::seeding::Seeding;
use super::sessions::Sessions;
use super::state::{DurableState, LogState};
use super::storage::LogHandle;
use crate::header::BatchId;
use skink_engine::position::Instance;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How it shall behave.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Times.
    pub ticks: Ticks,
    /// When an AcceptDecide may leave.
    pub gate: Gate,
    /// Entries below the own checkpoint that are kept for replicas that are a little behind.
    pub kept_entries: usize,
    /// Most entries that are accepted and not decided (rule 10).
    pub max_undecided: usize,
    /// Most bytes of their payloads.
    pub max_undecided_bytes: u64,
    /// Most entries that a session holds in one direction; beyond that it ends, and a sync takes their place.
    pub max_held: usize,
    /// Which rules hold.
    pub rules: Rules,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ticks: Ticks::default(),
            gate: Gate::default(),
            kept_entries: 1024,
            max_undecided: 1024,
            max_undecided_bytes: 64 << 20,
            max_held: 1 << 18,
            rules: Rules::default(),
        }
    }
}

/// How a replica comes to its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With its disk, or as a member from the beginning.
    Known {
        /// What its disk is known by.
        incarnation: u64,
    },
    /// Without the disk that it once had, or may have had (rule 14).
    Lost {
        /// What its new disk is to be known by: more than any before.
        incarnation: u64,
    },
}

/// The protocol side of a replica.
pub struct Protocol {
    pub(super) own: ReplicaId,
    pub(super) configuration: Arc<Configuration>,
    pub(super) options: Options,
    pub(super) log: LogHandle,
    /// None while the replica is silent (rule 14).
    pub(super) object: Option<Object>,
    pub(super) role: Role,
    /// The promise that the object began with. One that was given to this replica itself makes it no leader any more.
    begun_with: Ballot,
    pub(super) sessions: Sessions,
    pub(super) reads: Reads,
    pub(super) fetch: Fetch,
    pub(super) liveness: Liveness,
    pub(super) seeding: Seeding,
    /// The last round in which each peer's heartbeat counted: one that is repeated counts once.
    pub(super) heard: BTreeMap<ReplicaId, u32>,
    /// Length of the newest own checkpoint.
    pub(super) checkpoint: usize,
    /// Up to here everything was delivered.
    pub(super) delivered: usize,
    /// Delivered headers whose payload isn't here.
    pub(super) incomplete: BTreeMap<Instance, BatchId>,
    /// Payloads up to here are not needed.
    pub(super) skipped: Instance,
    pub(super) effects: Vec<Effect>,
    leadership: Leadership,
    is_pump_due: bool,
    /// It has no state to execute on, and so must not lead (R3).
    pub(super) is_incomplete: bool,
}

impl Protocol {
    /// A replica, with what its log and its checkpoint say. Nothing is sent before sessions are open.
    pub fn start(own: ReplicaId, start: Start, mut state: DurableState, options: Options) -> Protocol {
        let earlier = state.take_earlier();
        let configuration = Arc::new(state.configuration.clone());
        let checkpoint = state.checkpoint;
        let (incarnation, is_lost) = match start {
            Start::Known { incarnation } => (incarnation, false),
            Start::Lost { incarnation } => (incarnation, state.promise == Ballot::NONE),
        };
        let log = LogHandle::new(LogState::new(state, options.rules), Arc::clone(&configuration));
        let is_member = configuration.has_member(own);
        if is_member {
            log.lock().note_incarnation(own, incarnation);
        }
        let is_silent = is_member && is_lost && options.rules.hold(Rule::Barrier);
        let mut protocol = Protocol {
            own,
            configuration,
            options,
            log,
            object: None,
            role: Role { promise: Ballot::NONE, leads: false, accepts: false },
            begun_with: Ballot::NONE,
            sessions: Sessions::default(),
            reads: Reads::default(),
            fetch: Fetch::default(),
            liveness: Liveness::default(),
            seeding: Seeding::new(is_silent.then_some(incarnation)),
            heard: BTreeMap::new(),
            checkpoint,
            delivered: checkpoint,
            incomplete: BTreeMap::new(),
            skipped: Instance::ZERO,
            effects: Vec::new(),
            leadership: Leadership::Unknown,
            is_pump_due: false,
            is_incomplete: false,
        };
        if !earlier.is_empty() {
            let incomplete = earlier.iter().filter_map(|entry| Some((entry.instance, entry.lacks_payload()?)));
            protocol.incomplete.extend(incomplete);
            protocol.effects.push(Effect::Deliver(earlier));
        }
        if !is_silent {
            protocol.rebuild();
        }
        protocol
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Connected { peer, session, incarnation } => self.connected(peer, session, incarnation),
            Event::Disconnected { peer, session } => {
                self.collect();
                self.sessions.close(peer, session);
            }
            Event::Received { peer, envelope } => self.received(peer, envelope),
            Event::HeartbeatReceived { peer, heartbeat } => self.heartbeat_received(peer, heartbeat),
            Event::Asked { peer, request } => self.asked(peer, request),
            Event::Proposed { header } => self.proposed(header),
            Event::PayloadStored { id, position } => {
                self.log.lock().add_payload(id, position);
                self.is_pump_due = true;
            }
            Event::Durable { cycle } => self.log.lock().advance_durable(cycle),
            Event::ReadArrived { read } => self.read_arrived(read),
            Event::Cut { log_position } => self.log.lock().set_read_from(log_position),
            Event::CheckpointTaken { instance } => self.checkpoint_taken(instance),
            Event::CheckpointInstalled { checkpoint } => self.checkpoint_installed(checkpoint),
            Event::LogDropped { before } => self.log.lock().forget_payloads(before),
            Event::Reconfigured { next } => self.reconfigured(&next),
        }
    }

    /// Ends the cycle: what must be done now.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        if std::mem::take(&mut self.is_pump_due) {
            self.pump();
        }
        self.deliver();
        self.seed();
        self.answer_reads();
        self.collect();
        self.close_cycle();
        self.release();
        self.ask();
        self.note_leadership();
        std::mem::take(&mut self.effects)
    }

    /// The last instance that is decided, as far as this replica knows.
    pub fn decided(&self) -> Instance {
        self.configuration.instance(self.log.lock().decided())
    }

    /// The last instance that is accepted here.
    pub fn accepted(&self) -> Instance {
        self.configuration.instance(self.log.lock().len())
    }

    /// The ballot that this replica takes part in.
    pub fn promise(&self) -> Ballot {
        self.role.promise
    }

    /// Batches that have a place in the log behind this instance, decided or not, in their order.
    pub fn ids_after(&self, instance: Instance) -> Vec<BatchId> {
        let state = self.log.lock();
        let from = self.configuration.len_at(instance).unwrap_or(0);
        let headers = state.entries_from(from).filter_map(|entry| match entry {
            Entry::Header(header) => Some(header.id),
            Entry::Barrier(_) => None,
        });
        headers.collect()
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        match self.role {
            Role { leads: true, accepts: true, .. } => Leadership::Leads,
            Role { leads: true, accepts: false, .. } => Leadership::Prepares,
            Role { .. } => self.leader().map_or(Leadership::Unknown, Leadership::Follows),
        }
    }

    /// The configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    // ---- the object ----

    /// A new object over the ordering state, as after a crash.
    pub(super) fn rebuild(&mut self) {
        if !self.is_member() {
            return;
        }
        let Ticks { election, resend, .. } = self.options.ticks;
        self.object = Some(object::build(self.own, &self.configuration, election, resend, self.log.clone()));
        self.begun_with = self.log.lock().promise();
        self.heard.clear();
        self.observe();
    }

    /// Calls the object, and sees what became of it.
    pub(super) fn with_object(&mut self, call: impl FnOnce(&mut Object)) {
        if let Some(object) = &mut self.object {
            call(object);
            self.observe();
        }
    }

    fn observe(&mut self) {
        let Some(object) = &self.object else { return };
        let promise = Ballot::from_object(object.get_promise());
        let leads = promise.replica() == Some(self.own) && promise != self.begun_with;
        let accepts = object.get_current_leader().is_some_and(|(_, accepts)| accepts);
        self.role = Role { promise, leads, accepts };
        let accepted = self.configuration.instance(object.get_accepted_idx());
        self.reads.observe((leads && accepts).then_some(promise), accepted);
    }

    fn note_leadership(&mut self) {
        let leadership = self.leadership();
        if leadership != self.leadership {
            self.leadership = leadership;
            self.effects.push(Effect::LeadershipChanged(leadership));
            self.repeat_reads();
        }
    }

    // ---- time ----

    fn tick(&mut self) {
        let (ticks, rules) = (self.options.ticks, self.options.rules);
        self.with_object(Object::tick);
        self.fetch.tick();
        let due = self.liveness.tick(self.role, self.log.lock().durability(), &ticks);
        if due.ask_again && rules.hold(Rule::AskAgain) {
            for peer in self.sessions.peers() {
                self.with_object(|object| object.reconnected(peer.pid()));
            }
        }
        if due.probe && rules.hold(Rule::Probe) {
            self.probe();
        }
        self.tick_reads();
        self.tick_seeding();
    }

    // ---- what is decided ----

    fn deliver(&mut self) {
        let mut delivered = Vec::new();
        let state = self.log.lock();
        while self.delivered < state.deliverable() {
            let instance = self.configuration.instance(self.delivered + 1);
            let (content, cycle) = match (state.entry(self.delivered), state.stop_sign()) {
                (Some((Entry::Header(header), cycle)), _) => {
                    let id = state.entry(self.delivered).and_then(|(entry, _)| entry.payload());
                    let payload = id.and_then(|id| state.payload(&id));
                    if let (Some(id), None) = (id, payload)
                        && instance > self.skipped
                    {
                        self.incomplete.insert(instance, id);
                    }
                    (DeliveredContent::Header { header: Arc::clone(header), payload }, cycle)
                }
                (Some((Entry::Barrier(barrier), cycle)), _) => (DeliveredContent::Barrier(*barrier), cycle),
                (None, Some(stop_sign)) => {
                    (DeliveredContent::StopSign(stop_sign.clone()), state.durability().durable().cycle)
                }
                (None, None) => panic!("instance {instance} is decided and not in the log"),
            };
            self.delivered += 1;
            delivered.push(Delivered { instance, cycle, content });
        }
        drop(state);
        for entry in &delivered {
            if let DeliveredContent::Barrier(barrier) = entry.content {
                self.barrier_delivered(barrier);
            }
        }
        if !delivered.is_empty() {
            self.effects.push(Effect::Deliver(delivered));
        }
    }

    /// Says something that goes through the departure gate.
    pub(super) fn say(&mut self, peer: ReplicaId, message: Message) {
        let needs = self.log.lock().present_cycle();
        self.say_after(peer, message, needs);
    }
}
