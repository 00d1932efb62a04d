//! The schedulers that are measured, and what each costs on one core.
//!
//! The loop admits, hands out and completes, and executes nothing. Each worker has something in its hands from one turn to the
//! next, so that what it has not completed is there for others to wait for. For the bitmaps, making them is left out of the
//! time: the paper's proxies do that.

use super::batches::{Draw, Mix};
use skink_replication::scheduler::{
    BatchNumber, Bitmap, BitmapScheduler, Footprints, GraphScheduler, Scheduler, SequentialScheduler, TableScheduler,
    Unit,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Commands that a worker takes at a time at most, where the scheduler looks into batches; the worker pool's number.
pub const TAKE: usize = 16;

/// A scheduler under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The table, with so many commands taken at a time.
    Table(usize),
    /// The paper's, with bitmaps of so many bits.
    Bitmap(u32),
    /// CBASE's graph.
    Graph,
    /// None.
    Sequential,
}

/// All of them.
pub const ALL: [Contender; 6] = [
    Contender::Table(TAKE),
    Contender::Table(1),
    Contender::Bitmap(100_000),
    Contender::Bitmap(1_000_000),
    Contender::Graph,
    Contender::Sequential,
];

impl Contender {
    /// What it is called.
    pub fn name(self) -> String {
        match self {
            Contender::Table(1) => "table, one by one".to_owned(),
            Contender::Table(_) => "table".to_owned(),
            Contender::Bitmap(bits) => format!("bitmap 1e{}", bits.ilog10()),
            Contender::Graph => "graph".to_owned(),
            Contender::Sequential => "sequential".to_owned(),
        }
    }

    /// Commands that a worker takes at a time, at most.
    pub fn take(self) -> usize {
        match self {
            Contender::Table(take) => take,
            _ => TAKE,
        }
    }
}

/// Batches that a scheduler can be given again and again.
pub struct Supply {
    footprints: Vec<Footprints>,
    bitmaps: Vec<Arc<Bitmap>>,
}

impl Supply {
    /// So many batches of a mix, in the form that a contender takes.
    pub fn new(contender: Contender, mix: Mix, batches: usize, seed: u64) -> Supply {
        let mut draw = Draw::new(mix, seed);
        let footprints: Vec<Footprints> = (0..batches)
            .map(|_| {
                let mut footprints = Footprints::default();
                draw.batch().into_iter().for_each(|touches| footprints.push_keys(touches));
                footprints
            })
            .collect();
        let bitmaps = match contender {
            Contender::Bitmap(bits) => footprints.iter().map(|batch| Arc::new(Bitmap::of(batch, bits))).collect(),
            _ => Vec::new(),
        };
        Supply { footprints, bitmaps }
    }
}

/// A scheduler and where it stands in the supply.
pub struct Feed<'s> {
    supply: &'s Supply,
    scheduler: AnyScheduler,
    admitted: u64,
}

/// The bitmaps have a way in of their own.
enum AnyScheduler {
    Bitmap(BitmapScheduler),
    Other(Box<dyn Scheduler>),
}

impl<'s> Feed<'s> {
    /// A new scheduler for so many workers. With one worker, the table is what the pool builds for it: none.
    pub fn new(contender: Contender, workers: usize, supply: &'s Supply) -> Feed<'s> {
        let scheduler = match contender {
            Contender::Bitmap(bits) => AnyScheduler::Bitmap(BitmapScheduler::new(workers, bits)),
            Contender::Graph => AnyScheduler::Other(Box::<GraphScheduler>::default()),
            Contender::Table(_) if workers > 1 => AnyScheduler::Other(Box::<TableScheduler>::default()),
            Contender::Table(_) | Contender::Sequential => AnyScheduler::Other(Box::<SequentialScheduler>::default()),
        };
        Feed { supply, scheduler, admitted: 0 }
    }

    /// The scheduler.
    pub fn scheduler(&mut self) -> &mut dyn Scheduler {
        match &mut self.scheduler {
            AnyScheduler::Bitmap(scheduler) => scheduler,
            AnyScheduler::Other(scheduler) => &mut **scheduler,
        }
    }

    /// Admits the next batch.
    pub fn admit(&mut self) {
        let place = self.admitted as usize % self.supply.footprints.len();
        self.admitted += 1;
        let batch = BatchNumber::new(self.admitted);
        match &mut self.scheduler {
            AnyScheduler::Bitmap(scheduler) => {
                let bitmap = Arc::clone(&self.supply.bitmaps[place]);
                scheduler.admit_prepared(batch, self.supply.footprints[place].len(), bitmap);
            }
            AnyScheduler::Other(scheduler) => scheduler.admit(batch, &self.supply.footprints[place]),
        }
    }

    /// Batches that were admitted.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// The commands of a batch, as the keys that they touch.
    pub fn footprints(&self, batch: BatchNumber) -> &'s Footprints {
        &self.supply.footprints[(batch.get() - 1) as usize % self.supply.footprints.len()]
    }
}

