//! A replica: one thread that orders and executes, one in the background, and the handle that others use.
//!
//! ```text
//! submit(batch) --> queue --> order: propose, decide (one log write) --> deliver --> execution --> replies
//!                                                                          |
//!                                  marker: cut --> background thread: checkpoint, compaction, images, sweeps
//! ```
//!
//! Batches that gather while the log writes go out together with the next write: under load writes are large,
//! when idle a batch goes out at once; there is no timer.

mod cluster;
mod core;
mod execute;
mod joining;
mod meeting;
mod members;
mod options;
mod watch;

pub use options::{ClusterOptions, ReplicaOptions};

use crate::background;
use crate::batch::{BatchOutcome, LocalBatch, Refusal};
use crate::crew::{OnEngine, Workers};
use crate::log_preparation::LogPreparation;
use crate::node::{ChangeReply, Node, Passes, Question, View};
use crate::paxos::{MembershipChange, ReplicaId};
use crate::recovery::RecoveryReport;
use crate::replay::{OldLog, Progress};
use crate::status::{ClusterStatus, Condition, ReplicaStatus, Role};
use crate::transport::Waker;
use bytes::Bytes;
use meeting::Meeting;
use parking_lot::{Condvar, Mutex};
use skink_engine::engine::{CheckedIncoming, CheckpointInfo, Engine, Opened, PinnedCut};
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_engine::position::Instance;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Receives what became of a batch.
pub type BatchReply = Box<dyn FnOnce(BatchOutcome) + Send>;
/// Is told of changes of phase.
type PhaseListener = Box<dyn Fn(Phase) + Send>;
/// Receives what became of a checkpoint.
pub type CheckpointReply = Box<dyn FnOnce(Result<CheckpointInfo, String>) + Send>;

pub(crate) enum Job {
    Batch(LocalBatch, BatchReply),
    Pin(Box<dyn FnOnce(PinnedCut) + Send>),
    Checkpoint(CheckpointReply),
    /// The checkpoint that was under way is done, or failed.
    CheckpointDone(Option<CheckpointInfo>),
    /// Reads of these keys wait until the state is current.
    Current(Question),
    /// A checkpoint from another replica was checked.
    IncomingChecked(Result<Box<CheckedIncoming>, Fault>),
    Sweep(Vec<Bytes>),
    ChangeMembers(MembershipChange, ChangeReply),
    Stop,
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Executing what the log has beyond the checkpoint.
    Replaying,
    /// Serving.
    Serving,
    /// Stopped, in order or by a fault.
    Stopped,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) jobs: Vec<Job>,
    pub(crate) is_closed: bool,
}

/// Counters, for people and for tests.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Commands executed in the order since the start, replay left out.
    pub commands: AtomicU64,
    /// Batches.
    pub batches: AtomicU64,
    /// Log writes.
    pub cycles: AtomicU64,
    /// Reads that wait now for old commands on their keys.
    pub parked_reads: AtomicU64,
    /// Reads that were answered while this replica had old commands to execute, none of them on their keys.
    pub early_reads: AtomicU64,
    /// Batches that workers executed.
    pub parallel_batches: AtomicU64,
    /// Batches of this replica's clients that wait for old commands.
    pub parked_batches: AtomicU64,
    /// Commands that were executed before older ones.
    pub early_commands: AtomicU64,
    /// Milliseconds that a request waited at most, since the start, while this replica had old commands to execute.
    pub longest_wait_ms: AtomicU64,
    /// Checkpoints.
    pub checkpoints: AtomicU64,
    /// Commands to replay, and those that were.
    pub replay_total_batches: AtomicU64,
    /// Commands that were replayed.
    pub replayed_commands: AtomicU64,
    /// The last delivered instance.
    pub instance: AtomicU64,
    /// When the last checkpoint was done, in milliseconds since 1970.
    pub last_checkpoint_ms: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: ReplicaOptions,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    phase: AtomicU8,
    /// Called when the phase changes.
    on_phase: Mutex<Vec<PhaseListener>>,
    /// Execution waits for room on the disk.
    pub(crate) is_stalled: AtomicBool,
    /// Time of the last delivered header.
    pub(crate) time_ms: AtomicU64,
    /// Start of the log file that will be needed next.
    pub(crate) next_log_file: AtomicU64,
    pub(crate) must_stop: AtomicBool,
    pub(crate) statistics: Statistics,
    /// Wakes the replica's thread where it waits for sockets.
    waker: Option<Waker>,
    /// How the start went, of one among others.
    pub(crate) recovery: Mutex<Option<RecoveryReport>>,
    /// How all replicas stand, of one among others.
    pub(crate) cluster_status: Mutex<Option<ClusterStatus>>,
    room: Mutex<Room>,
}

