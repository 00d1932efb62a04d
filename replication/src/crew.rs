//! Crews: who executes what is delivered, a turn at a time, so that the outcome is that of executing it in order (E1).
//!
//! ```text
//! submit, submit, ... -> join: all of it is executed, or waits for room on the disk -> replies, batch by batch, in order
//! ```
//!
//! Between two turns nothing is under way: cuts, reads of several keys and execution ahead of order find a state that no
//! worker changes. Turns are short, so that what a turn's end costs, some workers without work, is little.

use crate::executor::Executor;
use crate::replica::ReplicaOptions;
use crate::workers::{Done, Options, Pool, Work};
use parking_lot::{Condvar, Mutex};
use skink_engine::command::{Command, Reply};
use skink_engine::engine::Engine;
use skink_engine::error::Fault;
use skink_engine::evaluate::Context;
use skink_engine::position::Revision;
use std::sync::Arc;

/// Executes batches.
pub trait Crew: Send {
    /// Takes the next batch of the order.
    fn submit(&mut self, work: Work);

    /// Returns when all that was submitted is executed, or what is left waits for room on the disk; says then what it waits for.
    /// Adds what is done, in order. Called again, it tries again.
    ///
    /// # Errors
    /// Faults of the disk, and broken invariants: stop.
    fn join(&mut self, done: &mut Vec<Done>) -> Result<Option<String>, Fault>;

    /// Batches that are submitted and not done.
    fn in_flight(&self) -> usize;

    /// Batches, since the start, of which several workers could execute commands at the same time.
    fn parallel(&self) -> u64;
}

/// Executes on an engine; a full disk is for others to wait for.
pub struct OnEngine {
    engine: Arc<Engine>,
    max_value_len: usize,
}

impl OnEngine {
    /// On this engine.
    pub fn new(engine: &Arc<Engine>) -> OnEngine {
        OnEngine { engine: Arc::clone(engine), max_value_len: engine.format().shape.max_value_len as usize }
    }
}

impl Executor for OnEngine {
    fn execute(&self, command: &Command, revision: Revision, time_ms: u64) -> Result<Reply, Fault> {
        self.engine.execute(command, Context { revision, now_ms: time_ms, max_value_len: self.max_value_len })
    }
}

/// Set when the pool has something to tell.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

/// Threads that execute by a scheduler.
pub struct Workers {
    pool: Pool,
    engine: Arc<Engine>,
    bell: Arc<Bell>,
    is_stalled: bool,
}

impl Workers {
    /// Starts the threads that the options ask for; `None` if they ask for none: then it is executed in order, by whoever
    /// delivers it.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(crate) fn start(
        options: &ReplicaOptions,
        engine: &Arc<Engine>,
        executor: Arc<dyn Executor + Send + Sync>,
    ) -> Result<Option<Box<dyn Crew>>, Fault> {
        if options.workers == 0 {
            return Ok(None);
        }
        let pool_options = Options {
            workers: options.workers,
            scheduler: options.scheduler,
            pin: options.pin_workers,
            ..Options::default()
        };
        let bell = Arc::new(Bell::default());
        let ringer = Arc::clone(&bell);
        let notify = move || {
            *ringer.has_rung.lock() = true;
            ringer.rings.notify_one();
        };
        let pool = Pool::start(&pool_options, executor, notify)?;
        tracing::info!(workers = options.workers, scheduler = %options.scheduler, "commands are executed in parallel");
        Ok(Some(Box::new(Workers { pool, engine: Arc::clone(engine), bell, is_stalled: false })))
    }
}

impl Crew for Workers {
    fn submit(&mut self, work: Work) {
        let Workers { pool, engine, .. } = self;
        pool.submit(work, |key| engine.hash(key));
    }

