//! `skink shell`: statements and commands of Redis, typed, piped, or from the command line.
//!
//! ```text
//! text (editor, stdin, -c) -> Splitter -> Unit -> Session -> request -> reply -> View -> stdout
//! ```
//!
//! What does not come from a terminal stops at the first error: what follows may rely on what failed.

mod complete;
mod dot;
mod interactive;
mod render;
mod session;
mod split;

pub use render::harmless;

use crate::cli::ShellArguments;
use crate::client::{Client, ClientError, Timeouts};
use crate::report;
use crate::serve;
use crate::settings::LogLevel;
use render::Mode;
use session::{Outcome, Session, Settings};
use skink_engine::error::Fault;
use skink_server::{RunningServer, ServerConfig, StartError, start};
use split::Splitter;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use thiserror::Error;

/// Most text that is held while its end is waited for; more than a server takes in a request.
const MAX_HELD_LEN: usize = 64 << 20;

/// Why the shell can't go on.
#[derive(Debug, Error)]
pub enum ShellError {
    /// The server can't be talked to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server of this shell does not start.
    #[error("the server does not start on {data}")]
    Start {
        /// The data directory.
        data: String,
        /// Why.
        source: StartError,
    },
    /// The server of this shell failed.
    #[error("the server stopped because of a fault")]
    Fault(#[source] Fault),
    /// The text can't be read.
    #[error("can't read the statements")]
    Input(#[source] io::Error),
    /// A statement never ends.
    #[error("a statement has no end within {} MiB", MAX_HELD_LEN >> 20)]
    Endless,
    /// Results can't be written.
    #[error("can't write the results")]
    Output(#[source] io::Error),
    /// The terminal fails.
    #[error("the terminal's editor failed")]
    Editor(#[source] rustyline::error::ReadlineError),
}

/// Runs the shell.
///
/// # Errors
/// It can't talk to the server, to the terminal or to the files that it is to read and write.
pub fn run(arguments: &ShellArguments) -> Result<ExitCode, ShellError> {
    let Some(data) = &arguments.data else {
        return converse(arguments, arguments.connect.clone(), "");
    };
    let config = ServerConfig::new(data.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    // Between a person's statements, only what that person should know.
    serve::log_to_stderr(std::env::var_os("RUST_LOG").is_none().then_some(LogLevel::Warn));
    let server = start(config).map_err(|source| ShellError::Start { data: data.display().to_string(), source })?;
    let outcome = converse(arguments, server.address().to_string(), "a server of its own on ");
    stop(server)?;
    outcome
}

fn stop(server: RunningServer) -> Result<(), ShellError> {
    server.stopper().stop();
    server.wait().map_err(ShellError::Fault)
}

fn converse(arguments: &ShellArguments, address: String, whose: &str) -> Result<ExitCode, ShellError> {
    let client = Client::connect(&address, Timeouts::default())?;
    let mut out = io::stdout();
    let in_terminal = out.is_terminal();
    let interactive = arguments.text.is_none() && io::stdin().is_terminal();
    let settings =
        Settings { mode: Mode::Table, timing: interactive, fit_terminal: in_terminal && arguments.text.is_none() };
    let mut session = Session::new(address, client, settings);
    let outcome = match &arguments.text {
        Some(text) => run_text(&mut session, &mut text.as_bytes(), &mut out),
        None if interactive => interactive::run(&mut session, whose, &mut out),
        None => run_text(&mut session, &mut io::stdin().lock(), &mut out),
    };
    match outcome {
        // Whoever reads the results has seen enough.
        Err(ShellError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// Runs all of a text, up to the first error.
fn run_text(session: &mut Session, text: &mut dyn Read, out: &mut dyn io::Write) -> Result<ExitCode, ShellError> {
    let mut splitter = Splitter::default();
    let mut piece = vec![0; 64 << 10];
    loop {
        let len = match text.read(&mut piece) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(ShellError::Input(error)),
        };
        splitter.push(piece.get(..len).unwrap_or_default());
        let mut next = splitter.next_unit();
        if len == 0 && next.is_none() {
            next = splitter.finish();
        }
        while let Some(unit) = next {
            match session.run(&unit, out) {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Failed) => return Ok(ExitCode::FAILURE),
                Ok(Outcome::Quit) => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(error),
            }
            next = splitter.next_unit();
        }
        if len == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if splitter.held() > MAX_HELD_LEN {
            return Err(ShellError::Endless);
        }
    }
}

/// Prints what a failed request of a terminal's means; the next one connects anew.
fn print_error(error: &ClientError) {
    report::print(error);
}
