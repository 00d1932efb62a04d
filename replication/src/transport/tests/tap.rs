//! A forwarder between two transports that records what goes through it, and can do harm.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// One way of a connection.
#[derive(Default)]
pub(super) struct Way {
    /// All that went this way.
    pub(super) recorded: Vec<u8>,
    waiting: Vec<u8>,
    /// Nothing goes this way any more, and nobody hears of that.
    pub(super) is_stuck: bool,
    /// The next byte that goes this way is another one.
    pub(super) is_noisy: bool,
    is_over: bool,
}

/// A connection, in the order in which they were dialed.
pub(super) struct Link {
    near: TcpStream,
    far: TcpStream,
    /// From the end that dialed.
    pub(super) there: Way,
    pub(super) back: Way,
}

impl Link {
    /// Breaks it.
    pub(super) fn cut(&mut self) {
        // It may be broken already.
        let _ = (self.near.shutdown(Shutdown::Both), self.far.shutdown(Shutdown::Both));
    }
}

/// The forwarder.
pub(super) struct Tap {
    listener: TcpListener,
    to: SocketAddr,
    pub(super) links: Vec<Link>,
}

impl Tap {
    pub(super) fn new(to: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Tap { listener, to, links: Vec::new() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Forwards what there is.
    pub(super) fn step(&mut self) {
        while let Ok((near, _)) = self.listener.accept() {
            let far = TcpStream::connect(self.to).unwrap();
            for socket in [&near, &far] {
                socket.set_nonblocking(true).unwrap();
                socket.set_nodelay(true).unwrap();
            }
            self.links.push(Link { near, far, there: Way::default(), back: Way::default() });
        }
        for Link { near, far, there, back } in &mut self.links {
            there.step(near, far);
            back.step(far, near);
        }
    }
}

impl Way {
    fn step(&mut self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = [0; 64 << 10];
        loop {
            while !self.waiting.is_empty() {
                match to.write(&self.waiting) {
                    Ok(len) => drop(self.waiting.drain(..len)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => {
                        self.is_over = true;
                        self.waiting.clear();
                    }
                }
            }
            if self.is_over || self.is_stuck {
                return;
            }
            match from.read(&mut buffer) {
                Ok(len) if len > 0 => {
                    buffer[0] ^= u8::from(std::mem::take(&mut self.is_noisy));
                    self.recorded.extend_from_slice(&buffer[..len]);
                    self.waiting.extend_from_slice(&buffer[..len]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => {
                    self.is_over = true;
                    // It may be gone already.
                    let _ = to.shutdown(Shutdown::Write);
                }
            }
        }
    }
}
