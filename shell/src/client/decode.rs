//! The decoder of replies, which trusts no server: depth, lengths and memory are bounded, and nothing panics.
//!
//! | first byte | reply | | first byte | reply |
//! | --- | --- | --- | --- | --- |
//! | `+` | status | | `#` | boolean |
//! | `-` | error, one line | | `(` | big number |
//! | `!` | error of any bytes | | `*` | array |
//! | `:` | integer | | `~` | set |
//! | `$` | string | | `%` | map |
//! | `=` | verbatim string | | `>` | push |
//! | `_` | null | | `\|` | attributes of the reply that follows; passed over |
//! | `,` | double | | | |
//!
//! Lengths that are not known beforehand (`$?`, `*?`) are refused: no server sends them. Memory is taken for what has
//! arrived, never for what is announced.

use super::Reply;
use std::io::{self, BufRead, Read};
use thiserror::Error;

/// What a reply may measure.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// How deep arrays and the like may nest.
    pub depth: usize,
    /// Strings, numbers and arrays of a reply, all together.
    pub values: usize,
    /// Bytes of a line.
    pub line: usize,
    /// Bytes of a reply's strings and lines, all together.
    pub bytes: usize,
}

impl Default for ReplyLimits {
    fn default() -> ReplyLimits {
        // A range has up to 65,536 rows of 5 values; a value may have 512 MiB.
        ReplyLimits { depth: 32, values: 4 << 20, line: 1 << 20, bytes: 1 << 30 }
    }
}

/// Why no reply could be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The connection failed or ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// This is not the protocol.
    #[error("expected a reply, but found {0}")]
    Malformed(&'static str),
    /// A limit is passed.
    #[error("the reply has {0}")]
    TooLarge(&'static str),
}

/// Reads one reply.
pub struct Decoder<'a, R> {
    reader: &'a mut R,
    limits: ReplyLimits,
}

