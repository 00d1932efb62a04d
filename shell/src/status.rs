//! `skink status`: how the replicas of a cluster stand, once or again and again.
//!
//! ```text
//! addresses, in turn -> the first server that answers -> SHOW REPLICAS -> a table, or lines where there is no terminal
//! ```
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | every replica serves |
//! | 1 | one does not |
//! | 2 | the command line is wrong |
//! | 3 | no server answers |
//!
//! With `--watch` it is that of the last look.

mod view;

use crate::cli::StatusArguments;
use crate::client::{Client, Timeouts};
use crate::live::LiveArea;
use crate::recovery::{self, Recovery};
use crate::replicas::{self, ReplicaRow, ReplicasError};
use crate::report;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Somebody looks: a server that takes longer is passed over.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), silence: Duration::from_secs(2) };
/// How soon Ctrl-C is noticed.
const PATIENCE: Duration = Duration::from_millis(20);

/// No server answers.
const EXIT_UNREACHABLE: u8 = 3;

/// Why the status can't be shown.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The system does not let signals be taken.
    #[error("can't take signals")]
    Signals(#[source] io::Error),
    /// The output fails.
    #[error("can't write the status")]
    Output(#[source] io::Error),
}

/// What each server said that did not tell.
#[derive(Debug, Error)]
pub struct NobodyTells(Vec<ReplicasError>);

impl fmt::Display for NobodyTells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no server tells how the replicas stand")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// How the replicas stood at a look, and who said so.
#[derive(Debug)]
struct Look {
    address: String,
    replicas: Vec<ReplicaRow>,
    /// How that one comes back, while it does.
    recovery: Option<Recovery>,
}

impl Look {
    fn exit_code(&self) -> ExitCode {
        if self.replicas.iter().all(ReplicaRow::is_serving) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Shows how the replicas stand.
///
/// # Errors
/// The output fails. That replicas don't serve, or none answers, is an exit code.
pub fn run(arguments: &StatusArguments) -> Result<ExitCode, StatusError> {
    let mut servers = Servers { addresses: arguments.connect.clone(), connected: None };
    let outcome = if arguments.watch {
        watch(&mut servers, Duration::from_millis(u64::from(arguments.interval_ms)))
    } else {
        match servers.look() {
            Ok(look) => print(&view::table(&look)).map(|()| look.exit_code()),
            Err(error) => {
                report::print(&error);
                Ok(ExitCode::from(EXIT_UNREACHABLE))
            }
        }
    };
    match outcome {
        // Whoever reads it has seen enough.
        Err(StatusError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// Looks again and again, until a signal comes.
fn watch(servers: &mut Servers, interval: Duration) -> Result<ExitCode, StatusError> {
    let must_stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&must_stop)).map_err(StatusError::Signals)?;
    }
    let in_terminal = io::stdout().is_terminal();
    let mut area = LiveArea::new(io::stdout());
    loop {
        let looked = Instant::now();
        let (text, code) = match servers.look() {
            Ok(look) if in_terminal => (view::table(&look), look.exit_code()),
            Ok(look) => (view::lines(&look), look.exit_code()),
            Err(error) => (format!("{error}\n"), ExitCode::from(EXIT_UNREACHABLE)),
        };
        if in_terminal {
            area.paint(&text).map_err(StatusError::Output)?;
        } else {
            print(&text)?;
        }
        while looked.elapsed() < interval {
            if must_stop.load(Ordering::Relaxed) {
                return Ok(code);
            }
            std::thread::sleep(PATIENCE.min(interval));
        }
        if must_stop.load(Ordering::Relaxed) {
            return Ok(code);
        }
    }
}

fn print(text: &str) -> Result<(), StatusError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(StatusError::Output)
}

/// Servers that are asked in turn, until one answers.
struct Servers {
    addresses: Vec<String>,
    /// The one that answered last.
    connected: Option<(String, Client)>,
}

impl Servers {
    fn look(&mut self) -> Result<Look, NobodyTells> {
        // After an error it is connected to anew, and not asked first again.
        if let Some((address, mut client)) = self.connected.take()
            && let Ok(replicas) = replicas::ask(&mut client)
        {
            return Ok(self.looked(address, client, replicas));
        }
        let mut errors = Vec::new();
        for address in &self.addresses {
            let mut client = match Client::connect(address, TIMEOUTS) {
                Ok(client) => client,
                Err(error) => {
                    errors.push(error.into());
                    continue;
                }
            };
            match replicas::ask(&mut client) {
                Ok(replicas) => return Ok(self.looked(address.clone(), client, replicas)),
                Err(error) => errors.push(error),
            }
        }
        Err(NobodyTells(errors))
    }

    fn looked(&mut self, address: String, mut client: Client, replicas: Vec<ReplicaRow>) -> Look {
        let recovery = recovery::ask(&mut client);
        if recovery.is_ok() {
            self.connected = Some((address.clone(), client));
        }
        Look { address, replicas, recovery: recovery.ok().flatten().filter(Recovery::goes_on) }
    }
}
