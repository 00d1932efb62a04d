//! The thread that makes the log's next file ready.
//!
//! It has a thread of its own because a log under load takes a file a second, while a checkpoint or a compaction may
//! keep the background thread for longer; writes to a file that is not ready wait for the file system as well.

use crate::replica::{Phase, Shared, spawn};
use skink_engine::error::Fault;
use skink_engine::position::LogPosition;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long it waits to be told of a new file; on a full disk, until it tries again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at whether the log is replayed.
const REPLAY_STEP: Duration = Duration::from_millis(20);

/// Tells it that the log has moved on, and waits for its end.
pub(crate) struct LogPreparation {
    thread: JoinHandle<Result<(), Fault>>,
}

impl LogPreparation {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<LogPreparation, Fault> {
        let thread = spawn("skink-log-files", move || {
            let result = run(&shared);
            if let Err(fault) = &result {
                tracing::error!(%fault, "the log's next file can't be made");
                shared.must_stop.store(true, Ordering::Release);
                shared.wake_up();
            }
            result
        })?;
        Ok(LogPreparation { thread })
    }

    /// The log has reached another file, or everything ends.
    pub(crate) fn wake(&self) {
        self.thread.thread().unpark();
    }

    /// Waits for its end, which `must_stop` brings about.
    pub(crate) fn join(self) -> Result<(), Fault> {
        self.wake();
        self.thread.join().unwrap_or_else(|_| {
            Err(Fault::Refused("a broken invariant stopped the thread that makes log files".into()))
        })
    }
}

fn run(shared: &Shared) -> Result<(), Fault> {
    while !shared.must_stop.load(Ordering::Acquire) {
        // What is free before the log is replayed is the room that the replay needs.
        if shared.phase() == Phase::Replaying {
            std::thread::park_timeout(REPLAY_STEP);
            continue;
        }
        let next = LogPosition::new(shared.next_log_file.load(Ordering::Acquire));
        let engine = &shared.engine;
        match engine.check_room_for_log_file().and_then(|()| engine.log_files().prepare(next)) {
            // A disk that is nearly full only puts it off: the writer makes its file itself, or refuses what does not
            // fit. Made here, it would take the room of writes that were accepted and still have to be executed.
            Err(fault) if !fault.is_transient() => return Err(fault),
            _ => {}
        }
        std::thread::park_timeout(PATIENCE);
    }
    Ok(())
}
