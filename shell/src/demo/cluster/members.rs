//! The three replicas: processes with ports and places that they keep over their deaths.

use crate::client::{Client, Timeouts};
use crate::demo::DemoError;
use crate::demo::server::{Place, Server};
use crate::replicas::{self, ReplicaRow, ReplicasError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// How many replicas there are.
pub const MEMBERS: usize = 3;
/// How long a server waits for a majority before it lets its client try elsewhere.
const REQUEST_TIMEOUT_MS: u32 = 2000;
/// To a replica of this machine that is up.
pub const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), silence: Duration::from_secs(10) };

/// Ports are taken from here: below those that the system gives to connections that go out. One of these could get
/// the port of a replica that is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The replicas.
#[derive(Debug)]
pub struct Members {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    place: Place,
    /// Where clients connect.
    address: String,
    arguments: Vec<String>,
    /// None while it is dead.
    server: Option<Server>,
}

impl Members {
    /// Starts three new ones in this folder.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(folder: &Path) -> Result<Members, DemoError> {
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(member, port)| format!("{}=127.0.0.1:{port}", member + 1)).collect();
        let cluster = cluster.join(",");
        let member = |(member, port): (usize, &u16)| {
            let number = (member + 1).to_string();
            let address = format!("127.0.0.1:{port}");
            let timeout = REQUEST_TIMEOUT_MS.to_string();
            let arguments = [
                ["--listen", &address],
                ["--replica", &number],
                ["--cluster", &cluster],
                ["--request-timeout-ms", &timeout],
            ];
            let arguments = arguments.concat().into_iter().map(str::to_string).collect();
            let place = Place::new(folder, &format!("replica-{number}"));
            Member { place, address, arguments, server: None }
        };
        let mut members = Members { members: clients.iter().enumerate().map(member).collect() };
        // A new cluster begins when all of its replicas are there: so all are launched before any is waited for.
        for Member { place, arguments, server, .. } in &mut members.members {
            *server = Some(Server::launch(place, arguments)?);
        }
        for server in members.members.iter_mut().filter_map(|member| member.server.as_mut()) {
            server.wait_until_ready()?;
        }
        Ok(members)
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| member.address.clone()).collect()
    }

    /// A replica's data directory.
    pub fn data(&self, member: usize) -> &Path {
        &self.members[member].place.data
    }

    /// Kills a replica as `kill -9` does.
    ///
    /// # Errors
    /// It had ended by itself.
    pub fn kill(&mut self, member: usize) -> Result<(), DemoError> {
        self.members[member].server.take().map_or(Ok(()), |mut server| Ok(server.kill()?))
    }

    /// Starts a dead replica on what it left, and waits until clients can connect.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self, member: usize) -> Result<(), DemoError> {
        let Member { place, arguments, server, .. } = &mut self.members[member];
        *server = Some(Server::start(place, arguments)?);
        Ok(())
    }

    /// Stops all replicas in order.
    ///
    /// # Errors
    /// One does not stop, or not cleanly.
    pub fn stop(&mut self) -> Result<(), DemoError> {
        for member in &mut self.members {
            if let Some(mut server) = member.server.take() {
                server.stop()?;
            }
        }
        Ok(())
    }

    /// How the replicas that are up stand, each by its own word.
    ///
    /// # Errors
    /// One does not tell.
    pub fn ask(&self) -> Result<Vec<ReplicaRow>, DemoError> {
        let up = self.members.iter().enumerate().filter(|(_, member)| member.server.is_some());
        up.map(|(number, member)| {
            let mut client = Client::connect(&member.address, TIMEOUTS)?;
            Ok(own_row(&mut client, number)?)
        })
        .collect()
    }
}

/// What a replica says of itself.
///
/// # Errors
/// It does not tell.
pub fn own_row(client: &mut Client, member: usize) -> Result<ReplicaRow, ReplicasError> {
    let rows = replicas::ask(client)?;
    let own = rows.into_iter().find(|row| row.replica == member as u64 + 1);
    own.ok_or(ReplicasError::Garbled("row of the replica that was asked"))
}

/// So many ports of this machine where nothing listens.
fn free_ports(count: usize) -> Result<Vec<u16>, DemoError> {
    // Two demos at the same time begin at different ones.
    let first = usize::try_from(std::process::id()).unwrap_or_default() * count;
    let all = PORTS.len();
    let mut ports = (0..all)
        .filter_map(|at| PORTS.clone().nth((first + at) % all))
        .filter(|port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok());
    let free: Vec<u16> = ports.by_ref().take(count).collect();
    if free.len() == count { Ok(free) } else { Err(DemoError::Ports) }
}

#[cfg(test)]
mod tests {
    use super::{PORTS, free_ports};
    use std::net::TcpListener;

    #[test]
    fn ports_are_free_and_their_own() {
        let ports = free_ports(6).unwrap();
        let listeners: Vec<TcpListener> =
            ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
        assert!(ports.iter().all(|port| PORTS.contains(port)));
        let others = free_ports(6).unwrap();
        assert!(others.iter().all(|port| !ports.contains(port)), "{ports:?} {others:?}");
        drop(listeners);
    }
}
