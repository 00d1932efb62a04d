//! What is not the protocol, or not in its spirit.

use super::{attack, noise};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use skink_tests::wire::{pipeline, request};
use skink_tests::{Server, Watchdog, Wire, seed};
use std::io::Write;

#[test]
fn garbage_gets_an_error_and_the_connections_end() {
    let test = "garbage_gets_an_error_and_the_connections_end";
    let _watchdog = Watchdog::minutes(5, test);
    let mut server = Server::start(&[]);
    attack(&mut server, |server| {
        let cases: &[&[u8]] = &[
            b"*1000000000\r\n",
            b"*9223372036854775807\r\n",
            b"*99999999999999999999\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*1\r\n$-5\r\n",
            b"*2\r\n$3\r\nGET\r\n$1000000000\r\n",
            b"*2\r\n$3\r\nGET\r\n:5\r\n",
            b"*1\r\n$4\r\nPINGxx",
            b"*1\r\n*1\r\n*1\r\n*1\r\n",
            b"*x\r\n",
            b"*1\n$4\nPING\n",
            b"GET \"unbalanced\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$17825793\r\n",
        ];
        for case in cases {
            let mut wire = server.wire();
            wire.send(case);
            let rest = wire.rest();
            assert!(rest.starts_with(b"-ERR Protocol error"), "{}: {}", case.escape_ascii(), rest.escape_ascii());
            assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count(), 1, "{}", rest.escape_ascii());
        }
        // Answers to what came before it come first.
        let mut wire = server.wire();
        wire.send(&[pipeline(&["SET a 1", "GET a", "INCR a"]), b"*1\r\n!".to_vec()].concat());
        assert!(wire.rest().starts_with(b"+OK\r\n$1\r\n1\r\n:2\r\n-ERR Protocol error"));
        // Nothing at all, nothing much.
        let mut wire = server.wire();
        wire.send(b"\r\n\r\n*0\r\n*-1\r\n   \r\nPING\r\n");
        assert_eq!(wire.reply(), b"+PONG\r\n");
    });
    let mut random = StdRng::seed_from_u64(seed(test));
    attack(&mut server, |server| {
        let valid = pipeline(&["SET k v", "GET k", "MULTI", "INCR n", "EXEC", "SCAN 0", "STATEMENT COUNT", "KEYS *"]);
        for _ in 0..300 {
            let mut bytes = valid.repeat(3);
            match random.random_range(0..3) {
                0 => random.fill_bytes(&mut bytes),
                1 => (0..random.random_range(1..9)).for_each(|_| {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }),
                _ => bytes.truncate(random.random_range(0..bytes.len())),
            }
            let mut wire = server.wire();
            // It may have had enough before all is sent.
            if wire.try_send(&bytes).is_ok() {
                let _ = wire.stream().shutdown(std::net::Shutdown::Write);
                wire.rest();
            }
        }
    });
}

#[test]
fn endless_lines_and_arguments_come_to_an_end() {
    let _watchdog = Watchdog::minutes(5, "endless_lines_and_arguments_come_to_an_end");
    let mut server = Server::start(&[]);
    let before = server.anonymous_memory();
    attack(&mut server, |server| {
        let endless: [(&[u8], &[u8], usize); 3] = [
            (b"", &[b'x'; 4096], 1 << 20),
            // Requests and arguments without an end.
            (b"*1048576\r\n", b"$1\r\nx\r\n", 64 << 20),
            (b"*1048576\r\n", &[b"$60000\r\n".as_slice(), &[b'x'; 60_000], b"\r\n"].concat(), 128 << 20),
        ];
        for (start, piece, max) in endless {
            let mut wire = server.wire();
            wire.send(start);
            let mut sender = wire.stream().try_clone().unwrap();
            let pieces = piece.repeat((64 << 10) / piece.len() + 1);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    // It may have had enough before all is sent.
                    (0..max / pieces.len()).take_while(|_| sender.write_all(&pieces).is_ok()).count();
                    let _ = sender.shutdown(std::net::Shutdown::Write);
                });
                let rest = wire.rest();
                let shown = &rest[..rest.len().min(200)];
                assert!(rest.is_empty() || rest.starts_with(b"-ERR "), "{}", shown.escape_ascii());
            });
            let memory = server.anonymous_memory();
            assert!(memory < before + (400 << 20), "{} MiB", memory >> 20);
        }
    });
}

