//! All replicas execute the same entries at the same instances, and what is executed anywhere, and so may be
//! acknowledged, is on the disks of a majority: in the log with its payload, or in a checkpoint.

use crate::disk::Disk;
use skink_engine::position::Instance;
use skink_replication::paxos::{Ballot, Entry};

/// The order, as the first that executed it saw it.
#[derive(Debug, Default)]
pub struct Agreement {
    chosen: Vec<Entry>,
    digests: Vec<u64>,
}

pub fn digest_after(digest: u64, entry: &Entry) -> u64 {
    let value = match entry {
        Entry::Header(header) => header.id.sequence,
        Entry::Barrier(barrier) => barrier.incarnation ^ u64::from(barrier.replica.get()) << 56,
    };
    (digest ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
}

impl Agreement {
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// A replica executes an entry.
    pub fn executed<'d>(
        &mut self,
        instance: Instance,
        entry: &Entry,
        majority: usize,
        disks: impl Iterator<Item = &'d Disk>,
    ) -> Result<(), String> {
        let at = instance.get() as usize - 1;
        if at == self.chosen.len() {
            let digest = self.digests.last().copied().unwrap_or_default();
            self.digests.push(digest_after(digest, entry));
            self.chosen.push(entry.clone());
            // A lost disk may have held it. It doesn't count again before it has a promise.
            let is_held = |disk: &&Disk| {
                disk.is_new && disk.log.promise == Ballot::NONE
                    || disk.log.holds(instance, entry)
                    || disk.checkpoint.is_some_and(|it| it.instance >= instance)
            };
            let disks: Vec<&Disk> = disks.collect();
            let holders = disks.iter().copied().filter(is_held).count();
            if holders < majority {
                let there: Vec<String> = disks.iter().map(|disk| disk.log.describe(instance, entry)).collect();
                return Err(format!("LOSS: {instance} is executed, and on {holders} disks: {there:?}"));
            }
        }
        match self.chosen.get(at) {
            Some(chosen) if chosen == entry => Ok(()),
            chosen => Err(format!("DIVERGENCE at {instance}: {entry:?}, chosen was {chosen:?}")),
        }
    }

    /// A replica's state after an instance.
    pub fn check_state(&self, instance: Instance, digest: u64) -> Result<(), String> {
        let at = instance.get() as usize;
        let expected = if at == 0 { Some(&0) } else { self.digests.get(at - 1) };
        if expected == Some(&digest) { Ok(()) } else { Err(format!("DIVERGENCE of states at {instance}")) }
    }
}
