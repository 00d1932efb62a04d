//! The decoder of requests: from a growing buffer to arguments.
//!
//! ```text
//!             *N\r\n                  $L\r\n                  L bytes \r\n
//!   Start ------------> Arguments --------------> Bulk(L) ------------------> Arguments, or a request
//!     | any other byte                                                       if none is missing
//!     +--> Inline --- \n ---> a request
//! ```
//!
//! What is understood is taken out of the buffer at once, so that nothing is looked at twice however
//! small the pieces are in which a request comes. Arguments are slices of the buffer, not copies. A
//! count or a length that a client claims is held against the limits and then only compared with; memory
//! is taken for what has arrived. After an error the decoder stays failed: the framing is lost.

mod error;
mod header;
mod inline;

#[cfg(test)]
mod tests;

pub use error::ProtocolError;

use bytes::{Buf, Bytes, BytesMut};
use header::{Header, parse_header};
use smallvec::SmallVec;

/// Most arguments of one request, as in Redis.
pub const MAX_ARGUMENTS: usize = 1 << 20;
/// Longest line of an inline command, as in Redis.
pub const MAX_INLINE_LEN: usize = 64 << 10;

/// The arguments of a request, the command's name first; never empty when it comes from the decoder.
pub type Arguments = SmallVec<[Bytes; 4]>;

/// What a request may measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most arguments, the command's name included.
    pub max_arguments: usize,
    /// Longest argument, in bytes.
    pub max_bulk_len: usize,
    /// Longest request as it is on the wire, in bytes.
    ///
    /// In memory an argument takes 32 bytes more than its text, and the least one has 6 bytes on the wire: a
    /// connection holds at most some six times this much, and `max_arguments * 32` bytes more than this.
    pub max_request_len: usize,
}

impl RequestLimits {
    /// For clients that have yet to authenticate, as in Redis: enough for `HELLO … AUTH …`.
    pub const UNAUTHENTICATED: RequestLimits =
        RequestLimits { max_arguments: 10, max_bulk_len: 16 << 10, max_request_len: 64 << 10 };

    /// Arguments a little longer than the longest value, so that a value which is too long is answered with an
    /// error of the command's in place of the end of the connection; requests of up to `max_request_len` bytes.
    pub fn new(max_value_len: usize, max_request_len: usize) -> RequestLimits {
        RequestLimits {
            max_arguments: MAX_ARGUMENTS,
            max_bulk_len: max_value_len.saturating_add(1 << 20),
            max_request_len,
        }
    }
}

/// Decodes the requests of one connection.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: RequestLimits,
    state: State,
    /// What has arrived of a request that is not complete.
    arguments: Arguments,
    /// How many more arguments the request has.
    remaining: usize,
    /// Bytes of the request that were taken out of the buffer.
    taken: usize,
}

#[derive(Debug)]
enum State {
    /// Before a request.
    Start,
    /// In an inline command, so many bytes of which hold no end of line.
    Inline { searched: usize },
    /// Before an argument's length.
    Arguments,
    /// In an argument of this length.
    Bulk(usize),
    /// Not in step with the client any more.
    Failed(ProtocolError),
}

impl RequestDecoder {
    /// A decoder for a new connection.
    pub fn new(limits: RequestLimits) -> RequestDecoder {
        RequestDecoder { limits, state: State::Start, arguments: Arguments::new(), remaining: 0, taken: 0 }
    }

