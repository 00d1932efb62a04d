//! Reads that wait until the state here is as new as what was acknowledged anywhere when they arrived.
//!
//! ```text
//! gathering --one index for all--> group --index known, and headers up to it here--> answered
//!                                                                       |--key not executed yet--> parked --> answered
//! ```
//!
//! Those that arrive between two cycles share a read index. Each waits only for writes to its own keys: at a replica
//! that comes back, one that no old command touches is answered before the old commands are executed (R1), in whatever
//! order they arrived. A later read still sees no older state: its index is not below what was decided when it came,
//! and what an earlier one saw had been.

use super::output::{Passes, Question, TellReads, Touches};
use crate::paxos::ReadId;
use skink_engine::position::Instance;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Whether a read may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// It waits for nothing.
    Now,
    /// When everything is executed up to here, or what it waits for was before.
    At(Instance),
}

/// Parked reads of which each cycle looks anew whether what they wait for was executed ahead.
const MAX_TRIES: usize = 64;

/// Questions that share an index.
struct Group {
    read: ReadId,
    index: Option<Instance>,
    questions: Vec<Question>,
    arrived: u64,
}

/// A read that waits for an instance.
struct Parked {
    tell: TellReads,
    /// Which of its question.
    number: usize,
    touches: Touches,
    /// What it must see.
    index: Instance,
    arrived: u64,
}

/// Reads that may be told of.
pub(super) struct Passing {
    pub(super) tell: TellReads,
    pub(super) passes: Passes,
    /// Whether one of them is of several keys.
    pub(super) is_wide: bool,
}

/// Reads that have waited too long before it is known what they wait for.
#[derive(Default)]
pub(super) struct LateReads {
    /// No leader with a majority has said what they must see.
    pub(super) without_index: Vec<TellReads>,
    /// What they must see is decided, and not here.
    pub(super) without_headers: Vec<TellReads>,
}

impl Parked {
    fn alone(self) -> Passing {
        Passing { tell: self.tell, passes: Passes::Some(vec![self.number]), is_wide: self.touches.is_wide() }
    }
}

/// Reads that wait.
#[derive(Default)]
pub(super) struct WaitingReads {
    gathering: Vec<Question>,
    groups: VecDeque<Group>,
    /// By the instance that must be executed, and the order in which they came here.
    parked: BTreeMap<(Instance, u64), Parked>,
    last_parked: u64,
    /// The last parked one that was looked at.
    tried: Option<(Instance, u64)>,
    last_id: u64,
}

impl WaitingReads {
    pub(super) fn add(&mut self, question: Question) {
        self.gathering.push(question);
    }

