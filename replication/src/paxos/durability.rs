//! What of the ordering state is durable, by cycles.
//!
//! A cycle gathers changes until its frame is appended to the log; then it is closed. It is durable when the log is
//! durable up to that frame. Cycles become durable in their order.

use super::configuration::Ballot;
use std::collections::VecDeque;

/// The number of a cycle, from 1 in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CycleNumber(u64);

impl CycleNumber {
    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }

    pub(super) fn next(self) -> CycleNumber {
        CycleNumber(self.0 + 1)
    }
}

/// The state as a cycle left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) cycle: CycleNumber,
    pub(super) promise: Ballot,
    pub(super) accepted_round: Ballot,
    /// Length of the log then.
    pub(super) written: usize,
    /// So much of the log then is still part of the log.
    pub(super) len: usize,
}

/// Which cycles are closed, and which of them are durable.
#[derive(Debug)]
pub(super) struct Durability {
    closed: VecDeque<Facts>,
    durable: Facts,
}

impl Durability {
    /// Everything is durable.
    pub(super) fn new(facts: Facts) -> Durability {
        Durability { closed: VecDeque::new(), durable: facts }
    }

    /// The durable state.
    pub(super) fn durable(&self) -> &Facts {
        &self.durable
    }

    /// The last closed cycle.
    pub(super) fn last_closed(&self) -> CycleNumber {
        self.closed.back().unwrap_or(&self.durable).cycle
    }

    /// Closes the next cycle.
    pub(super) fn close(&mut self, facts: Facts) {
        assert_eq!(facts.cycle, self.last_closed().next(), "cycles have no gaps");
        self.closed.push_back(facts);
    }

    /// The log is durable up to this cycle's frame.
    pub(super) fn advance(&mut self, cycle: CycleNumber) {
        assert!(cycle <= self.last_closed(), "O2: a cycle is durable only after it was written");
        while let Some(facts) = self.closed.pop_front_if(|facts| facts.cycle <= cycle) {
            self.durable = facts;
        }
    }

    /// The log was cut to this length: what earlier cycles wrote beyond no longer counts.
    pub(super) fn cut(&mut self, len: usize) {
        self.all(|facts| facts.len = facts.len.min(len));
    }

    /// A durable checkpoint stands in for the log up to this length.
    pub(super) fn covered(&mut self, len: usize) {
        self.all(|facts| facts.len = facts.len.max(len));
    }

    fn all(&mut self, change: impl Fn(&mut Facts)) {
        change(&mut self.durable);
        self.closed.iter_mut().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, CycleNumber, Durability, Facts};

    fn facts(cycle: u64, len: usize) -> Facts {
        let cycle = CycleNumber(cycle);
        Facts { cycle, promise: Ballot::NONE, accepted_round: Ballot::NONE, written: len, len }
    }

    #[test]
    fn the_durable_length_falls_when_a_suffix_is_overwritten() {
        let mut durability = Durability::new(facts(0, 0));
        durability.close(facts(1, 10));
        durability.advance(CycleNumber(1));
        assert_eq!(durability.durable().len, 10);
        durability.close(facts(2, 12));
        durability.cut(4);
        assert_eq!(durability.durable().len, 4);
        durability.close(facts(3, 6));
        durability.advance(CycleNumber(2));
        assert_eq!((durability.durable().len, durability.durable().written), (4, 12), "of the 12, 4 still count");
        durability.advance(CycleNumber(3));
        assert_eq!(durability.durable().len, 6);
        durability.covered(8);
        assert_eq!(durability.durable().len, 8);
    }

    #[test]
    #[should_panic(expected = "O2")]
    fn nothing_is_durable_before_it_was_written() {
        Durability::new(facts(0, 0)).advance(CycleNumber(1));
    }
}
