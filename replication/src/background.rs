//! The background thread: checkpoints, compaction, images, the next log file, sweeps of expired keys, scrubbing.

use crate::replica::{CheckpointReply, Job, Phase, Shared, spawn};
use parking_lot::{Condvar, Mutex};
use skink_engine::catalog::Catalog;
use skink_engine::engine::{CheckpointInfo, Cut, Incoming};
use skink_engine::error::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks for work when nobody asks for any.
const STEP: Duration = Duration::from_millis(50);
/// Time after a start in which segments are installed for those alone who need them.
const HEAD_START: Duration = Duration::from_millis(100);
/// Keys that one look for expired ones visits.
const SWEEP_LOOK: usize = 2000;
/// Keys in one sweep.
const SWEEP_KEYS: usize = 500;
/// What an installation may have to index after a stop in order, in bytes of records.
const LAST_IMAGE_TAIL: u64 = 256 << 10;

pub(crate) enum BackgroundJob {
    Checkpoint { cut: Cut, replies: Vec<CheckpointReply> },
    LastCheckpoint { cut: Cut, is_clean: bool },
    CheckIncoming(Box<Incoming>),
}

struct State {
    jobs: Vec<BackgroundJob>,
    is_closed: bool,
    incarnation: Option<u64>,
}

struct Common {
    state: Mutex<State>,
    wake: Condvar,
    wants_checkpoint: AtomicBool,
}

/// What the replica's thread has of the background thread.
#[derive(Clone)]
pub(crate) struct Handle {
    common: Arc<Common>,
}

impl Handle {
    pub(crate) fn push(&self, job: BackgroundJob) {
        self.common.state.lock().jobs.push(job);
        self.common.wake.notify_all();
    }

    /// No more jobs come: it ends after those that it has.
    pub(crate) fn close(&self) {
        self.common.state.lock().is_closed = true;
        self.common.wake.notify_all();
    }

    /// Whether a checkpoint would free space.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.common.wants_checkpoint.load(Ordering::Relaxed)
    }

    /// The number of this start of the process; waits until it is durable. `None` if it could not be counted, which the
    /// background thread ended with.
    pub(crate) fn incarnation(&self) -> Option<u64> {
        let mut state = self.common.state.lock();
        loop {
            if state.incarnation.is_some() || state.is_closed {
                return state.incarnation.take();
            }
            self.common.wake.wait(&mut state);
        }
    }
}

/// Starts it. `used` is the newest incarnation in the state's window of ids, if it is to count this start.
pub(crate) fn start(shared: Arc<Shared>, used: Option<u64>) -> Result<(Handle, JoinHandle<Result<(), Fault>>), Fault> {
    let common = Arc::new(Common {
        state: Mutex::new(State { jobs: Vec::new(), is_closed: false, incarnation: None }),
        wake: Condvar::new(),
        wants_checkpoint: AtomicBool::new(false),
    });
    let handle = Handle { common: Arc::clone(&common) };
    let thread = spawn("skink-background", move || {
        let closes = Arc::clone(&common);
        let must_stop = Arc::clone(&shared);
        let worker = Worker {
            shared,
            common,
            used_incarnation: used,
            sweep_cursor: 0,
            scrub_segment: 0,
            scrub_due: Instant::now(),
            has_more_work: false,
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())).unwrap_or_else(|_| {
            Err(Fault::Refused("a broken invariant stopped the background thread; the message is above".into()))
        });
        if let Err(fault) = &result {
            tracing::error!(%fault, "work in the background failed");
        }
        // Whoever waits must not wait for ever.
        must_stop.must_stop.store(result.is_err() || must_stop.must_stop.load(Ordering::Acquire), Ordering::Release);
        closes.state.lock().is_closed = true;
        closes.wake.notify_all();
        must_stop.wake_up();
        result
    })?;
    Ok((handle, thread))
}

struct Worker {
    shared: Arc<Shared>,
    common: Arc<Common>,
    used_incarnation: Option<u64>,
    sweep_cursor: u64,
    scrub_segment: usize,
    scrub_due: Instant,
    /// The last look for work found some: look again at once.
    has_more_work: bool,
}

impl Worker {
    fn run(mut self) -> Result<(), Fault> {
        self.count_start()?;
        let engine = Arc::clone(&self.shared.engine);
        if self.shared.options.cluster.is_some() {
            self.let_others_go_first();
            // What nobody needs yet, so that nobody has to wait for it. Whoever needs what is damaged is told.
            engine.install_waiting();
        }
        engine.directory().remove_put_aside(engine.environment())?;
        loop {
            let job = {
                let mut state = self.common.state.lock();
                if state.jobs.is_empty() && !state.is_closed && !self.has_more_work {
                    self.common.wake.wait_for(&mut state, STEP);
                }
                if state.jobs.is_empty() && state.is_closed {
                    break;
                }
                if state.jobs.is_empty() { None } else { Some(state.jobs.remove(0)) }
            };
            match job {
                Some(BackgroundJob::CheckIncoming(incoming)) => {
                    let _ = self.shared.push(Job::IncomingChecked(incoming.finish().map(Box::new)));
                }
                Some(BackgroundJob::Checkpoint { cut, replies }) => self.checkpoint(&cut, false, replies)?,
                Some(BackgroundJob::LastCheckpoint { cut, is_clean }) => {
                    engine.refresh_images(LAST_IMAGE_TAIL)?;
                    self.checkpoint(&cut, is_clean, Vec::new())?;
                }
                None if self.shared.must_stop.load(Ordering::Acquire) => self.has_more_work = false,
                None => self.look_for_work()?,
            }
        }
        Ok(())
    }

