//! The hand-over between scheduler and workers: one lock, under which units are taken and completed, several at a time.
//!
//! Nobody is woken in vain where that can be known: who leaves the lock with work asks the scheduler for one unit more and
//! *offers* it, and wakes a sleeper only for that. The sleeper takes it, and does the same for the next one. So as
//! many threads come as there is work for, and none sleeps while something is offered. A scheduler that binds units to workers
//! can't be asked for others; there, all sleepers are woken.

use super::sync::{Condvar, Mutex, MutexGuard, now_ns};
use super::{Batch, Done, learn_cost};
use crate::executor::Executor;
use crate::scheduler::{BatchNumber, Footprints, Scheduler, Unit};
use skink_engine::error::Fault;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

/// Most commands that a worker takes at a time.
const MAX_TAKE: usize = 16;
/// What it takes shall be done in this time, in nanoseconds: what waits for it waits no longer.
const TAKE_NS: u64 = 50_000;

/// A unit that a worker has.
pub(super) struct Run {
    unit: Unit,
    batch: Arc<Batch>,
}

/// A batch that is not drained.
struct Slot {
    number: BatchNumber,
    batch: Arc<Batch>,
    /// Commands that are not complete.
    left: usize,
}

struct State {
    scheduler: Box<dyn Scheduler>,
    /// By number.
    slots: VecDeque<Slot>,
    /// Those of them that are not done.
    undone: usize,
    /// Units for whoever comes next.
    offered: VecDeque<Run>,
    /// Units that met a fault that may pass.
    stalled: Vec<Run>,
    stalled_by: Option<Fault>,
    /// Commands in workers' hands, or offered.
    begun: usize,
    sleeping: usize,
    /// What a command takes, on average over the last ones, in nanoseconds.
    cost_ns: u64,
    is_notified: bool,
    is_closed: bool,
    fault: Option<Fault>,
    has_failed: bool,
}

/// Whom to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Nobody,
    One,
    All,
}

/// What the pool's owner and its workers share.
pub(super) struct Hub {
    state: Mutex<State>,
    work: Condvar,
    workers: usize,
    executor: Arc<dyn Executor + Send + Sync>,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl State {
    fn slot(&mut self, number: BatchNumber) -> &mut Slot {
        let place = self.slots.partition_point(|slot| slot.number < number);
        match self.slots.get_mut(place) {
            Some(slot) if slot.number == number => slot,
            _ => panic!("E1: a batch is there until its commands are complete"),
        }
    }

    /// How many commands a worker takes: its share, not too many, and not for too long.
    fn share(&self, workers: usize) -> usize {
        let waiting = self.scheduler.outstanding() - self.begun;
        let by_time = TAKE_NS / self.cost_ns.max(1);
        (waiting / workers.max(1)).min(MAX_TAKE).min(by_time as usize).max(1)
    }

    fn next_unit(&mut self, worker: usize, most: usize) -> Option<Run> {
        let unit = self.scheduler.next_ready(worker, most)?;
        self.begun += unit.commands().len();
        let batch = Arc::clone(&self.slot(unit.batch()).batch);
        Some(Run { unit, batch })
    }

    /// Fills `runs` for a worker.
    fn take(&mut self, worker: usize, workers: usize, runs: &mut VecDeque<Run>) {
        let most = self.share(workers);
        let mut taken = 0;
        while taken < most {
            let Some(run) = self.offered.pop_front().or_else(|| self.next_unit(worker, most - taken)) else { break };
            taken += run.unit.commands().len();
            runs.push_back(run);
        }
    }

    /// Looks for work for those who sleep.
    fn offer(&mut self, workers: usize) -> Wake {
        if self.sleeping == 0 {
            return Wake::Nobody;
        }
        if self.scheduler.binds_workers() {
            return Wake::All;
        }
        if !self.offered.is_empty() {
            // Whoever was woken for it comes.
            return Wake::Nobody;
        }
        let most = self.share(workers);
        let run = self.next_unit(0, most);
        let wake = if run.is_some() { Wake::One } else { Wake::Nobody };
        self.offered.extend(run);
        wake
    }

    fn complete(&mut self, run: Run) {
        let Run { unit, batch } = run;
        // Before its last command counts, so that the slot has the only one then.
        drop(batch);
        let count = unit.commands().len();
        let slot = self.slot(unit.batch());
        slot.left -= count;
        self.undone -= usize::from(slot.left == 0);
        self.begun -= count;
        self.scheduler.complete(unit);
    }

    fn is_front_done(&self) -> bool {
        self.slots.front().is_some_and(|slot| slot.left == 0)
    }

    fn fail(&mut self, fault: Fault) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.fault = Some(fault);
        }
    }
}

