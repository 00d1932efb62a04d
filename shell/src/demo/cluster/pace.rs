//! How writes go: how many, at which replica, and for how long none did.

use super::members::MEMBERS;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counters that all clients share.
#[derive(Debug)]
pub struct Pace {
    started: Instant,
    /// Acknowledged writes, by the replica that answered.
    acknowledged: [AtomicU64; MEMBERS],
    /// Writes that needed more than one try.
    pub retried: AtomicU64,
    /// When anybody's last write was acknowledged, in microseconds since the start.
    last_us: AtomicU64,
    /// Since the last [`Pace::pauses`]: the longest time without an acknowledgement, and the longest that a client waited.
    longest_pause_us: AtomicU64,
    longest_wait_us: AtomicU64,
}

/// How long writes did not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// Not one was acknowledged for so long.
    pub of_all: Duration,
    /// Some client waited for so long.
    pub of_a_client: Duration,
}

impl Pace {
    /// Begins to count.
    pub fn new() -> Pace {
        Pace {
            started: Instant::now(),
            acknowledged: Default::default(),
            retried: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            longest_pause_us: AtomicU64::new(0),
            longest_wait_us: AtomicU64::new(0),
        }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A replica acknowledged a write, for which its client waited so long.
    pub fn acknowledge(&self, member: usize, waited: Duration) {
        self.acknowledged[member].fetch_add(1, Ordering::Relaxed);
        let now_us = us(self.started.elapsed());
        // Of two threads the later one may be first here: its pause is then none.
        let pause_us = now_us.saturating_sub(self.last_us.fetch_max(now_us, Ordering::Relaxed));
        self.longest_pause_us.fetch_max(pause_us, Ordering::Relaxed);
        self.longest_wait_us.fetch_max(us(waited), Ordering::Relaxed);
    }

    /// Writes that a replica acknowledged.
    pub fn acknowledged(&self, member: usize) -> u64 {
        self.acknowledged[member].load(Ordering::Relaxed)
    }

    /// The longest pauses since this was last asked, one that goes on included.
    pub fn pauses(&self) -> Pauses {
        let present_us = us(self.started.elapsed()).saturating_sub(self.last_us.load(Ordering::Relaxed));
        let of_all = self.longest_pause_us.swap(0, Ordering::Relaxed).max(present_us);
        let of_a_client = self.longest_wait_us.swap(0, Ordering::Relaxed);
        Pauses {
            of_all: Duration::from_micros(of_all),
            of_a_client: Duration::from_micros(of_a_client.max(present_us)),
        }
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn the_longest_pause_is_that_between_two_acknowledgements() {
        let pace = Pace::new();
        pace.acknowledge(0, Duration::from_micros(5));
        pace.pauses();
        std::thread::sleep(Duration::from_millis(30));
        pace.acknowledge(2, Duration::from_millis(40));
        pace.acknowledge(2, Duration::from_micros(5));
        let pauses = pace.pauses();
        assert!(pauses.of_all >= Duration::from_millis(30), "{pauses:?}");
        assert!(pauses.of_a_client >= Duration::from_millis(40), "{pauses:?}");
        assert_eq!((pace.acknowledged(0), pace.acknowledged(1), pace.acknowledged(2)), (1, 0, 2));
    }

    #[test]
    fn a_pause_that_goes_on_counts() {
        let pace = Pace::new();
        pace.acknowledge(0, Duration::ZERO);
        pace.pauses();
        std::thread::sleep(Duration::from_millis(30));
        assert!(pace.pauses().of_all >= Duration::from_millis(30));
    }
}
