//! What checkpoints cost three replicas, as the paper's figure 1 and table I ask: throughput against the time between two of
//! them, how long one takes, and how much is executed meanwhile, which is the shortest log that a start can be left with.

use super::{Cluster, ClusterError, resilient};
use crate::report::Measurement;
use crate::resp::{Client, Reply};
use crate::workload::Workload;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Commands of a client that are under way together, as in the paper's batches.
const PIPELINE: usize = 50;
/// Bound of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(120);

/// The load beside which checkpoints are taken.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// Its connections.
    pub connections: usize,
    /// How long each stretch is.
    pub stretch: Duration,
}

/// One checkpoint of a state in which every key was written since the one before.
pub fn one(
    cluster: &mut Cluster,
    beside: Beside,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let address = cluster.addresses()[0];
    let load = cluster.updates().connections(beside.connections).pipeline(PIPELINE).first_version(first_version);
    let load = resilient(load.duration(LIMIT));
    let (outcome, (begin, end, during)) = cluster.under_load(&load, workload, |_, control| {
        thread::sleep(beside.stretch);
        let (begin, before) = (Instant::now(), control.answered());
        checkpoint(address)?;
        let (end, during) = (Instant::now(), control.answered() - before);
        thread::sleep(beside.stretch / 4);
        Ok((begin, end, during))
    })?;
    cluster.await_ready()?;
    let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
    let window = since_start(begin)..since_start(end);
    let stall = outcome.timeline.longest_gap(window);
    Ok(vec![
        Measurement::lower("checkpoint: duration", "s", (end - begin).as_secs_f64()),
        Measurement::lower("checkpoint: commands meanwhile (the shortest log)", "k", during as f64 / 1e3),
        Measurement::lower("checkpoint: longest time without any answer", "ms", stall.as_secs_f64() * 1e3),
    ])
}

/// Throughput with a checkpoint every so often, against none at all.
pub fn every(
    cluster: &mut Cluster,
    beside: Beside,
    interval: Option<Duration>,
    workload: &Workload,
    first_version: u64,
) -> Result<f64, ClusterError> {
    let address = cluster.addresses()[0];
    let load = cluster.updates().connections(beside.connections).pipeline(PIPELINE).first_version(first_version);
    let load = resilient(load.duration(LIMIT));
    let (outcome, (begin, end)) = cluster.under_load(&load, workload, |_, _| {
        thread::sleep(beside.stretch / 8);
        let begin = Instant::now();
        while begin.elapsed() < beside.stretch {
            let left = beside.stretch.saturating_sub(begin.elapsed());
            let due = Instant::now() + interval.unwrap_or(left).min(left);
            if interval.is_some() {
                checkpoint(address)?;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok((begin, Instant::now()))
    })?;
    cluster.await_ready()?;
    let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
    Ok(outcome.timeline.throughput(since_start(begin)..since_start(end)))
}

/// Takes one at all replicas; back when it is durable at the one that was asked.
fn checkpoint(address: SocketAddr) -> Result<(), ClusterError> {
    let mut client = Client::connect(address, LIMIT)?;
    match client.request(&[b"CHECKPOINT"])? {
        Reply::Error(error) => Err(io::Error::other(String::from_utf8_lossy(error).into_owned()).into()),
        _ => Ok(()),
    }
}
