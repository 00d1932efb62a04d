//! The load generator against a small server in this process, which checks what arrives.
#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy exempts only functions marked as tests, not their helpers"
)]

use skink_benches::load::{Control, Keys, Load, LoadError, OnLoss, Wait, run, run_until};
use skink_benches::workload::{Pick, Workload};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// What the server does besides storing.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Honest,
    Refusing,
    /// Gives every reader another key's value.
    Mixing,
    /// Closes a connection after this many requests.
    Closing(u32),
    Silent,
    /// Answers WAIT with this many replicas, and stores a byte for each under `waits`.
    Replicated(u32),
    /// Refuses, but only for now.
    NotLeading,
}

fn read_line(input: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|length| *length > 0)?;
    line[1..].trim_end().parse().ok()
}

fn read_request(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let count = read_line(input)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let mut argument = vec![0; read_line(input)? + 2];
        input.read_exact(&mut argument).ok()?;
        argument.truncate(argument.len() - 2);
        arguments.push(argument);
    }
    Some(arguments)
}

fn serve(stream: TcpStream, store: Store, behaviour: Behaviour) {
    stream.set_nodelay(true).unwrap();
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    let mut served = 0;
    while let Some(request) = read_request(&mut input) {
        if behaviour == Behaviour::Closing(served) {
            return;
        }
        served += 1;
        let mut store = store.lock().unwrap();
        let reply = match (behaviour, request.as_slice()) {
            (Behaviour::Silent, _) => continue,
            (Behaviour::Refusing, _) => b"-ERR not today\r\n".to_vec(),
            (Behaviour::NotLeading, _) => b"-READONLY I don't lead\r\n".to_vec(),
            (Behaviour::Replicated(replicas), [wait, count, _]) if wait == b"WAIT" && count == b"1" => {
                store.entry(b"waits".to_vec()).or_default().push(1);
                format!(":{replicas}\r\n").into_bytes()
            }
            (_, [name, key, value]) if name == b"SET" => {
                store.insert(key.clone(), value.clone());
                b"+OK\r\n".to_vec()
            }
            (_, [name, key]) if name == b"GET" => {
                let value = match behaviour {
                    Behaviour::Mixing => store.iter().find(|(other, _)| *other != key).map(|(_, value)| value),
                    _ => store.get(key),
                };
                match value {
                    Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
                    None => b"$-1\r\n".to_vec(),
                }
            }
            _ => b"-ERR unknown\r\n".to_vec(),
        };
        drop(store);
        // In two parts, so that replies arrive cut.
        let (head, tail) = reply.split_at(reply.len() / 2);
        if output.write_all(head).and_then(|()| output.write_all(tail)).is_err() {
            return;
        }
    }
}

fn server(behaviour: Behaviour) -> (SocketAddr, Store) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::default();
    let shared = Arc::clone(&store);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let store = Arc::clone(&shared);
            thread::spawn(move || serve(stream.unwrap(), store, behaviour));
        }
    });
    (address, store)
}

#[test]
fn filling_writes_every_key_once_and_correctly() {
    let (address, store) = server(Behaviour::Honest);
    let workload = Workload::new(1_003, 200, 5);
    let outcome = run(&Load { threads: 3, ..Load::fill(address) }, &workload).unwrap();
    assert_eq!(outcome.requests, 1_003);
    assert_eq!(outcome.latencies.count(), 1_003);
    let store = store.lock().unwrap();
    assert_eq!(store.len(), 1_003);
    for number in 0..1_003 {
        assert_eq!(workload.check_value(number, &store[&workload.key(number)[..]]), Some(0));
    }
}

#[test]
fn counts_are_exact_whatever_the_pipeline() {
    let (address, _) = server(Behaviour::Honest);
    let workload = Workload::new(50, 64, 5);
    for (connections, pipeline, count) in [(1, 1, 10), (7, 16, 1_000), (64, 3, 1)] {
        let load = Load::updates(address).connections(connections).pipeline(pipeline).count(count);
        assert_eq!(run(&load, &workload).unwrap().requests, count);
    }
}

