//! One connection: a batch out, its replies in.

use super::{LoadError, Wait};
use crate::resp::{self, Reply};
use crate::workload::{KEY_BYTES, Workload};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// `WAIT 1` with a limit of 10 s: well beyond every latency, so that its end without a replica is a refusal.
const WAIT_REQUEST: &[u8] = b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$5\r\n10000\r\n";

/// What a request's reply must be.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Written,
    /// Counts only with the WAIT behind it.
    WrittenHere,
    /// The number of replicas that have the writes before it.
    Replicated {
        writes: u64,
    },
    Value {
        number: u64,
    },
}

/// What a readable socket brought.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Progress {
    /// Requests that were answered; those that WAIT answers count with its reply.
    pub replies: u64,
    /// Reads among them that found no value.
    pub missing: u64,
    /// The server closed the connection.
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes of the batch, of which the first `written` are sent.
    out: Vec<u8>,
    written: usize,
    /// Start of a reply whose end hasn't come yet.
    partial: Vec<u8>,
    expected: VecDeque<Expected>,
    /// Writes since the last WAIT, if there is to be one.
    unreplicated: u64,
    batch_sent: Instant,
    set_prefix: Vec<u8>,
    get_prefix: Vec<u8>,
    value_prefix: Vec<u8>,
}

impl Connection {
    pub fn connect(address: SocketAddr, value_bytes: usize, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut value_prefix = b"\r\n".to_vec();
        resp::append_length(&mut value_prefix, b'$', value_bytes);
        Ok(Self {
            stream,
            out: Vec::new(),
            written: 0,
            partial: Vec::new(),
            expected: VecDeque::new(),
            unreplicated: 0,
            batch_sent: Instant::now(),
            set_prefix: format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\n").into_bytes(),
            get_prefix: format!("*2\r\n$3\r\nGET\r\n${KEY_BYTES}\r\n").into_bytes(),
            value_prefix,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn append_set(&mut self, workload: &Workload, number: u64, version: u64, wait: Wait) {
        self.out.extend_from_slice(&self.set_prefix);
        self.out.extend_from_slice(&workload.key(number));
        self.out.extend_from_slice(&self.value_prefix);
        workload.append_value(number, version, &mut self.out);
        self.out.extend_from_slice(b"\r\n");
        if wait == Wait::Never {
            self.expected.push_back(Expected::Written);
            return;
        }
        self.expected.push_back(Expected::WrittenHere);
        self.unreplicated += 1;
        if wait == Wait::AfterEach {
            self.append_wait();
        }
    }

    /// Lets the writes before it count when a replica has them; does nothing where there are none.
    pub fn append_wait(&mut self) {
        if self.unreplicated > 0 {
            self.out.extend_from_slice(WAIT_REQUEST);
            self.expected.push_back(Expected::Replicated { writes: self.unreplicated });
            self.unreplicated = 0;
        }
    }

    pub fn append_get(&mut self, workload: &Workload, number: u64) {
        self.out.extend_from_slice(&self.get_prefix);
        self.out.extend_from_slice(&workload.key(number));
        self.out.extend_from_slice(b"\r\n");
        self.expected.push_back(Expected::Value { number });
    }

    /// Every reply of the last batch has come.
    pub fn is_idle(&self) -> bool {
        self.expected.is_empty()
    }

    pub fn batch_sent(&self) -> Instant {
        self.batch_sent
    }

    /// Starts the clock of the batch, at a time that may be over, and sends as much as the socket takes. True when all of
    /// it is sent.
    pub fn send_batch(&mut self, due: Option<Instant>) -> io::Result<bool> {
        self.batch_sent = due.unwrap_or_else(Instant::now);
        self.continue_sending()
    }

    /// Sends more of the batch. True when all of it is sent.
    pub fn continue_sending(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Reads once and takes the replies. `chunk` is scratch space that all connections share.
    pub fn receive(&mut self, workload: &Workload, chunk: &mut [u8]) -> Result<Progress, LoadError> {
        let mut progress = Progress::default();
        let read = match self.stream.read(chunk) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(progress);
            }
            Err(error) => return Err(error.into()),
        };
        if read == 0 {
            progress.closed = true;
            return Ok(progress);
        }
        if self.partial.is_empty() {
            let consumed = take_replies(&chunk[..read], &mut self.expected, workload, &mut progress)?;
            self.partial.extend_from_slice(&chunk[consumed..read]);
        } else {
            self.partial.extend_from_slice(&chunk[..read]);
            let consumed = take_replies(&self.partial, &mut self.expected, workload, &mut progress)?;
            self.partial.drain(..consumed);
        }
        Ok(progress)
    }
}

/// Takes whole replies from the start of `input` and returns their length.
fn take_replies(
    input: &[u8],
    expected: &mut VecDeque<Expected>,
    workload: &Workload,
    progress: &mut Progress,
) -> Result<usize, LoadError> {
    let mut consumed = 0;
    while let Some((reply, length)) = resp::parse_reply(&input[consumed..])? {
        consumed += length;
        progress.replies += match (expected.pop_front(), reply) {
            (Some(Expected::Written), Reply::Simple(_)) => 1,
            (Some(Expected::WrittenHere), Reply::Simple(_)) => 0,
            (Some(Expected::Replicated { .. }), Reply::Integer(0)) => {
                return Err(LoadError::Refused("WAIT: no replica has the write".to_owned()));
            }
            (Some(Expected::Replicated { writes }), Reply::Integer(_)) => writes,
            (Some(Expected::Value { .. }), Reply::Null) => {
                progress.missing += 1;
                1
            }
            (Some(Expected::Value { number }), Reply::Bulk(value)) => {
                workload.check_header(number, value).ok_or(LoadError::WrongValue(number))?;
                1
            }
            (Some(_), Reply::Error(text)) => {
                return Err(LoadError::Refused(String::from_utf8_lossy(text).into_owned()));
            }
            (request, reply) => return Err(LoadError::Unexpected(format!("{reply:?} to {request:?}"))),
        };
    }
    Ok(consumed)
}
