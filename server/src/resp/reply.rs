//! The encoder of replies, for both versions of the protocol.
//!
//! | reply | RESP2 | RESP3 |
//! | --- | --- | --- |
//! | status | `+OK\r\n` | the same |
//! | error | `-CODE text\r\n` | the same |
//! | integer | `:42\r\n` | the same |
//! | bulk string | `$2\r\nab\r\n` | the same |
//! | array of N | `*N\r\n`, then the elements | the same |
//! | no value | `$-1\r\n` | `_\r\n` |
//! | no array | `*-1\r\n` | `_\r\n` |
//! | boolean | `:1\r\n`, `:0\r\n` | `#t\r\n`, `#f\r\n` |
//! | double | as a bulk string | `,1.5\r\n` |
//! | map of N pairs | `*2N\r\n`, then keys and values in turn | `%N\r\n`, then the same |
//! | set of N | `*N\r\n`, then the elements | `~N\r\n`, then the same |

mod frame;

#[cfg(test)]
mod tests;

pub use frame::Frame;

use bytes::{BufMut, BytesMut};
use std::fmt::{self, Write};

/// The version of the protocol that a connection speaks; `HELLO` changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtocolVersion {
    /// What a connection starts with.
    #[default]
    Resp2,
    /// With maps, sets, booleans and one kind of nil.
    Resp3,
}

impl ProtocolVersion {
    /// The version's number, as `HELLO` has it.
    pub fn number(self) -> i64 {
        match self {
            ProtocolVersion::Resp2 => 2,
            ProtocolVersion::Resp3 => 3,
        }
    }
}

/// Writes replies behind what a buffer holds.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut BytesMut,
    version: ProtocolVersion,
}

impl<'a> ReplyWriter<'a> {
    /// A writer to this buffer.
    pub fn new(out: &'a mut BytesMut, version: ProtocolVersion) -> ReplyWriter<'a> {
        ReplyWriter { out, version }
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    /// A status; one line.
    pub fn simple(&mut self, text: impl fmt::Display) {
        self.line(b'+', text);
    }

    /// An error; its text starts with the error's code (`ERR`, `NOPROTO`, ...).
    pub fn error(&mut self, text: impl fmt::Display) {
        self.line(b'-', text);
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        // Sigil, up to 20 digits, twice CRLF.
        self.out.reserve(bytes.len() + 25);
        self.len_header(b'$', bytes.len());
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    /// A string of any bytes, or that there is none.
    pub fn optional_bulk(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// That there is no value.
    pub fn null(&mut self) {
        self.out.put_slice(match self.version {
            ProtocolVersion::Resp2 => b"$-1\r\n",
            ProtocolVersion::Resp3 => b"_\r\n",
        });
    }

    /// That there is no array, where one could have been (an aborted `EXEC`).
    pub fn null_array(&mut self) {
        self.out.put_slice(match self.version {
            ProtocolVersion::Resp2 => b"*-1\r\n",
            ProtocolVersion::Resp3 => b"_\r\n",
        });
    }

    /// The start of an array; `len` replies must follow.
    pub fn array(&mut self, len: usize) {
        self.len_header(b'*', len);
    }

    /// The start of a map; `len` pairs of replies must follow.
    pub fn map(&mut self, len: usize) {
        match self.version {
            ProtocolVersion::Resp2 => self.len_header(b'*', 2 * len),
            ProtocolVersion::Resp3 => self.len_header(b'%', len),
        }
    }

    /// The start of a set; `len` replies must follow.
    pub fn set(&mut self, len: usize) {
        match self.version {
            ProtocolVersion::Resp2 => self.len_header(b'*', len),
            ProtocolVersion::Resp3 => self.len_header(b'~', len),
        }
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) {
        self.out.put_slice(match (self.version, value) {
            (ProtocolVersion::Resp2, true) => b":1\r\n",
            (ProtocolVersion::Resp2, false) => b":0\r\n",
            (ProtocolVersion::Resp3, true) => b"#t\r\n",
            (ProtocolVersion::Resp3, false) => b"#f\r\n",
        });
    }

    /// A number with a fraction.
    pub fn double(&mut self, number: f64) {
        let text = if number.is_nan() {
            "nan".to_string()
        } else if number.is_infinite() {
            if number > 0.0 { "inf" } else { "-inf" }.to_string()
        } else {
            number.to_string()
        };
        match self.version {
            ProtocolVersion::Resp2 => self.bulk(text.as_bytes()),
            ProtocolVersion::Resp3 => self.line(b',', text),
        }
    }

    fn len_header(&mut self, sigil: u8, len: usize) {
        self.header(sigil, i64::try_from(len).unwrap_or(i64::MAX));
    }

    fn header(&mut self, sigil: u8, number: i64) {
        self.out.reserve(23);
        self.out.put_u8(sigil);
        self.out.put_slice(itoa::Buffer::new().format(number).as_bytes());
        self.out.put_slice(b"\r\n");
    }

    /// A line in which line ends, which would start a further reply, have become blanks.
    fn line(&mut self, sigil: u8, text: impl fmt::Display) {
        self.out.put_u8(sigil);
        let start = self.out.len();
        // Writing to memory fails only if a `Display` does; what it wrote until then is the text.
        let _ = write!(self.out, "{text}");
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.put_slice(b"\r\n");
    }
}
