//! One connection: a socket that never blocks, what has yet to be sent, and frames out of what comes.
//!
//! The system says once that a socket can be read or written; that it can no longer is found by trying. So both are
//! remembered here, and a round may stop in the middle of what there is.

use super::frame::{FrameDecoder, FrameError};
use super::handshake::MAX_MESSAGE_LEN;
use super::output::Output;
use bytes::Bytes;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Why a connection is of no more use.
#[derive(Debug, Error)]
pub(super) enum StreamError {
    /// The other end closed it.
    #[error("it closed the connection")]
    Closed,
    /// The system gave up.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    token: Token,
    address: SocketAddr,
    is_connecting: bool,
    is_readable: bool,
    is_writable: bool,
    /// The other end sends no more: what there is must be read to its end.
    is_ending: bool,
    decoder: FrameDecoder,
    output: Output,
}

impl Stream {
    /// Dials. Whether anybody is there is seen later.
    pub(super) fn dial(registry: &Registry, token: Token, address: SocketAddr) -> io::Result<Stream> {
        let socket = TcpStream::connect(address)?;
        Stream::new(registry, token, address, socket, true)
    }

    /// One that was accepted.
    pub(super) fn accepted(
        registry: &Registry,
        token: Token,
        address: SocketAddr,
        socket: TcpStream,
    ) -> io::Result<Stream> {
        Stream::new(registry, token, address, socket, false)
    }

    fn new(
        registry: &Registry,
        token: Token,
        address: SocketAddr,
        mut socket: TcpStream,
        is_connecting: bool,
    ) -> io::Result<Stream> {
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream {
            socket,
            token,
            address,
            is_connecting,
            is_readable: false,
            is_writable: false,
            is_ending: false,
            decoder: FrameDecoder::new(MAX_MESSAGE_LEN),
            output: Output::default(),
        })
    }

    /// The other end's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// This end's address.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// From the next frame on, bodies may have so many bytes.
    pub(super) fn set_max_body_len(&mut self, max_body_len: usize) {
        self.decoder.set_max_body_len(max_body_len);
    }

    /// The connection carries a session from now on: bodies may be this long, and the system gives up on a peer
    /// that confirms nothing for so long.
    pub(super) fn establish(&mut self, max_body_len: usize, silence: Duration) -> io::Result<()> {
        self.set_max_body_len(max_body_len);
        self.socket.set_nodelay(true)?;
        let socket = SockRef::from(&self.socket);
        let interval = (silence / 3).max(Duration::from_secs(1));
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(silence.max(Duration::from_secs(1))).with_interval(interval).with_retries(3),
        )?;
        // Heartbeats tell earlier; this is for the connections beside.
        socket.set_tcp_user_timeout(Some(silence * 2))
    }

    /// The system said something about the socket.
    pub(super) fn mark(&mut self, event: &Event) {
        let is_broken = event.is_error();
        self.is_readable |= event.is_readable() || event.is_read_closed() || is_broken;
        self.is_writable |= event.is_writable() || is_broken;
        self.is_ending |= event.is_read_closed() || is_broken;
    }

    /// Whether there may be something to read.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Whether something waits that can be written.
    pub(super) fn has_work(&self) -> bool {
        self.is_writable && !self.output.is_empty()
    }

    /// Bytes that wait to be written.
    pub(super) fn backlog(&self) -> usize {
        self.output.len()
    }

    /// Adds a frame to what waits.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        self.output.push(parts);
    }

    /// The next frame of a handshake, if all of it is there. Nothing beyond it is read: what follows may belong to a session
    /// that is not complete yet.
    pub(super) fn receive_one(&mut self, scratch: &mut [u8]) -> Result<Option<Bytes>, StreamError> {
        while self.is_readable {
            let len = self.decoder.missing().min(scratch.len());
            let Some(mut piece) = self.read(&mut scratch[..len])? else { continue };
            if let Some(body) = self.decoder.decode(&mut piece)? {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// Reads at most so many bytes, and hands out the bodies in them. Answers with how many there were.
    pub(super) fn receive(
        &mut self,
        max_len: usize,
        scratch: &mut [u8],
        bodies: &mut Vec<Bytes>,
    ) -> Result<usize, StreamError> {
        let mut left = max_len;
        while self.is_readable && left > 0 {
            let len = left.min(scratch.len());
            let Some(mut piece) = self.read(&mut scratch[..len])? else { continue };
            left -= piece.len();
            // A short read emptied the socket; if the other end closed it, that has yet to be read.
            self.is_readable = piece.len() == len || self.is_ending;
            while let Some(body) = self.decoder.decode(&mut piece)? {
                bodies.push(body);
            }
        }
        Ok(max_len - left)
    }

    /// Reads once; `None` if there was nothing.
    fn read<'s>(&mut self, scratch: &'s mut [u8]) -> Result<Option<&'s [u8]>, StreamError> {
        if self.check_connected()? {
            match self.socket.read(scratch) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(len) => return Ok(Some(&scratch[..len])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        self.is_readable = false;
        Ok(None)
    }

    /// Writes at most so many bytes of what waits.
    pub(super) fn flush(&mut self, max_len: usize) -> Result<(), StreamError> {
        let mut left = max_len;
        while self.has_work() && left > 0 && self.check_connected()? {
            let front = self.output.front(left);
            match self.socket.write(front) {
                Ok(len) => {
                    self.is_writable = len == front.len();
                    self.output.advance(len);
                    left -= len;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the other end has answered to the dialing.
    fn check_connected(&mut self) -> Result<bool, StreamError> {
        if !self.is_connecting {
            return Ok(true);
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        match self.socket.peer_addr() {
            Ok(_) => self.is_connecting = false,
            Err(error) if error.kind() == ErrorKind::NotConnected => self.is_writable = false,
            Err(error) => return Err(error.into()),
        }
        Ok(!self.is_connecting)
    }
}
