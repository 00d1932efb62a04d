//! A replica that missed much comes back, in each of the ways that there are, and answers what is right from the first
//! moment.

use crate::SMALL;
use skink_tests::cluster::{others, wait_until};
use skink_tests::{Cluster, Watchdog, Wire};

/// Keys that are written.
const KEYS: usize = 400;
/// Rounds of writes that it misses.
const ROUNDS: usize = 6;

fn write_round(wire: &mut Wire, round: usize) {
    for key in 0..KEYS {
        assert_eq!(wire.say(&format!("SET key/{key} {round}")), "+OK\\r\\n");
        if key % 10 == 0 {
            assert_eq!(wire.say(&format!("INCR counter/{}", key / 10)), format!(":{round}\\r\\n"));
        }
    }
}

fn row(cluster: &Cluster, replica: usize, name: &str) -> String {
    let rows = cluster.show(replica, "RECOVERY");
    rows.into_iter().find(|row| row[0] == name).map(|row| row[1].clone()).unwrap_or_default()
}

fn run(test: &'static str, mode: &'static str) {
    let _watchdog = Watchdog::minutes(5, test);
    let options: Vec<&str> = SMALL.iter().copied().chain(["--recovery", mode]).collect();
    let mut cluster = Cluster::start(&options);
    write_round(&mut cluster.wire(1), 1);
    let late = cluster.follower();
    cluster.kill9(late);
    for round in 2..=ROUNDS {
        write_round(&mut cluster.wire(others(late)[round % 2]), round);
    }
    cluster.restart(late);
    let mut wire = cluster.wire(late);
    // From both ends, reads and writes, of which some depend on what was missed.
    for key in (0..40).flat_map(|key| [key, KEYS - 1 - key]) {
        assert_eq!(wire.say(&format!("GET key/{key}")), format!("$1\\r\\n{ROUNDS}\\r\\n"));
    }
    for key in 0..20 {
        assert_eq!(wire.say(&format!("INCR counter/{key}")), format!(":{}\\r\\n", ROUNDS + 1));
        assert_eq!(wire.say(&format!("INCR fresh/{key}")), ":1\\r\\n");
        let both = wire.say(&format!("MGET counter/{key} fresh/{key}"));
        assert_eq!(both, format!("*2\\r\\n$1\\r\\n{}\\r\\n$1\\r\\n1\\r\\n", ROUNDS + 1));
    }
    assert_eq!(wire.say("DBSIZE"), format!(":{}\\r\\n", KEYS + KEYS / 10 + 20));
    wait_until("it to be up to date", || row(&cluster, late, "state") == "up to date", || row(&cluster, late, "state"));
    assert_eq!(row(&cluster, late, "mode"), mode);
    let missed: u64 = row(&cluster, late, "old_batches").parse().unwrap();
    assert!(missed >= ((ROUNDS - 1) * KEYS) as u64, "{missed}");
    for time in ["first_answer_ms", "up_to_date_ms"] {
        assert!(row(&cluster, late, time).parse::<u64>().is_ok(), "{time}");
    }
    cluster.finish();
}

#[test]
fn on_demand_it_answers_what_is_right() {
    run("on_demand_it_answers_what_is_right", "on-demand");
}

#[test]
fn handed_the_state_it_answers_what_is_right() {
    run("handed_the_state_it_answers_what_is_right", "handoff");
}

#[test]
fn speedily_it_answers_what_is_right() {
    run("speedily_it_answers_what_is_right", "speedy");
}

#[test]
fn classically_it_answers_what_is_right() {
    run("classically_it_answers_what_is_right", "classic");
}
