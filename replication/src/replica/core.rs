//! The replica's thread: takes jobs, proposes, executes what is decided, answers.

use super::execute::{EngineExecutor, Execution};
use super::{BatchReply, CheckpointReply, Job, Phase, Shared};
use crate::background::{BackgroundJob, Handle};
use crate::batch::{self, BatchEncoder, LocalBatch, LocalCommand, Refusal};
use crate::crew::Workers;
use crate::header::{BatchId, Content, Header};
use crate::identity::Verdict;
use crate::log_preparation::LogPreparation;
use crate::node::{Passes, View};
use crate::order::{Decided, Order, SingleOrder};
use crate::replay::{OldLog, Progress};
use crate::workers::Work;
use skink_engine::command::Command;
use skink_engine::engine::Engine;
use skink_engine::error::Fault;
use skink_engine::log::{self, LogWriter};
use skink_engine::position::LogPosition;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The proxy of the replica itself: sweeps and markers.
const OWN_PROXY: u32 = 0;
/// How long the log is left unsealed when nothing happens.
const IDLE: Duration = Duration::from_millis(50);
/// Bytes of log in one write, about; more is left for the next.
const CYCLE_BYTES: usize = 8 << 20;

pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    order: Option<LogWriter>,
    old: Option<OldLog>,
    progress: Progress,
    background: Handle,
    log_preparation: Option<LogPreparation>,
}

/// A batch of this replica that is on its way through the order.
struct Outstanding {
    commands: Vec<LocalCommand>,
    reply: Option<BatchReply>,
}

impl Core {
    pub(super) fn new(
        shared: Arc<Shared>,
        writer: LogWriter,
        old: OldLog,
        progress: Progress,
        background: Handle,
        log_preparation: LogPreparation,
    ) -> Core {
        let log_preparation = Some(log_preparation);
        Core { shared, order: Some(writer), old: Some(old), progress, background, log_preparation }
    }

    pub(super) fn run(mut self, background_thread: JoinHandle<Result<(), Fault>>) -> Result<(), Fault> {
        let result = self.replay_and_serve();
        self.shared.must_stop.store(true, Ordering::Release);
        self.background.close();
        let background = background_thread
            .join()
            .unwrap_or_else(|_| Err(Fault::Refused("a broken invariant stopped the background thread".into())));
        let log_preparation = self.log_preparation.take().map_or(Ok(()), LogPreparation::join);
        result.and(background).and(log_preparation)
    }

    fn replay_and_serve(&mut self) -> Result<(), Fault> {
        let engine = Arc::clone(&self.shared.engine);
        let executor = EngineExecutor::new(&self.shared);
        let (Some(old), Some(writer)) = (self.old.take(), self.order.take()) else { return Ok(()) };
        let last = old.last().unwrap_or(self.progress.instance);
        if old.len() > 0 {
            let started = Instant::now();
            let statistics = &self.shared.statistics;
            let count = old.replay(engine.log_files(), &mut self.progress, &executor, |commands| {
                statistics.replayed_commands.fetch_add(commands, Ordering::Relaxed);
            })?;
            tracing::info!(commands = count, ms = started.elapsed().as_millis() as u64, "replayed the log");
        }
        let crew = Workers::start(&self.shared.options, &engine, Arc::new(EngineExecutor::new(&self.shared)))?;
        self.publish();
        self.shared.set_phase(Phase::Serving);
        // Batches of this process need its number, which was counted in the background.
        let Some(incarnation) = self.background.incarnation() else { return Ok(()) };
        let incarnation = self.incarnation_after(incarnation);
        let mut serving = Serving {
            engine,
            execution: Execution::new(executor, crew),
            order: SingleOrder::new(writer, last),
            incarnation,
            sequences: HashMap::new(),
            outstanding: HashMap::new(),
            encoder: BatchEncoder::default(),
            checkpoint: CheckpointState::new(),
            stop: false,
            core: self,
        };
        serving.serve()
    }

    /// The number of this start, given the catalog's. One that went back would give batches ids that are taken, and they
    /// would be skipped; the window knows all that were used.
    fn incarnation_after(&self, counted: u64) -> u64 {
        let last = self.progress.ids.last_incarnation();
        if counted <= last {
            tracing::warn!(
                counted,
                last,
                "the catalog was removed or went back; the log says how often the process was started"
            );
        }
        counted.max(last + 1)
    }

    fn publish(&self) {
        self.shared.time_ms.store(self.progress.time_ms, Ordering::Release);
        self.shared.statistics.instance.store(self.progress.instance.get(), Ordering::Relaxed);
    }
}

/// What is known of checkpoints.
struct CheckpointState {
    /// A marker was proposed, or its checkpoint is being made.
    is_under_way: bool,
    /// Who waits for the one under way, and for the one after it.
    waiting: Vec<CheckpointReply>,
    wanted: Vec<CheckpointReply>,
    log_position: LogPosition,
    taken: Instant,
    /// Instance of the marker, so that nothing is taken when nothing was written.
    last: skink_engine::position::Instance,
}

