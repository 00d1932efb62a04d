//! A counter that all clients share, at all replicas: as it only rises, one look at it shows whether it is linearizable,
//! and whether every command was executed once.
//!
//! What was seen before a command was sent is a lower bound of what the command may see, and what was sent before its
//! reply arrived an upper one. An increment whose reply is lost may happen at any later time, which makes neither wrong.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The key.
pub const KEY: &str = "counter";

/// What is known of it.
#[derive(Default)]
pub struct Counter {
    /// The highest value that anybody was told.
    seen: AtomicU64,
    /// Increments that were sent, and not refused.
    sent: AtomicU64,
    /// What increments were answered with.
    answers: Mutex<BTreeSet<u64>>,
}

impl Counter {
    /// An increment is about to be sent. What it will be answered with is above this.
    pub fn sent(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.floor()
    }

    /// What a read that is about to be sent will see at least.
    pub fn floor(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// An increment was answered.
    pub fn incremented(&self, floor: u64, value: u64) {
        self.read(floor + 1, value);
        assert!(self.answers.lock().unwrap().insert(value), "two increments were answered with {value}");
    }

    /// A read was answered.
    pub fn read(&self, floor: u64, value: u64) {
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(value >= floor, "the counter was seen at {value} after it had been at {floor}");
        assert!(value <= sent, "the counter is at {value} after {sent} increments");
        self.seen.fetch_max(value, Ordering::SeqCst);
    }

    /// An increment did not happen, and never will.
    pub fn refused(&self) {
        self.sent.fetch_sub(1, Ordering::SeqCst);
    }

    /// Increments that were answered.
    pub fn answered(&self) -> u64 {
        self.answers.lock().unwrap().len() as u64
    }

    /// It was read when nothing was under way.
    pub fn check(&self, value: u64) {
        self.read(self.floor(), value);
        let answered = self.answered();
        assert!(value >= answered, "the counter is at {value}, and {answered} increments were answered");
    }
}