#[test]
fn a_slow_client_is_served_and_holds_up_nobody() {
    let _watchdog = Watchdog::minutes(5, "a_slow_client_is_served_and_holds_up_nobody");
    let mut server = Server::start(&["--io-threads", "1"]);
    attack(&mut server, |server| {
        let mut wires: Vec<Wire> = (0..20).map(|_| server.wire()).collect();
        let bytes =
            [pipeline(&["SET slow v", "GET slow", "MULTI", "GET slow", "EXEC"]), b"GET slow\r\n".to_vec()].concat();
        for byte in bytes {
            wires.iter_mut().for_each(|wire| wire.send(&[byte]));
        }
        for mut wire in wires {
            wire.finish();
            let expected = "+OK\r\n$1\r\nv\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n$1\r\nv\r\n";
            assert_eq!(String::from_utf8_lossy(&wire.rest()), expected);
        }
    });
}

#[test]
fn a_thousand_connections_are_served() {
    let _watchdog = Watchdog::minutes(5, "a_thousand_connections_are_served");
    let mut server = Server::start(&[]);
    let before = server.anonymous_memory();
    // Both sides need files; a test that may not have so many takes fewer.
    let count = match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(limit) => (limit.saturating_sub(200) / 2).min(1000),
        None => 1000,
    };
    attack(&mut server, |server| {
        let mut wires: Vec<Wire> = (0..count).map(|_| server.wire()).collect();
        for round in 0..3 {
            wires.iter_mut().for_each(|wire| wire.send(&pipeline(&["INCR n", "GET other"])));
            let mut numbers: Vec<u64> = wires
                .iter_mut()
                .map(|wire| {
                    let number = String::from_utf8(wire.reply()).unwrap();
                    wire.reply();
                    number.trim_start_matches(':').trim_end().parse().unwrap()
                })
                .collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(round * count + 1..=(round + 1) * count));
        }
        let memory = server.anonymous_memory();
        assert!(memory < before + (100 << 20), "{} MiB", memory >> 20);
        // Half of them go without a word, the others in the middle of one.
        for wire in wires.iter_mut().step_by(2) {
            wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$100\r\nhalf");
        }
    });
    server.wait_for_info("connected_clients", |clients| clients < 5);
}

#[test]
fn a_pipeline_of_a_hundred_thousand_commands_is_answered_in_order() {
    let _watchdog = Watchdog::minutes(5, "a_pipeline_of_a_hundred_thousand_commands_is_answered_in_order");
    let mut server = Server::start(&[]);
    attack(&mut server, |server| {
        let mut wire = server.wire();
        let mut sender = wire.stream().try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let pair = pipeline(&["INCR n", "GET n"]);
                sender.write_all(&pair.repeat(50_000)).unwrap();
            });
            for number in 1..=50_000 {
                let text = number.to_string();
                assert_eq!(wire.reply(), format!(":{text}\r\n").as_bytes());
                assert_eq!(wire.reply(), format!("${}\r\n{text}\r\n", text.len()).as_bytes());
            }
        });
    });
}

