//! The listening socket.

use super::host::Host;
use super::lobby::Lobby;
use super::options::TransportError;
use super::stream::Stream;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that are accepted in one round.
const MAX_ACCEPTED: usize = 16;
/// How long to wait when the system gives no connection: it has no more files or memory, and trying again at once would
/// only take time from the sessions.
const PAUSE: Duration = Duration::from_millis(100);

/// The listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    is_readable: bool,
    paused_until: Option<Instant>,
}

impl Listener {
    pub(super) fn bind(registry: &Registry, token: Token, address: SocketAddr) -> Result<Listener, TransportError> {
        let listen = |source| TransportError::Listen { address, source };
        let mut socket = TcpListener::bind(address).map_err(listen)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        let address = socket.local_addr().map_err(listen)?;
        Ok(Listener { socket, address, is_readable: false, paused_until: None })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Somebody waits.
    pub(super) fn mark(&mut self) {
        self.is_readable = true;
    }

    /// Whether to accept right now.
    pub(super) fn has_work(&self) -> bool {
        self.is_readable && self.paused_until.is_none()
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Accepts connections.
    pub(super) fn accept(&mut self, lobby: &mut Lobby, host: &mut Host, now: Instant) {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
        }
        for _ in 0..MAX_ACCEPTED {
            if !self.has_work() {
                return;
            }
            let (socket, address) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return;
                }
                // Of a connection that was closed before it was accepted.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => {
                    host.trouble(None, format!("connections can't be accepted: {error}"), now);
                    self.paused_until = Some(now + PAUSE);
                    return;
                }
            };
            let token = host.token();
            let entered = Stream::accepted(host.registry(), token, address, socket).and_then(|stream| {
                let addresses = [stream.address(), stream.local_address()?];
                host.options.check_reach(&addresses).map_err(io::Error::other)?;
                Ok(stream)
            });
            match entered {
                Ok(stream) => lobby.enter(stream, now + host.options.handshake_deadline),
                Err(error) => host.trouble(None, format!("a connection from {}: {error}", address.ip()), now),
            }
        }
    }
}
