//! What the hand-over waits and measures time with. Tests put others in its place, which explore orders of events.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

/// Nanoseconds from any fixed time on.
pub(super) fn now_ns() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
