//! A process that has no more file descriptors: sessions live, and nothing spins. On its own, as the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use skink_replication::paxos::ReplicaId;
use skink_replication::transport::{Agreement, Transport, TransportEvent, TransportOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For what surely comes.
const PATIENCE: Duration = Duration::from_secs(30);

fn replica(number: u8) -> ReplicaId {
    ReplicaId::new(number).unwrap()
}

fn bind(number: u8) -> Transport {
    let listen = "127.0.0.1:0".parse().unwrap();
    Transport::bind(TransportOptions::new(replica(number), listen, Arc::new(rand::random::<u64>))).unwrap()
}

/// Polls both until one of them says something like this.
fn until(transports: &mut [Transport; 2], is_meant: impl Fn(&TransportEvent) -> bool) {
    let started = Instant::now();
    let mut events = Vec::new();
    while !events.iter().any(&is_meant) {
        assert!(started.elapsed() < PATIENCE, "{events:?}");
        for transport in &mut *transports {
            transport.poll(Duration::from_millis(1), &mut events).unwrap();
        }
    }
}

#[test]
fn a_listener_without_descriptors_waits() {
    let mut transports = [bind(1), bind(2)];
    let first = transports[0].local_address();
    transports[0].set_peers(BTreeMap::from([(replica(2), "127.0.0.1:1".into())]));
    transports[1].set_peers(BTreeMap::from([(replica(1), first.to_string())]));
    // The connection waits at the listener before the descriptors are gone.
    let stranger = TcpStream::connect(first).unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(256), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    until(
        &mut transports,
        |event| matches!(event, TransportEvent::Trouble { peer: None, text } if text.contains("can't be accepted")),
    );
    let started = Instant::now();
    let (mut polls, mut events) = (0, Vec::new());
    while started.elapsed() < Duration::from_millis(500) {
        transports[0].poll(Duration::from_secs(1), &mut events).unwrap();
        polls += 1;
    }
    assert!(polls < 50, "{polls} polls in half a second");
    assert!(events.is_empty(), "told once: {events:?}");
    // There are some again: who waited is accepted, and sessions open.
    drop((held, stranger));
    for transport in &mut transports {
        transport.open_sessions(Agreement::new(b"same", "the same"), 1);
    }
    until(&mut transports, |event| matches!(event, TransportEvent::Connected { peer, .. } if *peer == replica(2)));
}
