//! `skink demo --single`: what durability means with one server.
//!
//! ```text
//! start -> load from many clients -> kill -9 -> start: first answer, check -> SIGTERM -> start: first answer, check
//!       -> SIGTERM -> verify -> everything acknowledged was there, or exit 1
//! ```

mod load;

use super::check::{Reads, check};
use super::ledger::{Ledger, VALUE_LEN};
use super::report::{ms, rate, say, step};
use super::server::{Place, Server};
use super::{DemoError, TIMEOUTS, client_keys, interrupted, is_not_ready, verify};
use crate::cli::DemoArguments;
use crate::client::{Client, Reply};
use crate::numbers::thousands;
use crate::verify::bytes;
use indicatif::{ProgressBar, ProgressStyle};
use load::Load;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Clients that write at the same time, each its own keys.
const CLIENTS: u32 = 16;
/// How long a server that answers that it is not ready yet is asked again.
const FIRST_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The demo's course.
pub fn play(arguments: &DemoArguments, folder: &Path, signal: &AtomicUsize) -> Result<(), DemoError> {
    say(&format!(
        "{} keys, values of {}, {CLIENTS} clients; data in {} until the end\n",
        thousands(u64::from(arguments.keys)),
        bytes(VALUE_LEN as u64),
        folder.display(),
    ));
    let started = Instant::now();
    let place = Place::new(folder, "data");
    let mut server = start_server(&place)?;
    Client::connect(server.address(), TIMEOUTS)?;
    step("new data directory", &format!("first answer after {}", ms(started.elapsed())));

    let mut ledgers = load_and_kill(arguments, &mut server, signal)?;

    let mut server = start_again(&place, &ledgers)?;
    check_all(&server, &mut ledgers, signal)?;
    stop(&mut server)?;
    let mut server = start_again(&place, &ledgers)?;
    check_all(&server, &mut ledgers, signal)?;
    stop(&mut server)?;
    verify("verify", &place.data)?;
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
            .map(|client| scope.spawn(move || shared.write(Ledger::new(client_keys(client, CLIENTS, arguments.keys)))))
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

/// Starts a server on what is there, and measures the time until it gives the right answer about a key.
fn start_again(place: &Place, ledgers: &[Ledger]) -> Result<Server, DemoError> {
    let started = Instant::now();
    let server = start_server(place)?;
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
    step("started again", &format!("first correct answer {} after the process was started", ms(elapsed)));
    Ok(server)
}

fn check_all(server: &Server, ledgers: &mut [Ledger], signal: &AtomicUsize) -> Result<(), DemoError> {
    let started = Instant::now();
    let checked = check(server.address(), ledgers, Reads::Linearizable, signal)?;
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

fn start_server(place: &Place) -> Result<Server, DemoError> {
    Ok(Server::start(place, &["--listen".to_string(), "127.0.0.1:0".to_string()])?)
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
