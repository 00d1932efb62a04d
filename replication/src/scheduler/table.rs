//! The last-toucher table: exact dependencies by command, O(its keys) for each.
//!
//! ```text
//!  digest -> last writer, readers since           nodes, one after the other
//! +--------+--------+---------+          +------+------+------+------+------+------+
//! | 7c01.. |  #12   |   -     |--------->| #11  | #12  | #13  | #14  | #15  | ...  |
//! | 03fe.. |  #9 +  | #13,#14 |---+      | begun| ready| waits| ready| ready|      |
//! +--------+--------+---------+   |      +------+------+------+------+------+------+
//!    + complete: before the       +--------------------^------^   ^ cursor
//!      watermark, so it is dead              watermark: #11
//! ```
//!
//! A new command looks up its digests, waits for the touchers that are there and not complete, and takes their place.
//! Completing a command touches no entry: the watermark, the oldest command that is not complete, passes it, and what the table
//! says of it means nothing any more.
//!
//! What may begin comes from two places. A cursor goes over the commands in their order and takes what waits for nothing;
//! what it has passed over because it waited goes to a heap when it waits no more. So all in the heap is earlier
//! than all from the cursor on. A command over everything is a fence: the cursor stops before it until all earlier
//! commands are complete, and goes on when it is complete itself; it needs no entries.

mod cells;
mod touchers;
mod window;

use super::{BatchNumber, Footprints, LastAdmitted, Scheduler, Unit};
use cells::Cells;
use skink_engine::command::Access;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use touchers::Touchers;
use window::{Window, tag};

/// Commands after which dead entries are dropped from the next part of the table: from all parts long before their tags come
/// again, and often enough that memory that was once needed is soon given back.
const SWEEP_INTERVAL: u64 = 1 << 16;

/// A batch, some of whose commands are not complete.
#[derive(Debug)]
struct Admitted {
    batch: BatchNumber,
    /// The number of its first command.
    first: u64,
    /// The one after its last command's.
    end: u64,
}

/// Finds what waits for what by the last touchers of each key.
#[derive(Debug)]
pub struct TableScheduler {
    last: LastAdmitted,
    window: Window,
    touchers: Touchers,
    /// Lists of commands that wait for one.
    edges: Cells,
    batches: VecDeque<Admitted>,
    /// Where the cursor stands: all before it have begun, or are in the heap, or waited when it came by.
    cursor: u64,
    /// The place of the cursor's batch.
    cursor_batch: usize,
    /// Commands before the cursor that may begin.
    released: BinaryHeap<Reverse<u64>>,
    /// Commands over everything that are not complete.
    fences: VecDeque<u64>,
    sweep_at: u64,
    outstanding: usize,
}

impl Default for TableScheduler {
    fn default() -> TableScheduler {
        TableScheduler::starting_at(0)
    }
}

impl TableScheduler {
    /// One that numbers its commands from here on.
    pub(super) fn starting_at(number: u64) -> TableScheduler {
        TableScheduler {
            last: LastAdmitted::default(),
            window: Window::starting_at(number),
            touchers: Touchers::default(),
            edges: Cells::default(),
            batches: VecDeque::new(),
            cursor: number,
            cursor_batch: 0,
            released: BinaryHeap::new(),
            fences: VecDeque::new(),
            sweep_at: number + SWEEP_INTERVAL,
            outstanding: 0,
        }
    }

    /// Commands that may begin, from one that may on, up to `most` of its batch.
    fn begin(
        &mut self,
        batch: usize,
        first: u64,
        most: usize,
        mut may_follow: impl FnMut(&mut Self, u64) -> bool,
    ) -> Unit {
        let Admitted { batch, first: batch_first, end } = self.batches[batch];
        let limit = end.min(first.saturating_add(most.max(1) as u64));
        self.window.begin(first);
        let mut next = first + 1;
        while next < limit && may_follow(self, next) {
            self.window.begin(next);
            next += 1;
        }
        Unit { batch, handle: tag(first), first: (first - batch_first) as u16, count: (next - first) as u32 }
    }

    fn begin_released(&mut self, first: u64, most: usize) -> Unit {
        let batch = self.batches.partition_point(|admitted| admitted.first <= first) - 1;
        self.begin(batch, first, most, |scheduler, next| {
            let follows = scheduler.released.peek() == Some(&Reverse(next));
            if follows {
                scheduler.released.pop();
            }
            follows
        })
    }
}

impl Scheduler for TableScheduler {
    fn admit(&mut self, batch: BatchNumber, footprints: &Footprints) {
        self.last.admit(batch);
        if footprints.is_empty() {
            return;
        }
        let first = self.window.end();
        if first >= self.sweep_at {
            self.touchers.sweep_next(&self.window);
            self.edges.tidy();
            self.sweep_at = first + SWEEP_INTERVAL;
        }
        self.window.reserve(footprints.len());
        for touches in footprints.commands() {
            let tag = self.window.push();
            let Some(touches) = touches else {
                self.fences.push_back(self.window.end() - 1);
                continue;
            };
            for touch in touches {
                match touch.access {
                    Access::Read => self.touchers.read(touch.digest, tag, &mut self.window, &mut self.edges),
                    Access::Write => self.touchers.write(touch.digest, tag, &mut self.window, &mut self.edges),
                }
            }
        }
        self.batches.push_back(Admitted { batch, first, end: self.window.end() });
        self.outstanding += footprints.len();
    }

    fn next_ready(&mut self, _worker: usize, most: usize) -> Option<Unit> {
        if let Some(Reverse(first)) = self.released.pop() {
            return Some(self.begin_released(first, most));
        }
        let fence = self.fences.front().copied().unwrap_or(u64::MAX);
        while self.cursor < self.window.end() && self.cursor < fence {
            if self.cursor == self.batches[self.cursor_batch].end {
                self.cursor_batch += 1;
            }
            let first = self.cursor;
            if self.window.is_ready(first) {
                let may_follow = |scheduler: &mut Self, next| next < fence && scheduler.window.is_ready(next);
                let unit = self.begin(self.cursor_batch, first, most, may_follow);
                self.cursor += u64::from(unit.count);
                return Some(unit);
            }
            self.cursor += 1;
        }
        if self.cursor != fence || self.window.first() != fence || !self.window.is_ready(fence) {
            return None;
        }
        if self.cursor == self.batches[self.cursor_batch].end {
            self.cursor_batch += 1;
        }
        Some(self.begin(self.cursor_batch, fence, 1, |_, _| false))
    }

    fn complete(&mut self, unit: Unit) {
        let (mut number, cursor) = (self.window.first(), self.cursor);
        number += u64::from(unit.handle.wrapping_sub(tag(number)) & tag(u64::MAX));
        for number in number..number + u64::from(unit.count) {
            let release = |later| {
                // The cursor finds what it has not passed.
                if later < cursor {
                    self.released.push(Reverse(later));
                }
            };
            self.window.complete(number, &mut self.edges, release);
        }
        if self.fences.front() == Some(&number) {
            self.fences.pop_front();
            self.cursor = number + 1;
        }
        while self.batches.front().is_some_and(|front| front.end <= self.window.first()) {
            self.batches.pop_front();
            self.cursor_batch = self.cursor_batch.saturating_sub(1);
        }
        self.outstanding -= unit.count as usize;
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn memory_bytes(&self) -> usize {
        self.window.memory_bytes()
            + self.touchers.memory_bytes()
            + self.edges.memory_bytes()
            + self.batches.capacity() * size_of::<Admitted>()
            + (self.released.capacity() + self.fences.capacity()) * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests;
