//! The order, as the first that executed it had it on its disk, and what executing it one by one on the model gives.

use crate::batches::{Batches, batch_of};
use crate::checkers::agreement::check_same;
use crate::checkers::o3::Once;
use crate::plan::MAX_VALUE_LEN;
use skink_engine::command::{Access, Command, Footprint, Reply, Versioned};
use skink_engine::evaluate::Context;
use skink_engine::position::Instance;
use skink_engine::testing::model::Model;
use skink_replication::batch::{self, LocalCommand};
use skink_replication::header::Content;
use skink_replication::paxos::{Barrier, Entry};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What came of a batch.
#[derive(Debug)]
pub struct Executed {
    pub instance: Instance,
    /// Of its commands, local reads among them, in their order.
    pub replies: Vec<Reply>,
}

/// The order and its outcome.
#[derive(Debug, Default)]
pub struct Reference {
    chosen: Vec<Entry>,
    model: Model,
    time_ms: u64,
    once: Once,
    /// What the state adds up to after each instance; the first is before all.
    digests: Vec<u64>,
    /// By the batch's number.
    executed: BTreeMap<u64, Executed>,
    barriers: Vec<Barrier>,
}

/// What a key and its version add to the state's digest.
pub fn version_digest(key: &[u8], version: &Versioned) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, &version.value[..], version.revision.get(), version.expires_at_ms).hash(&mut hasher);
    hasher.finish()
}

impl Reference {
    /// The last instance.
    pub fn last(&self) -> Instance {
        Instance::new(self.chosen.len() as u64).unwrap_or_default()
    }

    pub fn entry(&self, instance: Instance) -> Option<&Entry> {
        self.chosen.get((instance.get() as usize).checked_sub(1)?)
    }

    /// What the state adds up to after an instance.
    pub fn digest(&self, instance: Instance) -> Option<u64> {
        match instance.get() {
            0 => Some(0),
            number => self.digests.get(number as usize - 1).copied(),
        }
    }

    pub fn executed(&self, batch: u64) -> Option<&Executed> {
        self.executed.get(&batch)
    }

    pub fn batches_executed(&self) -> usize {
        self.executed.len()
    }

    /// Disks that took the place of lost ones, and count.
    pub fn barriers(&self) -> &[Barrier] {
        &self.barriers
    }

    /// All keys with their versions, in the end.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Somebody says what an instance is: all must say the same.
    pub fn check(&self, instance: Instance, entry: &Entry) -> Result<(), String> {
        self.entry(instance).map_or(Ok(()), |chosen| check_same(instance, chosen, entry))
    }

    /// The next instance.
    pub fn extend(&mut self, entry: Entry, payload: Option<&[u8]>, batches: &Batches) -> Result<(), String> {
        self.chosen.push(entry.clone());
        let instance = self.last();
        let mut digest = self.digests.last().copied().unwrap_or_default();
        match &entry {
            Entry::Barrier(barrier) => self.barriers.push(*barrier),
            Entry::Header(header) => {
                let is_new = self.once.is_next(&header.id);
                self.time_ms = self.time_ms.max(header.time_ms);
                if is_new && matches!(header.content, Content::Commands { .. }) {
                    let Some(payload) = payload else { return Err(format!("PAYLOAD of {instance} is missing")) };
                    let commands = batch::decode(payload).map_err(|error| format!("PAYLOAD {error}"))?;
                    digest = self.execute(instance, commands, digest, batches)?;
                }
            }
        }
        self.digests.push(digest);
        Ok(())
    }

    fn execute(
        &mut self,
        instance: Instance,
        commands: Vec<Command>,
        mut digest: u64,
        batches: &Batches,
    ) -> Result<u64, String> {
        let number = batch_of(&commands);
        let local = match number.and_then(|number| batches.commands(number)) {
            Some(local) => local.to_vec(),
            // Sweeps come from nodes themselves.
            None => commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect(),
        };
        let mut replies = Vec::with_capacity(local.len());
        let mut index = 0;
        for (at, LocalCommand { command, is_ordered }) in local.iter().enumerate() {
            let revision = instance.revision(index);
            let context = Context { revision, now_ms: self.time_ms, max_value_len: MAX_VALUE_LEN as usize };
            let mut written = Vec::new();
            let footprint = command.footprint(&mut |key, access| {
                if access == Access::Write {
                    written.push(key.clone());
                }
            });
            written.sort_unstable();
            written.dedup();
            if footprint == Footprint::Everything {
                return Err("the clients of the simulator send nothing that touches everything".into());
            }
            let sum = |model: &Model| {
                let entries = written.iter().filter_map(|key| Some((key, model.entries().get(&key[..])?)));
                entries.fold(0_u64, |sum, (key, version)| sum.wrapping_add(version_digest(key, version)))
            };
            let before = sum(&self.model);
            replies.push(self.model.execute(command, context));
            digest = digest.wrapping_sub(before).wrapping_add(sum(&self.model));
            if *is_ordered && at + 1 < local.len() {
                index += 1;
            }
        }
        if let Some(number) = number {
            self.once.executed(number, instance)?;
            self.executed.insert(number, Executed { instance, replies });
        }
        Ok(digest)
    }
}
