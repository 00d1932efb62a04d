//! From one configuration to the next (rule 15): what a member begins it with, and who tries to lead first.
//!
//! In a new configuration nothing was promised or accepted. What goes on are the numbers of cycles, as the log does,
//! and what is known of the members' disks. A replica that is no member has a machine, too, which says nothing.

use super::configuration::{Ballot, Configuration, ReplicaId};
use super::durability::CycleNumber;
use super::entry::Entry;
use super::event::{Delivered, DeliveredContent};
use super::frame::StopSign;
use super::object::Object;
use super::protocol::Protocol;
use super::recovery::CheckpointFacts;
use super::state::DurableState;
use crate::header::BatchId;
use skink_engine::position::Instance;
use skink_engine::position::LogPosition;
use std::collections::{BTreeMap, HashMap};

impl DurableState {
    /// That of the member of a configuration in which it took no part yet.
    ///
    /// A checkpoint of it takes the place of the log up to there, and raises the promise as one that is installed does.
    pub(super) fn successor(
        configuration: Configuration,
        checkpoint: Option<CheckpointFacts>,
        incarnations: BTreeMap<ReplicaId, u64>,
        last_cycle: CycleNumber,
    ) -> DurableState {
        let len = checkpoint.and_then(|checkpoint| configuration.len_at(checkpoint.instance)).unwrap_or_default();
        let promise = checkpoint.map(|checkpoint| checkpoint.promise).filter(|it| configuration.has_ballot(*it));
        DurableState {
            base: len,
            decided: len,
            checkpoint: len,
            promise: promise.unwrap_or(Ballot::NONE),
            incarnations,
            last_cycle,
            ..DurableState::empty(configuration)
        }
    }

    /// The latest start of a process whose batches are in it, 0 for none.
    pub fn last_incarnation(&self) -> u64 {
        let earlier = self.earlier.iter().filter_map(|delivered| match &delivered.content {
            DeliveredContent::Header { header, .. } => Some(header),
            _ => None,
        });
        let entries = self.entries.iter().filter_map(|(entry, _)| match entry {
            Entry::Header(header) => Some(header),
            Entry::Barrier(_) => None,
        });
        entries.chain(earlier).map(|header| header.id.incarnation).max().unwrap_or(0)
    }

    /// What a start found of configurations before: it is to be delivered first.
    pub(super) fn take_earlier(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.earlier)
    }
}

/// What is known of the disks of those who stay. One that went, and comes again, must come with another disk: whoever
/// was away when it went has not heard of what was decided meanwhile.
pub(super) fn incarnations_after(
    mut incarnations: BTreeMap<ReplicaId, u64>,
    before: &Configuration,
    next: &Configuration,
) -> BTreeMap<ReplicaId, u64> {
    for gone in before.members().iter().filter(|member| !next.has_member(**member)) {
        if let Some(incarnation) = incarnations.get_mut(gone) {
            *incarnation += 1;
        }
    }
    incarnations
}

impl Protocol {
    /// The state with which the next configuration begins here, when everything up to its start was executed, or when a
    /// checkpoint of it was installed.
    pub fn successor(&self, next: Configuration, checkpoint: Option<CheckpointFacts>) -> DurableState {
        let state = self.log.lock();
        let incarnations = incarnations_after(state.incarnations().clone(), &self.configuration, &next);
        DurableState::successor(next, checkpoint, incarnations, state.durability().last_closed())
    }

    /// Whether this replica is a member.
    pub fn is_member(&self) -> bool {
        self.configuration.has_member(self.own)
    }

    /// The configuration's last entry, if it is in the log here.
    pub fn stop_sign(&self) -> Option<StopSign> {
        self.log.lock().stop_sign().cloned()
    }

    /// Where payloads are in the log: a successor has none of them.
    pub fn take_payloads(&mut self) -> HashMap<BatchId, LogPosition> {
        self.log.lock().take_payloads()
    }

    /// Whether the state that this replica goes on from isn't here yet: it votes, and takes no part in elections.
    pub fn set_incomplete(&mut self, is_incomplete: bool) {
        self.is_incomplete = is_incomplete;
    }

    /// What is delivered up to here is never executed, and its payloads are not asked for.
    pub fn skip_payloads(&mut self, upto: Instance) {
        self.skipped = self.skipped.max(upto);
        self.incomplete = self.incomplete.split_off(&upto.next());
    }

    /// These are needed after all.
    pub fn need_payloads(&mut self, payloads: impl Iterator<Item = (Instance, BatchId)>) {
        self.skipped = Instance::ZERO;
        self.incomplete.extend(payloads);
    }

    /// Tries to lead, without an election.
    pub fn campaign(&mut self) {
        self.with_object(Object::try_become_leader);
    }
}