/// Batches that are outstanding, the same for all contenders.
pub fn window(workers: usize) -> usize {
    (4 * workers).max(16)
}

/// What scheduling costs.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// Admitting a batch, in nanoseconds.
    pub admit_ns: f64,
    /// Handing out and completing a command, in nanoseconds.
    pub give_ns: f64,
}

impl Costs {
    /// Commands scheduled in a second, where a batch has so many.
    pub fn throughput(&self, commands: usize) -> f64 {
        1e9 / (self.admit_ns / commands as f64 + self.give_ns)
    }
}

/// Schedules for so long, and answers with commands in a second.
pub fn throughput(contender: Contender, workers: usize, supply: &Supply, duration: Duration) -> f64 {
    let mut run = Loop::new(contender, workers, supply);
    run.until(duration / 5, |_, _| ());
    run.scheduled = 0;
    let elapsed = run.until(duration, |_, _| ());
    run.scheduled as f64 / elapsed.as_secs_f64()
}

/// Schedules for so long, and tells what is spent on what.
pub fn costs(contender: Contender, workers: usize, supply: &Supply, duration: Duration) -> Costs {
    let mut run = Loop::new(contender, workers, supply);
    run.until(duration / 5, |_, _| ());
    let (admitted, mut admitting) = (run.feed.admitted(), Duration::ZERO);
    run.scheduled = 0;
    let elapsed = run.until(duration, |begin, end| admitting += end - begin);
    let batches = (run.feed.admitted() - admitted).max(1) as f64;
    Costs {
        admit_ns: admitting.as_secs_f64() * 1e9 / batches,
        give_ns: (elapsed.saturating_sub(admitting)).as_secs_f64() * 1e9 / run.scheduled.max(1) as f64,
    }
}

struct Loop<'s> {
    feed: Feed<'s>,
    hands: Vec<Option<Unit>>,
    take: usize,
    most: usize,
    scheduled: u64,
}

impl<'s> Loop<'s> {
    fn new(contender: Contender, workers: usize, supply: &'s Supply) -> Loop<'s> {
        Loop {
            feed: Feed::new(contender, workers, supply),
            hands: (0..workers).map(|_| None).collect(),
            take: contender.take(),
            // The last batch of the window comes when there is room for all of it.
            most: window(workers) * super::batches::COMMANDS,
            scheduled: 0,
        }
    }

    /// Goes on for so long; `admitted` gets the times around what is admitted.
    fn until(&mut self, duration: Duration, mut admitted: impl FnMut(Instant, Instant)) -> Duration {
        let begin = Instant::now();
        loop {
            let before = Instant::now();
            while self.feed.scheduler().outstanding() + super::batches::COMMANDS <= self.most {
                self.feed.admit();
            }
            let now = Instant::now();
            admitted(before, now);
            if now - begin >= duration {
                return now - begin;
            }
            for (worker, hand) in self.hands.iter_mut().enumerate() {
                let scheduler = self.feed.scheduler();
                if let Some(unit) = hand.take() {
                    self.scheduled += unit.commands().len() as u64;
                    scheduler.complete(unit);
                }
                *hand = scheduler.next_ready(worker, self.take);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Supply, costs, throughput};
    use crate::schedule::batches::Mix;
    use std::time::Duration;

    #[test]
    fn every_contender_schedules_every_mix() {
        for contender in ALL {
            for mix in [Mix::Conflicts(0), Mix::Conflicts(50), Mix::Zipf, Mix::Transactions] {
                let supply = Supply::new(contender, mix, 40, 1);
                for workers in [1, 3] {
                    assert!(throughput(contender, workers, &supply, Duration::from_millis(2)) > 0.0);
                    let costs = costs(contender, workers, &supply, Duration::from_millis(2));
                    assert!(costs.admit_ns > 0.0 && costs.give_ns > 0.0 && costs.throughput(50) > 0.0, "{costs:?}");
                }
            }
        }
    }
}
