//! All replicas are well: throughput, latency, and the processor time that a request takes on all of them.

use super::{Cluster, ClusterError};
use crate::figures::processor_time;
use crate::load::Load;
use crate::report::Measurement;
use crate::workload::Workload;
use std::thread;
use std::time::Duration;

/// End of the name of the processor time's figure.
pub const PROCESSOR_FIGURE: &str = "processor time a request, all replicas";

/// A kind of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name in reports.
    pub label: String,
    /// Closed loops.
    pub clients: usize,
    /// Requests of a batch.
    pub pipeline: usize,
    /// 0 for updates, 1 for reads.
    pub read_share: f64,
}

impl Scenario {
    /// Updates, one at a time.
    pub fn updates(clients: usize) -> Self {
        Self { label: updates_label(clients), clients, pipeline: 1, read_share: 0.0 }
    }
}

/// The name of plain updates from so many clients.
pub fn updates_label(clients: usize) -> String {
    format!("SET, {clients} {}", if clients == 1 { "client" } else { "clients" })
}

/// Measures one stretch, after a pause in which the contender before ends what it does in the background.
pub fn measure(
    cluster: &Cluster,
    scenario: &Scenario,
    load_threads: usize,
    stretch: Duration,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    let load = Load { threads: load_threads, ..cluster.updates() }
        .connections(scenario.clients)
        .pipeline(scenario.pipeline)
        .read_share(scenario.read_share)
        .first_version(first_version)
        .duration(stretch);
    let load = cluster.contender().shape(load);
    thread::sleep(stretch.min(Duration::from_secs(1)));
    cluster.run(&load.clone().duration(stretch / 10), workload)?;
    let before = total_processor_time(cluster)?;
    let outcome = cluster.run(&load, workload)?;
    let processor = total_processor_time(cluster)?.saturating_sub(before);
    if outcome.missing > 0 {
        return Err(cluster.state(&format!("{} keys are missing", outcome.missing)));
    }
    let label = &scenario.label;
    let ms = |quantile: f64| outcome.latencies.quantile(quantile).as_secs_f64() * 1e3;
    let processor_us = processor.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64;
    Ok(vec![
        Measurement::higher(format!("{label}: throughput"), "k/s", outcome.throughput() / 1e3),
        Measurement::lower(format!("{label}: p50"), "ms", ms(0.5)),
        Measurement::lower(format!("{label}: p99"), "ms", ms(0.99)),
        Measurement::lower(format!("{label}: {PROCESSOR_FIGURE}"), "us", processor_us),
    ])
}

fn total_processor_time(cluster: &Cluster) -> Result<Duration, ClusterError> {
    let times: Result<Vec<_>, _> = cluster.pids().into_iter().map(processor_time).collect();
    Ok(times?.into_iter().sum())
}
