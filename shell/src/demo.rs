//! `skink demo`: what is promised, in half a minute, with servers of its own.
//!
//! ```text
//! three replicas (demo/cluster.rs), or one server with --single (demo/single.rs)
//!   load from many clients -> kill -9 -> start again: first correct answer, caught up -> every acknowledged write is there, or exit 1
//! ```
//!
//! The servers are this program in other processes, on a temporary folder and free ports: what the demo sees is what
//! any client sees. All of it is gone when the demo ends, however it ends.

mod check;
mod cluster;
mod error;
mod ledger;
mod report;
mod server;
mod single;

pub use error::DemoError;

use crate::cli::DemoArguments;
use crate::client::Timeouts;
use crate::verify::bytes;
use report::step;
use signal_hook::consts::{SIGINT, SIGTERM};
use skink_engine::env::Environment;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), silence: Duration::from_secs(30) };

/// Runs the demo.
///
/// # Errors
/// Something acknowledged is lost, or the demo can't be run.
pub fn run(arguments: &DemoArguments) -> Result<ExitCode, DemoError> {
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM] {
        let value = usize::try_from(number).unwrap_or_default();
        signal_hook::flag::register_usize(number, Arc::clone(&signal), value).map_err(DemoError::Signals)?;
    }
    let folder = tempfile::Builder::new().prefix("skink-demo-").tempdir().map_err(DemoError::Folder)?;
    let played = if arguments.single {
        single::play(arguments, folder.path(), &signal)
    } else {
        cluster::play(arguments, folder.path(), &signal)
    };
    match played {
        Err(error) => match u8::try_from(signal.load(Ordering::Relaxed)) {
            // A signal from the terminal goes to the servers, too: their end is no failure then.
            Ok(number) if number > 0 => Ok(ExitCode::from(128 + number)),
            _ => Err(DemoError::Failed { log: server::log_ends(folder.path()), source: Box::new(error) }),
        },
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// The keys of one of so many clients: each key has one client.
fn client_keys(client: u32, clients: u32, keys: u32) -> std::iter::StepBy<std::ops::Range<u32>> {
    (client..keys).step_by(clients as usize)
}

/// Whether the error says that the server will answer a little later.
fn is_not_ready(error: &str) -> bool {
    ["LOADING", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|code| error.starts_with(code))
}

fn verify(name: &str, data: &Path) -> Result<(), DemoError> {
    let mut found = skink_engine::verify::verify(&Environment::real(), data).map_err(DemoError::Verify)?;
    if !found.damage.is_empty() {
        return Err(DemoError::Damaged(found.damage.len(), found.damage.swap_remove(0)));
    }
    let (files, frames) = (found.segment_files, found.log_frames);
    let read = bytes(found.segment_bytes);
    step(name, &format!("clean: {files} segment files ({read}), {frames} frames in the log"));
    Ok(())
}

fn interrupted(signal: &AtomicUsize) -> Result<(), DemoError> {
    if signal.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(DemoError::Interrupted) }
}

#[cfg(test)]
mod tests {
    use super::{client_keys, is_not_ready};

    #[test]
    fn every_key_has_one_client() {
        let mut keys: Vec<u32> = (0..16).flat_map(|client| client_keys(client, 16, 100)).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn a_server_that_recovers_is_waited_for() {
        assert!(is_not_ready("TRYAGAIN the key is being recovered"));
        assert!(is_not_ready("CLUSTERDOWN no majority"));
        assert!(!is_not_ready("ERR unknown command"));
    }
}