#[test]
fn reads_are_told_from_writes_and_checked() {
    let (address, _) = server(Behaviour::Honest);
    let workload = Workload::new(100, 64, 5);
    let reads = Load::updates(address).connections(4).pipeline(8).read_share(1.0).count(400);
    assert_eq!(run(&reads, &workload).unwrap().missing, 400, "nothing is stored yet");
    run(&Load::fill(address), &workload).unwrap();
    let mixed = Load { keys: Keys::Random(Pick::Zipf(0.9)), ..reads.clone() }.read_share(0.5);
    assert_eq!(run(&mixed, &workload).unwrap().missing, 0);
}

#[test]
fn a_wrong_value_fails_the_run() {
    let (address, _) = server(Behaviour::Mixing);
    let workload = Workload::new(100, 64, 5);
    run(&Load::fill(address), &workload).unwrap();
    let outcome = run(&Load::updates(address).read_share(1.0).count(10), &workload);
    assert!(matches!(outcome, Err(LoadError::WrongValue(_))), "{outcome:?}");
}

#[test]
fn time_and_the_stop_flag_end_a_run() {
    let (address, _) = server(Behaviour::Honest);
    let workload = Workload::new(100, 64, 5);
    let begin = Instant::now();
    let outcome = run(&Load::updates(address).connections(2).duration(Duration::from_millis(200)), &workload).unwrap();
    assert!(outcome.requests > 0 && outcome.throughput() > 0.0);
    assert!((0.2..5.0).contains(&begin.elapsed().as_secs_f64()));
    let control = Control::default();
    let endless = Load::updates(address).duration(Duration::from_secs(600));
    thread::scope(|scope| {
        let running = scope.spawn(|| run_until(&endless, &workload, &control));
        thread::sleep(Duration::from_millis(50));
        control.stop();
        let outcome = running.join().unwrap().unwrap();
        assert!(outcome.elapsed < Duration::from_secs(60));
        assert_eq!(control.answered(), outcome.requests, "what is seen from outside");
    });
}

#[test]
fn refusals_fail_the_run_with_the_servers_words() {
    let (address, _) = server(Behaviour::Refusing);
    let outcome = run(&Load::updates(address).count(5), &Workload::new(10, 64, 5));
    assert!(matches!(&outcome, Err(LoadError::Refused(text)) if text == "ERR not today"), "{outcome:?}");
}

#[test]
fn a_closed_connection_ends_the_run_only_where_it_is_expected() {
    let (address, _) = server(Behaviour::Closing(20));
    let workload = Workload::new(10, 64, 5);
    let load = Load::updates(address).count(1_000);
    assert!(matches!(run(&load, &workload), Err(LoadError::Io(_))));
    let outcome = run(&Load { on_loss: OnLoss::End, ..load }, &workload).unwrap();
    assert_eq!((outcome.lost, outcome.requests), (1, 20));
}

#[test]
fn waits_stand_behind_each_write_or_each_batch() {
    for (wait, waits) in [(Wait::AfterEach, 20), (Wait::AfterBatch, 4)] {
        let (address, store) = server(Behaviour::Replicated(1));
        let load = Load { wait, ..Load::updates(address).connections(2).pipeline(5).count(20) };
        let outcome = run(&load, &Workload::new(10, 64, 5)).unwrap();
        assert_eq!((outcome.requests, outcome.latencies.count()), (20, 20), "WAIT is no request of its own");
        assert_eq!(store.lock().unwrap()[&b"waits"[..]].len(), waits);
    }
}

#[test]
fn a_write_that_no_replica_has_does_not_count() {
    let (address, _) = server(Behaviour::Replicated(0));
    let load = Load { wait: Wait::AfterEach, ..Load::updates(address).count(5) };
    for on_loss in [OnLoss::Fail, OnLoss::Retry] {
        let outcome = run(&Load { on_loss, ..load.clone() }, &Workload::new(10, 64, 5));
        assert!(matches!(outcome, Err(LoadError::Refused(_))), "{outcome:?}");
    }
}

#[test]
fn connections_are_spread_over_all_servers() {
    let (first, second) = (server(Behaviour::Honest), server(Behaviour::Honest));
    let workload = Workload::new(400, 64, 5);
    for threads in [1, 2] {
        let load = Load { threads, ..Load::fill(first.0) }.connections(4).pipeline(10).over(vec![first.0, second.0]);
        assert_eq!(run(&load, &workload).unwrap().requests, 400);
        let mut stored = 0;
        for (_, store) in [&first, &second] {
            let mut store = store.lock().unwrap();
            assert!(store.len() >= 10, "{} keys on a server with half of the connections", store.len());
            stored += store.drain().count();
        }
        assert_eq!(stored, 400);
    }
}

