//! O3: a batch executes at most once, in its proxy's sequence. It is known by its own first command, whatever its id is.

use skink_engine::position::Instance;
use skink_replication::header::BatchId;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Once {
    /// Of each proxy the last id that was executed.
    last: BTreeMap<u32, (u64, u64)>,
    executed: BTreeMap<u64, Instance>,
}

impl Once {
    /// Whether an id is the next of its proxy; if so, it is over then.
    pub fn is_next(&mut self, id: &BatchId) -> bool {
        let (incarnation, sequence) = self.last.get(&id.proxy).copied().unwrap_or_default();
        let is_next = match id.incarnation {
            same if same == incarnation => id.sequence == sequence + 1,
            later => later > incarnation && id.sequence == 1,
        };
        if is_next {
            self.last.insert(id.proxy, (id.incarnation, id.sequence));
        }
        is_next
    }

    /// A batch is executed.
    pub fn executed(&mut self, batch: u64, instance: Instance) -> Result<(), String> {
        match self.executed.insert(batch, instance) {
            None => Ok(()),
            Some(before) => Err(format!("O3: batch {batch} is executed at {before} and at {instance}")),
        }
    }
}
