//! Ports that replicas keep over restarts.
//!
//! They must lie outside the range that the system gives to outgoing connections: while a replica is down, a client
//! that tries its port could otherwise be given that very port as its own, connect to itself, and keep the
//! replica from coming back.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below Linux' range for outgoing connections (32768 to 60999), above the ports of services.
const FIRST: u16 = 12_000;
const COUNT: u32 = 18_000;

/// How many candidates this process has looked at: each call goes on behind the one before, whose ports may not have
/// been taken yet.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// So many different ports that nobody listens on.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // Programs that run at the same time begin at different places.
    let begin = process::id() % COUNT * 97;
    let candidates = (0..COUNT).map(|_| FIRST + ((begin + LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % COUNT) as u16);
    // Kept open until all are found, so that they differ from those of another call.
    let listeners: Vec<TcpListener> =
        candidates.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(count).collect();
    if listeners.len() < count {
        return Err(io::Error::other("there are not enough free ports"));
    }
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ports_are_free_and_differ() {
        let ports = free_ports(9).unwrap();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 9);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT as u16).contains(port)));
        assert!(free_ports(9).unwrap().iter().all(|port| !ports.contains(port)), "a call goes on behind the last");
    }
}
