//! The read index: how far a replica must have executed before it may answer reads that arrived now.
//!
//! ```text
//! read -> replica -> leader: index = max(decided, accepted when it became leader)
//!                    leader -> all: do you still follow? -> a majority does -> index -> replica
//! ```
//!
//! Who confirms has not promised a higher ballot. So no higher ballot had a majority when the read arrived, and what was
//! acknowledged by then is decided at this leader or was in its log from its start. A leader asks in rounds; reads
//! that arrive during one wait for the next.

use super::configuration::{Ballot, ReplicaId};
use super::rules::{Rule, Rules};
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use std::collections::{BTreeMap, VecDeque};

/// A batch of reads of a replica. Never used twice in the life of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId(u64);

impl ReadId {
    /// The batch with this number.
    pub fn new(number: u64) -> ReadId {
        ReadId(number)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Most batches that wait at a replica, and most that a leader has waiting for one replica.
const MAX_WAITING: usize = 1024;

/// A read at the leader.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Who asked; nobody for the leader's own.
    pub(super) from: Option<ReplicaId>,
    pub(super) read: ReadId,
    pub(super) index: Instance,
    round: u64,
}

/// What a leader knows of its leadership.
#[derive(Debug)]
struct Leadership {
    ballot: Ballot,
    /// What it had accepted when it began to accept.
    start: Instance,
    /// The last round that was begun.
    round: u64,
    /// The last round that a majority confirmed.
    confirmed_round: u64,
    confirmed: BTreeMap<ReplicaId, u64>,
    waiting: VecDeque<Waiting>,
    /// Ticks since the round began.
    age: u64,
}

/// Reads that wait for an index, here and at this leader.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// This replica's own, and the ticks since the leader was asked.
    own: BTreeMap<ReadId, u64>,
    leadership: Option<Leadership>,
}

impl Reads {
    /// A read of this replica's own; false if too many wait.
    pub(super) fn add_own(&mut self, read: ReadId) -> bool {
        if self.own.len() >= MAX_WAITING {
            return false;
        }
        self.own.insert(read, 0);
        true
    }

    /// Whether the read still waits; it does no longer.
    pub(super) fn answered(&mut self, read: ReadId) -> bool {
        self.own.remove(&read).is_some()
    }

    /// Own reads that a new leader must be asked for.
    pub(super) fn all_own(&self) -> Vec<ReadId> {
        self.own.keys().copied().collect()
    }

    /// Time passes; answers with own reads that must be asked for again.
    pub(super) fn tick_own(&mut self, retry_ticks: u64) -> Vec<ReadId> {
        let mut again = Vec::new();
        for (read, age) in &mut self.own {
            *age += 1;
            if *age >= retry_ticks {
                *age = 0;
                again.push(*read);
            }
        }
        again
    }

    // ---- at the leader ----

    /// This replica leads and accepts, or not. What waits at a leader that is none any more is asked for again.
    pub(super) fn observe(&mut self, ballot: Option<Ballot>, accepted: Instance) {
        if self.leadership.as_ref().map(|leadership| leadership.ballot) == ballot {
            return;
        }
        self.leadership = ballot.map(|ballot| Leadership {
            ballot,
            start: accepted,
            round: 0,
            confirmed_round: 0,
            confirmed: BTreeMap::new(),
            waiting: VecDeque::new(),
            age: 0,
        });
    }

    /// A read arrived at the leader. Answers with a round to begin, if there is none under way.
    pub(super) fn arrived(
        &mut self,
        from: Option<ReplicaId>,
        read: ReadId,
        decided: Instance,
        rules: Rules,
    ) -> Option<(Ballot, u64)> {
        let leadership = self.leadership.as_mut()?;
        if leadership.waiting.iter().filter(|waiting| waiting.from == from).count() >= MAX_WAITING {
            return None;
        }
        if leadership.waiting.iter().any(|waiting| waiting.from == from && waiting.read == read) {
            return None;
        }
        let index = if rules.hold(Rule::IndexFromStart) { decided.max(leadership.start) } else { decided };
        let round = leadership.round + 1;
        leadership.waiting.push_back(Waiting { from, read, index, round });
        (leadership.round == leadership.confirmed_round).then(|| leadership.begin())
    }

