//! One replica without the others: it says so in time, gives no wrong answer, and goes on by itself when one is back.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others, wait_until};
use skink_tests::wire::pipeline;
use skink_tests::{Cluster, Watchdog, seed};

fn options() -> Vec<&'static str> {
    [SMALL, &["--request-timeout-ms", "700"]].concat()
}

#[test]
fn a_replica_alone_refuses_and_goes_on_when_one_is_back() {
    let _watchdog = Watchdog::minutes(5, "a_replica_alone_refuses_and_goes_on_when_one_is_back");
    let mut cluster = Cluster::start(&options());
    for round in 0..3 {
        // The leader is left, or a follower is.
        let alone = if round == 1 { cluster.leader() } else { cluster.follower() };
        let gone = others(alone);
        assert_eq!(cluster.wire(gone[0]).say(&format!("SET k {round}")), "+OK\\r\\n");
        // It has it before the others go, for the stale read.
        assert_eq!(cluster.wire(alone).say("GET k"), format!("$1\\r\\n{round}\\r\\n"));
        gone.iter().for_each(|replica| cluster.kill9(*replica));
        let mut wire = cluster.wire(alone);
        let write = wire.say("SET k new");
        assert!(write.starts_with("-CLUSTERDOWN ") && write.contains("may still be executed"), "{write}");
        for words in ["GET k", "SET k newer", "DBSIZE", "KEYS *", "SCAN 0", "MGET k none", "INCR n", "CHECKPOINT"] {
            let reply = wire.say(words);
            assert!(
                reply.starts_with("-CLUSTERDOWN ") || words == "CHECKPOINT" && reply.starts_with("-ERR "),
                "{reply}"
            );
        }
        wire.send(&pipeline(&["MULTI", "SET k newest", "GET k", "EXEC"]));
        let replies: Vec<String> = (0..4).map(|_| wire.reply().escape_ascii().to_string()).collect();
        assert!(replies[3].starts_with("-CLUSTERDOWN "), "{replies:?}");
        assert!(wire.say("WATCH k").starts_with("-CLUSTERDOWN "));
        // What it has, for those who say that they take that.
        assert_eq!(wire.say("CLIENT STALE-READS ON"), "+OK\\r\\n");
        assert_eq!(wire.say("GET k"), format!("$1\\r\\n{round}\\r\\n"));
        assert_eq!(wire.say("MGET k none"), format!("*2\\r\\n$1\\r\\n{round}\\r\\n$-1\\r\\n"));
        assert!(wire.say("KEYS *").starts_with("*"));
        assert!(wire.say("INCR n").starts_with("-CLUSTERDOWN "), "a write is none of them");
        assert_eq!(wire.say("CLIENT STALE-READS OFF"), "+OK\\r\\n");
        assert!(wire.say("GET k").starts_with("-CLUSTERDOWN "));
        cluster.wait_for_info(alone, "replica_state", |state| state == "no majority");
        assert_eq!(wire.say("PING"), "+PONG\\r\\n");
        // By itself, on the same connection.
        cluster.restart(gone[round % 2]);
        let write = || cluster.wire(alone).say("SET back 1");
        wait_until("writes to be taken again", || write() == "+OK\\r\\n", write);
        // The write that was in doubt came first, or never will.
        let seen = wire.say("GET k");
        assert!([format!("$1\\r\\n{round}\\r\\n"), "$3\\r\\nnew\\r\\n".to_string()].contains(&seen), "{seen}");
        cluster.restart(gone[1 - round % 2]);
        cluster.leader();
        assert_eq!(cluster.wire(gone[0]).say("GET k"), seen);
    }
    cluster.finish();
}

#[test]
fn a_lost_majority_under_load_loses_nothing() {
    let test = "a_lost_majority_under_load_loses_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(&options());
    let mut load = Load::new(&cluster, 4, seed(test));
    for alone in REPLICAS {
        let gone = others(alone);
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 100);
            gone.iter().for_each(|replica| cluster.kill9(*replica));
            // Its clients have been told.
            cluster.wait_for_info(alone, "replica_state", |state| state == "no majority");
            let before = progress.of(alone);
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert_eq!(progress.of(alone), before, "writes were acknowledged without a majority");
            cluster.restart(gone[0]);
            progress.wait_for(&[alone, gone[0]], 100);
            cluster.restart(gone[1]);
            progress.wait_for(&REPLICAS, 100);
        });
        load.check(&cluster);
    }
    cluster.finish();
}
