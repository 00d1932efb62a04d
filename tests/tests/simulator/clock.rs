//! A machine's clock: the virtual time and how wrong the machine is about it, which jumps.

use skink_engine::env::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// When the virtual time begins, in milliseconds since 1970.
const START_MS: u64 = 1_700_000_000_000;

/// A clock that its machine reads, and the world sets.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    /// Virtual milliseconds, which all machines share.
    now_ms: Arc<AtomicU64>,
    /// How far ahead of it this machine is.
    ahead_ms: Arc<AtomicI64>,
}

impl WallClock {
    /// Another machine's.
    pub fn beside(&self) -> WallClock {
        WallClock { now_ms: Arc::clone(&self.now_ms), ahead_ms: Arc::default() }
    }

    /// Moves the virtual time.
    pub fn set_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Puts this machine ahead of it, or behind.
    pub fn jump(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        let now_ms = START_MS + self.now_ms.load(Ordering::Relaxed);
        now_ms.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }
}