#[test]
fn deep_and_long_statements_are_errors_or_work() {
    let _watchdog = Watchdog::minutes(5, "deep_and_long_statements_are_errors_or_work");
    let mut server = Server::start(&[]);
    attack(&mut server, |server| {
        let mut wire = server.wire();
        let deep = [
            "BEGIN; ".repeat(60_000),
            "EXPLAIN ".repeat(500_000) + "READ 'k'",
            "(".repeat(1_000_000),
            "'".repeat(1_000_001),
            ";".repeat(1_000_000) + "x",
            "READ ".repeat(1_000_000),
            "READ WHERE ".to_string() + &"KEY LIKE '%' AND ".repeat(100_000),
            "--".repeat(1_000_000) + "\nx",
            "/*".repeat(500_000),
            format!("READ 'k{}'", "%".repeat(5000)),
            format!("INCREMENT 'k' BY {}", "9".repeat(1_000_000)),
            "COUNT;".repeat(70_000),
        ];
        for text in deep {
            let reply = wire.call(&[b"STATEMENT", text.as_bytes()]);
            let shown = &reply[..reply.len().min(200)];
            assert!(reply[0] == b'-' && reply.len() < 4096, "{}...: {}", &text[..30], shown.escape_ascii());
        }
        // Patterns that could take for ever.
        wire.call(&[b"SET", &[b'a'; 4000], b"v"]);
        let stars = "a*".repeat(2000) + "b";
        assert_eq!(wire.call(&[b"KEYS", stars.as_bytes()]), b"*0\r\n");
        let text = format!("COUNT WHERE KEY LIKE '{}b'", "a%".repeat(2000));
        assert_eq!(wire.call(&[b"STATEMENT", text.as_bytes()]), b":0\r\n");
        assert_eq!(wire.call(&[b"KEYS", &[b'['; 100_000]]), b"*0\r\n");
        // As many as are allowed.
        let text = "UPSERT 'k' = 'v';".repeat(65_536);
        let reply = wire.call(&[b"STATEMENT", text.as_bytes()]);
        assert!(reply.starts_with(b"*65536\r\n+OK\r\n") && reply.ends_with(b"+OK\r\n"));
        let text = format!("BEGIN; {} COMMIT", "INCREMENT 'n';".repeat(60_000));
        let reply = wire.call(&[b"STATEMENT", text.as_bytes()]);
        assert!(reply.starts_with(b"*60000\r\n:1\r\n") && reply.ends_with(b":60000\r\n"));
    });
}

#[test]
fn long_conditions_and_watched_keys_do_not_overflow_the_log() {
    let _watchdog = Watchdog::minutes(5, "long_conditions_and_watched_keys_do_not_overflow_the_log");
    let mut server = Server::start(&["--log-file-mb", "18"]);
    attack(&mut server, |server| {
        let value = noise(12 << 20, 5);
        let mut wire = server.wire();
        assert_eq!(wire.say("SET k v"), "+OK\\r\\n");
        for _ in 0..4 {
            wire.send(&request(&[b"UPDATE", b"k", b"w", b"IFVALUE", &value]));
            wire.send(&request(&[b"DELETE", b"k", b"IFVALUE", &value]));
        }
        for _ in 0..8 {
            assert!(wire.reply().starts_with(b"-CONDITIONFAILED"));
        }
        // Both at once are more than a log file.
        // It may have had enough before all is sent, and says so.
        let _ = wire.try_send(&request(&[b"UPDATE", b"k", &value, b"IFVALUE", &value]));
        let reply = wire.try_reply();
        assert!(reply.as_ref().is_ok_and(|reply| reply.starts_with(b"-ERR ")), "{reply:?}");
        // More keys than a log file holds.
        let mut wire = server.wire();
        for number in 0..6000 {
            let key = [format!("{number}:").as_bytes(), &value[..4000]].concat();
            wire.send(&request(&[b"WATCH", &key]));
        }
        (0..6000).for_each(|_| assert_eq!(wire.reply(), b"+OK\r\n"));
        wire.send(&pipeline(&["MULTI", "SET k v", "EXEC", "PING"]));
        let replies: Vec<Vec<u8>> = (0..4).map(|_| wire.reply()).collect();
        assert!(replies[2].starts_with(b"-ERR "), "{}", replies[2].escape_ascii());
        // Many short keys, each of which has an entry in the header.
        let keys: Vec<Vec<u8>> = (0..65_000_u32).map(|number| number.to_be_bytes()[1..].to_vec()).collect();
        for _ in 0..5 {
            let words: Vec<&[u8]> = [b"DEL".as_slice()].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
            wire.send(&request(&words));
        }
        (0..5).for_each(|_| assert_eq!(wire.reply(), b":0\r\n"));
    });
    server.kill9();
    server.restart();
    server.assert_verifies();
}
