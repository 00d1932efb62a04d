//! Checkpoints in place of old entries (rules 1 and 3), and answers to those who ask (rule 6).

use super::configuration::{Ballot, ReplicaId};
use super::durability::CycleNumber;
use super::event::Effect;
use super::message::Request;
use super::object::Object;
use super::protocol::Protocol;
use super::recovery::CheckpointFacts;
use super::rules::Rule;
use crate::header::BatchId;
use skink_engine::position::{Instance, LogPosition};

/// What of the log must stay: a start needs it, or a peer may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// Frames from that of this cycle on.
    pub cycle: CycleNumber,
    /// Payloads from here on.
    pub payload: Option<LogPosition>,
}

impl Protocol {
    /// Which part of the log must stay. Files before it may go, and [`LogDropped`](super::Event::LogDropped) says so.
    pub fn needed(&self) -> Needed {
        self.needed_after(self.checkpoint)
    }

    /// Which part of the log a checkpoint at this instance will need: one that was delivered.
    pub fn needed_by(&self, instance: Instance) -> Needed {
        self.needed_after(self.configuration.len_at(instance).unwrap_or(self.checkpoint))
    }

    fn needed_after(&self, checkpoint: usize) -> Needed {
        let rules = self.options.rules;
        let state = self.log.lock();
        // A preparing leader's object may hold a sync whose entries are not in the log yet.
        let is_preparing = self.role.leads && !self.role.accepts;
        let is_pinned = is_preparing && rules.hold(Rule::PinWhilePreparing);
        let payload = if is_pinned || rules.hold(Rule::KeepPayloads) {
            state.needed_payload(checkpoint, is_pinned)
        } else {
            None
        };
        Needed { cycle: state.needed_cycle(checkpoint), payload }
    }

    /// The promise for the manifest of a checkpoint of what was delivered: never newer than the durable log.
    pub fn manifest_promise(&self) -> Ballot {
        self.log.lock().durability().durable().promise
    }

    /// What a member's disk is known by.
    pub fn incarnation(&self, replica: ReplicaId) -> Option<u64> {
        self.log.lock().incarnation(replica)
    }

    /// What the disks of members, and of those that were some, are known by, ascending.
    pub fn incarnations(&self) -> Vec<(ReplicaId, u64)> {
        self.log.lock().incarnations().iter().map(|(replica, incarnation)| (*replica, *incarnation)).collect()
    }

    /// Takes note of what a checkpoint knows of the members' disks: the barriers that say so may be below it.
    pub fn learn_incarnations(&mut self, incarnations: &[(ReplicaId, u64)]) {
        let mut state = self.log.lock();
        for (replica, incarnation) in incarnations {
            if *replica != self.own && state.incarnation(*replica) < Some(*incarnation) {
                state.set_incarnation(*replica, *incarnation);
            }
        }
    }

    /// The last instance that is in the durable log.
    pub fn durable(&self) -> Instance {
        self.configuration.instance(self.log.lock().durability().durable().len)
    }

    /// Whether a payload is in the part of the log that counts. Then it must not be stored again: the first copy counts.
    pub fn has_payload(&self, id: &BatchId) -> bool {
        self.log.lock().has_payload(id)
    }

    /// Where a payload is in the log.
    pub fn payload(&self, id: &BatchId) -> Option<LogPosition> {
        self.log.lock().payload(id)
    }

    pub(super) fn checkpoint_taken(&mut self, instance: Instance) {
        let Some(len) = self.configuration.len_at(instance) else { return };
        assert!(len <= self.delivered, "a checkpoint holds what was delivered");
        self.checkpoint = self.checkpoint.max(len);
        let keep = self.options.kept_entries;
        self.log.lock().drop_below(self.checkpoint.saturating_sub(keep));
    }

    /// Rule 3. The manifest is durable; the frame of this cycle says the same, and nothing leaves before it is.
    pub(super) fn checkpoint_installed(&mut self, checkpoint: CheckpointFacts) {
        let CheckpointFacts { instance, promise } = checkpoint;
        let Some(len) = self.configuration.len_at(instance).filter(|len| *len > self.checkpoint) else { return };
        let rules = self.options.rules;
        let promise = if self.configuration.has_ballot(promise) { promise } else { Ballot::NONE };
        let has_led = self.role.leads;
        self.log.lock().install(len, promise);
        self.checkpoint = len;
        self.delivered = self.delivered.max(len);
        self.incomplete.retain(|missing, _| *missing > instance);
        if self.object.is_none() {
            return;
        }
        self.rebuild();
        for peer in self.sessions.peers() {
            if rules.hold(Rule::NewSessions) {
                self.restart_session(peer, "a checkpoint was installed");
            } else if let Some(session) = self.sessions.get_mut(peer) {
                (session.inbound_weight, session.outbound_weight, session.promised) = (0, 0, None);
                session.inbound.clear();
                session.outbound.clear();
            }
        }
        if has_led && rules.hold(Rule::TakeBallotAfterInstall) {
            self.with_object(Object::try_become_leader);
        }
    }

    /// A peer asks for what holds it up.
    pub(super) fn asked(&mut self, peer: ReplicaId, request: Request) {
        let newest = self.configuration.instance(self.checkpoint);
        let rules = self.options.rules;
        let effect = match request {
            Request::Payload { id, instance } => match self.log.lock().payload(&id) {
                Some(position) => Some(Effect::SendPayload { peer, id, position }),
                None if newest >= instance && rules.hold(Rule::CheckpointForGone) => {
                    Some(Effect::SendCheckpoint { peer })
                }
                None => None,
            },
            Request::Checkpoint { at_least } => (newest >= at_least).then_some(Effect::SendCheckpoint { peer }),
        };
        self.effects.extend(effect);
    }
}
