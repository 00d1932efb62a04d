//! Replicas that come back without their disks, or so late that the log does not reach back to them.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others, wait_until};
use skink_tests::{Cluster, Watchdog, Wire, seed};

/// Takes a replica's disk away, and starts it again without.
fn lose_disk(cluster: &mut Cluster, replica: usize) {
    cluster.kill9(replica);
    std::fs::remove_dir_all(cluster.server(replica).data()).unwrap();
    cluster.restart(replica);
}

/// It has the state again, and a vote.
fn wait_until_back(cluster: &Cluster, replica: usize) {
    cluster.wait_for_info(replica, "replica_state", |state| state == "serving");
    cluster.wait_for_info(replica, "replica_role", |role| role == "follower" || role == "leader");
    let answer = || cluster.wire(replica).say("INCRBY back 1");
    wait_until("writes at the replica that is back", || answer().starts_with(':'), answer);
}

/// So many values that take some log, at a replica.
fn fill(wire: &mut Wire, round: u8, mb: usize) {
    for number in 0..mb * 10 {
        let mut state = number as u64 + 1;
        let any_byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let mut value: Vec<u8> = (0..100_000).map(any_byte).collect();
        value[0] = round;
        assert_eq!(wire.call(&[b"SET", format!("fill:{number}").as_bytes(), &value]), b"+OK\r\n");
    }
}

#[test]
fn a_replica_that_lost_its_disk_comes_back_and_votes() {
    let test = "a_replica_that_lost_its_disk_comes_back_and_votes";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, 3, seed(test));
    for round in 0..3 {
        let lost = if round == 1 { cluster.leader() } else { cluster.follower() };
        // The first time there is only the log, later there are checkpoints.
        if round > 0 {
            cluster.checkpoint(lost);
        }
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 50);
            lose_disk(&mut cluster, lost);
            progress.wait_for(&others(lost), 50);
            wait_until_back(&cluster, lost);
            progress.wait_for(&REPLICAS, 50);
            // Its vote is needed now.
            let gone = lost % 3 + 1;
            cluster.kill9(gone);
            progress.wait_for(&others(gone), 50);
            cluster.restart(gone);
            progress.wait_for(&REPLICAS, 50);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn all_disks_can_be_replaced_one_after_the_other() {
    let test = "all_disks_can_be_replaced_one_after_the_other";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, 2, seed(test));
    load.during(|progress| progress.wait_for(&REPLICAS, 100));
    for lost in REPLICAS {
        lose_disk(&mut cluster, lost);
        wait_until_back(&cluster, lost);
        load.check(&cluster);
    }
    // And all have a life after that.
    cluster.kill9_all();
    cluster.restart_all();
    load.check(&cluster);
    cluster.finish();
}

#[test]
fn a_replica_without_its_disk_makes_no_majority() {
    let test = "a_replica_without_its_disk_makes_no_majority";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(&[SMALL, &["--request-timeout-ms", "700"]].concat());
    let mut load = Load::new(&cluster, 2, seed(test));
    for lost in REPLICAS {
        let (behind, has_all) = (lost % 3 + 1, (lost + 1) % 3 + 1);
        // What is acknowledged now is at two of them, and the third knows nothing of it.
        cluster.kill9(behind);
        load.during(|progress| progress.wait_for(&others(behind), 100));
        cluster.kill9(has_all);
        cluster.kill9(lost);
        std::fs::remove_dir_all(cluster.server(lost).data()).unwrap();
        cluster.restart(behind);
        // With nobody but one that is behind, it must not begin anew.
        cluster.restart(lost);
        for replica in [behind, lost] {
            for words in ["GET counter", "SET k v"] {
                let reply = cluster.wire(replica).say(words);
                assert!(reply.starts_with("-CLUSTERDOWN "), "{words} at replica {replica}: {reply}");
            }
        }
        cluster.restart(has_all);
        REPLICAS.iter().for_each(|replica| wait_until_back(&cluster, *replica));
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn a_replica_that_is_too_far_behind_gets_a_checkpoint() {
    let test = "a_replica_that_is_too_far_behind_gets_a_checkpoint";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(&[SMALL, &["--checkpoint-log-mb", "1"]].concat());
    let mut load = Load::new(&cluster, 2, seed(test));
    for round in 0..2 {
        let behind = if round == 0 { cluster.follower() } else { cluster.leader() };
        let other = behind % 3 + 1;
        load.during(|progress| progress.wait_for(&REPLICAS, 50));
        cluster.kill9(behind);
        cluster.leader_of(&others(behind));
        let before = cluster.server(behind).log().matches("took the place of the state").count();
        for _ in 0..2 {
            fill(&mut cluster.wire(other), round, 6);
            cluster.checkpoint(other);
        }
        // While it gets the checkpoint, the others go on.
        load.during(|progress| {
            progress.wait_for(&others(behind), 50);
            cluster.restart(behind);
            wait_until_back(&cluster, behind);
            progress.wait_for(&REPLICAS, 50);
        });
        let installed = cluster.server(behind).log().matches("took the place of the state").count();
        assert!(installed > before, "the log reached back to the replica: there was nothing to test");
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn a_kill_while_a_checkpoint_arrives_loses_nothing() {
    let test = "a_kill_while_a_checkpoint_arrives_loses_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(&[SMALL, &["--checkpoint-log-mb", "1"]].concat());
    let mut load = Load::new(&cluster, 2, seed(test));
    load.during(|progress| progress.wait_for(&REPLICAS, 50));
    let lost = cluster.follower();
    let donor = lost % 3 + 1;
    fill(&mut cluster.wire(donor), 1, 12);
    cluster.checkpoint(donor);
    lose_disk(&mut cluster, lost);
    for ms in [0, 20, 60, 120, 250, 500] {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        // At the one end or at the other.
        let victim = if ms % 40 == 0 { lost } else { donor };
        cluster.kill9(victim);
        cluster.restart(victim);
    }
    wait_until_back(&cluster, lost);
    load.check(&cluster);
    cluster.finish();
}
