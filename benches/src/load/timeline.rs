//! Replies by time: how many came in each millisecond and the longest latency among them, so that a stall can be
//! told from the rest of a run.

use std::ops::Range;
use std::time::Duration;

/// Length of a slot.
const SLOT: Duration = Duration::from_millis(1);
/// Later replies count into the last slot; an hour is beyond every run, and 58 MB if it is ever reached.
const SLOTS: usize = 3_600_000;

/// Counts and longest latencies, a slot for each millisecond since the start of the run.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    replies: u64,
    longest: Duration,
}

impl Timeline {
    /// Adds replies that arrived `at` after the start and took `latency`.
    pub fn record(&mut self, at: Duration, latency: Duration, replies: u64) {
        let index = slot_index(at);
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        let slot = &mut self.slots[index];
        slot.replies += replies;
        slot.longest = slot.longest.max(latency);
    }

    /// Adds all of `other`, which has the same start.
    pub fn merge(&mut self, other: &Self) {
        self.slots.resize(self.slots.len().max(other.slots.len()), Slot::default());
        for (slot, other) in self.slots.iter_mut().zip(&other.slots) {
            slot.replies += other.replies;
            slot.longest = slot.longest.max(other.longest);
        }
    }

    fn window(&self, window: &Range<Duration>) -> &[Slot] {
        let end = slot_index(window.end).min(self.slots.len());
        self.slots.get(slot_index(window.start)..end).unwrap_or_default()
    }

    /// Replies a second within `window`.
    pub fn throughput(&self, window: Range<Duration>) -> f64 {
        let replies: u64 = self.window(&window).iter().map(|slot| slot.replies).sum();
        replies as f64 / window.end.saturating_sub(window.start).as_secs_f64()
    }

    /// The longest latency of a reply that came within `window`.
    pub fn longest(&self, window: Range<Duration>) -> Duration {
        self.window(&window).iter().map(|slot| slot.longest).max().unwrap_or_default()
    }

    /// The longest time within `window` without any reply, as precise as a slot.
    pub fn longest_gap(&self, window: Range<Duration>) -> Duration {
        let (mut longest, mut current) = (0u32, 0u32);
        for index in slot_index(window.start)..slot_index(window.end) {
            let is_empty = self.slots.get(index).is_none_or(|slot| slot.replies == 0);
            current = if is_empty { current + 1 } else { 0 };
            longest = longest.max(current);
        }
        SLOT * longest
    }
}

fn slot_index(at: Duration) -> usize {
    ((at.as_nanos() / SLOT.as_nanos()) as usize).min(SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_see_their_own_replies_only() {
        let ms = Duration::from_millis;
        let mut timeline = Timeline::default();
        timeline.record(ms(10), ms(2), 5);
        timeline.record(ms(20), ms(9), 5);
        let mut other = Timeline::default();
        other.record(ms(40), ms(30), 1);
        timeline.merge(&other);
        assert_eq!(timeline.longest(ms(0)..ms(20)), ms(2));
        assert_eq!(timeline.longest(ms(0)..ms(21)), ms(9));
        assert_eq!(timeline.longest(ms(30)..ms(1000)), ms(30));
        assert_eq!(timeline.longest(ms(500)..ms(1000)), Duration::ZERO);
        assert!((timeline.throughput(ms(0)..ms(100)) - 110.0).abs() < 1e-9);
    }

    #[test]
    fn a_gap_is_a_time_without_replies() {
        let ms = Duration::from_millis;
        let mut timeline = Timeline::default();
        for at in [0, 1, 2, 50, 51, 80] {
            timeline.record(ms(at), ms(1), 1);
        }
        assert_eq!(timeline.longest_gap(ms(0)..ms(81)), ms(47), "from 3 to 49");
        assert_eq!(timeline.longest_gap(ms(10)..ms(51)), ms(40), "a window cuts it");
        assert_eq!(timeline.longest_gap(ms(60)..ms(200)), ms(119), "nothing came after 80");
        assert_eq!(timeline.longest_gap(ms(0)..ms(3)), Duration::ZERO);
    }
}