impl Hub {
    pub(super) fn new(
        scheduler: Box<dyn Scheduler>,
        workers: usize,
        executor: Arc<dyn Executor + Send + Sync>,
        notify: Box<dyn Fn() + Send + Sync>,
    ) -> Hub {
        let state = State {
            scheduler,
            slots: VecDeque::new(),
            undone: 0,
            offered: VecDeque::new(),
            stalled: Vec::new(),
            stalled_by: None,
            begun: 0,
            sleeping: 0,
            cost_ns: 0,
            is_notified: false,
            is_closed: false,
            fault: None,
            has_failed: false,
        };
        Hub { state: Mutex::new(state), work: Condvar::new(), workers, executor, notify }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Panics of commands are caught outside of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::One => self.work.notify_one(),
            Wake::All => self.work.notify_all(),
        }
    }

    /// Hands in a batch that may be executed in part. If there is a fault with it, that is what its rest waits for.
    pub(super) fn submit(&self, batch: Batch, footprints: &Footprints, fault: Option<Fault>) {
        let number = BatchNumber::new(batch.work.instance.get());
        let left = footprints.len();
        let mut state = self.lock();
        assert!(state.slots.back().is_none_or(|last| last.number < number), "E1: batches come in their order");
        if fault.is_some() {
            state.stalled_by = fault;
        }
        state.slots.push_back(Slot { number, batch: Arc::new(batch), left });
        if left == 0 || state.has_failed {
            return;
        }
        state.undone += 1;
        state.scheduler.admit(number, footprints);
        let wake = state.offer(self.workers);
        drop(state);
        self.wake(wake);
    }

    /// Stops it all.
    pub(super) fn fail(&self, fault: Fault) {
        self.lock().fail(fault);
        self.work.notify_all();
    }

    /// Adds what is done, and answers with what a command takes on average, in nanoseconds.
    pub(super) fn drain_completed(&self, done: &mut Vec<Done>) -> Result<u64, Fault> {
        let mut finished = Vec::new();
        let mut state = self.lock();
        state.is_notified = false;
        while state.is_front_done() {
            finished.extend(state.slots.pop_front());
        }
        let outcome = match state.fault.take() {
            Some(fault) => Err(fault),
            None if state.has_failed => Err(Fault::Refused("execution has stopped at an earlier fault".into())),
            None => Ok(state.cost_ns),
        };
        drop(state);
        done.extend(finished.into_iter().map(|slot| match Arc::into_inner(slot.batch) {
            Some(batch) => batch.into_done(),
            None => panic!("E1: nobody has a batch that is done"),
        }));
        outcome
    }

    pub(super) fn stalled(&self) -> Option<String> {
        self.lock().stalled_by.as_ref().map(Fault::to_string)
    }

    pub(super) fn retry(&self) {
        let mut state = self.lock();
        state.stalled_by = None;
        let stalled = std::mem::take(&mut state.stalled);
        state.offered.extend(stalled);
        if self.workers > 0 {
            drop(state);
            return self.work.notify_all();
        }
        drop(state);
        self.run_inline();
    }

    /// Without workers: executes what is left of a batch that stalled, and what came after it.
    fn run_inline(&self) {
        let mut runs = VecDeque::new();
        loop {
            let mut state = self.lock();
            if state.has_failed || state.stalled_by.is_some() {
                return;
            }
            state.take(0, 1, &mut runs);
            drop(state);
            if runs.is_empty() {
                return;
            }
            let outcome = self.execute(&mut runs);
            self.settle(&mut self.lock(), outcome, &mut runs);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().undone == 0
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// What a worker does until the pool is closed, or fails.
    pub(super) fn work(&self, worker: usize) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work_on(worker))) {
            self.fail(panic_fault(&*panic));
            (self.notify)();
        }
    }

    fn work_on(&self, worker: usize) {
        let mut runs = VecDeque::new();
        let mut state = self.lock();
        while !state.is_closed && !state.has_failed {
            state.take(worker, self.workers, &mut runs);
            if runs.is_empty() {
                state.sleeping += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.sleeping -= 1;
                continue;
            }
            let wake = state.offer(self.workers);
            drop(state);
            self.wake(wake);
            let outcome = self.execute(&mut runs);
            state = self.lock();
            let wake = self.settle(&mut state, outcome, &mut runs);
            let is_notable = state.is_front_done() || state.stalled_by.is_some() || state.has_failed;
            let notifies = is_notable && !std::mem::replace(&mut state.is_notified, is_notable);
            if notifies || wake != Wake::Nobody {
                drop(state);
                self.wake(wake);
                if notifies {
                    (self.notify)();
                }
                state = self.lock();
            }
        }
        drop(state);
        self.work.notify_all();
    }

    /// Executes units one after the other. Those that are left in `runs` then are not executed, or not wholly.
    fn execute(&self, runs: &mut VecDeque<Run>) -> Outcome {
        let begin = now_ns();
        let mut executed = Vec::with_capacity(runs.len());
        let caught = catch_unwind(AssertUnwindSafe(|| {
            while let Some(run) = runs.front() {
                run.unit.commands().try_for_each(|number| run.batch.execute(number, &*self.executor))?;
                executed.extend(runs.pop_front());
            }
            Ok(())
        }));
        let fault = match caught {
            Ok(result) => result.err(),
            Err(panic) => Some(panic_fault(&*panic)),
        };
        Outcome { executed, fault, elapsed_ns: now_ns() - begin }
    }

    /// Enters what became of units.
    fn settle(&self, state: &mut State, outcome: Outcome, runs: &mut VecDeque<Run>) -> Wake {
        let commands = outcome.executed.iter().map(|run| run.unit.commands().len()).sum();
        state.cost_ns = learn_cost(state.cost_ns, outcome.elapsed_ns, commands);
        outcome.executed.into_iter().for_each(|run| state.complete(run));
        match outcome.fault {
            Some(fault) if fault.is_transient() => {
                state.stalled.extend(runs.pop_front());
                state.stalled_by = Some(fault);
                // What it had not begun is for whoever comes next.
                state.offered.extend(runs.drain(..));
                if state.sleeping > 0 && !state.offered.is_empty() { Wake::All } else { Wake::Nobody }
            }
            Some(fault) => {
                state.fail(fault);
                runs.clear();
                Wake::All
            }
            None if state.scheduler.binds_workers() && state.sleeping > 0 => Wake::All,
            None => Wake::Nobody,
        }
    }
}

/// What became of units.
struct Outcome {
    executed: Vec<Run>,
    fault: Option<Fault>,
    elapsed_ns: u64,
}

fn panic_fault(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Fault::Refused(format!("a worker panicked, so that execution stops: {text}; this is a bug, please report it"))
}