    /// A follower confirmed a round.
    pub(super) fn confirmed(&mut self, peer: ReplicaId, ballot: Ballot, round: u64) {
        let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.ballot == ballot) else {
            return;
        };
        let last = leadership.confirmed.entry(peer).or_default();
        *last = round.min(leadership.round).max(*last);
    }

    /// Reads whose round a majority confirmed, and the next round to begin.
    pub(super) fn ready(&mut self, majority: usize, rules: Rules) -> (Vec<Waiting>, Option<(Ballot, u64)>) {
        let Some(leadership) = self.leadership.as_mut() else { return (Vec::new(), None) };
        let mut rounds: Vec<u64> = leadership.confirmed.values().copied().collect();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        // The leader itself is one of the majority.
        let confirmed = majority.checked_sub(2).and_then(|others| rounds.get(others)).copied().unwrap_or(0);
        leadership.confirmed_round = leadership.confirmed_round.max(confirmed);
        let is_ready =
            |waiting: &Waiting| waiting.round <= leadership.confirmed_round || !rules.hold(Rule::ConfirmLeadership);
        let count = leadership.waiting.iter().take_while(|waiting| is_ready(waiting)).count();
        let ready: Vec<Waiting> = leadership.waiting.drain(..count).collect();
        let is_next = leadership.round == leadership.confirmed_round && !leadership.waiting.is_empty();
        (ready, is_next.then(|| leadership.begin()))
    }

    /// Time passes at the leader: a round whose questions may be lost is begun again.
    pub(super) fn tick_leader(&mut self, retry_ticks: u64) -> Option<(Ballot, u64)> {
        let leadership = self.leadership.as_mut()?;
        leadership.age += 1;
        let is_late = leadership.age >= retry_ticks && leadership.round > leadership.confirmed_round;
        is_late.then(|| leadership.begin())
    }
}

impl Leadership {
    fn begin(&mut self) -> (Ballot, u64) {
        self.round += 1;
        self.age = 0;
        (self.ballot, self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, Instance, ReadId, Reads, ReplicaId, Rule, Rules, Waiting};

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    fn at(number: u64) -> Instance {
        Instance::new(number).unwrap()
    }

    fn leader(rules: Rules) -> (Reads, Ballot, Option<(Ballot, u64)>) {
        let ballot = Ballot::new(3, replica(1));
        let mut reads = Reads::default();
        reads.observe(Some(ballot), at(10));
        let round = reads.arrived(Some(replica(2)), ReadId::new(1), at(7), rules);
        (reads, ballot, round)
    }

    fn ids(ready: &[Waiting]) -> Vec<u64> {
        ready.iter().map(|waiting| waiting.read.get()).collect()
    }

    #[test]
    fn a_read_waits_for_a_majority_that_was_asked_after_it_arrived() {
        let rules = Rules::default();
        let (mut reads, ballot, round) = leader(rules);
        assert_eq!(round, Some((ballot, 1)));
        assert_eq!(reads.arrived(None, ReadId::new(2), at(12), rules), None, "round 1 is under way");
        assert!(reads.ready(3, rules).0.is_empty());
        reads.confirmed(replica(2), ballot, 1);
        assert!(reads.ready(3, rules).0.is_empty(), "two of five");
        reads.confirmed(replica(3), Ballot::new(2, replica(1)), 1);
        assert!(reads.ready(3, rules).0.is_empty(), "of another ballot");
        reads.confirmed(replica(3), ballot, 9);
        let (ready, next) = reads.ready(3, rules);
        assert_eq!((ids(&ready), next), (vec![1], Some((ballot, 2))), "the later one waits for the next round");
        reads.confirmed(replica(2), ballot, 2);
        reads.confirmed(replica(4), ballot, 2);
        let (ready, next) = reads.ready(3, rules);
        assert_eq!((ids(&ready), next), (vec![2], None));
        assert_eq!(ready[0].index, at(12));
    }

    #[test]
    fn the_index_is_not_below_what_was_accepted_at_the_start() {
        let index = |rules| {
            let (mut reads, ballot, _) = leader(rules);
            reads.confirmed(replica(2), ballot, 1);
            reads.ready(2, rules).0[0].index
        };
        assert_eq!(index(Rules::default()), at(10));
        assert_eq!(index(Rules::without(&[Rule::IndexFromStart])), at(7), "what the rule is for");
    }

    #[test]
    fn lost_questions_are_asked_again_and_lost_leaders_answer_nothing() {
        let rules = Rules::default();
        let (mut reads, ballot, _) = leader(rules);
        assert_eq!((reads.tick_leader(2), reads.tick_leader(2)), (None, Some((ballot, 2))));
        reads.observe(None, at(10));
        reads.confirmed(replica(2), ballot, 2);
        assert!(reads.ready(2, rules).0.is_empty());
    }

    #[test]
    fn own_reads_are_bounded_and_repeated() {
        let mut reads = Reads::default();
        assert!((0..super::MAX_WAITING as u64).all(|number| reads.add_own(ReadId::new(number))));
        assert!(!reads.add_own(ReadId::new(9999)));
        assert!(reads.answered(ReadId::new(5)) && !reads.answered(ReadId::new(5)), "once");
        assert!(reads.tick_own(2).is_empty());
        assert_eq!(reads.tick_own(2).len(), super::MAX_WAITING - 1);
    }
}
