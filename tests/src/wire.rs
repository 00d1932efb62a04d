//! A client that sends any bytes and gives the exact bytes of each reply.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long a reply may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection.
pub struct Wire {
    stream: TcpStream,
    /// What has arrived and was not given out yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn connect(address: &str) -> Wire {
        Wire::try_connect(address).expect("a server listens")
    }

    /// Connects, if somebody listens there.
    ///
    /// # Errors
    /// Nobody does.
    pub fn try_connect(address: &str) -> io::Result<Wire> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, buffer: Vec::new(), at: 0 })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// From now on a reply may take so long.
    ///
    /// # Panics
    /// A socket has no timeouts.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket has timeouts");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Says that nothing more will be sent.
    ///
    /// # Panics
    /// The connection broke.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection can be shut down");
    }

    /// The bytes of the next reply, all that is nested in it included.
    ///
    /// # Errors
    /// The connection ended or broke.
    pub fn try_reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(len) = frame_len(&self.buffer[self.at..]) {
                let frame = self.buffer[self.at..self.at + len].to_vec();
                self.at += len;
                if self.at == self.buffer.len() {
                    self.buffer.clear();
                    self.at = 0;
                }
                return Ok(frame);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            // As much again as there is, so that a long reply is not searched often.
            let start = self.buffer.len();
            let mut chunk = vec![0; start.clamp(16 << 10, 8 << 20)];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                // A machine that was suspended, for example.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of the next reply.
    ///
    /// # Panics
    /// The connection ended or broke.
    pub fn reply(&mut self) -> Vec<u8> {
        self.try_reply().expect("the server answers")
    }

    /// Sends a command and gives the bytes of its reply.
    ///
    /// # Panics
    /// The connection ended or broke.
    pub fn call(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
        self.send(&request(arguments));
        self.reply()
    }

    /// Sends a command whose words are separated by blanks, and gives its reply as text, escaped.
    ///
    /// # Panics
    /// The connection ended or broke.
    pub fn say(&mut self, words: &str) -> String {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.call(&words).escape_ascii().to_string()
    }

    /// Reads up to the connection's end.
    ///
    /// # Panics
    /// There is no end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.buffer.split_off(self.at);
        self.buffer.clear();
        self.at = 0;
        match self.stream.read_to_end(&mut rest) {
            // The server does not read what comes behind a mistake, which the system may answer with a reset.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("no end: {error}"),
            _ => rest,
        }
    }
}

/// A request as clients send it.
pub fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Several requests, whose words are separated by blanks.
pub fn pipeline(lines: &[&str]) -> Vec<u8> {
    let encode = |line: &&str| request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    lines.iter().flat_map(encode).collect()
}

/// Length of the frame that the bytes start with; `None` if it is not complete.
///
/// # Panics
/// The bytes are not RESP.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // Frames that are still to come; counting them takes the place of recursion.
    let mut missing = 1_u64;
    while missing > 0 {
        missing -= 1;
        let rest = &bytes[at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let number = || {
            let text = std::str::from_utf8(&rest[1..end]).expect("a header is text");
            text.parse::<i64>().unwrap_or_else(|_| panic!("no number: {text:?}"))
        };
        at += end + 2;
        match rest[0] {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'$' | b'=' | b'!' => {
                if let Ok(len) = usize::try_from(number()) {
                    let ends = bytes.get(at + len..at + len + 2)?;
                    assert_eq!(ends, b"\r\n", "a string does not end where it should");
                    at += len + 2;
                }
            }
            b'*' | b'~' | b'>' => missing += u64::try_from(number()).unwrap_or(0),
            b'%' => missing += 2 * u64::try_from(number()).unwrap_or(0),
            other => panic!("{:?} starts no frame", char::from(other)),
        }
    }
    Some(at)
}
