//! A follower is killed under a load that is the same for all contenders, stays away for a while and comes back: when it
//! gives its first correct answer, when it is in step, and what the others' clients notice. Once with its data, and once
//! with an empty disk where a contender allows that.
//!
//! ```text
//!  paced load at the others ──► kill -9 ──► away ──► a key is written ──► its process starts
//!       ──► it answers a read of that key rightly ──► it is in step
//! ```
//!
//! A replica of Redis answers at once, with what it had: that is not what is asked for here.

use super::{Cluster, ClusterError, QUESTION_TIMEOUT, is_in_step, resilient};
use crate::load::Load;
use crate::report::Measurement;
use crate::resp::{Client, Reply};
use crate::workload::Workload;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
/// Bound of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(180);
/// The key that is written while the follower is away: any, as a wrong version counts as no answer.
const NUMBER: u64 = 0;

/// How a follower is taken away.
#[derive(Debug, Clone, Copy)]
pub struct Away {
    /// Writes a second at the others, from 64 clients.
    pub rate: f64,
    /// How long the follower is away.
    pub time: Duration,
    /// How long the load runs before.
    pub stretch: Duration,
    /// Whether its data goes, too.
    pub loses_disk: bool,
}

/// Takes a follower away and back once.
pub fn measure(
    cluster: &mut Cluster,
    away: Away,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let follower = cluster.follower()?;
    let other = (0..cluster.replicas.len()).find(|replica| *replica != follower).unwrap_or_default();
    let writer = if cluster.contender().is_led_by_any() { other } else { 0 };
    cluster.tidy()?;
    let load = cluster.updates().over(cluster.addresses_without(follower)).connections(CLIENTS);
    let load = resilient(cluster.contender().shape(load.first_version(first_version).duration(3 * LIMIT)));
    let load = Load { rate: Some(away.rate), ..load };
    let newest = first_version + (1 << 39);
    let (outcome, (up, begin, answered, in_step)) = cluster.under_load(&load, workload, |cluster, _| {
        thread::sleep(away.stretch / 4);
        let up = Instant::now();
        thread::sleep(away.stretch);
        let up = up..Instant::now();
        cluster.kill(follower)?;
        if away.loses_disk {
            fs::remove_dir_all(&cluster.replicas[follower].folder)?;
        }
        thread::sleep(away.time);
        cluster.write_newest(writer, workload, newest)?;
        let begin = Instant::now();
        cluster.restart(follower)?;
        cluster.wait_until(begin, |cluster| cluster.reads_newest(follower, workload, newest))?;
        let answered = begin.elapsed();
        cluster.wait_until(begin, |cluster| cluster.is_replica_in_step(follower))?;
        let in_step = begin.elapsed();
        // So that there is enough to compare.
        thread::sleep(away.stretch.saturating_sub(in_step));
        Ok((up, begin, answered, in_step))
    })?;
    cluster.await_ready()?;
    let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
    let normal = since_start(up.start)..since_start(up.end);
    let meanwhile = since_start(begin)..since_start(begin + in_step.max(away.stretch));
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let how = if away.loses_disk { "empty disk" } else { "data intact" };
    let before = outcome.timeline.throughput(normal.clone()).max(1.0);
    Ok(vec![
        Measurement::lower(format!("{how}: first correct answer"), "ms", ms(answered)),
        Measurement::lower(format!("{how}: in step"), "ms", ms(in_step)),
        Measurement::higher(
            format!("{how}: load at the others, meanwhile / before"),
            "x",
            outcome.timeline.throughput(meanwhile.clone()) / before,
        ),
        Measurement::lower(
            format!("{how}: p99 at the others, meanwhile / before"),
            "x",
            ms(outcome.quantile(meanwhile, 0.99)) / ms(outcome.quantile(normal, 0.99)).max(1e-3),
        ),
    ])
}

impl Cluster {
    fn wait_until(&self, begin: Instant, mut is_so: impl FnMut(&Self) -> bool) -> Result<(), ClusterError> {
        while begin.elapsed() < LIMIT {
            if is_so(self) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }

    /// Writes the key with a version that no load writes.
    fn write_newest(&self, replica: usize, workload: &Workload, version: u64) -> Result<(), ClusterError> {
        let address = self.replicas[replica].address;
        #[cfg(feature = "etcd")]
        if !self.contender.speaks_redis() {
            let client = crate::etcd::BlockingClient::connect(address, QUESTION_TIMEOUT);
            let written = client.and_then(|mut client| client.write(workload, &[(workload.keys() + NUMBER, version)]));
            return written.map_err(|error| self.state(&error.to_string()));
        }
        let mut value = Vec::new();
        // A key of its own: the load would write over it.
        let number = workload.keys() + NUMBER;
        workload.append_value(number, version, &mut value);
        match Client::connect(address, QUESTION_TIMEOUT)?.request(&[b"SET", &workload.key(number), &value])? {
            Reply::Error(error) => Err(self.state(&String::from_utf8_lossy(error))),
            _ => Ok(()),
        }
    }

    /// Whether a replica answers a read of the key with that version.
    fn reads_newest(&self, replica: usize, workload: &Workload, version: u64) -> bool {
        let address = self.replicas[replica].address;
        let number = workload.keys() + NUMBER;
        let key = workload.key(number);
        #[cfg(feature = "etcd")]
        if !self.contender.speaks_redis() {
            let client = crate::etcd::BlockingClient::connect(address, QUESTION_TIMEOUT);
            let found = client.and_then(|mut client| client.read(&key));
            return matches!(found, Ok(Some(value)) if workload.check_value(number, &value) == Some(version));
        }
        let Ok(mut client) = Client::connect(address, QUESTION_TIMEOUT) else { return false };
        match client.request(&[b"GET", &key]) {
            Ok(Reply::Bulk(value)) => workload.check_value(number, value) == Some(version),
            _ => false,
        }
    }

    fn is_replica_in_step(&self, replica: usize) -> bool {
        #[cfg(feature = "etcd")]
        if !self.contender.speaks_redis() {
            return self.is_etcd_ready();
        }
        self.replicas[replica].server.as_ref().is_some_and(|server| is_in_step(server).unwrap_or(false))
    }
}
