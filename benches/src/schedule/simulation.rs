//! Execution on many cores, simulated: a discrete-event simulation around the real schedulers, with the costs that they were
//! measured to have on this machine.
//!
//! One core orders and admits, as long as the window has room; as many cores as there are workers execute. Scheduler and
//! workers share a lock, as the worker pool's do and as the paper's: who wants it waits for its turn. A worker
//! holds it for what completing its last unit and taking the next one costs. One that finds nothing sleeps, and is
//! woken when there is something for it, which takes the time that waking a thread takes here.
//!
//! The ideal is what no scheduler can be faster than: the work divided by the cores, or the longest chain of commands that
//! conflict, each with the next, whichever is longer.

use super::contender::{Contender, Costs, Feed, Supply, TAKE, window};
use skink_engine::command::Access;
use skink_replication::scheduler::{BatchNumber, Unit};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// What a worker takes at a time shall be done in this time, in nanoseconds; the worker pool's number.
const TAKE_NS: f64 = 50_000.0;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Whose scheduler.
    pub contender: Contender,
    /// Cores that execute.
    pub workers: usize,
    /// What a command takes, in nanoseconds.
    pub command_ns: f64,
    /// What scheduling takes.
    pub costs: Costs,
    /// What waking a thread takes, in nanoseconds.
    pub wake_ns: f64,
    /// Batches in all.
    pub batches: u64,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Admit,
    Worker(usize),
}

struct Simulation<'s> {
    setting: Setting,
    feed: Feed<'s>,
    /// Times in picoseconds, so that they have an order; then a number that keeps those of the same time in order.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    lock_free_at: f64,
    hands: Vec<Option<Unit>>,
    sleeping: BTreeSet<usize>,
    /// Commands in workers' hands.
    begun: usize,
    is_full: bool,
    now: f64,
}

/// Commands in a second.
pub fn throughput(setting: Setting, supply: &Supply) -> f64 {
    let mut simulation = Simulation {
        feed: Feed::new(setting.contender, setting.workers, supply),
        setting,
        events: BinaryHeap::new(),
        numbered: 0,
        lock_free_at: 0.0,
        hands: (0..setting.workers).map(|_| None).collect(),
        sleeping: (0..setting.workers).collect(),
        begun: 0,
        is_full: false,
        now: 0.0,
    };
    simulation.at(0.0, Event::Admit);
    while let Some(Reverse((picoseconds, _, event))) = simulation.events.pop() {
        simulation.now = picoseconds as f64 / 1e3;
        match event {
            Event::Admit => simulation.admit(),
            Event::Worker(worker) => simulation.turn(worker),
        }
    }
    assert_eq!(simulation.feed.scheduler().outstanding(), 0, "all is executed");
    setting.batches as f64 * super::batches::COMMANDS as f64 / simulation.now * 1e9
}

impl Simulation<'_> {
    fn at(&mut self, time: f64, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse(((time * 1e3) as u64, self.numbered, event)));
    }

    /// Takes the lock for so long when it is free; answers with when it is free again.
    fn locked(&mut self, for_ns: f64) -> f64 {
        self.lock_free_at = self.lock_free_at.max(self.now) + for_ns;
        self.lock_free_at
    }

    fn admit(&mut self) {
        if self.feed.admitted() == self.setting.batches {
            return;
        }
        let room = window(self.setting.workers) * super::batches::COMMANDS;
        self.is_full = self.feed.scheduler().outstanding() + super::batches::COMMANDS > room;
        if self.is_full {
            return;
        }
        self.feed.admit();
        let free = self.locked(self.setting.costs.admit_ns);
        self.wake_sleepers(free);
        self.at(free, Event::Admit);
    }

    /// A worker has executed what it had, and takes what comes next.
    fn turn(&mut self, worker: usize) {
        if let Some(unit) = self.hands[worker].take() {
            self.begun -= unit.commands().len();
            let costs = self.setting.costs.give_ns * unit.commands().len() as f64;
            self.feed.scheduler().complete(unit);
            let free = self.locked(costs);
            if std::mem::take(&mut self.is_full) {
                self.at(free, Event::Admit);
            }
        }
        let free = self.lock_free_at.max(self.now);
        if !self.take(worker, free) {
            self.sleeping.insert(worker);
        }
        self.wake_sleepers(free);
    }

    /// A worker takes something, and is through with it in time.
    fn take(&mut self, worker: usize, from: f64) -> bool {
        let share = (self.feed.scheduler().outstanding() - self.begun) / self.setting.workers;
        let by_time = (TAKE_NS / self.setting.command_ns) as usize;
        let most = share.min(TAKE).min(self.setting.contender.take()).min(by_time).max(1);
        let Some(unit) = self.feed.scheduler().next_ready(worker, most) else { return false };
        self.begun += unit.commands().len();
        self.at(from + self.setting.command_ns * unit.commands().len() as f64, Event::Worker(worker));
        self.hands[worker] = Some(unit);
        true
    }

    fn wake_sleepers(&mut self, from: f64) {
        let from = from + self.setting.wake_ns;
        for worker in self.sleeping.clone() {
            if self.take(worker, from) {
                self.sleeping.remove(&worker);
            } else if !self.feed.scheduler().binds_workers() {
                break;
            }
        }
    }
}

