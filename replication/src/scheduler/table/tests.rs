//! The table in the large: memory, hot keys, old tags.

use super::{SWEEP_INTERVAL, TableScheduler, tag};
use crate::scheduler::{BatchNumber, Footprints, Scheduler, Touch};
use skink_engine::command::Access;
use std::collections::{HashMap, HashSet, VecDeque};

/// A command: its batch, and its place in it.
type Place = (u64, usize);

/// Digests as hashes have them.
fn digest(number: u64) -> u32 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
}

fn batch(touches: impl IntoIterator<Item = (u32, Access)>) -> Footprints {
    let mut footprints = Footprints::default();
    touches.into_iter().for_each(|(digest, access)| footprints.push_keys([Touch { digest, access }]));
    footprints
}

struct Feed {
    scheduler: TableScheduler,
    batches: u64,
}

impl Feed {
    fn starting_at(number: u64) -> Feed {
        Feed { scheduler: TableScheduler::starting_at(number), batches: 0 }
    }

    fn admit(&mut self, footprints: &Footprints) {
        self.batches += 1;
        self.scheduler.admit(BatchNumber::new(self.batches), footprints);
    }

    fn run_dry(&mut self) -> usize {
        let mut units = 0;
        while let Some(unit) = self.scheduler.next_ready(0, 64) {
            self.scheduler.complete(unit);
            units += 1;
        }
        assert_eq!(self.scheduler.outstanding(), 0);
        units
    }
}

#[test]
fn a_million_outstanding_commands_fit_32_mib_and_give_their_memory_back() {
    for with_reads in [false, true] {
        let mut feed = Feed::starting_at(0);
        let mut most = 0;
        // With reads: two commands a key, of which both read or both write.
        let touch = |number: u64| match with_reads {
            true if number % 4 < 2 => (digest(number / 2), Access::Read),
            true => (digest(number / 2), Access::Write),
            false => (digest(number), Access::Write),
        };
        for number in 0..20_000 {
            feed.admit(&batch((number * 50..(number + 1) * 50).map(touch)));
            most = most.max(feed.scheduler.memory_bytes());
        }
        assert_eq!(feed.scheduler.outstanding(), 1_000_000);
        // Less some whose digests are the same.
        assert!(feed.scheduler.touchers.ring_cells() > 499_000 || !with_reads);
        assert!(most <= 32 << 20, "{most} bytes");
        feed.run_dry();
        // Every part is swept once.
        for number in 0..65 * SWEEP_INTERVAL / 1_000 {
            feed.admit(&batch(
                (number * 1_000..(number + 1) * 1_000).map(|key| (digest(key ^ 1 << 40), Access::Write)),
            ));
            feed.run_dry();
        }
        assert_eq!(feed.scheduler.touchers.ring_cells(), 0);
        let kept = feed.scheduler.memory_bytes();
        assert!(kept <= 1 << 20, "{kept} bytes are kept");
    }
}

#[test]
fn readers_of_a_hot_key_are_forgotten_when_they_are_complete() {
    let mut feed = Feed::starting_at(0);
    // One that never ends, so that no reader ever leaves the window: they are complete all the same.
    feed.admit(&batch([(9, Access::Write)]));
    let stuck = feed.scheduler.next_ready(0, 1).unwrap();
    let mut running = VecDeque::new();
    for _ in 0..100_000 {
        feed.admit(&batch([(7, Access::Read)]));
        running.extend(feed.scheduler.next_ready(0, 1));
        if running.len() == 100 {
            feed.scheduler.complete(running.pop_front().unwrap());
        }
        let cells = feed.scheduler.touchers.ring_cells();
        assert!(cells <= 300, "{cells} cells for 100 readers");
    }
    feed.admit(&batch([(7, Access::Write)]));
    assert!(feed.scheduler.next_ready(0, 1).is_none());
    assert_eq!(feed.scheduler.touchers.ring_cells(), 0);
    running.drain(..).for_each(|unit| feed.scheduler.complete(unit));
    let write = feed.scheduler.next_ready(0, 1).unwrap();
    assert_eq!(write.batch().get(), feed.batches);
    feed.scheduler.complete(write);
    feed.scheduler.complete(stuck);
    assert_eq!(feed.scheduler.outstanding(), 0);
}

