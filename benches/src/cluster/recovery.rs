//! A replica is killed, misses commands, and comes back under load: when it answers, and how it answers until it is up to
//! date. The setting is that of the paper's section VI: updates in batches of 50, a checkpoint before, a load that is a
//! share of the peak.
//!
//! ```text
//!  peak ──► paced load at the others ──► own clients ──► kill -9 ──► so many commands ──► its process starts
//!       ──► first answers ──► own clients again ──► up to date ──► a while more
//! ```
//!
//! The load's updates are the paper's old commands while the replica is away, and come from the other replicas after that.
//! What the replica's own clients ask are its new ones; they touch keys of the load with a probability, the dependency.

mod clients;
mod progress;

pub use clients::Own;
pub use progress::Step;

use super::{Cluster, ClusterError, resilient};
use crate::load::{Keys, Load};
use crate::report::Measurement;
use crate::resp::{Client, Reply};
use crate::workload::{Pick, Workload};
use clients::{Answers, OwnClients};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Commands of a client that are under way together, as in the paper's batches.
const PIPELINE: usize = 50;
/// Bound of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(180);
/// An answer within this is as good as any.
const PROMPT: Duration = Duration::from_millis(10);
/// A key that is written while the replica is away, and one that no old command touches.
const MISSED_KEY: &[u8] = b"missed";
const FRESH_KEY: &[u8] = b"fresh";

/// Metric: when its process answers `PING`.
pub const PING: &str = "process answers PING";
/// Metric: when it answers a command that depends on nothing old.
pub const FIRST_NEW: &str = "first new command answered (a write of another key)";
/// Metric: when it has executed, or was handed, all that it had missed.
pub const UP_TO_DATE: &str = "last old command (up to date)";

