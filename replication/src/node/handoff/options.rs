//! How much is handed over, and when.

/// How a node hands over its state, and takes that of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoffOptions {
    /// Missed batches from which on another replica's state is worth more than to execute them.
    pub lag: usize,
    /// Bytes of versions, about, in one part: what is read and put in place in some tenths of a millisecond.
    pub part: usize,
    /// Bytes of parts that are given in one tick, about: the donor's own clients, and others on its machine, go first.
    pub per_tick: usize,
    /// Ticks after which what was handed over is made durable, if no checkpoint came by then.
    pub cut_after: u64,
}

impl Default for HandoffOptions {
    fn default() -> HandoffOptions {
        HandoffOptions { lag: 1024, part: 128 << 10, per_tick: 1 << 20, cut_after: 500 }
    }
}
