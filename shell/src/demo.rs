//! `skink demo`: what durability means, in half a minute, with a server of its own.
//!
//! ```text
//! start -> load from many clients -> kill -9 -> start: first answer, check -> SIGTERM -> start: first answer, check
//!       -> SIGTERM -> verify -> everything acknowledged was there, or exit 1
//! ```
//!
//! The server is this program in another process, on a temporary folder and a free port: what the demo sees is what
//! any client sees. Both are gone when the demo ends, however it ends.

mod check;
mod ledger;
mod load;
mod server;

use crate::cli::DemoArguments;
use crate::client::{Client, ClientError, Reply, Timeouts};
use crate::verify::bytes;
use check::check;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{Ledger, VALUE_LEN};
use load::Load;
use server::{Server, ServerError};
use signal_hook::consts::{SIGINT, SIGTERM};
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Clients that write at the same time, each its own keys.
const CLIENTS: u32 = 16;
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), silence: Duration::from_secs(30) };
/// How long a server that answers that it is not ready yet is asked again.
const FIRST_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Why the demo failed.
#[derive(Debug, Error)]
pub enum DemoError {
    /// There is no place for the data.
    #[error("can't make a temporary folder")]
    Folder(#[source] io::Error),
    /// The system does not let signals be taken.
    #[error("can't take signals")]
    Signals(#[source] io::Error),
    /// The server process fails.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A client's connection fails while the server should be up.
    #[error("a client failed while the server should have been up")]
    Client(#[from] ClientError),
    /// The server answers something else than it should.
    #[error("the server answered {request} with {reply}")]
    Unexpected {
        /// What was asked.
        request: &'static str,
        /// What it said.
        reply: String,
    },
    /// A thread of the demo's panicked, which is a bug.
    #[error("a client's thread panicked")]
    Panicked,
    /// Nothing was acknowledged before the kill.
    #[error("not one write was acknowledged; there is nothing to check")]
    NothingWritten,
    /// What was acknowledged is not there.
    #[error("LOST: of {checked} keys, {count} do not hold what was acknowledged, for example: {examples}")]
    Lost {
        /// How many keys were looked at.
        checked: usize,
        /// How many are wrong.
        count: usize,
        /// Some of them.
        examples: String,
    },
    /// The data directory can't be verified.
    #[error("can't verify the data directory")]
    Verify(#[source] Fault),
    /// The data directory is damaged.
    #[error("the data directory is damaged in {0} places, for example")]
    Damaged(usize, #[source] Fault),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
    /// One of the above, with what the server logged; its log goes with the folder.
    #[error("the demo failed; the server's log ends with:\n{log}")]
    Failed {
        /// The end of the log.
        log: String,
        /// What failed.
        source: Box<DemoError>,
    },
}

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
    match play(arguments, folder.path(), &signal) {
        Err(error) => match u8::try_from(signal.load(Ordering::Relaxed)) {
            // A signal from the terminal goes to the server, too: its end is no failure then.
            Ok(number) if number > 0 => Ok(ExitCode::from(128 + number)),
            _ => Err(DemoError::Failed { log: Server::log_end(folder.path()), source: Box::new(error) }),
        },
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// The demo's course.
fn play(arguments: &DemoArguments, folder: &Path, signal: &AtomicUsize) -> Result<(), DemoError> {
    say(&format!(
        "{} keys, values of {}, {CLIENTS} clients; data in {} until the end\n",
        thousands(u64::from(arguments.keys)),
        bytes(VALUE_LEN as u64),
        folder.display(),
    ));
    let started = Instant::now();
    let mut server = Server::start(folder)?;
    Client::connect(server.address(), TIMEOUTS)?;
    step("new data directory", &format!("first answer after {}", ms(started.elapsed())));

    let mut ledgers = load_and_kill(arguments, &mut server, signal)?;

    let mut server = start_again("started again", folder, &ledgers)?;
    check_all(&server, &mut ledgers, signal)?;
    stop(&mut server)?;
    let mut server = start_again("started again", folder, &ledgers)?;
    check_all(&server, &mut ledgers, signal)?;
    stop(&mut server)?;
    verify(&Server::data(folder))?;
    say("\nEverything that was acknowledged was there.");
    Ok(())
}

/// Writes from all clients, kills the server under that load, and returns what each client knows.
fn load_and_kill(
    arguments: &DemoArguments,
    server: &mut Server,
    signal: &AtomicUsize,
) -> Result<Vec<Ledger>, DemoError> {
    let load = Load::new(server.address().to_string());
    let seconds = Duration::from_secs(u64::from(arguments.seconds));
    let (ledgers, elapsed) = std::thread::scope(|scope| {
        // However this scope is left, its threads end.
        let _end = load.end_on_drop();
        let shared = &load;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || shared.write(Ledger::new(client_keys(client, arguments.keys)))))
            .collect();
        let bar = progress_bar();
        let started = Instant::now();
        while started.elapsed() < seconds && !clients.iter().any(|client| client.is_finished()) {
            interrupted(signal)?;
            bar.set_message(rate(load.acknowledged(), started.elapsed()));
            bar.tick();
            std::thread::sleep(Duration::from_millis(100));
        }
        bar.finish_and_clear();
        load.expect_the_end();
        let elapsed = started.elapsed();
        server.kill()?;
        let ledgers: Result<Vec<Ledger>, DemoError> =
            clients.into_iter().map(|client| client.join().map_err(|_| DemoError::Panicked)?).collect();
        Ok::<_, DemoError>((ledgers?, elapsed))
    })?;
    interrupted(signal)?;
    step("load", &format!("{} in {:.1} s", rate(load.acknowledged(), elapsed), elapsed.as_secs_f64()));
    let in_flight: usize = ledgers.iter().map(Ledger::in_flight).sum();
    step("kill -9 under load", &format!("with {in_flight} writes in flight"));
    if load.acknowledged() == 0 {
        return Err(DemoError::NothingWritten);
    }
    Ok(ledgers)
}

fn client_keys(client: u32, keys: u32) -> std::iter::StepBy<std::ops::Range<u32>> {
    (client..keys).step_by(CLIENTS as usize)
}

/// Starts a server on what is there, and measures the time until it gives the right answer about a key.
fn start_again(name: &str, folder: &Path, ledgers: &[Ledger]) -> Result<Server, DemoError> {
    let started = Instant::now();
    let server = Server::start(folder)?;
    let mut client = Client::connect(server.address(), TIMEOUTS)?;
    let Some((ledger, index)) = ledgers.iter().find_map(|ledger| Some((ledger, ledger.an_acknowledged_key()?))) else {
        return Err(DemoError::NothingWritten);
    };
    let key = ledger.key_name(index);
    let value = loop {
        match client.request(&[b"GET", key.as_bytes()])? {
            Reply::Bulk(value) => break Some(value),
            Reply::Null => break None,
            Reply::Error(error) if is_not_ready(&error) && started.elapsed() < FIRST_ANSWER_DEADLINE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            reply => return Err(DemoError::Unexpected { request: "GET", reply: format!("{reply:?}") }),
        }
    };
    let elapsed = started.elapsed();
    ledger.judge(index, value.as_deref()).map_err(|loss| DemoError::Lost {
        checked: 1,
        count: 1,
        examples: loss.to_string(),
    })?;
    step(name, &format!("first correct answer {} after the process was started", ms(elapsed)));
    Ok(server)
}

/// Whether the error says that the server will answer a little later.
fn is_not_ready(error: &str) -> bool {
    ["LOADING", "TRYAGAIN"].iter().any(|code| error.starts_with(code))
}

fn check_all(server: &Server, ledgers: &mut [Ledger], signal: &AtomicUsize) -> Result<(), DemoError> {
    let started = Instant::now();
    let checked = check(server.address(), ledgers, signal)?;
    let unanswered = match checked.unanswered_but_done {
        0 => String::new(),
        count => format!("; {count} more had happened without their answer arriving"),
    };
    let elapsed = ms(started.elapsed());
    step("read back", &format!("{} keys in {elapsed}: nothing is lost{unanswered}", thousands(checked.keys as u64)));
    Ok(())
}

fn stop(server: &mut Server) -> Result<(), DemoError> {
    let started = Instant::now();
    server.stop()?;
    step("clean stop (SIGTERM)", &format!("after {}", ms(started.elapsed())));
    Ok(())
}

fn verify(data: &Path) -> Result<(), DemoError> {
    let mut found = skink_engine::verify::verify(&Environment::real(), data).map_err(DemoError::Verify)?;
    if !found.damage.is_empty() {
        return Err(DemoError::Damaged(found.damage.len(), found.damage.swap_remove(0)));
    }
    let (files, frames) = (found.segment_files, found.log_frames);
    let read = bytes(found.segment_bytes);
    step("verify", &format!("clean: {files} segment files ({read}), {frames} frames in the log"));
    Ok(())
}

fn interrupted(signal: &AtomicUsize) -> Result<(), DemoError> {
    if signal.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(DemoError::Interrupted) }
}

/// Shown in a terminal only.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // A template that is wrong leaves the default one.
    if let Ok(style) = ProgressStyle::with_template("  {spinner} load                   {msg}") {
        bar.set_style(style);
    }
    bar
}

fn step(name: &str, what: &str) {
    say(&format!("  {name:<24} {what}"));
}

/// Prints a line; whoever closed stdout still gets the exit code.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn rate(writes: u64, elapsed: Duration) -> String {
    let per_second = (writes as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    format!("{} writes acknowledged, {} a second", thousands(writes), thousands(per_second))
}

fn ms(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1_000.0)
}

/// A number with its digits in groups.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{client_keys, is_not_ready, thousands};

    #[test]
    fn every_key_has_one_client() {
        let mut keys: Vec<u32> = (0..super::CLIENTS).flat_map(|client| client_keys(client, 100)).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [thousands(0), thousands(999), thousands(1_000), thousands(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn a_server_that_recovers_is_waited_for() {
        assert!(is_not_ready("TRYAGAIN the key is being recovered"));
        assert!(!is_not_ready("ERR unknown command"));
    }
}