    /// Other limits, from the next argument on (a client has authenticated, or is no longer).
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Takes the next request out of the buffer; `None` where the buffer does not hold all of it yet.
    ///
    /// Call it until it gives `None`, then read more behind what it left in the buffer.
    ///
    /// # Errors
    /// What came is not a request within the limits. Answer with the error and close the connection: every
    /// further call gives the same error.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Arguments>, ProtocolError> {
        let outcome = self.step(buffer);
        if let Err(error) = &outcome {
            self.state = State::Failed(*error);
            self.arguments = Arguments::new();
        }
        outcome
    }

    /// How much room to make in the buffer before the next read, at least `least`.
    ///
    /// It is what the present argument lacks, but never more than has arrived of it: a client that
    /// announces much and sends little costs little, and a long argument is still read in few steps.
    pub fn room(&self, buffer: &BytesMut, least: usize) -> usize {
        match self.state {
            State::Bulk(len) => (len + CRLF.len()).saturating_sub(buffer.len()).min(buffer.len()).max(least),
            _ => least,
        }
    }

    fn step(&mut self, buffer: &mut BytesMut) -> Result<Option<Arguments>, ProtocolError> {
        loop {
            match self.state {
                State::Start => {
                    let Some(&first) = buffer.first() else { return Ok(None) };
                    if first != b'*' {
                        self.state = State::Inline { searched: 0 };
                        continue;
                    }
                    match parse_header(buffer) {
                        Header::Partial => return Ok(None),
                        Header::Invalid => return Err(ProtocolError::InvalidCount),
                        Header::Number { number, len } => {
                            buffer.advance(len);
                            self.begin(number, len)?;
                        }
                    }
                }
                State::Inline { searched } => match self.inline(buffer, searched)? {
                    Inline::Partial => return Ok(None),
                    Inline::Empty => self.state = State::Start,
                    Inline::Request(arguments) => {
                        self.state = State::Start;
                        return Ok(Some(arguments));
                    }
                },
                State::Arguments => {
                    match buffer.first() {
                        None => return Ok(None),
                        Some(b'$') => {}
                        Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                    }
                    match parse_header(buffer) {
                        Header::Partial => return Ok(None),
                        Header::Invalid => return Err(ProtocolError::InvalidBulkLength),
                        Header::Number { number, len } => {
                            self.state = State::Bulk(self.bulk_len(number, len)?);
                            buffer.advance(len);
                        }
                    }
                }
                State::Bulk(len) => {
                    if buffer.len() < len + CRLF.len() {
                        return Ok(None);
                    }
                    self.take_argument(buffer, len)?;
                    if self.remaining == 0 {
                        self.state = State::Start;
                        return Ok(Some(std::mem::take(&mut self.arguments)));
                    }
                    self.state = State::Arguments;
                }
                State::Failed(error) => return Err(error),
            }
        }
    }

    /// Begins a request of `count` arguments; one of none is passed over, as in Redis.
    fn begin(&mut self, count: i64, header_len: usize) -> Result<(), ProtocolError> {
        if count <= 0 {
            return Ok(());
        }
        self.remaining = usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.limits.max_arguments)
            .ok_or(ProtocolError::InvalidCount)?;
        self.taken = header_len;
        self.state = State::Arguments;
        Ok(())
    }

    /// An argument's length, if it and the request with it are within the limits.
    fn bulk_len(&mut self, number: i64, header_len: usize) -> Result<usize, ProtocolError> {
        let len = usize::try_from(number)
            .ok()
            .filter(|&len| len <= self.limits.max_bulk_len)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        // The limits are below 2^63 in any sensible configuration, and saturation errs on the safe side.
        self.taken = self.taken.saturating_add(header_len).saturating_add(len).saturating_add(CRLF.len());
        if self.taken > self.limits.max_request_len {
            return Err(ProtocolError::RequestTooLong { max: self.limits.max_request_len });
        }
        Ok(len)
    }

    fn take_argument(&mut self, buffer: &mut BytesMut, len: usize) -> Result<(), ProtocolError> {
        if buffer.get(len..len + CRLF.len()) != Some(CRLF) {
            return Err(ProtocolError::UnterminatedBulk);
        }
        // An empty slice would hold the buffer's memory for nothing.
        let argument = if len == 0 { Bytes::new() } else { buffer.split_to(len).freeze() };
        buffer.advance(CRLF.len());
        self.arguments.push(argument);
        self.remaining -= 1;
        Ok(())
    }

    fn inline(&mut self, buffer: &mut BytesMut, searched: usize) -> Result<Inline, ProtocolError> {
        let max = MAX_INLINE_LEN.min(self.limits.max_request_len);
        let Some(end) = memchr::memchr(b'\n', &buffer[searched..]).map(|at| searched + at) else {
            self.state = State::Inline { searched: buffer.len() };
            return if buffer.len() > max { Err(ProtocolError::InlineTooLong) } else { Ok(Inline::Partial) };
        };
        if end > max {
            return Err(ProtocolError::InlineTooLong);
        }
        let mut line = buffer.split_to(end).freeze();
        buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        let arguments = inline::split(&line).ok_or(ProtocolError::UnbalancedQuotes)?;
        if arguments.len() > self.limits.max_arguments {
            return Err(ProtocolError::InvalidCount);
        }
        match arguments.first() {
            None => Ok(Inline::Empty),
            // A browser that was talked into sending a form here: its body would be taken for commands.
            Some(name) if name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:") => {
                Err(ProtocolError::CrossProtocol)
            }
            Some(_) => Ok(Inline::Request(arguments)),
        }
    }
}

const CRLF: &[u8] = b"\r\n";

enum Inline {
    Partial,
    Empty,
    Request(Arguments),
}
