//! `kill -9` under load: of each replica, of two of them, of all.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others};
use skink_tests::{Cluster, Watchdog, seed};
use std::time::Duration;

/// Clients of each replica.
const CLIENTS: usize = 4;
/// Acknowledged writes after which something goes on as it should.
const SOME: u64 = 100;

#[test]
fn no_kill_of_one_replica_loses_or_repeats_anything() {
    let test = "no_kill_of_one_replica_loses_or_repeats_anything";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, CLIENTS, seed(test));
    // The leader, a follower, the leader, a follower; then each in turn.
    for round in 0..7 {
        let victim = match round {
            0 | 2 => cluster.leader(),
            1 | 3 => cluster.follower(),
            _ => round - 3,
        };
        load.during(|progress| {
            progress.wait_for(&REPLICAS, SOME);
            cluster.kill9(victim);
            progress.wait_for(&others(victim), SOME);
            cluster.restart(victim);
            progress.wait_for(&REPLICAS, SOME);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn a_kill_of_all_replicas_at_once_loses_nothing() {
    let test = "a_kill_of_all_replicas_at_once_loses_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, CLIENTS, seed(test));
    for _ in 0..3 {
        load.during(|progress| {
            progress.wait_for(&REPLICAS, SOME);
            cluster.kill9_all();
            cluster.restart_all();
            progress.wait_for(&REPLICAS, SOME);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn replicas_are_restarted_one_after_the_other_in_order() {
    let test = "replicas_are_restarted_one_after_the_other_in_order";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, CLIENTS, seed(test));
    for replica in REPLICAS {
        load.during(|progress| {
            progress.wait_for(&REPLICAS, SOME);
            cluster.server_mut(replica).stop();
            progress.wait_for(&others(replica), SOME);
            cluster.restart(replica);
            progress.wait_for(&REPLICAS, SOME);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn kills_during_a_start_lose_nothing() {
    let test = "kills_during_a_start_lose_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, CLIENTS, seed(test));
    for victim in REPLICAS {
        load.during(|progress| {
            progress.wait_for(&REPLICAS, SOME);
            cluster.kill9(victim);
            for ms in [1, 5, 10, 20, 40, 80, 160, 320] {
                cluster.server_mut(victim).kill9_while_starting(Duration::from_millis(ms));
            }
            progress.wait_for(&others(victim), SOME);
            cluster.restart(victim);
            progress.wait_for(&REPLICAS, SOME);
        });
        load.check(&cluster);
    }
    cluster.finish();
}