    fn join(&mut self, done: &mut Vec<Done>) -> Result<Option<String>, Fault> {
        if std::mem::take(&mut self.is_stalled) {
            self.pool.retry();
        }
        loop {
            self.pool.drain_completed(done)?;
            if self.pool.in_flight() == 0 {
                return Ok(None);
            }
            if let Some(stalled) = self.pool.stalled() {
                self.is_stalled = true;
                return Ok(Some(stalled));
            }
            let mut has_rung = self.bell.has_rung.lock();
            while !std::mem::take(&mut *has_rung) {
                self.bell.rings.wait(&mut has_rung);
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.pool.in_flight()
    }

    fn parallel(&self) -> u64 {
        self.pool.handed_over()
    }
}

/// A crew of one thread that does what several could: for the simulator.
#[cfg(any(test, feature = "testing"))]
pub mod simulated {
    use super::{Crew, Done, Work};
    use crate::executor::Executor;
    use crate::scheduler::{BatchNumber, Footprints, Kind, Scheduler, Unit, build};
    use skink_engine::command::Reply;
    use skink_engine::error::Fault;
    use skink_engine::key::KeyHash;
    use std::collections::VecDeque;

    struct Slot {
        work: Work,
        indexes: Vec<u16>,
        replies: Vec<Option<Reply>>,
    }

    /// Workers in one thread: which of them goes on next is random, by a seed.
    pub struct Simulated<E, H> {
        scheduler: Box<dyn Scheduler>,
        executor: E,
        hash: H,
        workers: usize,
        random: u64,
        submitted: u64,
        slots: VecDeque<Slot>,
        /// What each worker is at, and the commands that it has executed of it.
        busy: Vec<Option<(Unit, usize)>>,
    }

    impl<E: Executor + Send, H: Fn(&[u8]) -> KeyHash + Send> Simulated<E, H> {
        /// So many workers by a scheduler.
        pub fn new(kind: Kind, workers: usize, seed: u64, executor: E, hash: H) -> Simulated<E, H> {
            let busy = (0..workers).map(|_| None).collect();
            let scheduler = build(kind, workers);
            Simulated {
                scheduler,
                executor,
                hash,
                workers,
                random: seed | 1,
                submitted: 0,
                slots: VecDeque::new(),
                busy,
            }
        }

        fn below(&mut self, bound: usize) -> usize {
            // xorshift64 (Marsaglia 2003).
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            (self.random % bound as u64) as usize
        }

        fn number(work: &Work) -> BatchNumber {
            BatchNumber::new(work.instance.get())
        }

        /// One worker begins something, executes a command, or is done with what it is at; whether it could.
        fn step(&mut self, worker: usize) -> Result<bool, Fault> {
            let Some((unit, executed)) = self.busy[worker].take() else {
                let most = 1 + self.below(4);
                self.busy[worker] = self.scheduler.next_ready(worker, most).map(|unit| (unit, 0));
                return Ok(self.busy[worker].is_some());
            };
            let Some(number) = unit.commands().nth(executed) else {
                self.scheduler.complete(unit);
                return Ok(true);
            };
            let slot = self.slots.iter_mut().find(|slot| Self::number(&slot.work) == unit.batch());
            let Some(Slot { work, indexes, replies }) = slot else {
                panic!("E1: a batch is there until its commands are complete")
            };
            let revision = work.instance.revision(indexes[number]);
            let result = self.executor.execute(&work.commands[number].command, revision, work.time_ms);
            let is_done = result.is_ok();
            let outcome = result.map(|reply| replies[number] = Some(reply));
            self.busy[worker] = Some((unit, executed + usize::from(is_done)));
            outcome.map(|()| true)
        }
    }

    impl<E: Executor + Send, H: Fn(&[u8]) -> KeyHash + Send> Crew for Simulated<E, H> {
        fn submit(&mut self, work: Work) {
            let commands = work.commands.iter().map(|local| &local.command);
            let footprints = Footprints::of(commands, &self.hash);
            self.submitted += 1;
            self.scheduler.admit(Self::number(&work), &footprints);
            let mut index = 0_u16;
            let indexes = work.commands.iter().map(|local| {
                let own = index;
                index = index.saturating_add(u16::from(local.is_ordered));
                own
            });
            let indexes = indexes.collect();
            let replies = vec![None; work.commands.len()];
            self.slots.push_back(Slot { work, indexes, replies });
        }

        fn join(&mut self, done: &mut Vec<Done>) -> Result<Option<String>, Fault> {
            let mut stalled = None;
            let mut idle = 0;
            // Workers in turn from a random one: when none of a whole round could go on, all is done or stalled.
            let mut worker = self.below(self.workers);
            while idle < self.workers {
                match self.step(worker) {
                    Ok(true) => idle = 0,
                    Ok(false) => idle += 1,
                    Err(fault) if fault.is_transient() => {
                        stalled = Some(fault.to_string());
                        idle += 1;
                    }
                    Err(fault) => return Err(fault),
                }
                worker = if idle > 0 { (worker + 1) % self.workers } else { self.below(self.workers) };
            }
            while let Some(slot) = self.slots.pop_front_if(|slot| slot.replies.iter().all(Option::is_some)) {
                done.push(Done { instance: slot.work.instance, replies: slot.replies.into_iter().flatten().collect() });
            }
            assert!(stalled.is_some() || self.slots.is_empty(), "E1: what can be executed is executed");
            Ok(stalled.filter(|_| !self.slots.is_empty()))
        }

        fn in_flight(&self) -> usize {
            self.slots.len()
        }

        fn parallel(&self) -> u64 {
            self.submitted
        }
    }
}
