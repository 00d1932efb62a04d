//! One round: a replica is killed under load, stays dead for a while, is started again, and catches up.
//!
//! Its first correct answer is one that can't be right by chance: a read of a key that was written while it was dead.

use super::load::Load;
use super::members::{MEMBERS, Members, TIMEOUTS};
use super::pace::Pauses;
use super::screen::Screen;
use crate::client::{Client, Reply};
use crate::demo::report::ms;
use crate::demo::{self, DemoError, interrupted, is_not_ready};
use crate::numbers::thousands;
use crate::recovery;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// How long a replica stays dead.
const DEAD: Duration = Duration::from_secs(3);
/// How long a replica may take until it answers, or has caught up; and the others, until they have a leader.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at something that is waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// A key that no client of the load writes.
const PROBE: &[u8] = b"demo:probe";

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The replica that leads.
    Leader,
    /// One that does not.
    Follower,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Victim::Leader => "the leader",
            Victim::Follower => "a follower",
        })
    }
}

/// Plays a round.
///
/// # Errors
/// Something is wrong with what a replica answers, or does not come.
pub fn play(
    victim: Victim,
    members: &mut Members,
    load: &Load,
    screen: &Screen,
    signal: &AtomicUsize,
    is_failed: &dyn Fn() -> bool,
) -> Result<(), DemoError> {
    let (killed, decided_before) = choose(victim, members, signal)?;
    let number = killed + 1;
    let Pauses { of_all, .. } = load.pace.pauses();
    screen.step("load", &format!("no pause of all writes was longer than {}", ms(of_all)));
    load.set_dead(killed);
    members.kill(killed)?;
    screen.step(&format!("kill -9 of {victim}"), &format!("replica {number}; the load goes on"));
    until(DEAD, signal, is_failed)?;
    let Pauses { of_all, of_a_client } = load.pace.pauses();
    let stopped = format!("writes stopped for {}, and no client waited longer than {}", ms(of_all), ms(of_a_client));
    screen.step("without it", &stopped);

    let written = format!("while replica {number} was dead, at {:?}", load.elapsed());
    write_probe(load, (killed + 1) % MEMBERS, written.as_bytes(), signal)?;
    let decided = members.ask()?.iter().map(|replica| replica.decided).max().unwrap_or_default();
    let started = Instant::now();
    load.set_alive(killed);
    members.start_again(killed)?;
    read_probe(load, killed, &written, signal)?;
    let answer = format!("first correct answer {} after the process was started", ms(started.elapsed()));
    screen.step("started again", &answer);
    load.set_up(killed);
    patiently("the replica has not caught up", PATIENCE, signal, || {
        let replicas = members.ask()?;
        let own = replicas.iter().find(|replica| replica.replica == number as u64);
        Ok(is_failed() || own.is_some_and(|own| own.is_serving() && own.executed >= decided))
    })?;
    let missed = thousands(decided.saturating_sub(decided_before));
    screen.step(
        "caught up",
        &format!("{} after its start, with {missed} batches that it had missed", ms(started.elapsed())),
    );
    if let Some(recovery) = recovery::ask(&mut Client::connect(load.address(killed), TIMEOUTS)?)? {
        screen.step("", &recovery.summary());
    }
    let Pauses { of_all, of_a_client } = load.pace.pauses();
    let stopped =
        format!("writes paused for {} at most, and no client waited longer than {}", ms(of_all), ms(of_a_client));
    screen.step("", &stopped);
    Ok(())
}

/// The replica that is to be killed, and the last instance that it knows to be decided.
fn choose(victim: Victim, members: &Members, signal: &AtomicUsize) -> Result<(usize, u64), DemoError> {
    let mut chosen = None;
    patiently("the replicas have no leader", PATIENCE, signal, || {
        let replicas = members.ask()?;
        let leader = replicas.iter().position(|replica| replica.is_leader());
        let follower = leader.map(|leader| (leader + 1) % MEMBERS);
        let member = if victim == Victim::Leader { leader } else { follower };
        chosen = member.and_then(|member| Some((member, replicas.get(member)?.decided)));
        Ok(chosen.is_some())
    })?;
    chosen.ok_or(DemoError::Panicked)
}

/// Writes the probe at a replica that is up.
fn write_probe(load: &Load, member: usize, value: &[u8], signal: &AtomicUsize) -> Result<(), DemoError> {
    patiently("the probe was not acknowledged", PATIENCE, signal, || {
        let mut client = Client::connect(load.address(member), TIMEOUTS)?;
        match client.request(&[b"SET", PROBE, value])? {
            Reply::Status(status) if status == "OK" => Ok(true),
            // The same value again: it does not matter which of them happened.
            Reply::Error(error) if is_not_ready(&error) => Ok(false),
            reply => Err(DemoError::Unexpected { request: "SET", reply: format!("{reply:?}") }),
        }
    })
}

/// Reads the probe at a replica that was just started; anything but what was written last is wrong.
fn read_probe(load: &Load, member: usize, written: &str, signal: &AtomicUsize) -> Result<(), DemoError> {
    let mut client = Client::connect(load.address(member), demo::TIMEOUTS)?;
    patiently("the replica has not answered", PATIENCE, signal, || match client.request(&[b"GET", PROBE])? {
        Reply::Bulk(value) if value == written.as_bytes() => Ok(true),
        Reply::Error(error) if is_not_ready(&error) => Ok(false),
        Reply::Error(error) => Err(DemoError::Unexpected { request: "GET", reply: error }),
        reply => Err(DemoError::Stale {
            replica: member as u64 + 1,
            found: format!("{reply:?}"),
            acknowledged: written.to_string(),
        }),
    })
}

/// Looks again and again until it is so.
///
/// # Errors
/// It does not get so, or looking fails.
pub fn patiently(
    otherwise: &str,
    patience: Duration,
    signal: &AtomicUsize,
    mut is_so: impl FnMut() -> Result<bool, DemoError>,
) -> Result<(), DemoError> {
    let began = Instant::now();
    while began.elapsed() < patience {
        interrupted(signal)?;
        if is_so()? {
            return Ok(());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Err(DemoError::TooLate { what: otherwise.to_string(), seconds: patience.as_secs() })
}

/// Lets the load go on for a while.
///
/// # Errors
/// A client has failed, which its thread tells better, or a signal came.
pub fn until(duration: Duration, signal: &AtomicUsize, is_failed: &dyn Fn() -> bool) -> Result<(), DemoError> {
    let began = Instant::now();
    while began.elapsed() < duration {
        interrupted(signal)?;
        if is_failed() {
            return Err(DemoError::Panicked);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
