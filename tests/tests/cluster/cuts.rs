//! A network that loses what is sent: between one replica and the others, in one direction or both.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others, wait_until};
use skink_tests::{Cluster, Watchdog, seed};
use std::time::Duration;

fn options() -> Vec<&'static str> {
    [SMALL, &["--request-timeout-ms", "1000"]].concat()
}

#[test]
fn a_leader_that_is_cut_off_answers_nothing_and_a_majority_goes_on() {
    let _watchdog = Watchdog::minutes(5, "a_leader_that_is_cut_off_answers_nothing_and_a_majority_goes_on");
    let cluster = Cluster::start_with_network(&options());
    for round in 0..2 {
        let leader = cluster.leader();
        let others = others(leader);
        assert_eq!(cluster.wire(leader).say("SET k old"), "+OK\\r\\n");
        cluster.network().cut_off(leader);
        // It may think for a while that it leads: what it is asked then is not answered from what it has.
        let first = cluster.wire(leader).say("GET k");
        assert!(first == "$3\\r\\nold\\r\\n" || first.starts_with("-CLUSTERDOWN "), "{first}");
        cluster.leader_of(&others);
        let mut writer = cluster.wire(others[0]);
        assert_eq!(writer.say(&format!("SET k {round}")), "+OK\\r\\n");
        for _ in 0..5 {
            let read = cluster.wire(leader).say("GET k");
            assert!(read.starts_with("-CLUSTERDOWN "), "{read}");
            let write = cluster.wire(leader).say("INCR n");
            assert!(write.starts_with("-CLUSTERDOWN "), "{write}");
        }
        assert_eq!(cluster.wire(others[1]).say("GET k"), format!("$1\\r\\n{round}\\r\\n"));
        cluster.network().heal();
        // Whatever it says meanwhile, it is nothing old.
        let read = || {
            let read = cluster.wire(leader).say("GET k");
            let is_right = read == format!("$1\\r\\n{round}\\r\\n");
            assert!(is_right || read.starts_with("-CLUSTERDOWN "), "{read}");
            is_right
        };
        wait_until("the replica to answer again", read, || cluster.server(leader).log());
    }
    cluster.finish();
}

#[test]
fn cuts_under_load_lose_and_repeat_nothing() {
    let test = "cuts_under_load_lose_and_repeat_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start_with_network(&options());
    let mut load = Load::new(&cluster, 3, seed(test));
    for ms in [300, 5000] {
        for is_leader in [true, false] {
            let lonely = if is_leader { cluster.leader() } else { cluster.follower() };
            load.during(|progress| {
                progress.wait_for(&REPLICAS, 50);
                cluster.network().cut_off(lonely);
                std::thread::sleep(Duration::from_millis(ms));
                progress.wait_for(&others(lonely), 50);
                cluster.network().heal();
                progress.wait_for(&REPLICAS, 50);
            });
            load.check(&cluster);
        }
    }
    cluster.finish();
}

#[test]
fn cuts_in_one_direction_lose_and_repeat_nothing() {
    let test = "cuts_in_one_direction_lose_and_repeat_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start_with_network(&options());
    let mut load = Load::new(&cluster, 3, seed(test));
    for is_heard in [true, false] {
        for is_leader in [true, false] {
            let lonely = if is_leader { cluster.leader() } else { cluster.follower() };
            load.during(|progress| {
                progress.wait_for(&REPLICAS, 50);
                for other in others(lonely) {
                    let (from, to) = if is_heard { (lonely, other) } else { (other, lonely) };
                    cluster.network().cut(from, to);
                }
                progress.wait_for(&others(lonely), 50);
                cluster.network().heal();
                progress.wait_for(&REPLICAS, 50);
            });
            load.check(&cluster);
        }
    }
    cluster.finish();
}

#[test]
fn a_cut_between_two_replicas_leaves_a_majority() {
    let test = "a_cut_between_two_replicas_leaves_a_majority";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start_with_network(&options());
    let mut load = Load::new(&cluster, 3, seed(test));
    for _ in 0..2 {
        // The leader and a follower don't hear each other, and both hear the third.
        // Who leads may change between two questions.
        let leader = cluster.leader();
        let follower = leader % 3 + 1;
        let third = 6 - leader - follower;
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 50);
            cluster.network().cut(leader, follower);
            cluster.network().cut(follower, leader);
            std::thread::sleep(Duration::from_millis(1500));
            progress.wait_for(&[third], 50);
            cluster.network().heal();
            progress.wait_for(&REPLICAS, 50);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn connections_that_break_again_and_again_lose_and_repeat_nothing() {
    let test = "connections_that_break_again_and_again_lose_and_repeat_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start_with_network(&options());
    let mut load = Load::new(&cluster, 3, seed(test));
    load.during(|progress| {
        for ms in [50, 100, 200, 400, 800, 20, 20, 20] {
            cluster.network().break_all();
            std::thread::sleep(Duration::from_millis(ms));
        }
        progress.wait_for(&REPLICAS, 50);
    });
    load.check(&cluster);
    cluster.finish();
}
