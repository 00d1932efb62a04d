//! Replicas come and go under load, as real processes: nothing acknowledged is lost, and all states are equal.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod members {
    pub mod cluster;
    pub mod load;
}

use members::cluster::Cluster;
use members::load::Load;
use skink_tests::Watchdog;
use std::time::Duration;

#[test]
fn replicas_come_and_go_under_load_and_nothing_is_lost() {
    let _watchdog = Watchdog::minutes(8, "replicas_come_and_go_under_load_and_nothing_is_lost");
    let mut cluster = Cluster::start(3);
    let load = Load::start(cluster.clients());
    load.goes_on();
    // The fourth one starts when it is a member, the fifth one waits until it is.
    cluster.command(2, &["add", "4", "--no-wait"]);
    cluster.launch(4);
    cluster.until("replica 4 serves", |cluster| cluster.state(1, 4) == "serving");
    load.goes_on();
    let waiting = cluster.launch_before(5);
    let told = cluster.command(3, &["add", "5"]);
    assert!(told.contains("replica 5 serves"), "{told}");
    cluster.take_in(5, waiting);
    load.goes_on();
    // Its disk has all of it, on both sides of two stop signs.
    for replica in [3, 4] {
        cluster.kill9(replica);
        load.goes_on();
        cluster.restart(replica);
        cluster.until("it serves again", |cluster| cluster.state(1, replica) == "serving");
    }
    let refused = cluster.refused(1, &["add", "5"]);
    assert!(refused.contains("replica 5 is a member already"), "{refused}");
    cluster.command(1, &["remove", "4"]);
    load.goes_on();
    cluster.command(2, &["remove", "5"]);
    load.goes_on();
    // The one that was told of the change knows that 5, which may have led, is gone; others may be a moment behind.
    let leader = cluster.leader(2);
    let others: Vec<usize> = (1..=3).filter(|replica| *replica != leader).collect();
    cluster.command(others[0], &["remove", &leader.to_string()]);
    load.goes_on();
    for gone in [4, 5, leader] {
        let answer = cluster.server(gone).wire().say("SET k v");
        assert!(answer.contains("was removed from the cluster"), "{gone}: {answer}");
    }
    std::thread::sleep(Duration::from_millis(500));
    let acknowledged = load.stop();
    eprintln!("{} writes were acknowledged", acknowledged.len());
    cluster.assert_states_equal(&others);
    for replica in &others {
        for keys in acknowledged.chunks(500) {
            cluster.assert_there(*replica, keys);
        }
    }
    cluster.stop(&others);
}
