//! A client of one server: requests out, replies in, over one connection, with time limits.
//!
//! After an error the framing, or whether the server executed the request, is not known: the connection is not
//! used again. What the server answers with, its errors included, is a [`Reply`].

mod decode;
mod error;
mod reply;

pub use decode::DecodeError;
pub use error::ClientError;
pub use reply::Reply;

use decode::{Decoder, ReplyLimits};
use std::io::{BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Where a server listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7379";

/// Messages that nobody asked for which may come before a reply; more are no protocol but a flood.
const MAX_PUSHES: usize = 10_000;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// For the next byte of an answer, and for room to send.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(5), silence: Duration::from_secs(60) }
    }
}

/// A connection to a server, which speaks RESP3.
#[derive(Debug)]
pub struct Client {
    address: String,
    timeouts: Timeouts,
    stream: BufReader<TcpStream>,
    broken: bool,
}

impl Client {
    /// Connects to `HOST:PORT` and agrees on the protocol.
    ///
    /// # Errors
    /// Nothing listens there, or what does is no server of this protocol.
    pub fn connect(address: &str, timeouts: Timeouts) -> Result<Client, ClientError> {
        let stream = open(address, timeouts.connect)?;
        let unusable = |source| ClientError::Unreachable { address: address.to_string(), source };
        stream.set_nodelay(true).map_err(unusable)?;
        stream.set_read_timeout(Some(timeouts.silence)).map_err(unusable)?;
        stream.set_write_timeout(Some(timeouts.silence)).map_err(unusable)?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        let mut client = Client { address: address.to_string(), timeouts, stream, broken: false };
        match client.request(&[b"HELLO", b"3"])? {
            Reply::Error(text) => Err(ClientError::Refused { address: client.address, text }),
            _ => Ok(client),
        }
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// The connection fails; it is of no use then. An error of the server's is a reply.
    pub fn request(&mut self, arguments: &[&[u8]]) -> Result<Reply, ClientError> {
        if self.broken {
            return Err(ClientError::Closed { address: self.address.clone() });
        }
        self.broken = true;
        let reply = self.exchange(arguments)?;
        self.broken = false;
        Ok(reply)
    }

    fn exchange(&mut self, arguments: &[&[u8]]) -> Result<Reply, ClientError> {
        let request = encode(arguments);
        self.stream.get_mut().write_all(&request).map_err(|source| self.lost(source))?;
        for _ in 0..MAX_PUSHES {
            match Decoder::new(&mut self.stream, ReplyLimits::default()).reply() {
                Ok(Reply::Push(_)) => {}
                Ok(reply) => return Ok(reply),
                Err(DecodeError::Io(source)) => return Err(self.lost(source)),
                Err(source) => return Err(ClientError::Garbled { address: self.address.clone(), source }),
            }
        }
        let source = DecodeError::Malformed("only messages that nobody asked for");
        Err(ClientError::Garbled { address: self.address.clone(), source })
    }

    /// What it means that sending or receiving failed.
    fn lost(&self, source: std::io::Error) -> ClientError {
        let address = self.address.clone();
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                ClientError::Silent { address, seconds: self.timeouts.silence.as_secs() }
            }
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => ClientError::Closed { address },
            _ => ClientError::Lost { address, source },
        }
    }
}

/// Connects to the first address of the host that answers.
fn open(address: &str, timeout: Duration) -> Result<TcpStream, ClientError> {
    let unknown = |source| ClientError::UnknownHost { address: address.to_string(), source };
    let mut failure = std::io::Error::new(ErrorKind::NotFound, "the name stands for no address");
    for candidate in address.to_socket_addrs().map_err(unknown)? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = source,
        }
    }
    Err(match failure.kind() {
        ErrorKind::ConnectionRefused => ClientError::NothingListens { address: address.to_string() },
        ErrorKind::NotFound => unknown(failure),
        _ => ClientError::Unreachable { address: address.to_string(), source: failure },
    })
}

/// A request on the wire: an array of strings.
fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let len: usize = arguments.iter().map(|argument| argument.len() + 32).sum();
    let mut request = Vec::with_capacity(32 + len);
    request.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}

#[cfg(test)]
mod tests {
    use super::{Client, ClientError, Reply, Timeouts, encode};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::Duration;

    const SHORT: Timeouts = Timeouts { connect: Duration::from_secs(5), silence: Duration::from_millis(200) };

    /// A server that answers each read with the next of these, and then closes after `silence`.
    fn scripted(answers: &'static [&'static [u8]], silence: Duration) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            for answer in answers {
                let _ = stream.read(&mut buffer).unwrap();
                stream.write_all(answer).unwrap();
            }
            std::thread::sleep(silence);
        });
        (address, thread)
    }

    #[test]
    fn requests_are_arrays_of_strings() {
        assert_eq!(encode(&[b"GET", b"a\r\nb", b""]), b"*3\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_come_in_order_and_pushes_are_passed_over() {
        let (address, server) = scripted(&[b"%0\r\n", b">1\r\n+x\r\n+PONG\r\n"], Duration::ZERO);
        let mut client = Client::connect(&address, SHORT).unwrap();
        assert_eq!(client.request(&[b"PING"]).unwrap(), Reply::Status("PONG".to_string()));
        server.join().unwrap();
    }

    #[test]
    fn a_connection_that_failed_is_not_used_again() {
        let (address, server) = scripted(&[b"%0\r\n", b"$3\r\nab"], Duration::ZERO);
        let mut client = Client::connect(&address, SHORT).unwrap();
        assert!(matches!(client.request(&[b"GET", b"k"]), Err(ClientError::Closed { .. })));
        assert!(matches!(client.request(&[b"GET", b"k"]), Err(ClientError::Closed { .. })));
        server.join().unwrap();
    }

    #[test]
    fn silence_garbage_and_refusals_are_told_apart() {
        let (address, server) = scripted(&[b"%0\r\n", b""], Duration::from_millis(600));
        let mut client = Client::connect(&address, SHORT).unwrap();
        assert!(matches!(client.request(&[b"GET", b"k"]), Err(ClientError::Silent { .. })));
        server.join().unwrap();

        let (address, server) = scripted(&[b"HTTP/1.1 400 Bad Request\r\n"], Duration::ZERO);
        assert!(matches!(Client::connect(&address, SHORT), Err(ClientError::Garbled { .. })));
        server.join().unwrap();

        let (address, server) = scripted(&[b"-NOPROTO no\r\n"], Duration::ZERO);
        assert!(matches!(Client::connect(&address, SHORT), Err(ClientError::Refused { .. })));
        server.join().unwrap();
    }

    #[test]
    fn nothing_listening_says_how_to_start_a_server() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = Client::connect(&free, SHORT).unwrap_err();
        let expected =
            format!("nothing listens on {free}; start a server with: skink serve --data DIR --listen {free}");
        assert_eq!(error.to_string(), expected);
    }
}
