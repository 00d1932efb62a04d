//! A follower is killed and comes back: what the others' clients notice.
//!
//! ```text
//!  all up ──► kill -9 ──► one down ──► its process starts ──► catching up
//! ```
//!
//! Clients use the other replicas from the start, in all three windows, so that nothing but the follower differs
//! between them. Each window is one stretch; the last begins with the follower's process.

use super::{Cluster, ClusterError, resilient};
use crate::report::Measurement;
use crate::workload::Workload;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

/// Name of the figure with one replica down.
pub const DOWN_METRIC: &str = "throughput with a follower down / all up";
/// Name of the figure while it catches up.
pub const CATCHING_UP_METRIC: &str = "throughput with a follower catching up / all up";

const CLIENTS: usize = 64;
/// Bound of the load, in case that a step hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Takes a follower down and up once, and has the cluster whole again when it returns.
pub fn measure(
    cluster: &mut Cluster,
    stretch: Duration,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let follower = cluster.follower()?;
    cluster.tidy()?;
    let load = cluster.updates().over(cluster.addresses_without(follower)).connections(CLIENTS);
    let load = load.first_version(first_version).duration(5 * stretch + LIMIT);
    let load = resilient(cluster.contender().shape(load));
    let (outcome, windows) = cluster.under_load(&load, workload, |cluster, _| {
        // Connecting, and what the kill itself does, are in no window.
        thread::sleep(stretch / 4);
        let up = window(stretch);
        cluster.kill(follower)?;
        thread::sleep(stretch / 4);
        let down = window(stretch);
        cluster.restart(follower)?;
        Ok([up, down, window(stretch)])
    })?;
    cluster.await_ready()?;
    let [up, down, catching_up] = windows.map(|window| {
        let since_start = |at: Instant| at.saturating_duration_since(outcome.start);
        outcome.timeline.throughput(since_start(window.start)..since_start(window.end))
    });
    if up == 0.0 {
        return Err(cluster.state("no writes while all replicas were up"));
    }
    Ok(vec![
        Measurement::higher("throughput, all up, clients at all but one", "k/s", up / 1e3),
        Measurement::higher(DOWN_METRIC, "x", down / up),
        Measurement::higher(CATCHING_UP_METRIC, "x", catching_up / up),
    ])
}

/// Lets a stretch pass.
fn window(stretch: Duration) -> Range<Instant> {
    let begin = Instant::now();
    thread::sleep(stretch);
    begin..Instant::now()
}
