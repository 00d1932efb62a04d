//! Execution at a single replica: by its own thread, or by a crew.

use super::{BatchReply, Phase, Shared};
use crate::crew::Crew;
use crate::executor::{self, Executor, execute_in_order};
use crate::workers::{Done, Work};
use skink_engine::command::{Command, Reply};
use skink_engine::error::Fault;
use skink_engine::evaluate::Context;
use skink_engine::position::Revision;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often execution looks for room on a full disk.
const STALL_STEP: Duration = Duration::from_millis(100);

/// The replies of a batch, and who gets them.
pub(super) type Executed = (Vec<Reply>, Option<BatchReply>);

/// Batches in execution, and who gets their replies.
pub(super) struct Execution {
    executor: EngineExecutor,
    crew: Option<Box<dyn Crew>>,
    in_flight: VecDeque<(usize, Option<BatchReply>)>,
    executed: Vec<Executed>,
}

impl Execution {
    pub(super) fn new(executor: EngineExecutor, crew: Option<Box<dyn Crew>>) -> Execution {
        Execution { executor, crew, in_flight: VecDeque::new(), executed: Vec::new() }
    }

    /// Executes a batch, at once or at the next [`Execution::join`].
    pub(super) fn execute(&mut self, work: Work, reply: Option<BatchReply>) -> Result<(), Fault> {
        if let Some(crew) = &mut self.crew {
            self.in_flight.push_back((work.commands.len(), reply));
            crew.submit(work);
            return Ok(());
        }
        let Work { instance, time_ms, commands } = &work;
        let mut replies = Vec::new();
        let work = executor::Work { instance: *instance, time_ms: *time_ms, commands };
        execute_in_order(&work, &self.executor, &mut replies)?;
        self.executed.push((replies, reply));
        Ok(())
    }

    /// Batches, since the start, that workers executed.
    pub(super) fn parallel(&self) -> u64 {
        self.crew.as_ref().map_or(0, |crew| crew.parallel())
    }

    /// Waits until all is executed; answers with the replies of each batch.
    pub(super) fn join(&mut self) -> Result<Vec<Executed>, Fault> {
        if let Some(crew) = &mut self.crew {
            let mut done = Vec::new();
            crew.join(&mut done)?;
            for Done { replies, .. } in done {
                let reply = self.in_flight.pop_front().and_then(|(_, reply)| reply);
                self.executed.push((replies, reply));
            }
        }
        Ok(std::mem::take(&mut self.executed))
    }
}

/// Executes on the engine; where the disk is full, waits for room. What was decided must be executed.
pub(super) struct EngineExecutor {
    shared: Arc<Shared>,
}

impl EngineExecutor {
    pub(super) fn new(shared: &Arc<Shared>) -> EngineExecutor {
        EngineExecutor { shared: Arc::clone(shared) }
    }
}

impl Executor for EngineExecutor {
    fn execute(&self, command: &Command, revision: Revision, time_ms: u64) -> Result<Reply, Fault> {
        let engine = &self.shared.engine;
        let max_value_len = engine.format().shape.max_value_len as usize;
        let context = Context { revision, now_ms: time_ms, max_value_len };
        loop {
            match engine.execute(command, context) {
                // A replay that waited would keep all reads waiting: the start ends, and says that the disk is full.
                Err(fault) if fault.is_transient() && self.shared.phase() == Phase::Replaying => return Err(fault),
                Err(fault) if fault.is_transient() => {
                    if !self.shared.is_stalled.swap(true, Ordering::Relaxed) {
                        tracing::error!(%fault, "execution waits for room on the disk; reads go on");
                    }
                    if self.shared.must_stop.load(Ordering::Acquire) || self.shared.queue.lock().is_closed {
                        return Err(fault);
                    }
                    std::thread::sleep(STALL_STEP);
                }
                result => {
                    if self.shared.is_stalled.load(Ordering::Relaxed) {
                        self.shared.is_stalled.store(false, Ordering::Relaxed);
                        tracing::info!("there is room on the disk again");
                    }
                    return result;
                }
            }
        }
    }
}