/// What was last found about free space.
struct Room {
    checked_ms: u64,
    refuses_writes: Option<String>,
    refuses_deletes: Option<String>,
}

/// How long an answer about free space is good for, in milliseconds.
const ROOM_CHECK_MS: u64 = 20;

impl Shared {
    fn new(engine: Engine, options: ReplicaOptions, time_ms: u64, next_log_file: u64, waker: Option<Waker>) -> Shared {
        Shared {
            engine: Arc::new(engine),
            options,
            queue: Mutex::default(),
            wake: Condvar::new(),
            phase: AtomicU8::new(0),
            on_phase: Mutex::default(),
            is_stalled: AtomicBool::new(false),
            time_ms: AtomicU64::new(time_ms),
            next_log_file: AtomicU64::new(next_log_file),
            must_stop: AtomicBool::new(false),
            statistics: Statistics::default(),
            waker,
            recovery: Mutex::new(None),
            cluster_status: Mutex::new(None),
            room: Mutex::new(Room { checked_ms: 0, refuses_writes: None, refuses_deletes: None }),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Replaying,
            1 => Phase::Serving,
            _ => Phase::Stopped,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let code = match phase {
            Phase::Replaying => 0,
            Phase::Serving => 1,
            Phase::Stopped => 2,
        };
        self.phase.store(code, Ordering::Release);
        for listener in self.on_phase.lock().iter() {
            listener(phase);
        }
    }

    /// Adds a job; gives it back where the replica takes none any more.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(job);
        }
        queue.jobs.push(job);
        let is_first = queue.jobs.len() == 1;
        drop(queue);
        if is_first {
            self.wake_up();
        }
        Ok(())
    }

    /// Lets the replica's thread look for work.
    pub(crate) fn wake_up(&self) {
        self.wake.notify_all();
        if let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            // It wakes up with its next tick.
            tracing::debug!(%error, "the replica's thread can't be woken");
        }
    }
}

/// A running replica.
pub struct Replica {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), Fault>>>>,
}

impl Replica {
    /// Opens the data directory and starts. It returns before the log is replayed: see [`Replica::on_phase`].
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn start(environment: Environment, root: &std::path::Path, options: ReplicaOptions) -> Result<Replica, Fault> {
        if options.cluster.is_some() {
            return Self::start_among_others(environment, root, options);
        }
        if joining::label_of(&environment, root)?.is_some() {
            return Err(Fault::Refused(format!(
                "{} holds the data of a replica of a cluster: start it with --replica and --cluster",
                root.display()
            )));
        }
        let (engine, opened) = Engine::open(environment, root, options.engine)?;
        let Opened { manifest, log, writer } = opened;
        let old = OldLog::collect(engine.log_files(), &log.frames, manifest.instance)?;
        let shared = Arc::new(Shared::new(engine, options, manifest.time_ms, writer.next_file().get(), None));
        shared.statistics.replay_total_batches.store(old.len() as u64, Ordering::Relaxed);
        let (background, background_thread) =
            background::start(Arc::clone(&shared), Some(manifest.last_incarnation()))?;
        let progress = Progress::at(&manifest);
        let log_preparation = LogPreparation::start(Arc::clone(&shared))?;
        let core = core::Core::new(Arc::clone(&shared), writer, old, progress, background, log_preparation);
        Self::spawn(shared, move || core.run(background_thread))
    }

