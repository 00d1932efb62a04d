//! What clients ask for, at each replica of a cluster in which all is well.

use crate::SMALL;
use skink_tests::cluster::{REPLICAS, wait_until};
use skink_tests::wire::{pipeline, request};
use skink_tests::{Cluster, Watchdog, Wire};
use std::collections::BTreeSet;

fn wires(cluster: &Cluster) -> Vec<Wire> {
    REPLICAS.iter().map(|replica| cluster.wire(*replica)).collect()
}

#[test]
fn what_one_replica_acknowledged_is_read_at_all() {
    let _watchdog = Watchdog::minutes(5, "what_one_replica_acknowledged_is_read_at_all");
    let cluster = Cluster::start(SMALL);
    let mut wires = wires(&cluster);
    for round in 0..60 {
        let writer = round % 3;
        assert_eq!(wires[writer].say(&format!("SET k {round:05}")), "+OK\\r\\n");
        assert_eq!(wires[writer].say(&format!("SET k:{round:05} v")), "+OK\\r\\n");
        // At once, and with everything that depends on more than a key.
        for wire in &mut wires {
            assert_eq!(wire.say("GET k"), format!("$5\\r\\n{round:05}\\r\\n"));
            assert_eq!(wire.say("DBSIZE"), format!(":{}\\r\\n", round + 2));
            let keys = String::from_utf8(wire.call(&[b"KEYS", b"k:*"])).unwrap();
            assert!(keys.starts_with(&format!("*{}\r\n", round + 1)), "{keys}");
            let rows = wire.call(&[b"STATEMENT", format!("READ WHERE KEY >= 'k:{round:05}'").as_bytes()]);
            assert!(rows.escape_ascii().to_string().contains(&format!("k:{round:05}")), "{}", rows.escape_ascii());
            assert_eq!(wire.say("EXISTS k none"), ":1\\r\\n");
        }
    }
    assert_eq!(wires[1].say("FLUSHALL"), "+OK\\r\\n");
    wires.iter_mut().for_each(|wire| assert_eq!(wire.say("DBSIZE"), ":0\\r\\n"));
    cluster.finish();
}

