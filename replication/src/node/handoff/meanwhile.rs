//! What is decided while the state is handed over: it is executed at once where nothing of it has to be waited for, so that it is
//! not left for the end, when all of it would be executed in one go and clients would wait.
//!
//! ```text
//! behind the cut, in order:  batch --> batch --> batch ...        each once
//!   of each, a command is executed if all before it on its keys are, and
//!     it only writes over them, or they are here
//!   what is left of it is executed when all is here
//! ```

use super::super::execution::Execution;
use super::super::part::Loaded;
use super::Node;
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::log::BodyReader;
use skink_engine::position::Instance;
use std::collections::HashSet;
use std::sync::Arc;

/// What is executed in one turn is about so much at most: what this replica's own clients ask for goes first, and waits for no more
/// than that.
const MAX_COMMANDS: u64 = 64;
const MAX_BYTES: usize = 128 << 10;

/// The commands of a batch, as far as they can be executed.
#[derive(Default)]
struct Ripe {
    commands: Vec<usize>,
    /// Keys that some of them only write over.
    overwritten: Vec<(KeyHash, Instance)>,
    /// Keys of which nothing is left in it afterwards.
    settled: Vec<u32>,
}

impl Node {
    /// Executes what is decided behind the cut that is handed over, as far as one turn goes.
    pub(in crate::node) fn execute_meanwhile(&mut self) -> Result<(), Fault> {
        let Some(open) = self.handoffs.open() else { return Ok(()) };
        let mut next = open.next;
        // A segment that is not installed would be by the first command on it, while somebody waits for an answer.
        if !self.execution.are_installed || !self.may_execute_early() {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let mut reader = BodyReader::new(engine.log_files());
        let (mut commands, mut bytes) = (0, 0);
        while self.execution.plan.get(next).is_some() && self.execution.plan.barrier(next).is_none() {
            // No cycle follows for its sake: what is left at the end is executed then.
            if commands >= MAX_COMMANDS || bytes >= MAX_BYTES {
                break;
            }
            let Some((executed, size)) = self.execute_ripe(next, &mut reader)? else { break };
            (commands, bytes) = (commands + executed, bytes + size);
            next = next.next();
        }
        if let Some(open) = self.handoffs.open() {
            open.next = next;
        }
        Ok(())
    }

    /// Executes what can be executed of a batch; how many commands, and the bytes of the batch. `None` where it isn't here, or
    /// there is no room on the disk.
    fn execute_ripe(&mut self, instance: Instance, reader: &mut BodyReader<'_>) -> Result<Option<(u64, usize)>, Fault> {
        let plan = &self.execution.plan;
        if plan.is_executed(instance) || plan.get(instance).is_none_or(|planned| planned.header().is_none()) {
            return Ok(Some((0, 0)));
        }
        if !self.load(instance, reader)? {
            return Ok(None);
        }
        let Some((ripe, size)) = self.ripe(instance) else { return Ok(None) };
        self.overwrites(ripe.overwritten);
        let count = ripe.commands.len() as u64;
        for number in ripe.commands {
            if !self.execute_one(instance, number)? {
                return Ok(None);
            }
        }
        let Execution { plan, early, .. } = &mut self.execution;
        if let Some(part) = plan.get_mut(instance).and_then(|planned| planned.part.as_mut()) {
            ripe.settled.into_iter().for_each(|digest| part.settle(digest));
            if part.is_whole() {
                part.loaded = None;
                early.unload(instance);
            }
        }
        Ok(Some((count, size)))
    }

    /// What of a batch can be executed, and the batch's bytes.
    fn ripe(&mut self, instance: Instance) -> Option<(Ripe, usize)> {
        let open = self.handoffs.open()?;
        let plan = &self.execution.plan;
        let part = plan.get(instance)?.part.as_ref()?;
        let loaded: &Loaded = part.loaded.as_ref()?;
        let mut ripe = Ripe::default();
        let mut left: HashSet<u32> = HashSet::new();
        for number in 0..part.len() {
            let keys = loaded.touches(number)?;
            let is_done = part.is_done(number);
            let is_blind = loaded.is_blind(number);
            let is_free = |key: &KeyHash| {
                let digest = key.digest();
                let is_next = !left.contains(&digest) && plan.unsettled_before(instance, digest).is_none();
                is_next && (is_blind || open.has(*key))
            };
            if !is_done && !keys.iter().all(is_free) {
                left.extend(keys.iter().map(|key| key.digest()));
                continue;
            }
            ripe.settled.extend(keys.iter().map(|key| key.digest()));
            if !is_done {
                ripe.commands.push(number);
                if is_blind {
                    ripe.overwritten.extend(keys.iter().map(|key| (*key, instance)));
                }
            }
        }
        ripe.settled.retain(|digest| !left.contains(digest));
        Some((ripe, loaded.bytes()))
    }
}
