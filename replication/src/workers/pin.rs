//! Threads that stay on one processor.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Puts this thread on one of the processors that the process may use: another one for each worker as long as there are enough,
/// the first one last, as the system's own work is mostly there.
pub(super) fn pin(worker: usize) {
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let mut chosen = CpuSet::new();
        if let Some(cpu) = (worker + 1).checked_rem(allowed.len()).and_then(|place| allowed.get(place)) {
            chosen.set(*cpu);
        }
        sched_setaffinity(None, &chosen)
    });
    if let Err(error) = pinned {
        tracing::warn!(worker, %error, "a worker is not pinned to a processor");
    }
}