#[test]
fn pipelines_keep_their_order_at_each_replica() {
    let _watchdog = Watchdog::minutes(5, "pipelines_keep_their_order_at_each_replica");
    let cluster = Cluster::start(SMALL);
    std::thread::scope(|scope| {
        for replica in REPLICAS {
            let mut wire = cluster.wire(replica);
            scope.spawn(move || {
                for round in 0..40 {
                    let key = format!("p:{replica}");
                    let lines: Vec<String> = (0..50)
                        .flat_map(|number| {
                            [
                                format!("SET {key} {round}.{number}"),
                                format!("GET {key}"),
                                format!("APPEND {key} +"),
                                format!("MGET {key} {key}:none"),
                                format!("STRLEN {key}"),
                            ]
                        })
                        .collect();
                    wire.send(&pipeline(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
                    for number in 0..50 {
                        let value = format!("{round}.{number}");
                        let (len, longer) = (value.len(), value.len() + 1);
                        assert_eq!(wire.reply(), b"+OK\r\n");
                        assert_eq!(wire.reply(), format!("${len}\r\n{value}\r\n").as_bytes());
                        assert_eq!(wire.reply(), format!(":{longer}\r\n").as_bytes());
                        assert_eq!(wire.reply(), format!("*2\r\n${longer}\r\n{value}+\r\n$-1\r\n").as_bytes());
                        assert_eq!(wire.reply(), format!(":{longer}\r\n").as_bytes());
                    }
                }
            });
        }
    });
    cluster.finish();
}

#[test]
fn increments_from_all_sides_are_executed_once() {
    let _watchdog = Watchdog::minutes(5, "increments_from_all_sides_are_executed_once");
    const CLIENTS: usize = 12;
    const INCREMENTS: usize = 150;
    let cluster = Cluster::start(SMALL);
    let answers: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut wire = cluster.wire(REPLICAS[client % 3]);
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    while answers.len() < INCREMENTS {
                        (0..10).for_each(|_| wire.send(&request(&[b"INCR", b"n"])));
                        for _ in 0..10 {
                            let reply = String::from_utf8(wire.reply()).unwrap();
                            answers.push(reply.trim_start_matches(':').trim_end().parse().unwrap());
                        }
                    }
                    assert!(answers.is_sorted(), "a client's increments are executed in its order: {answers:?}");
                    answers
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let all = (CLIENTS * INCREMENTS) as u64;
    assert_eq!(BTreeSet::from_iter(answers), (1..=all).collect());
    for mut wire in wires(&cluster) {
        assert_eq!(wire.say("INCRBY n 0"), format!(":{all}\\r\\n"));
    }
    cluster.finish();
}

#[test]
fn transactions_are_whole_and_watched_keys_are_those_of_all_replicas() {
    let _watchdog = Watchdog::minutes(5, "transactions_are_whole_and_watched_keys_are_those_of_all_replicas");
    let cluster = Cluster::start(SMALL);
    let [one, two, three] = &mut wires(&cluster)[..] else { panic!("three") };
    // Watched at one replica, written at another.
    assert_eq!(one.say("SET a 1"), "+OK\\r\\n");
    assert_eq!(two.say("WATCH a"), "+OK\\r\\n");
    assert_eq!(two.say("GET a"), "$1\\r\\n1\\r\\n");
    assert_eq!(three.say("SET a 2"), "+OK\\r\\n");
    two.send(&pipeline(&["MULTI", "SET a 3", "EXEC"]));
    let replies: Vec<String> = (0..3).map(|_| two.reply().escape_ascii().to_string()).collect();
    assert_eq!(replies, ["+OK\\r\\n", "+QUEUED\\r\\n", "*-1\\r\\n"]);
    assert_eq!(two.say("WATCH a"), "+OK\\r\\n");
    two.send(&pipeline(&["MULTI", "SET a 3", "GET a", "EXEC"]));
    let replies: Vec<String> = (0..4).map(|_| two.reply().escape_ascii().to_string()).collect();
    assert_eq!(replies[3], "*2\\r\\n+OK\\r\\n$1\\r\\n3\\r\\n");
    assert_eq!(one.say("GET a"), "$1\\r\\n3\\r\\n");
    // Money that is moved about at all replicas is neither made nor lost, whenever somebody looks.
    assert_eq!(one.say("MSET x 500 y 500"), "+OK\\r\\n");
    std::thread::scope(|scope| {
        for replica in REPLICAS {
            let (mut mover, mut reader) = (cluster.wire(replica), cluster.wire(replica));
            scope.spawn(move || {
                for _ in 0..100 {
                    mover.send(&pipeline(&["MULTI", "DECRBY x 3", "INCRBY y 3", "EXEC"]));
                    (0..4).for_each(|_| assert_ne!(mover.reply()[0], b'-'));
                }
            });
            scope.spawn(move || {
                for _ in 0..100 {
                    let reply = String::from_utf8(reader.call(&[b"MGET", b"x", b"y"])).unwrap();
                    let sum: i64 = reply.lines().filter(|line| !line.starts_with(['*', '$'])).map(parsed).sum();
                    assert_eq!(sum, 1000, "{reply}");
                }
            });
        }
    });
    for wire in [one, two, three] {
        assert_eq!(wire.say("MGET x y"), "*2\\r\\n$4\\r\\n-400\\r\\n$4\\r\\n1400\\r\\n");
    }
    cluster.finish();
}

#[test]
fn keys_expire_at_all_replicas() {
    let _watchdog = Watchdog::minutes(5, "keys_expire_at_all_replicas");
    let cluster = Cluster::start(SMALL);
    let mut wires = wires(&cluster);
    for number in 0..30 {
        assert_eq!(wires[number % 3].say(&format!("SET e:{number} v PX 1")), "+OK\\r\\n");
        assert_eq!(wires[number % 3].say(&format!("SET s:{number} v EX 1000")), "+OK\\r\\n");
    }
    for replica in REPLICAS {
        let count = || cluster.wire(replica).say("DBSIZE");
        wait_until("expired keys to go", || count() == ":30\\r\\n", count);
        let ttl: i64 = wires[replica - 1].say("TTL s:7").trim_matches([':', '\\', 'r', 'n']).parse().unwrap();
        assert!((900..=1000).contains(&ttl), "{ttl}");
        assert_eq!(wires[replica - 1].say("GET e:7"), "$-1\\r\\n");
    }
    cluster.finish();
}

fn parsed(line: &str) -> i64 {
    line.parse().unwrap()
}

#[test]
fn a_scan_at_any_replica_sees_all_that_stays() {
    let _watchdog = Watchdog::minutes(5, "a_scan_at_any_replica_sees_all_that_stays");
    const STAYING: usize = 1500;
    let cluster = Cluster::start(SMALL);
    let mut wires = wires(&cluster);
    let lines: Vec<String> = (0..STAYING).map(|number| format!("SET stays:{number:04} v")).collect();
    wires[0].send(&pipeline(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    (0..STAYING).for_each(|_| assert_eq!(wires[0].reply(), b"+OK\r\n"));
    let (scanners, [.., writer]) = wires.split_at_mut(2) else { panic!("three") };
    std::thread::scope(|scope| {
        for scanner in scanners {
            scope.spawn(move || {
                let (mut cursor, mut found) = ("0".to_string(), BTreeSet::new());
                loop {
                    let reply =
                        String::from_utf8(scanner.call(&[b"SCAN", cursor.as_bytes(), b"COUNT", b"100"])).unwrap();
                    let mut lines = reply.lines().filter(|line| !line.starts_with(['*', '$']));
                    cursor = lines.next().unwrap().to_string();
                    found.extend(lines.filter(|line| line.starts_with("stays:")).map(String::from));
                    if cursor == "0" {
                        break;
                    }
                }
                assert_eq!(found.len(), STAYING);
            });
        }
        scope.spawn(move || {
            for number in 0..200 {
                assert_eq!(writer.say(&format!("SET goes:{number} v")), "+OK\\r\\n");
                assert_eq!(writer.say(&format!("DEL goes:{number}")), ":1\\r\\n");
            }
        });
    });
    cluster.finish();
}

#[test]
fn a_value_of_the_longest_kind_gets_everywhere() {
    let _watchdog = Watchdog::minutes(5, "a_value_of_the_longest_kind_gets_everywhere");
    let cluster = Cluster::start(SMALL);
    let mut wires = wires(&cluster);
    // As long as can be, and such that no compression helps.
    let mut state = 1_u64;
    let any_byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let value: Vec<u8> = (0..1 << 20).map(any_byte).collect();
    for round in 0..6 {
        let (writer, key) = (round % 3, format!("long:{round}"));
        assert_eq!(wires[writer].call(&[b"SET", key.as_bytes(), &value]), b"+OK\r\n");
        let expected = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
        wires.iter_mut().for_each(|wire| assert!(wire.call(&[b"GET", key.as_bytes()]) == expected));
    }
    cluster.finish();
}
