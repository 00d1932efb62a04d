//! `kill -9` at any moment, under load: what was acknowledged is there, and `skink verify` is clean.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

#[path = "crash/client.rs"]
mod client;

use client::{Client, Mix};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::{Server, Watchdog, seed};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A counter that all clients increment.
const SHARED: &[u8] = b"shared";

/// Increments of the shared counter that were acknowledged, and those that may have happened.
#[derive(Default)]
struct Increments {
    acknowledged: AtomicU64,
    sent: AtomicU64,
}

/// Lets the clients load the server, some of them beside CHECKPOINT, and ends it as `end` does.
fn load(server: &mut Server, clients: &mut [Client], increments: &Increments, ms: u64, end: fn(&mut Server)) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (address, is_over) = (server.address().to_string(), &is_over);
        for client in clients {
            let address = address.clone();
            scope.spawn(move || client.run(&address));
        }
        let counted = address.clone();
        scope.spawn(move || {
            let Ok(mut wire) = skink_tests::Wire::try_connect(&counted) else { return };
            loop {
                increments.sent.fetch_add(1, Ordering::Relaxed);
                let sent = wire.try_send(&skink_tests::wire::request(&[b"INCR", SHARED]));
                match sent.and_then(|()| wire.try_reply()) {
                    Ok(reply) if reply[0] == b':' => increments.acknowledged.fetch_add(1, Ordering::Relaxed),
                    Ok(reply) => panic!("INCR: {}", reply.escape_ascii()),
                    Err(_) => return,
                };
            }
        });
        scope.spawn(move || {
            let Ok(mut wire) = skink_tests::Wire::try_connect(&address) else { return };
            while !is_over.load(Ordering::Relaxed) {
                if wire.try_send(b"CHECKPOINT\r\n").and_then(|()| wire.try_reply()).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        std::thread::sleep(Duration::from_millis(ms));
        end(server);
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Checks everything that the clients know, and the shared counter.
fn check(server: &Server, clients: &mut [Client], increments: &Increments) {
    let mut wire = server.wire();
    for client in clients {
        client.check(&mut wire);
    }
    let reply = String::from_utf8(wire.call(&[b"INCRBY", SHARED, b"0"])).unwrap();
    let number: u64 = reply.trim_start_matches(':').trim_end().parse().unwrap();
    let (low, high) = (increments.acknowledged.load(Ordering::Relaxed), increments.sent.load(Ordering::Relaxed));
    assert!((low..=high).contains(&number), "the counter is {number}; acknowledged {low}, sent {high}");
    // From now on, what has happened has.
    increments.acknowledged.store(number, Ordering::Relaxed);
    increments.sent.store(number, Ordering::Relaxed);
}

fn rounds(test: &'static str, options: &[&str], mix: Mix, clients: u64, rounds: u32) {
    let _watchdog = Watchdog::minutes(8, test);
    let seed = seed(test);
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(options);
    let mut clients: Vec<Client> = (0..clients).map(|number| Client::new(number, seed, mix)).collect();
    let increments = Increments::default();
    for round in 0..rounds {
        let ms = random.random_range(20..700);
        eprintln!("round {round}: {ms} ms");
        load(&mut server, &mut clients, &increments, ms, Server::kill9);
        server.assert_verifies();
        // Ends before it is ready, while it replays, or soon after.
        for _ in 0..random.random_range(0..3) {
            server.kill9_while_starting(Duration::from_micros(random.random_range(0..60_000)));
        }
        server.restart();
        check(&server, &mut clients, &increments);
        assert!(server.is_alive());
    }
    let done: u64 = clients.iter().map(Client::acknowledged).sum();
    eprintln!("{done} commands were acknowledged");
    assert!(done > 0);
    server.stop();
    server.assert_verifies();
    server.restart();
    assert_eq!(server.info("replayed_commands"), 0);
    check(&server, &mut clients, &increments);
}

const SMALL_FILES: &[&str] =
    &["--segments", "8", "--log-file-mb", "2", "--max-value-mb", "1", "--checkpoint-log-mb", "1", "--io-threads", "2"];

#[test]
fn nothing_acknowledged_is_lost() {
    rounds("nothing_acknowledged_is_lost", &[], Mix::Usual, 3, 6);
}

#[test]
fn nothing_acknowledged_is_lost_where_files_change_all_the_time() {
    rounds("nothing_acknowledged_is_lost_where_files_change_all_the_time", SMALL_FILES, Mix::Long, 3, 10);
}

#[test]
fn the_first_run_of_a_data_directory_loses_nothing() {
    for _ in 0..5 {
        rounds("the_first_run_of_a_data_directory_loses_nothing", SMALL_FILES, Mix::Long, 2, 1);
    }
}

#[test]
fn nothing_deleted_comes_back() {
    // One client, as a flush concerns all; the shared counter is its own business.
    let test = "nothing_deleted_comes_back";
    let _watchdog = Watchdog::minutes(8, test);
    let seed = seed(test);
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(SMALL_FILES);
    let mut clients = [Client::new(0, seed, Mix::Flushes)];
    for _ in 0..8 {
        let ms = random.random_range(20..500);
        std::thread::scope(|scope| {
            let (address, client) = (server.address().to_string(), &mut clients[0]);
            scope.spawn(move || client.run(&address));
            std::thread::sleep(Duration::from_millis(ms));
            server.kill9();
        });
        server.assert_verifies();
        server.kill9_while_starting(Duration::from_micros(random.random_range(0..60_000)));
        server.restart();
        clients[0].check(&mut server.wire());
        clients[0].check_nothing_else(&mut server.wire());
    }
}

#[test]
fn a_kill_during_the_replay_loses_nothing() {
    let test = "a_kill_during_the_replay_loses_nothing";
    let _watchdog = Watchdog::minutes(8, test);
    let seed = seed(test);
    let mut random = StdRng::seed_from_u64(seed);
    // Without checkpoints there is something to replay.
    let mut server = Server::start(&["--checkpoint-seconds", "3600", "--segments", "16"]);
    let mut clients = [Client::new(0, seed, Mix::Long), Client::new(1, seed, Mix::Usual)];
    std::thread::scope(|scope| {
        let address = server.address().to_string();
        for client in &mut clients {
            let address = address.clone();
            scope.spawn(move || client.run(&address));
        }
        std::thread::sleep(Duration::from_millis(1500));
        server.kill9();
    });
    for round in 0..6 {
        server.kill9_while_starting(Duration::from_micros(random.random_range(0..100_000)));
        server.assert_verifies();
        server.restart();
        // Killed with the first answers, which wait for the replay.
        if round % 2 == 0 {
            server.kill9();
            server.restart();
        }
        let mut wire = server.wire();
        clients.iter_mut().for_each(|client| client.check(&mut wire));
        assert!(round > 0 || server.info("replayed_commands") > 0);
        if round == 3 {
            assert_eq!(wire.say("CHECKPOINT"), "+OK\\r\\n");
        }
        server.kill9();
    }
}

#[test]
fn a_stop_under_load_leaves_nothing_to_replay() {
    let test = "a_stop_under_load_leaves_nothing_to_replay";
    let _watchdog = Watchdog::minutes(8, test);
    let seed = seed(test);
    let mut server = Server::start(&["--io-threads", "2"]);
    let mut clients: Vec<Client> = (0..3).map(|number| Client::new(number, seed, Mix::Usual)).collect();
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let address = server.address().to_string();
            for client in &mut clients {
                let address = address.clone();
                scope.spawn(move || client.run(&address));
            }
            std::thread::sleep(Duration::from_millis(300));
            server.stop();
        });
        server.assert_verifies();
        server.restart();
        clients.iter_mut().for_each(|client| client.check(&mut server.wire()));
        assert_eq!(server.info("replayed_commands"), 0);
    }
}
