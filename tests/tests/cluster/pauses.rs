//! Replicas that stand still for a while and go on as if nothing had happened, as a virtual machine does that is moved.

use crate::SMALL;
use crate::client::is_refused;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others};
use skink_tests::wire::request;
use skink_tests::{Cluster, Watchdog, seed};
use std::time::Duration;

#[test]
fn a_leader_that_was_paused_gives_no_stale_answer() {
    let _watchdog = Watchdog::minutes(5, "a_leader_that_was_paused_gives_no_stale_answer");
    let cluster = Cluster::start(SMALL);
    for round in 0..4 {
        let leader = cluster.leader();
        let others = others(leader);
        assert_eq!(cluster.wire(leader).say("SET k old"), "+OK\\r\\n");
        let mut asked_before = cluster.wire(leader);
        let mut asked_meanwhile = cluster.wire(leader);
        assert_eq!(asked_meanwhile.say("PING"), "+PONG\\r\\n");
        // It was asked, and has perhaps not answered.
        asked_before.send(&request(&[b"GET", b"k"]));
        cluster.server(leader).pause();
        cluster.leader_of(&others);
        let mut writer = cluster.wire(others[0]);
        assert_eq!(writer.say(&format!("SET k {round}")), "+OK\\r\\n");
        for words in [&[b"GET".as_slice(), b"k"][..], &[b"MGET", b"k", b"none"], &[b"STATEMENT", b"READ 'k'"]] {
            asked_meanwhile.send(&request(words));
        }
        cluster.server(leader).resume();
        let replies: Vec<Vec<u8>> = (0..3).map(|_| asked_meanwhile.reply()).collect();
        for reply in replies {
            let reply = reply.escape_ascii().to_string();
            assert!(reply.contains(&format!("\\n{round}\\r")) || is_refused(&reply), "{reply}");
        }
        let before = asked_before.reply().escape_ascii().to_string();
        assert!(before.contains("old") || before.contains(&round.to_string()) || before.starts_with('-'), "{before}");
        assert_eq!(writer.say("GET k"), format!("$1\\r\\n{round}\\r\\n"));
    }
    cluster.finish();
}

#[test]
fn pauses_under_load_hold_up_the_paused_replica_alone() {
    let test = "pauses_under_load_hold_up_the_paused_replica_alone";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, 4, seed(test));
    // Short and long, of the leader and of followers.
    for (is_leader, pause) in [(true, 100), (true, 1000), (false, 1000), (true, 4000), (false, 4000)] {
        let paused = if is_leader { cluster.leader() } else { cluster.follower() };
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 100);
            cluster.server(paused).pause();
            std::thread::sleep(Duration::from_millis(pause));
            progress.wait_for(&others(paused), 100);
            cluster.server(paused).resume();
            progress.wait_for(&REPLICAS, 100);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn a_pause_of_all_is_no_more_than_a_pause() {
    let test = "a_pause_of_all_is_no_more_than_a_pause";
    let _watchdog = Watchdog::minutes(5, test);
    let cluster = Cluster::start(SMALL);
    let mut load = Load::new(&cluster, 4, seed(test));
    for _ in 0..2 {
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 100);
            REPLICAS.iter().for_each(|replica| cluster.server(*replica).pause());
            std::thread::sleep(Duration::from_millis(1500));
            REPLICAS.iter().for_each(|replica| cluster.server(*replica).resume());
            progress.wait_for(&REPLICAS, 100);
        });
        load.check(&cluster);
    }
    cluster.finish();
}
