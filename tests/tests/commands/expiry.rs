//! Keys that end by themselves.

use super::{check, say};
use skink_tests::{Server, Watchdog};
use std::time::{Duration, Instant};

#[test]
fn keys_expire_and_are_swept() {
    let _watchdog = Watchdog::minutes(5, "keys_expire_and_are_swept");
    let mut server = Server::start(&[]);
    let mut connection = server.connect();
    let mut pipe = redis::pipe();
    for number in 0..2000 {
        pipe.cmd("SET").arg(format!("ends:{number}")).arg("v").arg("PX").arg(300).ignore();
    }
    pipe.cmd("MSET").arg("stays").arg("v").arg("later").arg("v").ignore();
    pipe.cmd("EXPIRE").arg("later").arg(1000).ignore();
    pipe.exec(&mut connection).unwrap();
    let asked = Instant::now();
    while say(&mut connection, "DBSIZE") != ":2" {
        assert!(asked.elapsed() < Duration::from_secs(60), "DBSIZE {}", say(&mut connection, "DBSIZE"));
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = [("GET ends:7", "nil"), ("TTL ends:7", ":-2"), ("GET stays", "\"v\""), ("STATEMENT COUNT", ":2")];
    check(&mut connection, &after);
    // What a kill leaves has expired at the start too.
    check(&mut connection, &[("SET soon v PX 50", "+OK"), ("SET later v EX 1000", "+OK")]);
    server.kill9();
    std::thread::sleep(Duration::from_millis(60));
    server.restart();
    let mut connection = server.connect();
    check(&mut connection, &[("GET soon", "nil"), ("EXISTS soon stays later", ":2")]);
    let left: i64 = redis::cmd("TTL").arg("later").query(&mut connection).unwrap();
    assert!((1..=1000).contains(&left), "{left}");
}

#[test]
fn an_expired_key_is_gone_for_every_command() {
    let _watchdog = Watchdog::minutes(5, "an_expired_key_is_gone_for_every_command");
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let dialogue = [
        ("GET k", "nil"),
        ("GETDEL k", "nil"),
        ("GETEX k EX 100", "nil"),
        ("EXISTS k", ":0"),
        ("TYPE k", "+none"),
        ("STRLEN k", ":0"),
        ("GETRANGE k 0 -1", "\"\""),
        ("DEL k", ":0"),
        ("EXPIRE k 100", ":0"),
        ("PERSIST k", ":0"),
        ("SET k w XX", "nil"),
        ("UPDATE k w", "-NOTFOUND ..."),
        ("DELETE k", ":0"),
        ("KEYS *", "[]"),
        ("SCAN 0 COUNT 1000", "[\"0\" []]"),
        ("INCR k", ":1"),
        ("APPEND k x", ":1"),
        ("SETRANGE k 1 x", ":2"),
        ("SETNX k w", ":1"),
        ("CREATE k w", "+OK"),
        ("MSETNX k w", ":1"),
        ("GETSET k w", "nil"),
    ];
    for (line, reply) in dialogue {
        check(&mut connection, &[("SET k 5 PX 1", "+OK")]);
        std::thread::sleep(Duration::from_millis(5));
        check(&mut connection, &[(line, reply)]);
        // What was made anew does not inherit the expiry.
        if !say(&mut connection, "EXISTS k").ends_with('0') {
            check(&mut connection, &[("TTL k", ":-1")]);
        }
        check(&mut connection, &[("FLUSHALL", "+OK")]);
    }
}
