//! `skink serve`: a server on a data directory, until a signal stops it.
//!
//! ```text
//! start -> ready (a line on stdout) -> SIGINT or SIGTERM: a clean stop -> exit 0
//!                                   -> a second signal: exit at once, 128 + its number
//!                                   -> a fault: exit 3
//! ```
//!
//! Signals are taken by the signal-hook crate: it hands them to a thread as values, so that what is done about them
//! is ordinary code, which a handler's can't be; ctrlc can't tell the signals apart, and tokio's needs a
//! runtime here for nothing else.

use crate::cli::{LogLevel, ServeArguments};
use crate::report;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use skink_server::{ServerConfig, StartError, Stopper, start};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

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
/// It does not start. That it stopped because of a fault is an exit code, reported here.
pub fn run(arguments: &ServeArguments) -> Result<ExitCode, ServeError> {
    log_to_stderr(arguments.log);
    // Before the start, which can take its time, so that a signal during it counts.
    let stop = StopOnSignal::install().map_err(ServeError::Signals)?;
    let server = start(config(arguments))
        .map_err(|source| ServeError::Start { data: arguments.data.display().to_string(), source })?;
    stop.is_started(server.stopper());
    let (version, address, data) = (env!("CARGO_PKG_VERSION"), server.address(), arguments.data.display());
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

/// The server's configuration; what was not given stays at its default.
pub fn config(arguments: &ServeArguments) -> ServerConfig {
    let mut config = ServerConfig::new(arguments.data.clone(), arguments.listen);
    if let Some(segments) = arguments.segments {
        config.engine.segments = segments;
    }
    if let Some(mb) = arguments.log_file_mb {
        config.engine.log_file_len = u64::from(mb) << 20;
    }
    if let Some(mb) = arguments.max_value_mb {
        config.engine.max_value_len = mb << 20;
    }
    if let Some(mb) = arguments.checkpoint_log_mb {
        config.replica.checkpoint_log_bytes = u64::from(mb) << 20;
    }
    if let Some(seconds) = arguments.checkpoint_seconds {
        config.replica.checkpoint_interval = Duration::from_secs(u64::from(seconds));
    }
    if let Some(threads) = arguments.io_threads {
        config.io_threads = usize::from(threads);
    }
    config
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
                if let Some(stopper) = &state.stopper {
                    stopper.stop();
                }
            }
        })?;
        Ok(StopOnSignal { state })
    }

    /// From now on there is something to stop.
    fn is_started(&self, stopper: Stopper) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked {
            stopper.stop();
        }
        state.stopper = Some(stopper);
    }
}