    /// Starts a replica among others. With an empty data directory it returns when it is known which cluster it is of.
    fn start_among_others(
        environment: Environment,
        root: &std::path::Path,
        options: ReplicaOptions,
    ) -> Result<Replica, Fault> {
        let others: Vec<ReplicaId> = options.cluster.iter().flat_map(|it| it.peers.keys().copied()).collect();
        let began = Instant::now();
        let (mut joined, mut transport) = joining::join(&environment, root, &options)?;
        let started = Instant::now();
        transport.open_sessions(cluster::agreement(&joined), joined.membership.incarnation);
        // Those who dial this replica hear that it is there.
        others.iter().for_each(|peer| transport.discover(*peer));
        let waker = cluster::waker(&transport);
        let meeting = Meeting::begin(transport)?;
        let (engine, opened) = Engine::open(environment.clone(), root, joined.engine)?;
        let (open_ms, checkpoint, frames) =
            (started.elapsed().as_millis() as u64, opened.manifest.instance, opened.log.frames.len());
        joined.is_made(&environment, root)?;
        let (time_ms, next_log_file) = (opened.manifest.time_ms, opened.writer.next_file().get());
        let shared = Arc::new(Shared::new(engine, options, time_ms, next_log_file, Some(waker)));
        let mut node =
            Node::start(Arc::clone(&shared.engine), opened, &joined.membership, cluster::node_options(&shared))?;
        if let Some(crew) = Workers::start(&shared.options, &shared.engine, Arc::new(OnEngine::new(&shared.engine)))? {
            node.set_crew(crew);
        }
        *shared.cluster_status.lock() = Some(node.status());
        let start_ms = started.elapsed().as_millis() as u64;
        tracing::info!(%checkpoint, frames, open_ms, start_ms, "opened the data directory");
        let (background, background_thread) = background::start(Arc::clone(&shared), None)?;
        let log_preparation = LogPreparation::start(Arc::clone(&shared))?;
        let roster = members::Roster::new(joined.announcement, joined.label);
        let runner =
            cluster::Runner::new(began, Arc::clone(&shared), node, meeting.end()?, roster, background, log_preparation);
        Self::spawn(shared, move || runner.run(background_thread))
    }

    fn spawn(shared: Arc<Shared>, run: impl FnOnce() -> Result<(), Fault> + Send + 'static) -> Result<Replica, Fault> {
        let ends = Arc::clone(&shared);
        let thread = spawn("skink-replica", move || {
            let shared = ends;
            // A panic in here is a broken invariant: others must not wait for a thread that is gone.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            shared.must_stop.store(true, Ordering::Release);
            shared.queue.lock().is_closed = true;
            let abandoned = std::mem::take(&mut shared.queue.lock().jobs);
            drop(abandoned);
            let result = result.unwrap_or_else(|_| {
                Err(Fault::Refused("a broken invariant stopped the replica; the message is above".into()))
            });
            if let Err(fault) = &result {
                tracing::error!(%fault, "the replica stops");
            }
            shared.set_phase(Phase::Stopped);
            result
        })?;
        Ok(Replica { shared, thread: Mutex::new(Some(thread)) })
    }