#[test]
fn clients_whose_server_is_gone_go_on_at_the_next_one() {
    let (closing, honest) = (server(Behaviour::Closing(20)).0, server(Behaviour::Honest).0);
    let workload = Workload::new(10, 64, 5);
    let load = Load { on_loss: OnLoss::Retry, ..Load::updates(closing) }.count(1_000);
    let several = load.clone().connections(4).over(vec![closing, honest]);
    let outcome = run(&several, &workload).unwrap();
    assert_eq!((outcome.lost, outcome.requests), (2, 998), "half of them lose their connection, with a request each");
    // Nobody listens on port 1: the client goes on once more.
    let one = load.over(vec![closing, "127.0.0.1:1".parse().unwrap(), honest]);
    let outcome = run(&one, &workload).unwrap();
    assert_eq!((outcome.lost, outcome.requests), (2, 999));
}

#[test]
fn clients_of_a_silent_server_go_on_when_they_have_waited_long_enough() {
    let (silent, honest) = (server(Behaviour::Silent).0, server(Behaviour::Honest).0);
    let load = Load { on_loss: OnLoss::Retry, ..Load::updates(silent) }.connections(4).over(vec![silent, honest]);
    let load = Load { give_up_after: Some(Duration::from_millis(100)), ..load };
    // By time, as the two that get answers would have any count done before.
    let outcome = run(&load.duration(Duration::from_millis(400)), &Workload::new(10, 64, 5)).unwrap();
    assert!(outcome.lost >= 2, "{} of the two that wait in vain", outcome.lost);
    assert!(outcome.latencies.max() < Duration::from_secs(5), "what is given up is not answered");
}

#[test]
fn only_a_refusal_for_now_is_tried_elsewhere() {
    let (following, honest) = (server(Behaviour::NotLeading).0, server(Behaviour::Honest).0);
    let workload = Workload::new(10, 64, 5);
    let load = Load { on_loss: OnLoss::Retry, ..Load::updates(following) }.count(50).over(vec![following, honest]);
    let outcome = run(&load, &workload).unwrap();
    assert_eq!((outcome.lost, outcome.requests), (1, 49));
    let outcome = run(&Load { on_loss: OnLoss::Fail, ..load.clone() }, &workload);
    assert!(matches!(outcome, Err(LoadError::Refused(_))), "{outcome:?}");
    let refusing = server(Behaviour::Refusing).0;
    let outcome = run(&load.over(vec![refusing, honest]), &workload);
    assert!(matches!(outcome, Err(LoadError::Refused(_))), "{outcome:?}");
}

#[test]
fn a_run_by_time_ends_though_no_server_is_left() {
    let closing = server(Behaviour::Closing(5)).0;
    let load = Load { on_loss: OnLoss::Retry, ..Load::updates(closing) }.duration(Duration::from_millis(300));
    // After each five requests the connection is closed, and made again after a pause.
    let outcome = run(&load.over(vec![closing, "127.0.0.1:1".parse().unwrap()]), &Workload::new(10, 64, 5)).unwrap();
    assert!(outcome.lost >= 2 && outcome.requests >= 5, "{outcome:?}");
    let gap = outcome.timeline.longest_gap(Duration::ZERO..outcome.elapsed);
    assert!(outcome.requests < 10 || gap >= Duration::from_millis(8), "two pauses of 5 ms, seen as {gap:?}");
}

#[test]
fn silence_fails_the_run() {
    let (address, _) = server(Behaviour::Silent);
    let load = Load { patience: Duration::from_millis(200), ..Load::updates(address).count(1) };
    let outcome = run(&load, &Workload::new(10, 64, 5));
    assert!(matches!(outcome, Err(LoadError::Stalled(_))), "{outcome:?}");
}

#[test]
fn foreign_addresses_and_unbounded_runs_are_refused() {
    let workload = Workload::new(10, 64, 5);
    let foreign = Load::updates("192.0.2.1:6379".parse().unwrap()).count(1);
    assert!(matches!(run(&foreign, &workload), Err(LoadError::NotLoopback(_))));
    let unbounded = Load::updates("127.0.0.1:1".parse().unwrap());
    assert!(matches!(run(&unbounded, &workload), Err(LoadError::Unbounded)));
}
