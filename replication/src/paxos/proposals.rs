//! Proposals: only at the leader, only with their payload, and no more than the pipeline takes (rules 9 and 10).
//!
//! The object has no back-pressure, and would forward what is proposed elsewhere, where it can vanish: neither is used.

use super::configuration::ReplicaId;
use super::entry::{Entry, Slot};
use super::event::{Effect, Refusal};
use super::frame::StopSign;
use super::object::Object;
use super::protocol::Protocol;
use super::rules::Rule;
use super::storage::stop_sign_to_object;
use crate::header::{BatchId, Header};
use skink_engine::position::Instance;
use std::sync::Arc;

impl Protocol {
    /// Gives a batch its place at once, or says why not. Its payload must have been stored.
    ///
    /// # Errors
    /// Why it has none. Nothing of it is in the order then.
    pub fn try_propose(&mut self, header: Arc<Header>) -> Result<(), Refusal> {
        self.propose(Entry::Header(header))
    }

    /// Ids of the batches that have a place after an instance, in their order. At a leader, all of them keep it as long as it
    /// leads.
    pub fn ids_after(&self, instance: Instance) -> Vec<BatchId> {
        let state = self.log.lock();
        let from = self.configuration.len_at(instance).unwrap_or_default();
        let id = |entry: &Entry| match entry {
            Entry::Header(header) => Some(header.id),
            Entry::Barrier(_) => None,
        };
        state.entries_from(from).filter_map(id).collect()
    }

    pub(super) fn proposed(&mut self, header: Arc<Header>) {
        let id = header.id;
        if let Err(refusal) = self.propose(Entry::Header(header)) {
            self.effects.push(Effect::Refuse { id, refusal });
        }
    }

    /// Gives an entry its place, if this replica leads.
    pub(super) fn propose(&mut self, entry: Entry) -> Result<(), Refusal> {
        let Some(object) = self.object.as_mut().filter(|_| self.role.leads && self.role.accepts) else {
            return Err(Refusal::NotLeader(self.leader()));
        };
        {
            let state = self.log.lock();
            if !state.is_complete(&entry) && self.options.rules.hold(Rule::ProposeOwn) {
                return Err(Refusal::PayloadMissing);
            }
            let undecided = state.len() - state.decided();
            let bytes = state.undecided_bytes();
            // One that is larger than all room goes alone.
            let is_full = bytes > 0 && bytes + entry.payload_len() > self.options.max_undecided_bytes;
            if undecided >= self.options.max_undecided || is_full {
                return Err(Refusal::Busy);
            }
        }
        let taken = object.append(Slot::Entry(entry));
        taken.map_err(|_| Refusal::Ending)
    }

    /// The replica that this one follows.
    pub(super) fn leader(&self) -> Option<ReplicaId> {
        self.role.promise.replica().filter(|leader| *leader != self.own)
    }

    /// Rule 15: the last entry of the configuration.
    pub(super) fn reconfigured(&mut self, next: StopSign) {
        if self.role.leads && self.role.accepts {
            let next = stop_sign_to_object(&next).next_config;
            self.with_object(|object: &mut Object| {
                // Refused where the configuration ends already, or is none: what is delivered tells.
                let _ = object.reconfigure(next, None);
            });
        }
    }
}
