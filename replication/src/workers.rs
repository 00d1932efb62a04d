//! The worker pool: threads that execute what a scheduler lets begin.
//!
//! ```text
//! submit(batch) --> [ cheap, and nothing under way: executed at once, in the caller's thread ] --+
//!        |                                                                                       v
//!        +--> scheduler --> worker: take several units, execute, complete them --> done, in order of the batches
//!                 ^                                  |                                           |
//!                 +---------- one lock --------------+                                           v
//!                                                                            notify, drain_completed
//! ```
//!
//! Waking a thread takes longer than executing tens of cheap commands. So where commands take little time, as measured over the last
//! ones, and no batch is under way, `submit` executes a batch itself, one command after the other. Nothing is scheduled then, as
//! nothing could run beside it.
//!
//! A command that meets a full disk is not complete, and what conflicts with it waits; the rest goes on. It is tried again
//! when the pool's owner says so. Every other fault stops the pool, and so does a panic.

mod hub;
mod pin;
mod sync;

use crate::batch::LocalCommand;
use crate::executor::{self, Executor, execute_in_order};
use crate::scheduler::{Footprints, Kind, build};
use hub::Hub;
use skink_engine::command::Reply;
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::position::Instance;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// How a pool works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads; with none, `submit` executes everything.
    pub workers: usize,
    /// What they execute by.
    pub scheduler: Kind,
    /// Whether each thread stays on one processor.
    pub pin: bool,
    /// Where a command takes less time than this on average, in nanoseconds, `submit` executes batches itself as long as
    /// none is under way.
    pub inline_below_ns: u64,
}

/// Commands that take less than this, in nanoseconds, are executed where they are submitted: a batch of fifty of them takes
/// no longer than waking some threads and being woken by them.
const INLINE_BELOW_NS: u64 = 2_000;

impl Default for Options {
    fn default() -> Options {
        Options { workers: 1, scheduler: Kind::Table, pin: false, inline_below_ns: INLINE_BELOW_NS }
    }
}

/// A batch that is to be executed.
#[derive(Debug)]
pub struct Work {
    /// Its place in the order.
    pub instance: Instance,
    /// Its time, monotonic over instances, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its commands.
    pub commands: Vec<LocalCommand>,
}

/// A batch that is executed.
#[derive(Debug)]
pub struct Done {
    /// Its place in the order.
    pub instance: Instance,
    /// The replies to its commands, in their order.
    pub replies: Vec<Reply>,
}

/// A batch in the pool's hands.
#[derive(Debug)]
struct Batch {
    work: Work,
    /// The index in its revision of each command, where some have none of their own.
    indexes: Option<Vec<u16>>,
    /// A place for each command's reply; one that has it was executed.
    replies: Vec<OnceLock<Reply>>,
}

impl Batch {
    /// A batch of whose commands the first ones were executed, with these replies.
    fn new(work: Work, executed: Vec<Reply>) -> Batch {
        let mut replies: Vec<OnceLock<Reply>> = executed.into_iter().map(OnceLock::from).collect();
        replies.resize_with(work.commands.len(), OnceLock::new);
        let indexes = work.commands.iter().any(|local| !local.is_ordered).then(|| revision_indexes(&work.commands));
        Batch { work, indexes, replies }
    }

    /// Executes a command, unless it was executed.
    fn execute(&self, number: usize, executor: &dyn Executor) -> Result<(), Fault> {
        if self.replies[number].get().is_some() {
            return Ok(());
        }
        let index = self.indexes.as_ref().map_or(number as u16, |indexes| indexes[number]);
        let revision = self.work.instance.revision(index);
        let reply = executor.execute(&self.work.commands[number].command, revision, self.work.time_ms)?;
        assert!(self.replies[number].set(reply).is_ok(), "E1: a command is executed once");
        Ok(())
    }

    fn into_done(self) -> Done {
        let replies = self.replies.into_iter().map(|reply| match reply.into_inner() {
            Some(reply) => reply,
            None => panic!("E1: a batch is done when all its commands are executed"),
        });
        Done { instance: self.work.instance, replies: replies.collect() }
    }
}

/// The indexes in their revisions of a batch's commands: those of the payload count, local reads see what the ones before them
/// wrote ([`execute_in_order`]).
fn revision_indexes(commands: &[LocalCommand]) -> Vec<u16> {
    let mut index = 0_u16;
    let next = |local: &LocalCommand| {
        let own = index;
        index = index.saturating_add(u16::from(local.is_ordered));
        own
    };
    commands.iter().map(next).collect()
}

/// The average over the last commands of what one takes, in nanoseconds, with these among them.
fn learn_cost(cost_ns: u64, elapsed_ns: u64, commands: usize) -> u64 {
    if commands == 0 { cost_ns } else { (cost_ns * 7 + elapsed_ns / commands as u64) / 8 }
}

/// Of so many batches that `submit` executes, the time of one is taken.
const SAMPLE_INTERVAL: u64 = 8;