/// What the replica misses, and under which load.
#[derive(Debug, Clone, Copy)]
pub struct Absence {
    /// Commands.
    pub missing: u64,
    /// Connections of the load at the other replicas.
    pub connections: usize,
    /// The load's rate, as a share of the peak; 1 for no pace at all.
    pub share: f64,
    /// Probability that a command of the replica's own clients touches a key that the load touches.
    pub dependency: f64,
    /// Keys that a write of the replica's own clients touches; with more than one it is a transaction.
    pub keys_of_own: usize,
    /// How the load picks its keys.
    pub pick: Pick,
    /// How long things are measured that go on.
    pub stretch: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Recovery {
    /// Figures.
    pub measurements: Vec<Measurement>,
    /// How it went, from the start of the process on.
    pub steps: Vec<Step>,
    /// Answers of the replica's own clients, from the start of the process on: when, and after which time.
    pub answers: Vec<Own>,
}

/// Takes a follower away and back once.
pub fn measure(
    cluster: &mut Cluster,
    absence: Absence,
    workload: &Workload,
    first_version: u64,
) -> Result<Recovery, ClusterError> {
    let follower = cluster.follower()?;
    let own = cluster.replicas[follower].address;
    let others = cluster.addresses_without(follower);
    let load = |cluster: &Cluster| {
        let load = cluster.updates().over(others.clone()).connections(absence.connections).pipeline(PIPELINE);
        let load = Load { keys: Keys::Random(absence.pick), ..load };
        resilient(load.first_version(first_version))
    };
    let peak = cluster.run(&load(cluster).duration(absence.stretch), workload)?.throughput();
    ask(others[0], &[b"CHECKPOINT"])?;
    let load = load(cluster).first_version(first_version + (1 << 38)).duration(3 * LIMIT);
    let load = if absence.share < 1.0 { load.rate(peak * absence.share) } else { Load { rate: Some(1e9), ..load } };
    let keys = absence.keys_of_own;
    let clients = OwnClients { address: own, dependency: absence.dependency, keys, first_version, workload };
    let (outcome, seen) = cluster.under_load(&load, workload, |cluster, control| {
        // What the checkpoint leaves to do is not what is normal.
        thread::sleep(absence.stretch);
        let up = Instant::now();
        let normal = clients.run_for(absence.stretch)?;
        let up = up..Instant::now();
        cluster.kill(follower)?;
        let before = control.answered();
        let killed = Instant::now();
        while control.answered() < before + absence.missing && killed.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        ask(others[0], &[b"SET", MISSED_KEY, b"newest"])?;
        let missed = control.answered() - before;
        let begin = Instant::now();
        cluster.restart(follower)?;
        let (ready, first_read, first_write) = first_answers(own, begin)?;
        let answers = clients.run_until_up_to_date(begin, absence.stretch / 3)?;
        let end = Instant::now();
        Ok(Seen { up, normal, missed, begin, ready, first_read, first_write, answers, end })
    })?;
    cluster.await_ready()?;
    let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
    let up = since_start(seen.up.start)..since_start(seen.up.end);
    // A short recovery has too few replies for a quantile.
    let recovered = seen.begin + seen.answers.up_to_date;
    let meanwhile = since_start(seen.begin)..since_start(recovered.max(seen.begin + absence.stretch / 3).min(seen.end));
    let others = OthersFigures {
        normal: outcome.timeline.throughput(up.clone()),
        meanwhile: outcome.timeline.throughput(meanwhile.clone()),
        normal_p99: outcome.quantile(up, 0.99),
        p99: outcome.quantile(meanwhile, 0.99),
    };
    Ok(report(seen, &others, peak))
}

/// What was seen while the load ran.
struct Seen {
    up: std::ops::Range<Instant>,
    normal: Vec<Own>,
    missed: u64,
    begin: Instant,
    ready: Duration,
    first_read: Duration,
    first_write: Duration,
    answers: Answers,
    end: Instant,
}

/// How the load at the other replicas went.
struct OthersFigures {
    normal: f64,
    meanwhile: f64,
    normal_p99: Duration,
    p99: Duration,
}

fn report(seen: Seen, others: &OthersFigures, peak: f64) -> Recovery {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let up_to_date = seen.answers.up_to_date;
    let meanwhile: Vec<Own> = seen.answers.all.iter().copied().filter(|answer| answer.at <= up_to_date).collect();
    let quantile = |answers: &[Own], share: f64| {
        let mut sorted: Vec<Duration> = answers.iter().map(|answer| answer.latency).collect();
        sorted.sort_unstable();
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default()
    };
    let rate = |answers: &[Own], time: Duration| answers.len() as f64 / time.as_secs_f64().max(1e-3);
    let prompt = meanwhile.iter().filter(|answer| answer.latency <= PROMPT).count() as f64;
    let own_normal = rate(&seen.normal, seen.up.end - seen.up.start);
    let own_meanwhile = rate(&meanwhile, up_to_date.saturating_sub(seen.first_write));
    let measurements = vec![
        Measurement::higher("peak of the load", "k/s", peak / 1e3),
        Measurement::higher("commands that it missed", "k", seen.missed as f64 / 1e3),
        Measurement::lower(PING, "ms", ms(seen.ready)),
        Measurement::lower(FIRST_NEW, "ms", ms(seen.first_write)),
        Measurement::lower("first answer that depends on an old command", "ms", ms(seen.first_read)),
        Measurement::lower(UP_TO_DATE, "ms", ms(up_to_date)),
        Measurement::higher("own clients, before", "k/s", own_normal / 1e3),
        Measurement::higher("own clients, until up to date / before", "x", own_meanwhile / own_normal.max(1.0)),
        Measurement::lower("own clients, before: p99", "ms", ms(quantile(&seen.normal, 0.99))),
        Measurement::lower("own clients, until up to date: p50", "ms", ms(quantile(&meanwhile, 0.5))),
        Measurement::lower("own clients, until up to date: p99", "ms", ms(quantile(&meanwhile, 0.99))),
        Measurement::higher(
            "own clients, until up to date: within 10 ms",
            "%",
            prompt * 100.0 / meanwhile.len().max(1) as f64,
        ),
        Measurement::higher("load at the others, meanwhile / before", "x", others.meanwhile / others.normal.max(1.0)),
        Measurement::lower("load at the others, before: p99", "ms", ms(others.normal_p99)),
        Measurement::lower("load at the others, meanwhile: p99", "ms", ms(others.p99)),
    ];
    Recovery { measurements, steps: seen.answers.steps, answers: seen.answers.all }
}

fn ask(address: SocketAddr, request: &[&[u8]]) -> Result<(), ClusterError> {
    let mut client = Client::connect(address, LIMIT)?;
    match client.request(request)? {
        Reply::Error(error) => Err(io::Error::other(String::from_utf8_lossy(error).into_owned()).into()),
        _ => Ok(()),
    }
}

/// When it answers PING, a read of what it missed, and a write of something else.
fn first_answers(address: SocketAddr, begin: Instant) -> Result<(Duration, Duration, Duration), ClusterError> {
    let is_done = |reply: &Reply<'_>| !matches!(reply, Reply::Error(_));
    let ready = first(address, begin, &[b"PING"], is_done)?;
    let (first_read, first_write) = thread::scope(|scope| {
        let newest = |reply: &Reply<'_>| matches!(reply, Reply::Bulk(value) if *value == b"newest");
        let read = scope.spawn(move || first(address, begin, &[b"GET", MISSED_KEY], newest));
        let write = first(address, begin, &[b"SET", FRESH_KEY, b"1"], is_done);
        (read.join().expect("the reader panicked"), write)
    });
    Ok((ready, first_read?, first_write?))
}

/// Asks until the answer is right; when that was.
fn first(
    address: SocketAddr,
    begin: Instant,
    request: &[&[u8]],
    is_right: impl Fn(&Reply<'_>) -> bool,
) -> Result<Duration, ClusterError> {
    while begin.elapsed() < LIMIT {
        let asked = Client::connect(address, LIMIT)
            .and_then(|mut client| client.request(request).map(|reply| is_right(&reply)));
        if matches!(asked, Ok(true)) {
            return Ok(begin.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}
