//! `skink serve`: a server on a data directory, until a signal stops it.
//!
//! ```text
//! settings -> start -> ready (a line on stdout) -> SIGINT or SIGTERM: a clean stop -> exit 0
//!                                               -> a second signal: exit at once, 128 + its number
//!                                               -> a fault: exit 3
//! ```
//!
//! Signals are taken by the signal-hook crate: it hands them to a thread as values, so that what is done about them
//! is ordinary code, which a handler's can't be; ctrlc can't tell the signals apart, and tokio's needs a
//! runtime here for nothing else.

use crate::cli::ServeArguments;
use crate::report;
use crate::settings::{Checked, LogLevel};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use skink_server::{StartError, Stopper, start};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// The settings are wrong; clap ends with the same where it finds that.
const EXIT_USAGE: u8 = 2;
/// The server stopped because it could not go on.
const EXIT_FAULT: u8 = 3;

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The system does not let signals be taken.
    #[error("can't take signals")]
    Signals(#[source] io::Error),
    /// The server does not start.
    #[error("the server does not start on {data}")]
    Start {
        /// The data directory.
        data: String,
        /// Why.
        source: StartError,
    },
}

/// Runs a server until it is stopped.
///
/// # Errors
/// It does not start. That the settings are wrong, or that it stopped because of a fault, is an exit code, reported here.
pub fn run(arguments: ServeArguments) -> Result<ExitCode, ServeError> {
    let Checked { config, log, warnings } = match arguments.settings.checked(arguments.config.as_deref()) {
        Ok(checked) => checked,
        Err(error) => {
            report::print(&error);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    log_to_stderr(log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Before the start, which can take its time: a signal during it ends it.
    let stop = StopOnSignal::install().map_err(ServeError::Signals)?;
    let data = config.data.display().to_string();
    let server = start(config).map_err(|source| ServeError::Start { data: data.clone(), source })?;
    stop.is_started(server.stopper());
    let (version, address) = (env!("CARGO_PKG_VERSION"), server.address());
    // Whoever closed stdout does not want to know.
    let _ = writeln!(io::stdout(), "skink {version} ready on {address} (data {data})");
    match server.wait() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(fault) => {
            report::print(&fault);
            Ok(ExitCode::from(EXIT_FAULT))
        }
    }
}

/// Logs in compact lines on stderr: as asked for, else by `RUST_LOG`, else at the level `info`.
pub fn log_to_stderr(level: Option<LogLevel>) {
    let filter = match level {
        Some(level) => EnvFilter::new(level.directive()),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let in_terminal = io::IsTerminal::is_terminal(&io::stderr());
    // It fails only where there is a subscriber already, which then goes on.
    let _ = tracing_subscriber::fmt()
        .compact()
        .with_ansi(in_terminal)
        .with_writer(io::stderr)
        .with_env_filter(filter)
        .try_init();
}

/// Asks the server to stop at the first signal, and ends the process at the second.
struct StopOnSignal {
    state: Arc<Mutex<StopState>>,
}

#[derive(Default)]
struct StopState {
    /// How to stop the server, once it has started.
    stopper: Option<Stopper>,
    /// Whether a signal has come.
    asked: bool,
}

impl StopOnSignal {
    fn install() -> io::Result<StopOnSignal> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let state = Arc::new(Mutex::new(StopState::default()));
        let shared = Arc::clone(&state);
        std::thread::Builder::new().name("signals".to_string()).spawn(move || {
            for signal in signals.forever() {
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if state.asked {
                    tracing::warn!(signal, "a second signal: exiting at once");
                    std::process::exit(128 + signal);
                }
                tracing::info!(signal, "stopping; a second signal exits at once");
                state.asked = true;
                match &state.stopper {
                    Some(stopper) => stopper.stop(),
                    // It may wait for other replicas for as long as they don't come. Nothing was accepted yet.
                    None => std::process::exit(0),
                }
            }
        })?;
        Ok(StopOnSignal { state })
    }

    /// From now on there is something to stop.
    fn is_started(&self, stopper: Stopper) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopper = Some(stopper);
    }
}
