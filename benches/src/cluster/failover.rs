//! The leader is killed (`kill -9`) under load: how long no write is acknowledged to anybody.
//!
//! Clients are spread over all replicas. Those of the dead one go on at the next, and so do those that wait for an answer
//! for half a second. Without that, the longest wait of a single request would be measured: etcd's members still send
//! to the dead leader what comes until they know, let it time out after 7 s, and by then all clients
//! hang on such a request, while new ones would have been taken since the election.
//!
//! The gap is over all clients together: it ends with the first acknowledgement after it, and a second one that is
//! longer counts instead.

use super::{Cluster, ClusterError, resilient};
use crate::load::{Control, Load};
use crate::report::Measurement;
use crate::workload::Workload;
use std::thread;
use std::time::{Duration, Instant};

/// Name of the figure.
pub const METRIC: &str = "kill -9 of the leader: longest time without an acknowledged write";

const CLIENTS: usize = 64;
/// Ten times the usual p99 of the slowest contender.
const GIVE_UP_AFTER: Duration = Duration::from_millis(500);
/// Writes have come back when they were acknowledged in so many periods in a row.
const PERIODS: u32 = 10;
const PERIOD: Duration = Duration::from_millis(100);
/// How long the writes may take to come back.
const LIMIT: Duration = Duration::from_secs(60);

/// Kills the leader once, and has the cluster whole again when it returns.
pub fn measure(
    cluster: &mut Cluster,
    stretch: Duration,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let load = cluster.updates().connections(CLIENTS).first_version(first_version).duration(2 * LIMIT + stretch);
    let load = Load { give_up_after: Some(GIVE_UP_AFTER), ..resilient(cluster.contender().shape(load)) };
    let (outcome, (killed_at, leader)) = cluster.under_load(&load, workload, |cluster, control| {
        thread::sleep(stretch);
        let leader = cluster.leader()?;
        let killed_at = Instant::now();
        cluster.kill(leader)?;
        if !await_writes(control) {
            return Err(cluster.state(&format!("no steady writes for {LIMIT:?} after the leader was killed")));
        }
        Ok((killed_at, leader))
    })?;
    let from = killed_at.saturating_duration_since(outcome.start);
    let gap = outcome.timeline.longest_gap(from..outcome.elapsed);
    cluster.restart(leader)?;
    cluster.await_ready()?;
    Ok(vec![Measurement::lower(METRIC, "s", gap.as_secs_f64())])
}

/// Waits until writes are acknowledged in every period. False if that takes too long.
fn await_writes(control: &Control) -> bool {
    let begin = Instant::now();
    let mut in_a_row = 0;
    while begin.elapsed() < LIMIT {
        let before = control.answered();
        thread::sleep(PERIOD);
        in_a_row = if control.answered() > before { in_a_row + 1 } else { 0 };
        if in_a_row == PERIODS {
            return true;
        }
    }
    false
}
