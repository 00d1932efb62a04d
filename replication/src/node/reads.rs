//! Reads that wait until the state here is as new as what was acknowledged anywhere when they arrived.
//!
//! Those that arrive between two cycles share a read index. A read goes on when what it touches is executed up to the
//! index, in the order in which reads arrived: so a client never sees an older state than it saw before.

use super::output::PassReply;
use crate::header::{Digests, KeyDigest};
use crate::paxos::ReadId;
use skink_engine::position::Instance;
use std::collections::VecDeque;

/// Reads that share an index.
struct Group {
    read: ReadId,
    index: Option<Instance>,
    waiting: VecDeque<(Digests, PassReply)>,
    arrived: u64,
}

/// Reads that wait.
#[derive(Default)]
pub(super) struct WaitingReads {
    gathering: Vec<(Digests, PassReply)>,
    groups: VecDeque<Group>,
    last_id: u64,
}

impl WaitingReads {
    pub(super) fn add(&mut self, touches: Digests, reply: PassReply) {
        self.gathering.push((touches, reply));
    }

    /// Makes a group of those that have arrived: an index must be asked for it.
    pub(super) fn close_group(&mut self, now: u64) -> Option<ReadId> {
        if self.gathering.is_empty() {
            return None;
        }
        let read = self.new_id();
        let waiting = std::mem::take(&mut self.gathering).into();
        self.groups.push_back(Group { read, index: None, waiting, arrived: now });
        Some(read)
    }

    pub(super) fn new_id(&mut self) -> ReadId {
        self.last_id += 1;
        ReadId::new(self.last_id)
    }

    pub(super) fn set_index(&mut self, read: ReadId, index: Instance) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.read == read) {
            group.index = Some(index);
        }
    }

    /// Those that have no index yet: another order must be asked for it.
    pub(super) fn unanswered(&self) -> Vec<ReadId> {
        self.groups.iter().filter(|group| group.index.is_none()).map(|group| group.read).collect()
    }

    /// Another replica leads: what the old leader had accepted may never be decided, so that indexes are asked for anew.
    pub(super) fn forget_indexes(&mut self) -> Vec<ReadId> {
        let mut again = Vec::new();
        for group in self.groups.iter_mut().filter(|group| group.index.is_some()) {
            self.last_id += 1;
            group.read = ReadId::new(self.last_id);
            group.index = None;
            again.push(group.read);
        }
        again
    }

    /// The next read that may go on, if `is_current` says so of what it touches and its index.
    pub(super) fn next_ready(&mut self, is_current: impl Fn(&Digests, Instance) -> bool) -> Option<PassReply> {
        while self.groups.front().is_some_and(|group| group.waiting.is_empty()) {
            self.groups.pop_front();
        }
        let group = self.groups.front_mut()?;
        let (touches, _) = group.waiting.front()?;
        if !is_current(touches, group.index?) {
            return None;
        }
        group.waiting.pop_front().map(|(_, reply)| reply)
    }

    /// Those who have waited so long.
    pub(super) fn expired(&mut self, now: u64, ticks: u64) -> Vec<PassReply> {
        let mut late = Vec::new();
        while let Some(group) = self.groups.pop_front_if(|group| now.saturating_sub(group.arrived) >= ticks) {
            late.extend(group.waiting.into_iter().map(|(_, reply)| reply));
        }
        late
    }

    /// All of them, to be refused.
    pub(super) fn drain(&mut self) -> Vec<PassReply> {
        let groups = std::mem::take(&mut self.groups);
        let gathering = std::mem::take(&mut self.gathering);
        groups.into_iter().flat_map(|group| group.waiting).chain(gathering).map(|(_, reply)| reply).collect()
    }
}

/// Whether two batches of commands touch a key in common that one of them writes.
pub(super) fn conflict(reads: &Digests, writes: &Digests) -> bool {
    let (Digests::Keys(reads), Digests::Keys(writes)) = (reads, writes) else { return true };
    let is_written = |key: &KeyDigest| {
        let found = writes.binary_search_by_key(&key.digest, |write| write.digest);
        found.is_ok_and(|at| writes[at].access == skink_engine::command::Access::Write)
    };
    reads.iter().any(is_written)
}

#[cfg(test)]
mod tests {
    use super::{Digests, Instance, KeyDigest, WaitingReads, conflict};
    use parking_lot::Mutex;
    use skink_engine::command::Access;
    use std::sync::Arc;

    fn keys(digests: &[(u32, Access)]) -> Digests {
        Digests::Keys(digests.iter().map(|(digest, access)| KeyDigest { digest: *digest, access: *access }).collect())
    }

    #[test]
    fn reads_conflict_with_writes_of_their_keys() {
        let reads = keys(&[(3, Access::Read), (9, Access::Read)]);
        assert!(conflict(&reads, &keys(&[(1, Access::Write), (9, Access::Write)])));
        assert!(!conflict(&reads, &keys(&[(3, Access::Read), (4, Access::Write)])));
        assert!(conflict(&reads, &Digests::Everything) && conflict(&Digests::Everything, &reads));
    }

    #[test]
    fn reads_share_an_index_and_keep_their_order() {
        let passed = Arc::new(Mutex::new(Vec::new()));
        let reply = |number: u32| {
            let passed = Arc::clone(&passed);
            Box::new(move |_| passed.lock().push(number))
        };
        let at = |number| Instance::new(number).unwrap();
        let mut reads = WaitingReads::default();
        reads.add(Digests::Everything, reply(1));
        reads.add(Digests::Everything, reply(2));
        let first = reads.close_group(0).unwrap();
        assert!(reads.close_group(0).is_none());
        reads.add(Digests::Everything, reply(3));
        let second = reads.close_group(7).unwrap();
        reads.set_index(second, at(4));
        let pass_all = |reads: &mut WaitingReads, executed| {
            while let Some(reply) = reads.next_ready(|_, index| index <= executed) {
                reply(Ok(()));
            }
        };
        pass_all(&mut reads, at(9));
        assert!(passed.lock().is_empty(), "the first waits for its index, the second for the first");
        reads.set_index(first, at(5));
        pass_all(&mut reads, at(4));
        assert!(passed.lock().is_empty());
        let again = reads.forget_indexes();
        assert_eq!(again.len(), 2);
        reads.set_index(first, at(1));
        pass_all(&mut reads, at(9));
        assert!(passed.lock().is_empty(), "an answer to the old question counts no longer");
        reads.set_index(again[0], at(5));
        pass_all(&mut reads, at(5));
        assert_eq!(*passed.lock(), [1, 2]);
        assert_eq!(reads.expired(9, 5).len(), 0);
        assert_eq!(reads.expired(12, 5).len(), 1);
        assert!(reads.drain().is_empty());
    }
}
