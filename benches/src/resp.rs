//! The Redis protocol as far as measuring needs it: requests as arrays of bulk strings, scalar replies, and a
//! blocking client for single requests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use thiserror::Error;

/// Longest bulk string that is accepted, as in Redis.
const LONGEST_BULK_BYTES: i64 = 512 << 20;
/// Longest line before it counts as garbage.
const LONGEST_LINE_BYTES: usize = 64 << 10;

/// The peer sent bytes that no reply starts with, or a length out of bounds.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a reply of the Redis protocol: {0}")]
pub struct Malformed(pub String);

/// A reply without nesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// `:1`
    Integer(i64),
    /// `$3`, and the bytes
    Bulk(&'a [u8]),
    /// `$-1` or `_`
    Null,
}

/// Appends a request.
pub fn append_request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    append_length(out, b'*', arguments.len());
    for argument in arguments {
        append_length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `kind`, a length and the end of the line: the start of an array (`*`) or of a bulk string (`$`).
pub fn append_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(length.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reply at the start of `input` and its length; `None` if it isn't complete yet.
pub fn parse_reply(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Some((kind, rest)) = input.split_first() else { return Ok(None) };
    if !b"+-:$_".contains(kind) {
        return Err(Malformed(format!("starts with byte {kind:#04x}")));
    }
    let Some(end) = rest.windows(2).take(LONGEST_LINE_BYTES).position(|pair| pair == b"\r\n") else {
        let garbage = rest.len() > LONGEST_LINE_BYTES;
        return if garbage { Err(Malformed("a line without end".into())) } else { Ok(None) };
    };
    let line = &rest[..end];
    let after_line = 1 + end + 2;
    let reply = match kind {
        b'+' => Reply::Simple(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(parse_integer(line)?),
        b'_' => Reply::Null,
        _ => {
            let length = parse_integer(line)?;
            if length == -1 {
                return Ok(Some((Reply::Null, after_line)));
            }
            if !(0..=LONGEST_BULK_BYTES).contains(&length) {
                return Err(Malformed(format!("a bulk string of {length} bytes")));
            }
            let end = after_line + length as usize;
            let Some(terminator) = input.get(end..end + 2) else { return Ok(None) };
            if terminator != b"\r\n" {
                return Err(Malformed("a bulk string without its end".into()));
            }
            return Ok(Some((Reply::Bulk(&input[after_line..end]), end + 2)));
        }
    };
    Ok(Some((reply, after_line)))
}

fn parse_integer(line: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Malformed(format!("not an integer: {}", String::from_utf8_lossy(line))))
}

/// One connection, one request at a time.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    consumed: usize,
}

impl Client {
    /// Connects; requests fail when no reply came within `timeout`.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        Ok(Self { stream, input: Vec::new(), consumed: 0 })
    }

    /// Sends a request and waits for its reply.
    pub fn request(&mut self, arguments: &[&[u8]]) -> io::Result<Reply<'_>> {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let mut out = Vec::new();
        append_request(&mut out, arguments);
        self.stream.write_all(&out)?;
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some((_, length)) = parse_reply(&self.input).map_err(io::Error::other)? {
                self.consumed = length;
                break;
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&chunk[..read]),
            }
        }
        match parse_reply(&self.input).map_err(io::Error::other)? {
            Some((reply, _)) => Ok(reply),
            None => unreachable!("the same bytes were a whole reply above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        append_request(&mut out, &[b"GET", b"\x00\r\n"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\n\x00\r\n\r\n");
    }

    #[test]
    fn every_prefix_of_a_reply_is_incomplete() {
        let replies: [(&[u8], Reply<'_>); 7] = [
            (b"+OK\r\n", Reply::Simple(b"OK")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-12\r\n", Reply::Integer(-12)),
            (b"$4\r\na\r\nb\r\n", Reply::Bulk(b"a\r\nb")),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"$-1\r\n", Reply::Null),
            (b"_\r\n", Reply::Null),
        ];
        for (bytes, reply) in replies {
            assert_eq!(parse_reply(bytes), Ok(Some((reply, bytes.len()))));
            for end in 0..bytes.len() {
                assert_eq!(parse_reply(&bytes[..end]), Ok(None), "{:?}", String::from_utf8_lossy(&bytes[..end]));
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b"hello\r\n"[..], b"$-2\r\n", b"$x\r\n", b"$99999999999\r\n", b"$1\r\nabc", b":\r\n"] {
            assert!(parse_reply(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(parse_reply(&vec![b'+'; LONGEST_LINE_BYTES + 2]).is_err());
    }
}