#[test]
fn old_tags_are_dropped_before_they_mean_new_commands() {
    let mut feed = Feed::starting_at(0);
    let touch = |access| batch([(5, access), (6, Access::Read), (6, Access::Read)]);
    feed.admit(&touch(Access::Write));
    feed.run_dry();
    // All tags later, less a few.
    let later = (1_u64 << 31) - 2;
    let age = |feed: &mut Feed, is_swept: bool| {
        let mut window = super::Window::starting_at(later);
        window.reserve(1);
        feed.scheduler.window = window;
        feed.scheduler.cursor = later;
        feed.scheduler.sweep_at = u64::MAX;
        if is_swept {
            (0..64).for_each(|_| feed.scheduler.touchers.sweep_next(&feed.scheduler.window));
        }
        // These have the old writer's tag among theirs.
        feed.admit(&batch([1, 2, 3, 4, 5].map(|digest| (digest, Access::Write))));
        let units: Vec<_> = std::iter::from_fn(|| feed.scheduler.next_ready(0, 1)).collect();
        assert!((0..5).any(|number| tag(later + number) == 0));
        let count = units.len();
        units.into_iter().for_each(|unit| feed.scheduler.complete(unit));
        count
    };
    assert_eq!(age(&mut feed, true), 5, "none waits for what was long ago");
    assert_eq!(feed.scheduler.outstanding(), 0);
    let mut feed = Feed::starting_at(0);
    feed.admit(&touch(Access::Write));
    feed.run_dry();
    assert!(age(&mut feed, false) < 5, "without the sweep it would");
}

/// Many keys and a window of thousands, so that parts are made again again and again; each command is held to the last
/// touchers of its key.
#[test]
fn many_keys_through_growth_and_renewal() {
    for start in [0, (1 << 31) - 30_000] {
        let mut feed = Feed::starting_at(start);
        let mut random = 1_u64;
        let mut next = move |below: u64| {
            random += 1;
            u64::from(digest(random)) % below
        };
        // By key: what must be complete before its next writer, and before its next reader.
        let mut touchers: HashMap<u64, (Vec<Place>, Option<Place>)> = HashMap::new();
        let mut waits: HashMap<Place, Vec<Place>> = HashMap::new();
        let mut complete = HashSet::new();
        let mut running = Vec::new();
        for round in 0..3_000 {
            let keys = if round % 1_000 < 500 { 100 } else { 50_000 };
            let number = feed.batches + 1;
            let mut footprints = Footprints::default();
            for place in 0..20 {
                let key = next(keys);
                let access = if next(3) == 0 { Access::Read } else { Access::Write };
                footprints.push_keys([Touch { digest: digest(key), access }]);
                let (all, writer) = touchers.entry(key).or_default();
                if access == Access::Write {
                    waits.insert((number, place), std::mem::take(all));
                    *writer = Some((number, place));
                } else {
                    waits.insert((number, place), writer.iter().copied().collect());
                }
                all.push((number, place));
            }
            feed.admit(&footprints);
            let most_running = if round % 700 < 300 { 5 } else { 1_500 };
            while let Some(unit) = feed.scheduler.next_ready(0, 3) {
                for place in unit.commands() {
                    let waits = waits.remove(&(unit.batch().get(), place)).unwrap();
                    assert!(waits.iter().all(|earlier| complete.contains(earlier)), "E1");
                }
                running.push(unit);
                while running.len() > most_running {
                    let unit = running.swap_remove(next(running.len() as u64) as usize);
                    complete.extend(unit.commands().map(|place| (unit.batch().get(), place)));
                    feed.scheduler.complete(unit);
                }
            }
        }
        while let Some(unit) = running.pop().or_else(|| feed.scheduler.next_ready(0, 3)) {
            feed.scheduler.complete(unit);
        }
        assert_eq!(feed.scheduler.outstanding(), 0);
    }
}
