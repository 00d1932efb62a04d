//! A replica is killed, misses commands, and comes back under load: when it answers, and how it answers until it is up to
//! date. The setting is that of the paper's section VI: updates in batches of 50, uniform keys, a checkpoint before.
//!
//! ```text
//!  checkpoint ──► load at the others ──► kill -9 ──► so many commands ──► its process starts ──► answers ──► up to date
//! ```

use super::{Cluster, ClusterError, resilient};
use crate::report::Measurement;
use crate::resp::{Client, Reply};
use crate::workload::{Random, Workload};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Commands of a client that are under way together, as in the paper's batches.
const PIPELINE: usize = 50;
/// Bound of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two requests of the client that looks how the replica answers.
const PACE: Duration = Duration::from_millis(2);
/// An answer within this is as good as any.
const PROMPT: Duration = Duration::from_millis(10);
/// Requests between two looks at whether it is up to date.
const LOOK: u64 = 25;
/// A key that is written while the replica is away, and one that no old command touches.
const MISSED_KEY: &[u8] = b"missed";
const FRESH_KEY: &[u8] = b"fresh";

/// What the replica misses, and under which load.
#[derive(Debug, Clone, Copy)]
pub struct Absence {
    /// Commands.
    pub missing: u64,
    /// Connections of the load at the other replicas.
    pub connections: usize,
    /// How long the load runs before.
    pub stretch: Duration,
}

/// How the replica answered from the start of its process on.
struct Answers {
    ready: Duration,
    first_read: Duration,
    first_write: Duration,
    up_to_date: Duration,
    latencies: Vec<Duration>,
}

/// Takes a follower away and back once.
pub fn measure(
    cluster: &mut Cluster,
    absence: Absence,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let follower = cluster.follower()?;
    let own = cluster.replicas[follower].address;
    let others = cluster.addresses_without(follower);
    ask(others[0], &[b"CHECKPOINT"])?;
    let load = cluster.updates().over(others.clone()).connections(absence.connections).pipeline(PIPELINE);
    let load = resilient(load.first_version(first_version).duration(3 * LIMIT));
    let (outcome, (up, missed, begin, answers)) = cluster.under_load(&load, workload, |cluster, control| {
        thread::sleep(absence.stretch / 4);
        let up = Instant::now();
        thread::sleep(absence.stretch);
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
        let answers = answers(own, workload, first_version, begin)?;
        Ok((up, missed, begin, answers))
    })?;
    cluster.await_ready()?;
    let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
    let throughput = |from: Instant, to: Instant| outcome.timeline.throughput(since_start(from)..since_start(to));
    let (normal, meanwhile) = (throughput(up.start, up.end), throughput(begin, begin + answers.up_to_date));
    Ok(report(&answers, missed, normal, meanwhile))
}

fn report(answers: &Answers, missed: u64, normal: f64, meanwhile: f64) -> Vec<Measurement> {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let mut sorted = answers.latencies.clone();
    sorted.sort_unstable();
    let quantile = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default();
    let prompt = sorted.iter().filter(|latency| **latency <= PROMPT).count() as f64 / sorted.len().max(1) as f64;
    vec![
        Measurement::higher("commands that it missed", "k", missed as f64 / 1e3),
        Measurement::lower("process answers PING", "ms", ms(answers.ready)),
        Measurement::lower("first read of a key that was written meanwhile", "ms", ms(answers.first_read)),
        Measurement::lower("first write of another key", "ms", ms(answers.first_write)),
        Measurement::lower("up to date", "ms", ms(answers.up_to_date)),
        Measurement::lower("until then, GET and SET of any key: p50", "ms", ms(quantile(0.5))),
        Measurement::lower("until then, GET and SET of any key: p99", "ms", ms(quantile(0.99))),
        Measurement::higher("until then, answered within 10 ms", "%", prompt * 100.0),
        Measurement::higher("load at the others, meanwhile / before", "x", meanwhile / normal.max(1.0)),
    ]
}

fn ask(address: SocketAddr, request: &[&[u8]]) -> Result<(), ClusterError> {
    let mut client = Client::connect(address, LIMIT)?;
    match client.request(request)? {
        Reply::Error(error) => Err(io::Error::other(String::from_utf8_lossy(error).into_owned()).into()),
        _ => Ok(()),
    }
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

fn answers(
    address: SocketAddr,
    workload: &Workload,
    first_version: u64,
    begin: Instant,
) -> Result<Answers, ClusterError> {
    let ready = first(address, begin, &[b"PING"], |reply| !matches!(reply, Reply::Error(_)))?;
    let (first_read, first_write) = thread::scope(|scope| {
        let newest = |reply: &Reply<'_>| matches!(reply, Reply::Bulk(value) if *value == b"newest");
        let read = scope.spawn(move || first(address, begin, &[b"GET", MISSED_KEY], newest));
        let done = |reply: &Reply<'_>| !matches!(reply, Reply::Error(_));
        let write = first(address, begin, &[b"SET", FRESH_KEY, b"1"], done);
        (read.join().expect("the reader panicked"), write)
    });
    let (first_read, first_write) = (first_read?, first_write?);
    let mut client = Client::connect(address, LIMIT)?;
    let mut random = Random::new(workload.seed() ^ first_version);
    let mut latencies = Vec::new();
    let mut value = Vec::new();
    for number in 0.. {
        let key_number = random.below(workload.keys());
        let key = workload.key(key_number);
        let sent = Instant::now();
        if number % 2 == 0 {
            let is_whole = match client.request(&[b"GET", &key])? {
                Reply::Bulk(found) => workload.check_value(key_number, found).is_some(),
                _ => false,
            };
            if !is_whole {
                return Err(io::Error::other("a read was answered with what no write wrote").into());
            }
        } else {
            value.clear();
            workload.append_value(key_number, first_version + (1 << 39) + number, &mut value);
            if let Reply::Error(error) = client.request(&[b"SET", &key, &value])? {
                return Err(io::Error::other(String::from_utf8_lossy(error).into_owned()).into());
            }
        }
        latencies.push(sent.elapsed());
        if number % LOOK == 0 && is_up_to_date(&mut client)? {
            break;
        }
        thread::sleep(PACE);
    }
    Ok(Answers { ready, first_read, first_write, up_to_date: begin.elapsed(), latencies })
}

fn is_up_to_date(client: &mut Client) -> io::Result<bool> {
    match client.request(&[b"INFO", b"recovery"])? {
        Reply::Bulk(text) => Ok(String::from_utf8_lossy(text).contains("recovery_state:up to date")),
        _ => Ok(false),
    }
}
