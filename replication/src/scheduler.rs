//! Schedulers: which commands may begin, so that the outcome is that of executing all of them one by one (E1).
//!
//! A scheduler is a data structure: no threads, no clock, no IO. It takes in batches in their order, says what may begin,
//! and is told what is done. Whoever drives it, the worker pool, the simulator or a measurement, executes.
//!
//! ```text
//! batch in order -> admit -> [ what waits for what ] -> next_ready -> executed somewhere -> complete
//!                                       ^                                                      |
//!                                       +------------------------------------------------------+
//! ```
//!
//! Two commands conflict if they share a key digest and one of them writes it; a command over everything conflicts with
//! all others. A command may begin when all earlier ones that conflict with it are complete. How much later than that it
//! begins is what the schedulers differ in, and what they cost: `docs/scheduling.md`.

mod bitmap;
mod footprint;
mod graph;
mod sequential;
mod table;

pub use bitmap::{Bitmap, BitmapScheduler};
pub use footprint::{Footprints, Touch};
pub use graph::GraphScheduler;
pub use sequential::SequentialScheduler;
pub use table::TableScheduler;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use thiserror::Error;

/// Bits of a batch's bitmap where nothing else is said: of 400 pairs of batches of 50 keys, one meets without a common key.
pub const DEFAULT_BITMAP_BITS: u32 = 1_000_000;

/// A batch's number at a scheduler: chosen by who admits it, higher than those admitted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNumber(u64);

impl BatchNumber {
    /// The batch with this number.
    pub fn new(number: u64) -> BatchNumber {
        BatchNumber(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Commands of one batch, one after the other, that may begin: whoever has it executes them in their order. It can't be
/// copied, so that it is completed once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what waits for its commands waits until it is complete"]
pub struct Unit {
    batch: BatchNumber,
    /// What the scheduler finds it again by.
    handle: u32,
    first: u16,
    count: u32,
}

impl Unit {
    /// Their batch.
    pub fn batch(&self) -> BatchNumber {
        self.batch
    }

    /// Their places in the batch; never empty.
    pub fn commands(&self) -> Range<usize> {
        usize::from(self.first)..usize::from(self.first) + self.count as usize
    }

    /// All of a batch.
    fn whole(batch: BatchNumber, handle: u32, count: u32) -> Unit {
        Unit { batch, handle, first: 0, count }
    }
}

/// Says which commands may begin.
pub trait Scheduler: Send {
    /// Takes in the next batch of the order: its commands conflict with those before it, and with each other, as their
    /// footprints say. A batch without commands is complete at once.
    ///
    /// # Panics
    /// If the batch's number is not above the one before.
    fn admit(&mut self, batch: BatchNumber, footprints: &Footprints);

    /// What this worker may begin now, the earliest first: up to `most` commands, or a whole batch from schedulers that
    /// don't look into batches. `None` where nothing can begin before something is completed or admitted.
    fn next_ready(&mut self, worker: usize, most: usize) -> Option<Unit>;

    /// The commands of a unit are executed.
    fn complete(&mut self, unit: Unit);

    /// Commands that are admitted and not complete.
    fn outstanding(&self) -> usize;

    /// Bytes of memory that it holds, itself aside.
    fn memory_bytes(&self) -> usize;

    /// Whether what may begin is meant for certain workers, so that another one that asks may get nothing.
    fn binds_workers(&self) -> bool {
        false
    }
}

/// Which scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The last-toucher table, by command: [`TableScheduler`].
    Table,
    /// A bitmap a batch, as in section IV of the paper: [`BitmapScheduler`].
    Bitmap {
        /// Its size.
        bits: u32,
    },
    /// A graph of the batches that are not done, as CBASE has it: [`GraphScheduler`].
    Graph,
    /// One batch after the other: [`SequentialScheduler`].
    Sequential,
}

/// A scheduler's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no scheduler {0:?}: it is table, bitmap, graph or sequential")]
pub struct UnknownScheduler(String);

impl FromStr for Kind {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Kind, UnknownScheduler> {
        match name {
            "table" => Ok(Kind::Table),
            "bitmap" => Ok(Kind::Bitmap { bits: DEFAULT_BITMAP_BITS }),
            "graph" => Ok(Kind::Graph),
            "sequential" => Ok(Kind::Sequential),
            other => Err(UnknownScheduler(other.to_owned())),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Table => "table",
            Kind::Bitmap { .. } => "bitmap",
            Kind::Graph => "graph",
            Kind::Sequential => "sequential",
        })
    }
}

/// A scheduler for so many workers, at least one. For one worker the table is as good as none: nothing can run beside
/// anything, so that batches in their order are all there is to find.
pub fn build(kind: Kind, workers: usize) -> Box<dyn Scheduler> {
    match kind {
        Kind::Table if workers <= 1 => Box::new(SequentialScheduler::default()),
        Kind::Table => Box::new(TableScheduler::default()),
        Kind::Bitmap { bits } => Box::new(BitmapScheduler::new(workers.max(1), bits)),
        Kind::Graph => Box::new(GraphScheduler::default()),
        Kind::Sequential => Box::new(SequentialScheduler::default()),
    }
}

/// Holds batches to their order.
#[derive(Debug, Default)]
struct LastAdmitted(Option<BatchNumber>);

impl LastAdmitted {
    fn admit(&mut self, batch: BatchNumber) {
        assert!(self.0 < Some(batch), "E1: batches are admitted in their order");
        self.0 = Some(batch);
    }
}

#[cfg(test)]
mod tests;
