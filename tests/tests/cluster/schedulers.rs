//! Replicas that execute by different schedulers, with different numbers of workers, have the same states.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::REPLICAS;
use skink_tests::{Cluster, Watchdog, seed};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Clients of each replica.
const CLIENTS: usize = 4;
/// Acknowledged writes after which something goes on as it should.
const SOME: u64 = 100;
/// Length of values that take a worker longer than it takes to wake one.
const LONG: usize = 200_000;

fn options(more: &[&'static str]) -> Vec<&'static str> {
    SMALL.iter().chain(more).copied().collect()
}

/// Writes of long values under few keys, many at a time.
fn write_long_values(address: &str, round: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut requests = Vec::new();
    for number in 0..32 {
        let key = format!("long/{}", number % 6);
        let value = vec![b'a' + (number % 26) as u8; LONG + round];
        write!(requests, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()).unwrap();
        requests.extend_from_slice(&value);
        requests.extend_from_slice(b"\r\n");
    }
    stream.write_all(&requests).unwrap();
    let mut replies = [0; 32 * 5];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(&replies[..], "+OK\r\n".repeat(32).as_bytes());
}

fn run(test: &'static str, each: [&[&'static str]; 3], victim: usize) {
    let _watchdog = Watchdog::minutes(5, test);
    let each = each.map(options);
    let mut cluster = Cluster::start_each([&each[0], &each[1], &each[2]]);
    let mut load = Load::new(&cluster, CLIENTS, seed(test));
    load.during(|progress| {
        for round in 0..3 {
            write_long_values(&cluster.addresses().client(1 + round % 3), round);
        }
        progress.wait_for(&REPLICAS, SOME);
        cluster.kill9(victim);
        for round in 3..6 {
            write_long_values(&cluster.addresses().client(1 + victim % 3), round);
        }
        cluster.restart(victim);
        progress.wait_for(&REPLICAS, SOME);
    });
    load.check(&cluster);
    for replica in REPLICAS {
        let has_workers = !each[replica - 1].contains(&"0");
        let parallel = cluster.info(replica, "parallel_batches").unwrap();
        assert_eq!(parallel != "0", has_workers, "{parallel} batches in parallel at replica {replica}");
    }
    cluster.finish();
}

#[test]
fn states_are_equal_where_all_schedulers_differ() {
    let each: [&[&str]; 3] = [
        &["--scheduler", "table", "--workers", "3"],
        &["--scheduler", "bitmap", "--workers", "2"],
        &["--scheduler", "graph", "--workers", "4", "--pin-workers"],
    ];
    run("states_are_equal_where_all_schedulers_differ", each, 1);
}

#[test]
fn states_are_equal_with_workers_and_without() {
    let each: [&[&str]; 3] = [
        &["--scheduler", "sequential", "--workers", "2"],
        &["--workers", "0"],
        &["--scheduler", "table", "--workers", "1", "--recovery", "classic"],
    ];
    run("states_are_equal_with_workers_and_without", each, 3);
}
