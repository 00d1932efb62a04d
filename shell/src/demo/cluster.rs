//! `skink demo`: three replicas on this machine, of which one and then another is killed under load.
//!
//! ```text
//! start three -> load -> kill -9 of the leader, load goes on -> start it again: first correct answer, caught up
//!                     -> kill -9 of a follower, load goes on -> start it again: first correct answer, caught up
//!  -> the load ends -> every key at every replica: linearizable, and from its own state -> SIGTERM -> verify
//! ```

mod load;
mod members;
mod pace;
mod round;
mod screen;
mod watch;

use super::check::{Reads, check};
use super::ledger::{Ledger, VALUE_LEN};
use super::report::{ms, rate, say, step};
use super::{DemoError, client_keys, interrupted, verify};
use crate::cli::DemoArguments;
use crate::numbers::thousands;
use crate::verify::bytes;
use load::Load;
use members::{MEMBERS, Members};
use round::{Victim, patiently, until};
use screen::Screen;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that write at the same time, each its own keys, a third of them at each replica.
const CLIENTS: u32 = 24;
/// How long the replicas may take until they have a leader, or until all of them have executed everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The demo's course.
pub fn play(arguments: &DemoArguments, folder: &Path, signal: &AtomicUsize) -> Result<(), DemoError> {
    say(&format!(
        "{MEMBERS} replicas, {} keys, values of {}, {CLIENTS} clients; data in {} until the end\n",
        thousands(u64::from(arguments.keys)),
        bytes(VALUE_LEN as u64),
        folder.display(),
    ));
    let started = Instant::now();
    let mut members = Members::start(folder)?;
    patiently("the replicas have no leader", PATIENCE, signal, || {
        let replicas = members.ask()?;
        Ok(replicas.iter().any(|replica| replica.is_leader()) && replicas.iter().all(|replica| replica.is_serving()))
    })?;
    step("three new replicas", &format!("all of them serve after {}", ms(started.elapsed())));
    let mut ledgers = load_and_kill(arguments, &mut members, signal)?;
    check_all(&members, &mut ledgers, signal)?;
    let started = Instant::now();
    members.stop()?;
    step("clean stop (SIGTERM)", &format!("of all three after {}", ms(started.elapsed())));
    for member in 0..MEMBERS {
        verify(&format!("verify replica {}", member + 1), members.data(member))?;
    }
    say("\nEverything that was acknowledged was there, at every replica.");
    Ok(())
}

/// Writes from all clients, kills two replicas in turn meanwhile, and returns what each client knows.
fn load_and_kill(
    arguments: &DemoArguments,
    members: &mut Members,
    signal: &AtomicUsize,
) -> Result<Vec<Ledger>, DemoError> {
    let load = Load::new(members.addresses());
    let screen = Screen::new();
    let ledgers = std::thread::scope(|scope| {
        // However this scope is left, its threads end.
        let _end = load.end_on_drop();
        let (shared, shown) = (&load, &screen);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let ledger = Ledger::new(client_keys(client, CLIENTS, arguments.keys));
                scope.spawn(move || shared.write(client as usize % MEMBERS, ledger))
            })
            .collect();
        scope.spawn(move || watch::watch(shared, shown));
        let seconds = Duration::from_secs(u64::from(arguments.seconds));
        let is_failed = || clients.iter().any(|client| client.is_finished());
        let rounds = (|| {
            for victim in [Victim::Leader, Victim::Follower] {
                until(seconds, signal, &is_failed)?;
                round::play(victim, members, &load, &screen, signal, &is_failed)?;
            }
            until(seconds / 2, signal, &is_failed)
        })();
        load.finish();
        if rounds.is_err() {
            load.abort();
        }
        let ledgers: Result<Vec<Ledger>, DemoError> =
            clients.into_iter().map(|client| client.join().map_err(|_| DemoError::Panicked)?).collect();
        // What a client says is why the rounds failed, if they did.
        let ledgers = ledgers?;
        rounds.map(|()| ledgers)
    })?;
    interrupted(signal)?;
    if load.acknowledged() == 0 {
        return Err(DemoError::NothingWritten);
    }
    step("load, all in all", &rate(load.acknowledged(), load.elapsed()));
    let retried = load.pace.retried.load(Ordering::Relaxed);
    step("", &format!("{} writes had to be tried again at another replica", thousands(retried)));
    Ok(ledgers)
}

/// Reads every key at every replica: as any client, and, once all is executed everywhere, from its own state.
fn check_all(members: &Members, ledgers: &mut [Ledger], signal: &AtomicUsize) -> Result<(), DemoError> {
    let started = Instant::now();
    let mut keys = 0;
    for address in members.addresses() {
        keys += check(&address, ledgers, Reads::Linearizable, signal)?.keys;
    }
    let elapsed = ms(started.elapsed());
    step("read back", &format!("{} values from all three in {elapsed}: nothing is lost", thousands(keys as u64)));
    let decided = members.ask()?.iter().map(|replica| replica.decided).max().unwrap_or_default();
    patiently("a replica has not executed what is decided", PATIENCE, signal, || {
        Ok(members.ask()?.iter().all(|replica| replica.executed >= decided))
    })?;
    for address in members.addresses() {
        check(&address, ledgers, Reads::Stale, signal)?;
    }
    step("read back by itself", "each replica holds all of it in its own state, too");
    Ok(())
}
