//! Which keys the old commands touch that this replica has not executed yet: the last-toucher table over what is delivered,
//! filled from headers alone, as in the dependency log of the paper (section V.A).
//!
//! It tells a read until when it must wait. An entry blocks as long as the batch that made it is not executed, so entries
//! release by themselves as execution goes on. Nothing is entered before a read asks while this replica is behind: where
//! it keeps up, the table costs nothing.

use crate::header::Digests;
use hashbrown::HashMap;
use skink_engine::command::Access;
use skink_engine::position::Instance;
use std::hash::{BuildHasherDefault, Hasher};

/// Digests are hashes already.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, digest: u32) {
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 = (self.0 ^ u64::from(digest)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Entries that are kept from one time behind to the next.
const KEPT_ENTRIES: usize = 1 << 16;

/// The last unexecuted writer of each key.
#[derive(Default)]
pub(super) struct Dependencies {
    writers: HashMap<u32, Instance, BuildHasherDefault<DigestHasher>>,
    /// The last one over everything.
    everything: Instance,
    /// The last batch that is entered.
    entered: Instance,
}

impl Dependencies {
    /// The last batch that is entered: the next one that must be is after it.
    pub(super) fn entered(&self) -> Instance {
        self.entered
    }

    /// Enters a batch: the one after those that are entered, or after all that are executed.
    pub(super) fn enter(&mut self, instance: Instance, digests: Option<&Digests>) {
        match digests {
            Some(Digests::Keys(keys)) => {
                for key in keys.iter().filter(|key| key.access == Access::Write) {
                    self.writers.insert(key.digest, instance);
                }
            }
            Some(Digests::Everything) => self.everything = instance,
            None => {}
        }
        self.entered = instance;
    }

    /// Everything up to here is executed.
    pub(super) fn release(&mut self, executed: Instance) {
        if executed < self.entered || self.writers.is_empty() {
            return;
        }
        self.writers.clear();
        if self.writers.capacity() > KEPT_ENTRIES {
            self.writers.shrink_to(KEPT_ENTRIES);
        }
    }

    /// The instance up to which batches must be executed before a read of these keys may be answered (R1), where it must
    /// see what is decided up to `index`. All batches up to there are executed or entered (R2).
    pub(super) fn ready_at(&self, touches: &Digests, index: Instance) -> Instance {
        let Digests::Keys(keys) = touches else { return index };
        let writers = keys.iter().filter_map(|key| self.writers.get(&key.digest));
        // A writer after the index hides those before it.
        writers.copied().fold(self.everything, Instance::max).min(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{Dependencies, Instance, KEPT_ENTRIES};
    use crate::header::{Digests, KeyDigest};
    use proptest::prelude::*;
    use skink_engine::command::Access;

    fn at(number: u64) -> Instance {
        Instance::new(number).unwrap()
    }

    fn keys(digests: &[(u32, Access)]) -> Digests {
        Digests::Keys(digests.iter().map(|(digest, access)| KeyDigest { digest: *digest, access: *access }).collect())
    }

    fn writes(digests: &[u32]) -> Digests {
        keys(&digests.iter().map(|digest| (*digest, Access::Write)).collect::<Vec<_>>())
    }

    #[test]
    fn a_read_waits_for_the_writers_of_its_keys_alone() {
        let mut dependencies = Dependencies::default();
        dependencies.enter(at(5), Some(&writes(&[1, 2])));
        dependencies.enter(at(6), Some(&keys(&[(3, Access::Read), (2, Access::Write)])));
        dependencies.enter(at(7), None);
        let ready_at = |digests: &[u32], index| dependencies.ready_at(&writes(digests), at(index)).get();
        assert_eq!((ready_at(&[1], 7), ready_at(&[2], 7), ready_at(&[1, 2], 7)), (5, 6, 6));
        assert_eq!((ready_at(&[3], 7), ready_at(&[9], 7)), (0, 0), "what is read alone, or not at all");
        assert_eq!(ready_at(&[2], 5), 5, "the later writer hides the one that counts");
        assert_eq!(dependencies.ready_at(&Digests::Everything, at(7)), at(7));
    }

    #[test]
    fn what_touches_everything_holds_up_all() {
        let mut dependencies = Dependencies::default();
        dependencies.enter(at(1), Some(&writes(&[1])));
        dependencies.enter(at(2), Some(&Digests::Everything));
        dependencies.enter(at(3), Some(&writes(&[1])));
        assert_eq!(dependencies.ready_at(&writes(&[8]), at(9)), at(2));
        assert_eq!(dependencies.ready_at(&writes(&[1]), at(9)), at(3));
    }

    #[test]
    fn entries_go_when_all_is_executed_and_their_room_with_them() {
        let mut dependencies = Dependencies::default();
        let many: Vec<u32> = (0..4 * KEPT_ENTRIES as u32).collect();
        dependencies.enter(at(1), Some(&writes(&many)));
        dependencies.enter(at(2), Some(&writes(&[1])));
        dependencies.release(at(1));
        assert_eq!(dependencies.ready_at(&writes(&[1]), at(9)), at(2));
        dependencies.release(at(2));
        assert!(dependencies.writers.is_empty() && dependencies.writers.capacity() <= 2 * KEPT_ENTRIES);
    }

    proptest! {
        /// Held to the search through all batches: no writer that counts is after the instance, and, but for writers
        /// after the index, one is at it.
        #[test]
        fn it_finds_what_a_search_finds(
            batches in prop::collection::vec(prop::option::of(prop::collection::vec((0_u32..12, any::<bool>()), 0..4)), 0..30),
            touched in prop::collection::vec(0_u32..12, 1..4),
            index in 0_u64..31,
        ) {
            let mut dependencies = Dependencies::default();
            let mut counts = Instance::ZERO;
            let mut last = Instance::ZERO;
            for (number, batch) in (1..).zip(&batches) {
                let digests = batch.as_ref().map(|batch| {
                    let access = |writes: bool| if writes { Access::Write } else { Access::Read };
                    keys(&batch.iter().map(|(digest, writes)| (*digest, access(*writes))).collect::<Vec<_>>())
                });
                dependencies.enter(at(number), Some(digests.as_ref().unwrap_or(&Digests::Everything)));
                let conflicts = batch.as_ref().is_none_or(|batch| {
                    batch.iter().any(|(digest, writes)| *writes && touched.contains(digest))
                });
                if conflicts {
                    last = at(number);
                    if number <= index {
                        counts = at(number);
                    }
                }
            }
            let ready_at = dependencies.ready_at(&writes(&touched), at(index));
            prop_assert!(ready_at >= counts);
            prop_assert_eq!(ready_at, last.min(at(index)));
        }
    }
}
