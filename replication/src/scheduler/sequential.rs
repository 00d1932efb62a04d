//! One batch after the other: nothing runs beside anything.

use super::{BatchNumber, Footprints, LastAdmitted, Scheduler, Unit};
use std::collections::VecDeque;

/// Hands out one batch after the other.
#[derive(Debug, Default)]
pub struct SequentialScheduler {
    last: LastAdmitted,
    /// Those that are not complete: number, commands. The first one may have begun.
    queue: VecDeque<(BatchNumber, u32)>,
    has_begun: bool,
    outstanding: usize,
}

impl Scheduler for SequentialScheduler {
    fn admit(&mut self, batch: BatchNumber, footprints: &Footprints) {
        self.last.admit(batch);
        if !footprints.is_empty() {
            self.queue.push_back((batch, footprints.len() as u32));
            self.outstanding += footprints.len();
        }
    }

    fn next_ready(&mut self, _worker: usize, _most: usize) -> Option<Unit> {
        if self.has_begun {
            return None;
        }
        let (batch, count) = *self.queue.front()?;
        self.has_begun = true;
        Some(Unit::whole(batch, 0, count))
    }

    fn complete(&mut self, unit: Unit) {
        let first = self.queue.pop_front();
        assert_eq!((first, self.has_begun), (Some((unit.batch, unit.count)), true), "E1: what has begun is completed");
        self.has_begun = false;
        self.outstanding -= unit.count as usize;
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn memory_bytes(&self) -> usize {
        self.queue.capacity() * size_of::<(BatchNumber, u32)>()
    }
}