    /// The state.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Calls `listener` at every change of phase, and now with the present one.
    pub fn on_phase(&self, listener: impl Fn(Phase) + Send + 'static) {
        let mut listeners = self.shared.on_phase.lock();
        listener(self.shared.phase());
        listeners.push(Box::new(listener));
    }

    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.shared.statistics
    }

    /// How its start went, or goes on; `None` for a single one.
    pub fn recovery(&self) -> Option<RecoveryReport> {
        self.shared.recovery.lock().clone()
    }

    /// Whether execution waits for room on the disk.
    pub fn is_stalled(&self) -> bool {
        self.shared.is_stalled.load(Ordering::Relaxed)
    }

    /// The time for reads: not before that of any executed command.
    pub fn read_time_ms(&self) -> u64 {
        let clock = self.shared.engine.environment().clock.now_ms();
        clock.max(self.shared.time_ms.load(Ordering::Acquire))
    }

    /// Whether a write would be accepted now.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, only_deletes: bool) -> Result<(), Refusal> {
        let now_ms = self.shared.engine.environment().clock.now_ms();
        let mut room = self.shared.room.lock();
        if now_ms.abs_diff(room.checked_ms) >= ROOM_CHECK_MS {
            let check = |only_deletes| match self.shared.engine.check_room(only_deletes) {
                Err(fault) if fault.is_transient() => Some(fault.to_string()),
                // Not knowing is no reason to refuse: a full disk is met at the write itself.
                _ => None,
            };
            *room = Room { checked_ms: now_ms, refuses_writes: check(false), refuses_deletes: check(true) };
        }
        let refusal = if only_deletes { &room.refuses_deletes } else { &room.refuses_writes };
        match refusal {
            Some(what) => Err(Refusal::DiskFull(what.clone())),
            None if self.is_stalled() => {
                Err(Refusal::DiskFull("the disk is full: an earlier write waits for room; free some space".into()))
            }
            None => Ok(()),
        }
    }

    /// Hands in a batch; `reply` is called, in another thread, when it was executed or refused. Batches of one proxy are
    /// executed in the order in which they are handed in.
    pub fn submit(&self, batch: LocalBatch, reply: BatchReply) {
        if let Err(Job::Batch(_, reply)) = self.shared.push(Job::Batch(batch, reply)) {
            reply(Err(Refusal::ShuttingDown));
        }
    }

    /// Pins the state between two batches; `reply` is not called if the replica stops before.
    pub fn pin(&self, reply: impl FnOnce(PinnedCut) + Send + 'static) {
        let _ = self.shared.push(Job::Pin(Box::new(reply)));
    }

    /// Pins the present state, from within what is told of a question: nothing is executed meanwhile.
    pub fn pin_here(&self) -> PinnedCut {
        let instance = Instance::new(self.shared.statistics.instance.load(Ordering::Relaxed)).unwrap_or(Instance::ZERO);
        self.shared.engine.pin(instance, self.read_time_ms())
    }

    /// Asks for a checkpoint; `reply` is called when it is durable.
    pub fn checkpoint(&self, reply: CheckpointReply) {
        if let Err(Job::Checkpoint(reply)) = self.shared.push(Job::Checkpoint(reply)) {
            reply(Err("the server is shutting down".into()));
        }
    }

    /// Whether it is one of several. Then reads wait for [`Replica::when_current`], or may be stale.
    pub fn is_among_others(&self) -> bool {
        self.shared.options.cluster.is_some()
    }

    /// Tells the question's asker of each of its reads, in another thread, when everything that was acknowledged
    /// anywhere by now, and touches the keys of that read, was executed here: what is read then, or later, is
    /// linearizable. A single replica is always current.
    pub fn when_current(&self, question: Question) {
        if !self.is_among_others() {
            return (question.tell)(Passes::Rest, Ok(View::Later));
        }
        if let Err(Job::Current(question)) = self.shared.push(Job::Current(question)) {
            (question.tell)(Passes::Rest, Err(Refusal::ShuttingDown));
        }
    }

    /// How all replicas stand, as far as this one knows.
    pub fn status(&self) -> ClusterStatus {
        if let Some(status) = self.shared.cluster_status.lock().clone() {
            return status;
        }
        let own = ReplicaId::FIRST;
        let condition = match self.phase() {
            Phase::Replaying => Condition::CatchingUp,
            Phase::Serving if self.is_stalled() => Condition::DiskFull,
            Phase::Serving => Condition::Serving,
            Phase::Stopped => Condition::Stopped,
        };
        let executed = self.shared.statistics.instance.load(Ordering::Relaxed);
        let executed = Instance::new(executed).unwrap_or_default();
        let status = ReplicaStatus {
            replica: own,
            role: Role::Single,
            condition,
            decided: executed,
            executed,
            durable: executed,
            checkpoint: self.last_checkpoint(),
        };
        ClusterStatus { own, leader: Some(own), configuration: 0, replicas: vec![status] }
    }

    /// Instance of the last durable checkpoint.
    pub fn last_checkpoint(&self) -> Instance {
        self.shared.engine.last_checkpoint()
    }

    /// Path of the data directory.
    pub fn root(&self) -> PathBuf {
        self.shared.engine.directory().root().to_path_buf()
    }

    /// Asks it to stop in order: what was handed in is executed, a last checkpoint is taken.
    pub fn stop(&self) {
        let _ = self.shared.push(Job::Stop);
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub fn wait(&self) -> Result<(), Fault> {
        let Some(thread) = self.thread.lock().take() else { return Ok(()) };
        match thread.join() {
            Ok(result) => result,
            Err(_) => Err(Fault::Refused("the replica's thread panicked".into())),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
        let _ = self.wait();
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Fault> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| Fault::Refused(format!("a thread can't be started: {error}; raise the process' limits")))
}