/// Threads that execute batches; dropping it waits for what they are at, and drops what has not begun.
pub struct Pool {
    hub: Arc<Hub>,
    threads: Vec<JoinHandle<()>>,
    executor: Arc<dyn Executor + Send + Sync>,
    /// What `submit` executed; all of it comes before what the hub has.
    executed: VecDeque<Done>,
    /// Batches that the hub has.
    in_hub: usize,
    handed_over: u64,
    /// Filled again for each batch.
    footprints: Footprints,
    inline_below_ns: u64,
    cost_ns: u64,
    inline_batches: u64,
    /// A fault ended what `submit` executed.
    has_failed: bool,
}

impl Pool {
    /// Starts the threads. `notify` is called by one of them when the batch whose turn it is in the order becomes done, once
    /// until [`drain_completed`](Pool::drain_completed), and when the pool stalls or fails; not for what `submit` itself
    /// executes.
    ///
    /// # Errors
    /// [`Fault::Io`] if a thread can't be started.
    pub fn start(
        options: &Options,
        executor: Arc<dyn Executor + Send + Sync>,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Pool, Fault> {
        let scheduler = build(options.scheduler, options.workers);
        let hub = Arc::new(Hub::new(scheduler, options.workers, Arc::clone(&executor), Box::new(notify)));
        let mut pool = Pool {
            hub,
            threads: Vec::new(),
            executor,
            executed: VecDeque::new(),
            in_hub: 0,
            handed_over: 0,
            footprints: Footprints::default(),
            inline_below_ns: if options.workers == 0 { u64::MAX } else { options.inline_below_ns },
            cost_ns: 0,
            inline_batches: 0,
            has_failed: false,
        };
        for worker in 0..options.workers {
            let (hub, is_pinned) = (Arc::clone(&pool.hub), options.pin);
            let thread = thread::Builder::new().name(format!("worker-{worker}")).spawn(move || {
                if is_pinned {
                    pin::pin(worker);
                }
                hub.work(worker);
            });
            pool.threads.push(thread.map_err(Fault::io("starting a thread", "worker".as_ref()))?);
        }
        Ok(pool)
    }

    /// Hands in the next batch of the order; `hash` is that of its keys.
    ///
    /// # Panics
    /// If its instance is not after that of the one before.
    pub fn submit(&mut self, work: Work, hash: impl Fn(&[u8]) -> KeyHash) {
        if self.in_hub > 0 || self.has_failed || self.cost_ns >= self.inline_below_ns {
            return self.hand_over(Batch::new(work, Vec::new()), hash, None);
        }
        let mut replies = Vec::new();
        match self.execute(&work, &mut replies) {
            Ok(()) => self.executed.push_back(Done { instance: work.instance, replies }),
            Err(fault) if fault.is_transient() => {
                // Workers meet it, or not, by themselves.
                let fault = self.threads.is_empty().then_some(fault);
                self.hand_over(Batch::new(work, replies), hash, fault);
            }
            Err(fault) => {
                self.has_failed = true;
                self.hub.fail(fault);
            }
        }
    }

    fn hand_over(&mut self, batch: Batch, hash: impl Fn(&[u8]) -> KeyHash, fault: Option<Fault>) {
        self.footprints.clear();
        batch.work.commands.iter().for_each(|local| self.footprints.push(&local.command, &hash));
        self.in_hub += 1;
        self.handed_over += 1;
        self.hub.submit(batch, &self.footprints, fault);
    }

    /// Executes a batch in this thread.
    fn execute(&mut self, work: &Work, replies: &mut Vec<Reply>) -> Result<(), Fault> {
        let Work { instance, time_ms, commands } = work;
        let view = executor::Work { instance: *instance, time_ms: *time_ms, commands };
        let is_sample = self.inline_batches.is_multiple_of(SAMPLE_INTERVAL);
        self.inline_batches += 1;
        let begin = is_sample.then(sync::now_ns);
        execute_in_order(&view, &*self.executor, replies)?;
        if let Some(begin) = begin {
            self.cost_ns = learn_cost(self.cost_ns, sync::now_ns() - begin, commands.len());
        }
        Ok(())
    }

    /// Adds what is done, in the order of the batches: those up to the first one that is not.
    ///
    /// # Errors
    /// The fault that stopped the pool: nothing is executed any more. What was done before is added all the same.
    pub fn drain_completed(&mut self, done: &mut Vec<Done>) -> Result<(), Fault> {
        done.extend(self.executed.drain(..));
        if self.in_hub > 0 || self.has_failed {
            let before = done.len();
            let outcome = self.hub.drain_completed(done);
            self.in_hub -= done.len() - before;
            self.cost_ns = outcome?;
        }
        Ok(())
    }

    /// The fault that commands wait for to pass, if there is one: what it says.
    pub fn stalled(&self) -> Option<String> {
        self.hub.stalled()
    }

    /// Tries again what met a fault that may have passed.
    pub fn retry(&mut self) {
        self.hub.retry();
    }

    /// Batches that are handed in and not drained.
    pub fn in_flight(&self) -> usize {
        self.executed.len() + self.in_hub
    }

    /// Batches that workers got since the start; the others were executed where they were submitted.
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Whether everything that was handed in is executed.
    pub fn is_idle(&self) -> bool {
        self.in_hub == 0 || self.hub.is_idle()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.hub.close();
        for thread in self.threads.drain(..) {
            // It catches what its commands panic with; what else it panicked with was printed.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod explored;
#[cfg(test)]
mod tests;
