//! Ports that replicas keep over restarts.
//!
//! They must lie outside the range that the system gives to outgoing connections: while a replica is down, a client
//! that tries its port could otherwise be given that very port as its own, connect to itself, and keep the
//! replica from coming back.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;

/// Below Linux' range for outgoing connections (32768 to 60999), above the ports of services.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// So many different ports that nobody listens on.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // Programs that run at the same time begin at different places.
    let offset = (u64::from(process::id()) * 97 % u64::from(COUNT)) as u16;
    let candidates = (0..COUNT).map(|step| FIRST + (offset + step) % COUNT);
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
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
        assert!(!free_ports(9).unwrap().contains(&taken.local_addr().unwrap().port()));
    }
}