/// Commands in a second that nobody can be faster than.
pub fn ideal(workers: usize, command_ns: f64, batches: u64, supply: &Supply) -> f64 {
    let feed = Feed::new(Contender::Sequential, 1, supply);
    // By digest: the length of the longest chain that ends with its last writer, and of those that end with a reader since.
    let mut chains: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut longest = 0;
    for number in 1..=batches {
        for touches in feed.footprints(BatchNumber::new(number)).commands().flatten() {
            let waits = |(writer, reader): (u64, u64), access| match access {
                Access::Read => writer,
                Access::Write => writer.max(reader),
            };
            let before =
                touches.iter().filter_map(|touch| Some(waits(*chains.get(&touch.digest)?, touch.access))).max();
            let length = before.unwrap_or_default() + 1;
            longest = longest.max(length);
            for touch in touches {
                let chain = chains.entry(touch.digest).or_default();
                match touch.access {
                    Access::Read => chain.1 = chain.1.max(length),
                    Access::Write => *chain = (length, 0),
                }
            }
        }
    }
    let commands = batches as f64 * super::batches::COMMANDS as f64;
    commands / ((commands / workers as f64).max(longest as f64) * command_ns) * 1e9
}

#[cfg(test)]
mod tests {
    use super::{Setting, ideal, throughput};
    use crate::schedule::batches::Mix;
    use crate::schedule::contender::{ALL, Contender, Costs, Supply};

    const FREE: Costs = Costs { admit_ns: 0.0, give_ns: 0.0 };

    #[test]
    fn without_costs_and_conflicts_cores_add_up_and_no_scheduler_beats_the_ideal() {
        for contender in ALL {
            for mix in [Mix::Conflicts(0), Mix::Conflicts(50), Mix::Transactions] {
                let supply = Supply::new(contender, mix, 200, 1);
                for workers in [2, 16] {
                    let setting =
                        Setting { contender, workers, command_ns: 1e4, costs: FREE, wake_ns: 0.0, batches: 400 };
                    let (reached, ideal) = (throughput(setting, &supply), ideal(workers, 1e4, 400, &supply));
                    assert!(reached <= ideal * 1.000_1, "{contender:?}, {mix:?}: {reached} of {ideal}");
                    let is_table = matches!(contender, Contender::Table(_));
                    if is_table && mix == Mix::Conflicts(0) {
                        assert!(reached > ideal * 0.97, "{reached} of {ideal}");
                    }
                    if contender == Contender::Sequential {
                        assert!((0.99e5..1.01e5).contains(&reached), "{reached}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_lock_is_as_fast_as_what_is_done_under_it() {
        let supply = Supply::new(Contender::Table(16), Mix::Conflicts(0), 200, 1);
        let costs = Costs { admit_ns: 5_000.0, give_ns: 900.0 };
        let contender = Contender::Table(16);
        let setting = Setting { contender, workers: 64, command_ns: 1e3, costs, wake_ns: 0.0, batches: 400 };
        let reached = throughput(setting, &supply);
        assert!((0.97e6..1.01e6).contains(&reached), "a microsecond of lock for each command: {reached}");
    }

    /// With four hot keys for all commands, at most four run side by side, however many cores there are.
    #[test]
    fn chains_bound_the_ideal() {
        let supply = Supply::new(Contender::Graph, Mix::Conflicts(100), 200, 1);
        let reached = ideal(64, 1e3, 200, &supply);
        assert!((3.5e6..4e6).contains(&reached), "{reached}");
    }
}
