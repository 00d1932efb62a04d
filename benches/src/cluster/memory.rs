//! Memory beyond mapped files, of the replica that takes most: at rest, under more load than it can take, and while
//! a follower stands still (SIGSTOP) and what is meant for it has to wait somewhere.

use super::{Cluster, ClusterError, resilient};
use crate::figures::anonymous_bytes;
use crate::report::Measurement;
use crate::workload::Workload;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Overload: more clients, with more under way each, than any contender's best throughput needs.
const OVERLOAD: (usize, usize) = (512, 50);
/// With a follower standing still: a load that the others can take.
const STEADY: (usize, usize) = (64, 16);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// Bound of the load beyond its duration, in case that a step hangs.
const LIMIT: Duration = Duration::from_secs(60);
const MIB: f64 = (1 << 20) as f64;

/// Measures for `duration` each, and has the cluster whole again when it returns.
pub fn measure(
    cluster: &mut Cluster,
    duration: Duration,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let at_rest = largest(&cluster.pids())?;
    let overloaded = loaded(cluster, None, OVERLOAD, duration, workload, first_version)?;
    cluster.await_ready()?;
    let follower = cluster.follower()?;
    let follower_stopped = loaded(cluster, Some(follower), STEADY, duration, workload, first_version + (1 << 32))?;
    cluster.await_ready()?;
    let metric = |when: &str, bytes: u64| {
        Measurement::lower(format!("memory beyond mapped files, largest replica, {when}"), "MiB", bytes as f64 / MIB)
    };
    Ok(vec![
        metric("at rest", at_rest),
        metric("under overload", overloaded),
        metric("a follower standing still", follower_stopped),
    ])
}

/// The most that a replica took under this load, `(clients, pipeline)`; of those that go on, if one stands still.
fn loaded(
    cluster: &mut Cluster,
    standing: Option<usize>,
    (clients, pipeline): (usize, usize),
    duration: Duration,
    workload: &Workload,
    first_version: u64,
) -> Result<u64, ClusterError> {
    let (addresses, pids) = match standing {
        Some(follower) => (cluster.addresses_without(follower), cluster.pids_without(follower)),
        None => (cluster.addresses(), cluster.pids()),
    };
    let load = cluster.updates().over(addresses).connections(clients).pipeline(pipeline);
    let load = load.first_version(first_version).duration(duration + LIMIT);
    let load = resilient(cluster.contender().shape(load));
    // Transactions of more clients than are best for etcd: this is meant to be too much.
    let load = load.connections(clients);
    let (_, most) = cluster.under_load(&load, workload, |cluster, _| {
        if let Some(follower) = standing {
            cluster.pause(follower)?;
        }
        let sampled = sample(&pids, duration);
        // Also where sampling failed: a process that stands still can't be asked to end.
        if let Some(follower) = standing {
            cluster.resume(follower)?;
        }
        Ok(sampled?)
    })?;
    Ok(most)
}

/// The most that any of the processes took at any moment of `duration`.
fn sample(pids: &[u32], duration: Duration) -> io::Result<u64> {
    let begin = Instant::now();
    let mut most = largest(pids)?;
    while begin.elapsed() < duration {
        thread::sleep(SAMPLE_INTERVAL);
        most = most.max(largest(pids)?);
    }
    Ok(most)
}

fn largest(pids: &[u32]) -> io::Result<u64> {
    let sizes: io::Result<Vec<u64>> = pids.iter().map(|pid| anonymous_bytes(*pid)).collect();
    Ok(sizes?.into_iter().max().unwrap_or_default())
}
