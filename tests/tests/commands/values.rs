//! Values up to the longest, of any bytes.

use super::{say, send};
use redis::Value;
use skink_tests::wire::request;
use skink_tests::{Server, Watchdog};

const MAX: usize = 16 << 20;

/// Bytes that don't compress and differ from place to place.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn the_longest_value_is_kept_and_a_longer_one_refused() {
    let _watchdog = Watchdog::minutes(5, "the_longest_value_is_kept_and_a_longer_one_refused");
    let mut server = Server::start(&[]);
    let mut connection = server.connect_resp3();
    let value = noise(MAX + 1, 7);
    let too_long = "-ERR ";
    for (key, len) in [("small", 1), ("medium", 100_000), ("large", MAX - 1), ("max", MAX)] {
        assert_eq!(send(&mut connection, &[b"SET", key.as_bytes(), &value[..len]]), "+OK", "{len}");
    }
    for words in [
        &[&b"SET"[..], b"max", &value[..]][..],
        &[b"SETRANGE", b"max", b"16777216", b"x"],
        &[b"SETRANGE", b"max", b"9223372036854775807", b"x"],
        &[b"SETRANGE", b"new", b"536870911", b"x"],
        &[b"APPEND", b"max", b"x"],
        &[b"MSET", b"small", b"new", b"max", &value[..]],
        &[b"CREATE", b"new", &value[..]],
    ] {
        let reply = send(&mut connection, words);
        assert!(
            reply.starts_with(too_long),
            "{:?}: {}",
            words[0].escape_ascii().to_string(),
            &reply[..reply.len().min(99)]
        );
    }
    for round in 0..2 {
        let got: Vec<u8> = redis::cmd("GET").arg("max").query(&mut connection).unwrap();
        assert!(got == value[..MAX], "round {round}");
        let got: Vec<Vec<u8>> = redis::cmd("MGET").arg(&["large", "small", "medium"]).query(&mut connection).unwrap();
        assert!(got[0] == value[..MAX - 1] && got[1] == value[..1] && got[2] == value[..100_000]);
        assert_eq!(say(&mut connection, "EXISTS new"), ":0");
        server.kill9();
        server.restart();
        connection = server.connect();
    }
    server.assert_verifies();
}

#[test]
fn the_longest_value_fits_the_smallest_log_files_that_are_accepted_for_it() {
    let _watchdog = Watchdog::minutes(5, "the_longest_value_fits_the_smallest_log_files_that_are_accepted_for_it");
    let folder = tempfile::tempdir().unwrap();
    let mut accepted = 0;
    for (log_file_mb, max_value_mb) in [("1", "1"), ("2", "1"), ("3", "1"), ("5", "4")] {
        let data = folder.path().join(format!("{log_file_mb}-{max_value_mb}"));
        let options = ["--log-file-mb", log_file_mb, "--max-value-mb", max_value_mb];
        let mut server = match Server::try_on(&data, &options) {
            Ok(server) => server,
            Err(refusal) => {
                assert!(refusal.text.contains("--log-file-mb"), "{}", refusal.text);
                continue;
            }
        };
        accepted += 1;
        let value = noise(max_value_mb.parse::<usize>().unwrap() << 20, 3);
        let key = [b'k'; 4096];
        let mut wire = server.wire();
        assert_eq!(wire.call(&[b"SET", b"k", &value]), b"+OK\r\n", "{options:?}");
        // Small ones and long ones, from several connections, so that they share batches.
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut wire = server.wire();
                    for round in 0..2 {
                        for len in [10_usize, value.len() - 100_000, 1000, value.len(), value.len() / 2, value.len()] {
                            wire.send(&request(&[b"SET", &key, &value[..len]]));
                            wire.send(&request(&[b"SET", format!("key{round}").as_bytes(), &value[..len / 2]]));
                        }
                        for _ in 0..12 {
                            assert_eq!(wire.reply(), b"+OK\r\n", "{options:?}");
                        }
                    }
                });
            }
        });
        server.kill9();
        server.restart();
        assert!(server.wire().call(&[b"GET", &key]).ends_with(&[&value[..], b"\r\n"].concat()), "{options:?}");
    }
    assert!(accepted > 1);
}

#[test]
fn keys_and_values_are_any_bytes() {
    let _watchdog = Watchdog::minutes(5, "keys_and_values_are_any_bytes");
    let mut server = Server::start(&[]);
    let mut connection = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    let keys: [&[u8]; 8] = [b"", b"\0", b"\r\n", b"$5\r\nhello\r\n", b"*1\r\n", &all, b"\xff\xfe", &[b'k'; 4096]];
    for (number, key) in keys.into_iter().enumerate() {
        let value = [key, &all, &[number as u8]].concat();
        assert_eq!(send(&mut connection, &[b"SET", key, &value]), "+OK");
    }
    let too_long = [b'k'; 4097];
    for words in
        [&[&b"SET"[..], &too_long, b"v"][..], &[b"GET", &too_long], &[b"DEL", &too_long], &[b"MGET", b"a", &too_long]]
    {
        assert!(send(&mut connection, words).starts_with("-ERR "), "{:?}", words[0]);
    }
    assert!(send(&mut connection, &[b"WATCH", &too_long]).starts_with("-ERR "));
    for _ in 0..2 {
        for (number, key) in keys.into_iter().enumerate() {
            let value: Vec<u8> = redis::cmd("GET").arg(key).query(&mut connection).unwrap();
            assert!(value == [key, &all, &[number as u8]].concat(), "{key:?}");
        }
        let mut found: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        found.sort();
        let mut expected = keys.map(<[u8]>::to_vec).to_vec();
        expected.sort();
        assert!(found == expected);
        server.stop();
        server.restart();
        connection = server.connect();
    }
    let deleted: Value = redis::cmd("DEL").arg(&keys[..]).query(&mut connection).unwrap();
    assert_eq!(deleted, Value::Int(8));
}
