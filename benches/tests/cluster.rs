//! Clusters as processes: started, killed, stopped and whole again. With Redis, which is what CI has; with etcd where
//! that is built in.
#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy exempts only functions marked as tests, not their helpers"
)]

use skink_benches::cluster::contender::Contender;
use skink_benches::cluster::steady::{self, Scenario, updates_label};
use skink_benches::cluster::{Cluster, memory, outage};
use skink_benches::load::{Load, OnLoss};
use skink_benches::report::Measurement;
use skink_benches::workload::Workload;
use std::path::Path;
use std::time::Duration;

const STRETCH: Duration = Duration::from_millis(200);

fn start(contender: Contender) -> (Cluster, Workload) {
    let workload = Workload::new(500, 64, 3);
    // Neither of these is Skink: its binary is another crate's.
    let cluster = Cluster::start(contender, Path::new("skink"), tempfile::tempdir().unwrap()).unwrap();
    cluster.fill(&workload).unwrap();
    (cluster, workload)
}

fn value(measurements: &[Measurement], metric: &str) -> f64 {
    measurements.iter().find(|measurement| measurement.metric == metric).unwrap().value
}

/// Every key reads as it was written, through the contender's own interface.
fn assert_complete(cluster: &Cluster, workload: &Workload) {
    let reads = Load { on_loss: OnLoss::Fail, ..cluster.updates() }.read_share(1.0).connections(6).count(2_000);
    let outcome = cluster.run(&reads, workload).unwrap();
    assert_eq!((outcome.requests, outcome.missing), (2_000, 0));
}

fn go_through_everything(contender: Contender) {
    let (mut cluster, workload) = start(contender);
    assert_eq!(cluster.pids().len(), 3);
    assert_complete(&cluster, &workload);
    let scenario = Scenario::updates(16);
    let steady = steady::measure(&cluster, &scenario, 1, STRETCH, &workload, 1 << 40).unwrap();
    assert!(value(&steady, &format!("{}: throughput", updates_label(16))) > 0.0);
    let before = cluster.pids();
    let outage = outage::measure(&mut cluster, STRETCH, &workload, 2 << 40).unwrap();
    assert!(value(&outage, outage::DOWN_METRIC) > 0.0);
    let after = cluster.pids();
    assert_eq!(after.len(), 3, "all are back");
    assert_eq!(before.iter().filter(|pid| !after.contains(pid)).count(), 1, "one of them as another process");
    let memory = memory::measure(&mut cluster, STRETCH, &workload, 3 << 40).unwrap();
    assert!(memory.iter().all(|measurement| measurement.value > 0.1), "{memory:?}");
    assert_complete(&cluster, &workload);
    cluster.stop().unwrap();
}

#[test]
fn redis_with_replicas_goes_through_everything() {
    go_through_everything(Contender::RedisWait);
}

#[test]
fn redis_alone_has_neither_followers_nor_another_leader() {
    let (mut cluster, workload) = start(Contender::RedisAlone);
    assert_complete(&cluster, &workload);
    assert_eq!(cluster.leader().unwrap(), 0);
    assert!(cluster.follower().is_err());
    assert!(outage::measure(&mut cluster, STRETCH, &workload, 1 << 40).is_err());
    cluster.stop().unwrap();
}

#[cfg(feature = "etcd")]
#[test]
fn etcd_goes_through_everything_and_finds_another_leader() {
    use skink_benches::cluster::failover;

    go_through_everything(Contender::Etcd);
    let (mut cluster, workload) = start(Contender::Etcd);
    let failover = failover::measure(&mut cluster, STRETCH, &workload, 1 << 40).unwrap();
    let gap = value(&failover, failover::METRIC);
    assert!(gap > 0.1, "nobody leads before an election timeout has passed, but writes stood still for {gap} s");
    assert_complete(&cluster, &workload);
    cluster.stop().unwrap();
}
