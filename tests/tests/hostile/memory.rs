//! Clients that ask for much, and what the server takes for them.

use super::{attack, noise};
use skink_tests::wire::{pipeline, request};
use skink_tests::{Server, Watchdog};
use std::time::Duration;

/// What one connection may cost at most, with all that it can make the server hold at the same time.
const MOST: u64 = 300 << 20;

/// Sends from a thread, as much as the server takes, while the memory is looked at; nothing is read.
fn flood(server: &Server, bytes: &[u8]) {
    let before = server.anonymous_memory();
    let wire = server.wire();
    let mut sender = wire.stream().try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            use std::io::Write;
            // It ends when the connection is shut down.
            let _ = sender.write_all(bytes);
        });
        for _ in 0..60 {
            let memory = server.anonymous_memory();
            if memory >= before + MOST {
                let _ = wire.stream().shutdown(std::net::Shutdown::Both);
            }
            assert!(memory < before + MOST, "{} MiB more than {}", (memory - before) >> 20, before >> 20);
            std::thread::sleep(Duration::from_millis(20));
        }
        wire.stream().shutdown(std::net::Shutdown::Both).unwrap();
    });
}

#[test]
fn a_client_that_never_reads_costs_little() {
    let _watchdog = Watchdog::minutes(5, "a_client_that_never_reads_costs_little");
    let mut server = Server::start(&[]);
    let value = noise(1 << 20, 9);
    assert_eq!(server.wire().call(&[b"SET", b"big", &value]), b"+OK\r\n");
    attack(&mut server, |server| {
        // Reads that are answered at once, and reads behind a write, which are answered together.
        flood(server, &pipeline(&["GET big"]).repeat(4000));
        flood(server, &[pipeline(&["SET k v"]), pipeline(&["GET big"]).repeat(4000)].concat());
        flood(server, &pipeline(&["SET k v", "GET big"]).repeat(2000));
        flood(server, &pipeline(&["SET big2 v GET", "GETEX big EX 1000"]).repeat(2000));
        flood(server, &pipeline(&["PING"]).repeat(1_000_000));
        flood(server, &request(&[b"ECHO", &value]).repeat(100));
        flood(server, &[pipeline(&["SET k v"]), request(&[b"ECHO", &value]).repeat(200)].concat());
        flood(server, &pipeline(&["COMMAND DOCS"]).repeat(20_000));
        flood(server, &pipeline(&["INCR n"]).repeat(300_000));
    });
}

#[test]
fn one_reply_that_is_too_long_is_an_error() {
    let _watchdog = Watchdog::minutes(5, "one_reply_that_is_too_long_is_an_error");
    let mut server = Server::start(&[]);
    let value = noise(1 << 20, 9);
    assert_eq!(server.wire().call(&[b"SET", b"big", &value]), b"+OK\r\n");
    attack(&mut server, |server| {
        let many: Vec<&[u8]> = [b"MGET".as_slice()].into_iter().chain((0..2000).map(|_| b"big".as_slice())).collect();
        flood(server, &request(&many));
        flood(server, &[pipeline(&["SET k v"]), request(&many)].concat());
        let reads = pipeline(&["GET big"]).repeat(2000);
        flood(server, &[pipeline(&["MULTI"]), reads.clone(), pipeline(&["EXEC"])].concat());
        flood(server, &[pipeline(&["MULTI", "SET k v"]), reads, pipeline(&["EXEC"])].concat());
        let text = format!("BEGIN; {} COMMIT", "READ 'big';".repeat(2000));
        flood(server, &request(&[b"STATEMENT", text.as_bytes()]));
        let text = "READ 'big';".repeat(2000);
        flood(server, &request(&[b"STATEMENT", text.as_bytes()]));
    });
}

#[test]
fn a_transaction_that_is_never_executed_costs_little() {
    let _watchdog = Watchdog::minutes(5, "a_transaction_that_is_never_executed_costs_little");
    let mut server = Server::start(&[]);
    let value = noise(15 << 20, 9);
    attack(&mut server, |server| {
        let before = server.anonymous_memory();
        let long = request(&[b"ECHO", &value]);
        let mut spoiled = server.wire();
        spoiled.send(&pipeline(&["MULTI", "NONSENSE"]));
        // Short commands among long ones, so that each may hold the memory that the long one was read into.
        for _ in 0..40 {
            spoiled.send(&[pipeline(&["SET k v"]), long.clone()].concat());
        }
        (0..82).for_each(|_| drop(spoiled.reply()));
        let memory = server.anonymous_memory();
        assert!(memory < before + MOST, "{} MiB more than {}", (memory - before) >> 20, before >> 20);
        let mut watching = server.wire();
        for number in 0..40 {
            watching.send(&[pipeline(&[&format!("WATCH {number}")]), long.clone()].concat());
            (0..2).for_each(|_| drop(watching.reply()));
        }
        let memory = server.anonymous_memory();
        assert!(memory < before + MOST, "{} MiB more than {}", (memory - before) >> 20, before >> 20);
        let mut queued = server.wire();
        queued.send(&pipeline(&["MULTI"]));
        for _ in 0..40 {
            // Not a mistake in a transaction, as in Redis.
            queued.send(&[pipeline(&["SET k v"]), request(&[b"WATCH", &value])].concat());
        }
        (0..81).for_each(|_| drop(queued.reply()));
        let memory = server.anonymous_memory();
        assert!(memory < before + MOST, "{} MiB more than {}", (memory - before) >> 20, before >> 20);
    });
}
