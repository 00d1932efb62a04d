//! The order of one connection's commands, and what others see of it.

use skink_tests::wire::{pipeline, request};
use skink_tests::{Server, Watchdog};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_pipeline_takes_effect_in_its_order() {
    let _watchdog = Watchdog::minutes(5, "a_pipeline_takes_effect_in_its_order");
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg("k").arg(1).cmd("GET").arg("k").cmd("SET").arg("k").arg(2).cmd("GET").arg("k");
    let replies: (String, i64, String, i64) = pipe.query(&mut connection).unwrap();
    assert_eq!(replies, ("OK".into(), 1, "OK".into(), 2));

    // Reads of all kinds behind writes, and requests that are not the engine's between them.
    let mut pipe = redis::pipe();
    let mut expected = Vec::new();
    for number in 0..3000_i64 {
        let key = format!("k{}", number % 7);
        pipe.cmd("SET").arg(&key).arg(number).ignore();
        match number % 5 {
            0 => pipe.cmd("GET").arg(&key),
            1 => pipe.cmd("INCRBY").arg(&key).arg(0),
            2 => pipe.cmd("ECHO").arg(number),
            3 => pipe.cmd("GETRANGE").arg(&key).arg(0).arg(-1),
            _ => pipe.cmd("GETEX").arg(&key).arg("EX").arg(1000),
        };
        expected.push(number);
    }
    let replies: Vec<i64> = pipe.query(&mut connection).unwrap();
    assert_eq!(replies, expected);
}

#[test]
fn reads_over_all_keys_and_checkpoints_keep_their_place_in_a_pipeline() {
    let _watchdog = Watchdog::minutes(5, "reads_over_all_keys_and_checkpoints_keep_their_place_in_a_pipeline");
    let server = Server::start(&[]);
    let mut wire = server.wire();
    let lines = [
        "SET a 1",
        "KEYS *",
        "SET b 1",
        "DBSIZE",
        "SCAN 0 COUNT 1000 MATCH b",
        "DEL a",
        "CHECKPOINT",
        "KEYS *",
        "FLUSHALL",
        "DBSIZE",
        "SET c 1",
        "STATEMENT COUNT",
        "WATCH c",
        "GET c",
        "WAIT 0 1",
        "PING",
    ];
    let expected = "+OK|*1,$1,a|+OK|:2|*2,$1,0,*1,$1,b|:1|+OK|*1,$1,b|+OK|:0|+OK|:1|+OK|$1,1|:0|+PONG";
    for _ in 0..5 {
        wire.send(&pipeline(&lines));
        let replies: Vec<String> =
            lines.iter().map(|_| String::from_utf8(wire.reply()).unwrap().trim_end().replace("\r\n", ",")).collect();
        assert_eq!(replies.join("|"), expected);
        wire.say("FLUSHALL");
    }
}

#[test]
fn a_change_of_the_protocols_version_keeps_its_place_in_a_pipeline() {
    let _watchdog = Watchdog::minutes(5, "a_change_of_the_protocols_version_keeps_its_place_in_a_pipeline");
    let server = Server::start(&[]);
    let mut wire = server.wire();
    for _ in 0..20 {
        wire.send(&pipeline(&["SET k v", "GETDEL none", "HELLO 3", "SET k w", "GETDEL none", "RESET", "GET none"]));
        let replies: Vec<Vec<u8>> = (0..7).map(|_| wire.reply()).collect();
        assert_eq!(replies[1], b"$-1\r\n", "asked in RESP2");
        assert_eq!(replies[2][0], b'%');
        assert_eq!(replies[4], b"_\r\n", "asked in RESP3");
        assert_eq!(replies[5], b"+RESET\r\n");
        assert_eq!(replies[6], b"$-1\r\n", "asked in RESP2 again");
    }
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answers() {
    let _watchdog = Watchdog::minutes(5, "a_client_that_has_finished_sending_gets_its_answers");
    let server = Server::start(&[]);
    for round in 0..20 {
        let mut wire = server.wire();
        wire.send(&pipeline(&["SET k v", "GET k", "CHECKPOINT", "INCR n"]));
        wire.finish();
        let expected = format!("+OK\r\n$1\r\nv\r\n+OK\r\n:{}\r\n", round + 1);
        assert_eq!(String::from_utf8_lossy(&wire.rest()), expected);
    }
}

#[test]
fn others_see_several_keys_change_at_once() {
    let _watchdog = Watchdog::minutes(5, "others_see_several_keys_change_at_once");
    let server = Server::start(&["--io-threads", "2"]);
    server.wire().say("MSET a 0 b 0 c 0");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut wire = server.wire();
            for number in 1..1500 {
                match number % 2 {
                    0 => assert_eq!(wire.say(&format!("MSET a {number} b {number} c {number}")), "+OK\\r\\n"),
                    _ => {
                        let (a, b, c) =
                            (format!("SET a {number}"), format!("SET b {number}"), format!("SET c {number}"));
                        wire.send(&pipeline(&["MULTI", &a, &b, &c, "EXEC"]));
                        (0..5).for_each(|_| drop(wire.reply()));
                    }
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            let mut wire = server.wire();
            while !is_over.load(Ordering::Relaxed) {
                let together = wire.say("MGET a b c");
                let parts: BTreeSet<&str> =
                    together.split("\\r\\n").filter(|part| !part.starts_with(['$', '*'])).collect();
                // The empty end and one value.
                assert_eq!(parts.len(), 2, "{together}");
                wire.send(&pipeline(&["MULTI", "GET a", "GET b", "GET c", "EXEC"]));
                (0..4).for_each(|_| drop(wire.reply()));
                let together = wire.reply().escape_ascii().to_string();
                let parts: BTreeSet<&str> =
                    together.split("\\r\\n").filter(|part| !part.starts_with(['$', '*'])).collect();
                assert_eq!(parts.len(), 2, "{together}");
            }
        });
    });
}

#[test]
fn a_scan_finds_every_key_that_stays() {
    let _watchdog = Watchdog::minutes(5, "a_scan_finds_every_key_that_stays");
    let server = Server::start(&["--io-threads", "2", "--segments", "16"]);
    let stays: BTreeSet<Vec<u8>> = (0..3000).map(|number| format!("stays:{number}").into_bytes()).collect();
    let mut wire = server.wire();
    for key in &stays {
        wire.send(&request(&[b"SET", key, b"v"]));
    }
    stays.iter().for_each(|_| assert_eq!(wire.reply(), b"+OK\r\n"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (server, is_over, stays) = (&server, &is_over, &stays);
        for writer in 0..2 {
            scope.spawn(move || {
                let mut wire = server.wire();
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    // Others come and go, and those that stay are written again.
                    let lines = [
                        format!("SET goes:{writer}:{number} v"),
                        format!("DEL goes:{writer}:{}", number - 50),
                        format!("SET stays:{} w", number % 3000),
                    ];
                    wire.send(&pipeline(&lines.each_ref().map(String::as_str)));
                    (0..3).for_each(|_| drop(wire.reply()));
                }
            });
        }
        for count in ["7", "100", "5000"] {
            let mut connection = server.connect();
            let (mut cursor, mut seen) = ("0".to_string(), BTreeSet::new());
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("COUNT").arg(count);
                let (next, keys): (String, Vec<Vec<u8>>) = scan.query(&mut connection).unwrap();
                seen.extend(keys.into_iter().filter(|key| key.starts_with(b"stays")));
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
            assert!(seen == *stays, "{} of {} keys with COUNT {count}", seen.len(), stays.len());
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