impl<'a, R: BufRead> Decoder<'a, R> {
    /// For the next reply of this reader.
    pub fn new(reader: &'a mut R, limits: ReplyLimits) -> Decoder<'a, R> {
        Decoder { reader, limits }
    }

    /// The reply; waits until all of it has come.
    ///
    /// # Errors
    /// The reader fails or ends, or what it gives is no reply within the limits.
    pub fn reply(mut self) -> Result<Reply, DecodeError> {
        self.value(0)
    }

    fn value(&mut self, depth: usize) -> Result<Reply, DecodeError> {
        if depth > self.limits.depth {
            return Err(DecodeError::TooLarge("arrays that nest too deep"));
        }
        let (sigil, line) = loop {
            let (sigil, line) = self.line()?;
            if sigil != b'|' {
                break (sigil, line);
            }
            for _ in 0..length(&line)? {
                self.value(depth + 1)?;
                self.value(depth + 1)?;
            }
        };
        Ok(match sigil {
            b'+' => Reply::Status(text(line)),
            b'-' => Reply::Error(text(line)),
            b':' => Reply::Integer(number(&line)?),
            b'$' | b'*' if line == b"-1" => Reply::Null,
            b'$' => Reply::Bulk(self.bytes(&line)?),
            b'!' => Reply::Error(text(self.bytes(&line)?)),
            b'=' => {
                let bytes = self.bytes(&line)?;
                // `txt:` or the like stands before the text.
                match bytes.get(3) {
                    Some(b':') => Reply::Verbatim(bytes.get(4..).unwrap_or_default().to_vec()),
                    _ => return Err(DecodeError::Malformed("a verbatim string without its kind")),
                }
            }
            b'_' if line.is_empty() => Reply::Null,
            b'#' => match line.as_slice() {
                b"t" => Reply::Boolean(true),
                b"f" => Reply::Boolean(false),
                _ => return Err(DecodeError::Malformed("a boolean that is neither true nor false")),
            },
            b',' => Reply::Double(parse(&line, "a double that is no number")?),
            b'(' => Reply::BigNumber(text(line)),
            b'*' => Reply::Array(self.values(&line, depth)?),
            b'~' => Reply::Set(self.values(&line, depth)?),
            b'>' => Reply::Push(self.values(&line, depth)?),
            b'%' => {
                let mut pairs = Vec::new();
                for _ in 0..length(&line)? {
                    pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
                }
                Reply::Map(pairs)
            }
            _ => return Err(DecodeError::Malformed("something that starts no reply")),
        })
    }

    fn values(&mut self, line: &[u8], depth: usize) -> Result<Vec<Reply>, DecodeError> {
        let mut values = Vec::new();
        for _ in 0..length(line)? {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    /// The first byte of a line, and the rest of it without its end.
    fn line(&mut self) -> Result<(u8, Vec<u8>), DecodeError> {
        self.limits.values = self.limits.values.checked_sub(1).ok_or(DecodeError::TooLarge("too many values"))?;
        let mut line = Vec::new();
        self.reader.by_ref().take(self.limits.line as u64).read_until(b'\n', &mut line)?;
        self.count(line.len())?;
        match line.as_slice() {
            [sigil, rest @ .., b'\r', b'\n'] => Ok((*sigil, rest.to_vec())),
            [.., b'\n'] => Err(DecodeError::Malformed("a line without a carriage return")),
            line if line.len() >= self.limits.line => Err(DecodeError::TooLarge("a line that is too long")),
            _ => Err(ended()),
        }
    }

    /// As many bytes as the line says, and the line's end after them.
    fn bytes(&mut self, line: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let len = length(line)?;
        self.count(len)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(len as u64).read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(ended());
        }
        let mut end = [0; 2];
        self.reader.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(bytes) } else { Err(DecodeError::Malformed("a string longer than its length")) }
    }

    /// Counts bytes against what is left of the limit.
    fn count(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.limits.bytes = self.limits.bytes.checked_sub(bytes).ok_or(DecodeError::TooLarge("too many bytes"))?;
        Ok(())
    }
}

fn ended() -> DecodeError {
    DecodeError::Io(io::ErrorKind::UnexpectedEof.into())
}

fn number(line: &[u8]) -> Result<i64, DecodeError> {
    parse(line, "something else than a number")
}

fn length(line: &[u8]) -> Result<usize, DecodeError> {
    parse(line, "something else than a length")
}

fn parse<T: std::str::FromStr>(line: &[u8], otherwise: &'static str) -> Result<T, DecodeError> {
    std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()).ok_or(DecodeError::Malformed(otherwise))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, Decoder, ReplyLimits};
    use crate::client::Reply;
    use proptest::prelude::{any, prop, proptest};

    fn decoded(mut bytes: &[u8]) -> Result<Reply, DecodeError> {
        let limits = ReplyLimits { depth: 4, values: 64, line: 256, bytes: 1024 };
        let reply = Decoder::new(&mut bytes, limits).reply()?;
        assert!(bytes.is_empty(), "left over: {bytes:?}");
        Ok(reply)
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let cases: Vec<(&[u8], Reply)> = vec![
            (b"+OK\r\n", Reply::Status("OK".to_string())),
            (b"-ERR no\r\n", Reply::Error("ERR no".to_string())),
            (b"!8\r\nERR a\r\nb\r\n", Reply::Error("ERR a\r\nb".to_string())),
            (b":-42\r\n", Reply::Integer(-42)),
            (b"$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            (b"$0\r\n\r\n", bulk("")),
            (b"$-1\r\n", Reply::Null),
            (b"*-1\r\n", Reply::Null),
            (b"_\r\n", Reply::Null),
            (b"=6\r\ntxt:hi\r\n", Reply::Verbatim(b"hi".to_vec())),
            (b"#t\r\n", Reply::Boolean(true)),
            (b",1.5\r\n", Reply::Double(1.5)),
            (b",inf\r\n", Reply::Double(f64::INFINITY)),
            (b"(12345678901234567890\r\n", Reply::BigNumber("12345678901234567890".to_string())),
            (b"*2\r\n$1\r\na\r\n*0\r\n", Reply::Array(vec![bulk("a"), Reply::Array(vec![])])),
            (b"~1\r\n:1\r\n", Reply::Set(vec![Reply::Integer(1)])),
            (b"%1\r\n+a\r\n:1\r\n", Reply::Map(vec![(Reply::Status("a".to_string()), Reply::Integer(1))])),
            (b">1\r\n:1\r\n", Reply::Push(vec![Reply::Integer(1)])),
            (b"|1\r\n+ttl\r\n:1\r\n:7\r\n", Reply::Integer(7)),
        ];
        for (bytes, reply) in cases {
            assert_eq!(decoded(bytes).unwrap(), reply, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let cases: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\n",
            b"\r\n",
            b"+OK\n",
            b":\r\n",
            b":1x\r\n",
            b":99999999999999999999\r\n",
            b"$-2\r\n",
            b"$?\r\n",
            b"*?\r\n",
            b"*-2\r\n",
            b"$2\r\nabc\r\n",
            b"#x\r\n",
            b"_x\r\n",
            b",x\r\n",
            b"=2\r\nhi\r\n",
            b"=0\r\n\r\n",
            b"\xff\xfe\r\n",
        ];
        for bytes in cases {
            let outcome = decoded(bytes);
            assert!(matches!(outcome, Err(DecodeError::Malformed(_))), "{}: {outcome:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn announced_sizes_beyond_the_limits_are_refused_before_memory_is_taken() {
        let deep = b"*1\r\n".repeat(6);
        let attributes = [b"|9223372036854775807\r\n".as_slice(), &b":1\r\n".repeat(100)].concat();
        let long_line = [b"+".as_slice(), &[b'x'; 300], b"\r\n"].concat();
        let many = [b"*9223372036854775807\r\n".as_slice(), &b":1\r\n".repeat(100)].concat();
        for bytes in [b"$9223372036854775807\r\n".to_vec(), b"$1025\r\n".to_vec(), deep, attributes, long_line, many] {
            let outcome = decoded(&bytes);
            assert!(matches!(outcome, Err(DecodeError::TooLarge(_))), "{}: {outcome:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_reply_that_ends_early_is_an_end_and_no_reply() {
        let whole: &[u8] = b"*3\r\n$3\r\nabc\r\n%1\r\n+k\r\n:12\r\n=5\r\ntxt:x\r\n";
        decoded(whole).unwrap();
        for end in 0..whole.len() {
            let outcome = decoded(&whole[..end]);
            assert!(matches!(outcome, Err(DecodeError::Io(_))), "up to {end}: {outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let limits = ReplyLimits { depth: 4, values: 64, line: 256, bytes: 1024 };
            let _ = Decoder::new(&mut bytes.as_slice(), limits).reply();
        }

        #[test]
        fn garbage_of_the_protocols_own_letters_never_panics(text in r"([-+:$*!=_,#(~%>|][-0-9?tf]{0,3}\r\n){0,20}") {
            let limits = ReplyLimits { depth: 4, values: 64, line: 256, bytes: 1024 };
            let _ = Decoder::new(&mut text.as_bytes(), limits).reply();
        }
    }
}