impl CheckpointState {
    fn new() -> CheckpointState {
        CheckpointState {
            is_under_way: false,
            waiting: Vec::new(),
            wanted: Vec::new(),
            log_position: LogPosition::ZERO,
            taken: Instant::now(),
            last: skink_engine::position::Instance::ZERO,
        }
    }
}

struct Serving<'c> {
    engine: Arc<Engine>,
    execution: Execution,
    order: SingleOrder,
    incarnation: u64,
    /// Last sequence of each proxy. Given when a batch is proposed, so that a refused one leaves no gap.
    sequences: HashMap<u32, u64>,
    outstanding: HashMap<BatchId, Outstanding>,
    encoder: BatchEncoder,
    checkpoint: CheckpointState,
    stop: bool,
    core: &'c mut Core,
}

impl Serving<'_> {
    fn serve(&mut self) -> Result<(), Fault> {
        self.checkpoint.log_position = self.order.log_end();
        self.checkpoint.last = self.engine.last_checkpoint();
        let mut backlog: VecDeque<Job> = VecDeque::new();
        while !self.stop || !backlog.is_empty() {
            if backlog.is_empty() {
                self.wait_for_jobs(&mut backlog)?;
            }
            self.cycle(&mut backlog)?;
        }
        self.finish()
    }

    fn wait_for_jobs(&mut self, backlog: &mut VecDeque<Job>) -> Result<(), Fault> {
        let shared = Arc::clone(&self.core.shared);
        let mut queue = shared.queue.lock();
        while queue.jobs.is_empty() {
            if shared.must_stop.load(Ordering::Acquire) {
                self.stop = true;
                return Ok(());
            }
            if shared.wake.wait_for(&mut queue, IDLE).timed_out() && queue.jobs.is_empty() {
                drop(queue);
                match self.order.idle() {
                    Err(fault) if fault.is_transient() => {}
                    result => result?,
                }
                self.want_checkpoint_if_due();
                queue = shared.queue.lock();
                if self.checkpoint_is_wanted() {
                    break;
                }
            }
        }
        backlog.extend(std::mem::take(&mut queue.jobs));
        Ok(())
    }

    /// One log write with what has gathered, and the execution of what it decides.
    fn cycle(&mut self, backlog: &mut VecDeque<Job>) -> Result<(), Fault> {
        let mut bytes = 0;
        while bytes < CYCLE_BYTES {
            let Some(job) = backlog.pop_front() else { break };
            match job {
                Job::Batch(batch, reply) => {
                    bytes += batch.payload.len();
                    self.propose(batch, Some(reply))?;
                }
                Job::Sweep(keys) => {
                    let batch = self.own_batch(vec![Command::Sweep { keys }]);
                    self.propose(batch, None)?;
                }
                Job::Checkpoint(reply) => self.checkpoint.wanted.push(reply),
                Job::CheckpointDone(_) => self.checkpoint.is_under_way = false,
                Job::Current(question) => (question.tell)(Passes::Rest, Ok(View::Later)),
                // A single replica gets none.
                Job::IncomingChecked(_) | Job::ChangeMembers(..) => {}
                Job::Pin(reply) => {
                    self.decide_and_execute()?;
                    reply(self.engine.pin(
                        self.core.progress.instance,
                        self.core.shared.time_ms.load(Ordering::Acquire).max(self.engine.environment().clock.now_ms()),
                    ));
                }
                Job::Stop => {
                    self.core.shared.queue.lock().is_closed = true;
                    backlog.extend(std::mem::take(&mut self.core.shared.queue.lock().jobs));
                    self.stop = true;
                }
            }
        }
        self.want_checkpoint_if_due();
        if self.checkpoint_is_wanted() && !self.stop {
            self.propose_marker()?;
        }
        self.decide_and_execute()
    }

    fn next_id(&mut self, proxy: u32) -> BatchId {
        let sequence = self.sequences.get(&proxy).copied().unwrap_or(0) + 1;
        BatchId { proxy, incarnation: self.incarnation, sequence }
    }

    fn own_batch(&mut self, commands: Vec<Command>) -> LocalBatch {
        let commands: Vec<LocalCommand> =
            commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect();
        let (content, payload) = self.encoder.encode(&commands, |key| self.engine.hash(key));
        let time_ms = self.engine.environment().clock.now_ms();
        LocalBatch { proxy: OWN_PROXY, time_ms, commands, content, payload }
    }

    fn propose(&mut self, batch: LocalBatch, reply: Option<BatchReply>) -> Result<(), Fault> {
        let id = self.next_id(batch.proxy);
        let header = Header { id, time_ms: batch.time_ms, content: batch.content };
        match self.order.propose(header, &batch.payload) {
            Ok(()) => {
                self.sequences.insert(id.proxy, id.sequence);
                self.outstanding.insert(id, Outstanding { commands: batch.commands, reply });
                Ok(())
            }
            Err(fault) if fault.is_transient() => {
                if let Some(reply) = reply {
                    // Earlier batches of the same proxy are answered first.
                    self.decide_and_execute()?;
                    reply(Err(Refusal::DiskFull(fault.to_string())));
                }
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn decide_and_execute(&mut self) -> Result<(), Fault> {
        let decided = self.order.decide()?;
        if decided.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.core.shared);
        let next_log_file = self.order.next_log_file().get();
        if shared.next_log_file.swap(next_log_file, Ordering::AcqRel) != next_log_file {
            self.core.log_preparation.iter().for_each(LogPreparation::wake);
        }
        shared.statistics.cycles.fetch_add(1, Ordering::Relaxed);
        for entry in decided {
            self.deliver(entry)?;
        }
        self.join()
    }

    /// Answers what is executed.
    fn join(&mut self) -> Result<(), Fault> {
        let executed = self.execution.join()?;
        self.core.publish();
        let statistics = &self.core.shared.statistics;
        statistics.parallel_batches.store(self.execution.parallel(), Ordering::Relaxed);
        for (replies, reply) in executed {
            statistics.batches.fetch_add(1, Ordering::Relaxed);
            statistics.commands.fetch_add(replies.len() as u64, Ordering::Relaxed);
            if let Some(reply) = reply {
                reply(Ok(replies));
            }
        }
        Ok(())
    }

    fn deliver(&mut self, decided: Decided) -> Result<(), Fault> {
        let Decided { instance, header, payload, cycle_start } = decided;
        let (time_ms, verdict) = self.core.progress.deliver(instance, &header);
        match header.content {
            Content::CheckpointMarker => {
                self.join()?;
                let cut =
                    self.engine.cut(instance, time_ms, cycle_start, self.core.progress.ids.to_manifest(), Vec::new());
                self.checkpoint.last = instance;
                let waiting = std::mem::take(&mut self.checkpoint.waiting);
                self.core.background.push(BackgroundJob::Checkpoint { cut, replies: waiting });
            }
            Content::Commands { .. } => {
                let outstanding = match self.outstanding.remove(&header.id) {
                    Some(outstanding) => outstanding,
                    None => Outstanding { commands: self.read_payload(payload)?, reply: None },
                };
                if verdict == Verdict::Execute {
                    let work = Work { instance, time_ms, commands: outstanding.commands };
                    self.execution.execute(work, outstanding.reply)?;
                }
            }
        }
        Ok(())
    }

    fn read_payload(&self, position: LogPosition) -> Result<Vec<LocalCommand>, Fault> {
        let files = self.engine.log_files();
        let payload = log::BodyReader::new(files).read(position)?;
        let commands = batch::decode(&payload).map_err(|error| log::damaged(files, position, error.to_string()))?;
        Ok(commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect())
    }

    fn want_checkpoint_if_due(&mut self) {
        let options = &self.core.shared.options;
        let has_news = self.core.progress.instance > self.checkpoint.last;
        let log_bytes = self.order.log_end().since(self.checkpoint.log_position);
        let is_old =
            log_bytes >= options.checkpoint_log_bytes || self.checkpoint.taken.elapsed() >= options.checkpoint_interval;
        // To let go of replaced files one is taken also where nothing was ordered since.
        let is_due = has_news && is_old || self.core.background.wants_checkpoint();
        if is_due && !self.checkpoint.is_under_way && self.checkpoint.wanted.is_empty() {
            self.checkpoint.wanted.push(Box::new(|_| ()));
        }
    }

    fn checkpoint_is_wanted(&self) -> bool {
        !self.checkpoint.is_under_way && !self.checkpoint.wanted.is_empty()
    }

    fn propose_marker(&mut self) -> Result<(), Fault> {
        let id = self.next_id(OWN_PROXY);
        let time_ms = self.engine.environment().clock.now_ms();
        match self.order.propose(Header { id, time_ms, content: Content::CheckpointMarker }, &[]) {
            Ok(()) => {
                self.sequences.insert(id.proxy, id.sequence);
                self.checkpoint.is_under_way = true;
                self.checkpoint.waiting = std::mem::take(&mut self.checkpoint.wanted);
                self.checkpoint.log_position = self.order.log_end();
                self.checkpoint.taken = Instant::now();
                Ok(())
            }
            Err(fault) if fault.is_transient() => {
                for reply in std::mem::take(&mut self.checkpoint.wanted) {
                    reply(Err(fault.to_string()));
                }
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// The last checkpoint of a stop in order: the next start has nothing to replay.
    fn finish(&mut self) -> Result<(), Fault> {
        self.decide_and_execute()?;
        for reply in self.checkpoint.wanted.drain(..) {
            reply(Err("the server is shutting down".into()));
        }
        if self.core.shared.must_stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let progress = &self.core.progress;
        let cut = self.engine.cut(
            progress.instance,
            progress.time_ms,
            self.order.log_end(),
            progress.ids.to_manifest(),
            Vec::new(),
        );
        self.core.background.push(BackgroundJob::LastCheckpoint { cut, is_clean: true });
        Ok(())
    }
}
