//! A test that hangs fails with a message in place of waiting for somebody to notice.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Processes that this test started and that still run.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Adds a process that must not outlive the test.
pub(crate) fn adopt(child: Pid) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// A process has ended and was waited for.
pub(crate) fn forget(child: Pid) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != child);
}

/// Ends the process, and the servers that it started, unless it is dropped in time.
#[must_use]
pub struct Watchdog {
    _disarm: Sender<()>,
}

impl Watchdog {
    /// Watches the test of this name for so many minutes: many times what it should take on a busy machine.
    pub fn minutes(minutes: u64, test: &'static str) -> Watchdog {
        let (disarm, disarmed) = channel();
        std::thread::spawn(move || {
            if disarmed.recv_timeout(Duration::from_secs(60 * minutes)) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs: it has not ended in {minutes} minutes");
                for child in CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    let _ = kill_process(*child, Signal::KILL);
                }
                std::process::exit(101);
            }
        });
        Watchdog { _disarm: disarm }
    }
}
