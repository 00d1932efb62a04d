//! Linearizable reads: the index of a read is not below what was executed anywhere when the read arrived.

use skink_engine::position::Instance;
use skink_replication::paxos::ReadId;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Reads {
    next: u64,
    arrived: BTreeMap<ReadId, usize>,
    pub answered: u64,
}

impl Reads {
    /// A read arrives; so much was executed.
    pub fn arrive(&mut self, executed: usize) -> ReadId {
        self.next += 1;
        let read = ReadId::new(self.next);
        self.arrived.insert(read, executed);
        read
    }

    pub fn answer(&mut self, read: ReadId, index: Instance) -> Result<(), String> {
        let Some(executed) = self.arrived.remove(&read) else { return Err(format!("READ {read:?} answered twice")) };
        self.answered += 1;
        if (index.get() as usize) < executed {
            return Err(format!("STALE: a read gets index {index}, {executed} were executed when it arrived"));
        }
        Ok(())
    }
}