    /// Makes a group of those that have arrived: an index must be asked for it.
    pub(super) fn close_group(&mut self, now: u64) -> Option<ReadId> {
        if self.gathering.is_empty() {
            return None;
        }
        let read = self.new_id();
        let questions = std::mem::take(&mut self.gathering);
        self.groups.push_back(Group { read, index: None, questions, arrived: now });
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
    /// Those that are parked wait for what is decided.
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

    /// The highest index of those whose headers are here up to it.
    pub(super) fn highest_index(&self, delivered: Instance) -> Option<Instance> {
        self.groups.iter().filter_map(|group| group.index).filter(|index| *index <= delivered).max()
    }

    /// The reads that may be answered now: up to `delivered`, headers are here and entered, up to `executed` they are
    /// executed. `ready` tells of a read, by what it touches and its index, whether it waits.
    pub(super) fn pass(
        &mut self,
        executed: Instance,
        delivered: Instance,
        ready: &mut dyn FnMut(&Touches, Instance) -> Ready,
    ) -> Vec<Passing> {
        let mut passing = Vec::new();
        while self.parked.first_key_value().is_some_and(|((instance, _), _)| *instance <= executed) {
            let Some((_, parked)) = self.parked.pop_first() else { break };
            // Something behind it may have been executed ahead meanwhile.
            match ready(&parked.touches, parked.index) {
                Ready::Now => passing.push(parked.alone()),
                Ready::At(instance) => self.park(instance.max(executed.next()), parked),
            }
        }
        self.try_parked(&mut passing, ready);
        let is_here = |group: &mut Group| group.index.is_some_and(|index| index <= delivered.max(executed));
        let mut waiting = std::mem::take(&mut self.groups);
        waiting.retain_mut(|group| {
            if !is_here(group) {
                return true;
            }
            let index = group.index.unwrap_or(delivered);
            for question in std::mem::take(&mut group.questions) {
                passing.push(self.split(question, index, group.arrived, ready));
            }
            false
        });
        self.groups = waiting;
        passing
    }

    /// Looks at some of those that are parked, each cycle at the next ones.
    fn try_parked(&mut self, passing: &mut Vec<Passing>, ready: &mut dyn FnMut(&Touches, Instance) -> Ready) {
        let from = self.tried.take().map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<_> = self.parked.range((from, Bound::Unbounded)).map(|(key, _)| *key).take(MAX_TRIES).collect();
        for key in &keys {
            let is_ready = self.parked.get(key).is_some_and(|it| ready(&it.touches, it.index) == Ready::Now);
            if is_ready {
                passing.extend(self.parked.remove(key).map(Parked::alone));
            }
        }
        self.tried = keys.last().copied().filter(|_| keys.len() == MAX_TRIES);
    }

    fn park(&mut self, instance: Instance, parked: Parked) {
        self.last_parked += 1;
        self.parked.insert((instance, self.last_parked), parked);
    }

    /// Lets the reads of a question pass that wait for nothing, and parks the others.
    fn split(
        &mut self,
        question: Question,
        index: Instance,
        arrived: u64,
        ready: &mut dyn FnMut(&Touches, Instance) -> Ready,
    ) -> Passing {
        let Question { touches, tell } = question;
        let count = touches.len();
        let mut passing = Vec::new();
        let mut is_any_wide = false;
        for (number, touches) in touches.into_iter().enumerate() {
            match ready(&touches, index) {
                Ready::Now => {
                    passing.push(number);
                    is_any_wide |= touches.is_wide();
                }
                Ready::At(instance) => {
                    self.park(instance, Parked { tell: Arc::clone(&tell), number, touches, index, arrived });
                }
            }
        }
        let passes = if passing.len() == count { Passes::Rest } else { Passes::Some(passing) };
        Passing { tell, passes, is_wide: is_any_wide }
    }

    /// How many wait for old commands now.
    pub(super) fn parked(&self) -> u64 {
        self.parked.len() as u64
    }

    /// When the one came that has waited longest for old commands.
    pub(super) fn oldest_parked(&self) -> Option<u64> {
        self.parked.values().map(|parked| parked.arrived).min()
    }

    /// Those who have waited so long for an index, or for headers up to it.
    pub(super) fn expired(&mut self, now: u64, ticks: u64) -> LateReads {
        let mut late = LateReads::default();
        let is_late = |arrived: u64| now.saturating_sub(arrived) >= ticks;
        self.groups.retain_mut(|group| {
            if is_late(group.arrived) {
                let tell = std::mem::take(&mut group.questions).into_iter().map(|question| question.tell);
                match group.index {
                    None => late.without_index.extend(tell),
                    Some(_) => late.without_headers.extend(tell),
                }
            }
            !is_late(group.arrived)
        });
        late
    }

    /// Those who have waited so long for old commands.
    pub(super) fn expired_parked(&mut self, now: u64, ticks: u64) -> Vec<Passing> {
        let late = self.parked.extract_if(.., |_, parked| now.saturating_sub(parked.arrived) >= ticks);
        late.map(|(_, parked)| parked.alone()).collect()
    }

    /// All of them that wait for an index, to be refused.
    pub(super) fn drain(&mut self) -> Vec<TellReads> {
        let groups = std::mem::take(&mut self.groups);
        let gathering = std::mem::take(&mut self.gathering);
        groups.into_iter().flat_map(|group| group.questions).chain(gathering).map(|question| question.tell).collect()
    }

    /// Those that are parked, to be refused.
    pub(super) fn drain_parked(&mut self) -> Vec<Passing> {
        std::mem::take(&mut self.parked).into_values().map(Parked::alone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Instance, Passes, Passing, Question, Ready, WaitingReads};
    use crate::node::plan::tests::{Planning, at, key, read};
    use crate::node::{Touches, View};
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// Reads that wait, and what was told of them: the question, and which of its reads.
    #[derive(Default)]
    struct Asked {
        reads: WaitingReads,
        planning: Planning,
        told: Arc<Mutex<Vec<(u32, Passes)>>>,
    }

    impl Asked {
        fn ask(&mut self, question: u32, digests: &[u32]) {
            let told = Arc::clone(&self.told);
            let touches = digests.iter().map(|digest| read(*digest)).collect();
            self.reads.add(Question { touches, tell: Arc::new(move |which, _| told.lock().push((question, which))) });
        }

        fn pass(&mut self, executed: u64, delivered: u64) -> Vec<(u32, Passes)> {
            self.planning.plan.release(at(executed));
            let plan = &self.planning.plan;
            let mut ready = |touches: &Touches, index: Instance| match plan.ready_at(touches, index) {
                Some(instance) if index > at(executed) => Ready::At(instance),
                _ => Ready::Now,
            };
            for Passing { tell, passes, .. } in self.reads.pass(at(executed), at(delivered), &mut ready) {
                tell(passes, Ok(View::Later));
            }
            std::mem::take(&mut *self.told.lock())
        }
    }

    #[test]
    fn reads_share_an_index_and_pass_together_where_all_is_executed() {
        let mut asked = Asked::default();
        asked.ask(1, &[1]);
        asked.ask(2, &[2, 3]);
        let first = asked.reads.close_group(0).unwrap();
        assert!(asked.reads.close_group(0).is_none());
        asked.ask(3, &[1]);
        let second = asked.reads.close_group(7).unwrap();
        assert!(asked.pass(9, 9).is_empty(), "without an index nobody passes");
        asked.reads.set_index(second, at(4));
        assert_eq!(asked.pass(4, 4), [(3, Passes::Rest)], "the later one waits for nothing");
        asked.reads.set_index(first, at(5));
        assert!(asked.pass(4, 4).is_empty(), "its index is not here");
        let again = asked.reads.forget_indexes();
        assert_eq!(again.len(), 1);
        asked.reads.set_index(first, at(1));
        assert!(asked.pass(9, 9).is_empty(), "an answer to the old question counts no longer");
        asked.reads.set_index(again[0], at(5));
        assert_eq!(asked.pass(5, 5), [(1, Passes::Rest), (2, Passes::Rest)]);
        assert!(asked.reads.drain().is_empty());
    }

    #[test]
    fn each_read_waits_for_the_old_commands_on_its_own_key() {
        let mut asked = Asked::default();
        for digest in [90, 91, 92, 1, 93, 2, 94, 95] {
            asked.planning.batch(key(digest));
        }
        asked.ask(1, &[1, 7, 2]);
        asked.ask(2, &[7, 8]);
        asked.ask(3, &[2]);
        let read = asked.reads.close_group(0).unwrap();
        asked.reads.set_index(read, at(8));
        assert!(asked.pass(2, 7).is_empty(), "R2: not before all headers are here");
        let some = |numbers: &[usize]| Passes::Some(numbers.to_vec());
        assert_eq!(asked.pass(2, 8), [(1, some(&[1])), (2, Passes::Rest), (3, some(&[]))]);
        assert!(asked.reads.forget_indexes().is_empty(), "who leads does not matter any more");
        assert!(asked.pass(3, 8).is_empty());
        assert_eq!((asked.pass(4, 8), asked.reads.parked()), (vec![(1, some(&[0]))], 2));
        assert_eq!(asked.pass(6, 8), [(1, some(&[2])), (3, some(&[0]))], "in the order in which they came");
        assert_eq!(asked.reads.parked(), 0);
    }

    #[test]
    fn a_parked_read_passes_when_what_it_waits_for_was_executed_ahead() {
        let mut asked = Asked::default();
        for digest in [90, 91, 1, 1] {
            asked.planning.batch(key(digest));
        }
        asked.ask(1, &[1]);
        let read = asked.reads.close_group(0).unwrap();
        asked.reads.set_index(read, at(4));
        assert_eq!(asked.pass(1, 4), [(1, Passes::Some(Vec::new()))]);
        asked.planning.settle(3, 1);
        assert!(asked.pass(1, 4).is_empty());
        asked.planning.settle(4, 1);
        assert_eq!(asked.pass(1, 4), [(1, Passes::Some(vec![0]))]);
    }

    #[test]
    fn those_who_wait_too_long_are_let_go() {
        let mut asked = Asked::default();
        for digest in [90, 91, 92, 1] {
            asked.planning.batch(key(digest));
        }
        asked.ask(1, &[1]);
        let read = asked.reads.close_group(0).unwrap();
        asked.reads.set_index(read, at(4));
        assert_eq!(asked.pass(2, 4), [(1, Passes::Some(Vec::new()))]);
        asked.ask(2, &[1]);
        assert!(asked.reads.close_group(7).is_some());
        asked.ask(3, &[1]);
        let read = asked.reads.close_group(7).unwrap();
        asked.reads.set_index(read, at(8));
        let mut late = |now| {
            let groups = asked.reads.expired(now, 5);
            let parked = asked.reads.expired_parked(now.min(5), 5);
            (groups.without_index.len(), groups.without_headers.len(), parked.len())
        };
        assert_eq!(late(4), (0, 0, 0));
        assert_eq!(late(12), (1, 1, 1));
        assert!(asked.pass(9, 9).is_empty());
        assert!(asked.reads.drain().is_empty() && asked.reads.drain_parked().is_empty());
    }
}