    /// The first answers need few segments, and the processor.
    fn let_others_go_first(&self) {
        let end = Instant::now() + HEAD_START;
        let mut state = self.common.state.lock();
        while !state.is_closed && state.jobs.is_empty() && !self.common.wake.wait_until(&mut state, end).timed_out() {}
    }

    /// Counts this start in the catalog, beside the way to the first answer: its two syncs take longer than all the rest.
    fn count_start(&self) -> Result<(), Fault> {
        let Some(used) = self.used_incarnation else { return Ok(()) };
        let engine = &self.shared.engine;
        // Better an end that says why than a replay that waits for room, and reads that wait for it.
        engine.check_room(true)?;
        let counted = Catalog::open(engine.environment(), &engine.directory().catalog())?.next_incarnation(used)?;
        self.common.state.lock().incarnation = Some(counted);
        self.common.wake.notify_all();
        Ok(())
    }

    fn checkpoint(&mut self, cut: &Cut, is_last: bool, replies: Vec<CheckpointReply>) -> Result<(), Fault> {
        let engine = &self.shared.engine;
        let result = engine.checkpoint(cut, is_last);
        let answer: Result<CheckpointInfo, String> = match &result {
            Ok(info) => {
                let ms = info.duration.as_millis() as u64;
                tracing::info!(
                    instance = info.instance.get(),
                    keys = info.live_records,
                    new_bytes = info.new_bytes,
                    digest = format_args!("{:016x}", info.digest),
                    ms,
                    "checkpoint"
                );
                self.shared.statistics.checkpoints.fetch_add(1, Ordering::Relaxed);
                let now_ms = engine.environment().clock.now_ms();
                self.shared.statistics.last_checkpoint_ms.store(now_ms, Ordering::Relaxed);
                Ok(*info)
            }
            Err(fault) => {
                tracing::error!(%fault, "the checkpoint failed");
                Err(fault.to_string())
            }
        };
        for reply in replies {
            reply(answer.clone());
        }
        self.common.wants_checkpoint.store(false, Ordering::Relaxed);
        let _ = self.shared.push(Job::CheckpointDone(result.as_ref().ok().copied()));
        match result {
            Err(fault) if !fault.is_transient() => Err(fault),
            _ => Ok(()),
        }
    }

    fn look_for_work(&mut self) -> Result<(), Fault> {
        let engine = Arc::clone(&self.shared.engine);
        if self.shared.phase() != Phase::Serving {
            return Ok(());
        }
        // One piece of work, then jobs come first again.
        self.has_more_work = allow_full(engine.maintain(&|_| ()))?.unwrap_or(false);
        if self.has_more_work {
            if engine.wants_space() && !self.common.wants_checkpoint.swap(true, Ordering::Relaxed) {
                self.shared.wake_up();
            }
            return Ok(());
        }
        self.sweep()?;
        self.scrub()
    }

    fn sweep(&mut self) -> Result<(), Fault> {
        let engine = &self.shared.engine;
        if engine.expiring_count() == 0 {
            return Ok(());
        }
        // A sweep checks each key again at its own time in the order: the clock only tells where to look.
        let now_ms = engine.environment().clock.now_ms();
        let (keys, cursor) = engine.expired_keys(self.sweep_cursor, now_ms, SWEEP_LOOK)?;
        self.sweep_cursor = cursor;
        for keys in keys.chunks(SWEEP_KEYS) {
            let _ = self.shared.push(Job::Sweep(keys.to_vec()));
        }
        Ok(())
    }

    /// Reads everything once in a while, so that damage is found while there are copies to repair it from.
    fn scrub(&mut self) -> Result<(), Fault> {
        let rate = self.shared.options.scrub_bytes_per_second;
        if rate == 0 || Instant::now() < self.scrub_due {
            return Ok(());
        }
        let engine = &self.shared.engine;
        let segment = self.scrub_segment % engine.segment_count();
        self.scrub_segment = segment + 1;
        let bytes = engine.segment_cuts()[segment].length;
        self.scrub_due = Instant::now() + Duration::from_secs_f64(bytes as f64 / rate as f64);
        if let Err(fault) = engine.scrub(segment) {
            tracing::error!(%fault, "the scrubber found damage: restore from a backup before it is needed");
            return match fault {
                Fault::Corrupt { .. } => Ok(()),
                fault => Err(fault),
            };
        }
        Ok(())
    }
}

/// A full disk only puts work off.
fn allow_full<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(fault) if fault.is_transient() => Ok(None),
        Err(fault) => Err(fault),
    }
}
