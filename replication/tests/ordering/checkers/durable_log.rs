//! O1: a replica's durable log has no accepted header without its payload, unless the header was decided by then.

use crate::disk::Record;
use skink_engine::position::Instance;
use skink_replication::header::BatchId;
use skink_replication::paxos::{Ballot, Entry, OrderingFrame};
use std::collections::BTreeMap;

/// What the durable records of a log say.
#[derive(Debug, Default)]
pub struct DurableLog {
    pub promise: Ballot,
    pub accepted_round: Ballot,
    entries: BTreeMap<Instance, Entry>,
    /// How many copies of each there are.
    payloads: BTreeMap<BatchId, usize>,
}

impl DurableLog {
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        let bytes = match record {
            Record::Payload(id) => {
                *self.payloads.entry(*id).or_default() += 1;
                return Ok(());
            }
            Record::Frame(bytes) => bytes,
        };
        let frame = OrderingFrame::decode(bytes).map_err(|error| error.to_string())?;
        (self.promise, self.accepted_round) = (frame.promise, frame.accepted_round);
        let Some(suffix) = frame.suffix else { return Ok(()) };
        self.entries.retain(|instance, _| *instance <= suffix.after);
        let mut instance = suffix.after;
        for entry in suffix.entries {
            instance = instance.next();
            let is_complete = entry.payload().is_none_or(|id| self.has_payload(&id));
            if instance > frame.decided && !is_complete {
                return Err(format!("O1: {instance} is accepted without its payload"));
            }
            self.entries.insert(instance, entry);
        }
        Ok(())
    }

    pub fn lost_payload(&mut self, id: &BatchId) {
        if let Some(copies) = self.payloads.get_mut(id) {
            *copies -= 1;
        }
    }

    fn has_payload(&self, id: &BatchId) -> bool {
        self.payloads.get(id).is_some_and(|copies| *copies > 0)
    }

    /// Whether the entry is there, and its payload.
    pub fn holds(&self, instance: Instance, entry: &Entry) -> bool {
        let is_complete = entry.payload().is_none_or(|id| self.has_payload(&id));
        is_complete && self.entries.get(&instance) == Some(entry)
    }

    /// Why not, in a word.
    pub fn describe(&self, instance: Instance, entry: &Entry) -> String {
        let is_complete = entry.payload().is_none_or(|id| self.has_payload(&id));
        format!("payload {is_complete}, entry {:?}", self.entries.get(&instance) == Some(entry))
    }

    /// The last entry.
    pub fn end(&self) -> Instance {
        self.entries.last_key_value().map_or(Instance::ZERO, |(instance, _)| *instance)
    }
}
