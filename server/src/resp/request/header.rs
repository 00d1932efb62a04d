//! The lines `*N\r\n` and `$N\r\n`.

/// What stands at the front of a buffer that starts with `*` or `$`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The line's end has not arrived.
    Partial,
    /// Not a number, or not one of 64 bits.
    Invalid,
    /// A number, in a line of so many bytes.
    Number { number: i64, len: usize },
}

/// Parses the line at the front of `bytes`, whose first byte is the caller's business.
///
/// The line is found digit by digit: it has two or three bytes in most requests, for which a call of a
/// vectorised search costs more than the loop. Numbers are in Redis' strict form, so that a line which goes
/// on past twenty bytes is invalid and the loop bounded.
pub(super) fn parse_header(bytes: &[u8]) -> Header {
    let negative = bytes.get(1) == Some(&b'-');
    let first_digit = 1 + usize::from(negative);
    let mut magnitude: i64 = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(first_digit) {
        match byte {
            b'0'..=b'9' => {
                // No leading zeros: after a zero there is no further digit.
                if at > first_digit && magnitude == 0 {
                    return Header::Invalid;
                }
                let digit = i64::from(byte - b'0');
                match magnitude.checked_mul(10).and_then(|tens| tens.checked_add(digit)) {
                    Some(larger) => magnitude = larger,
                    None => return Header::Invalid,
                }
            }
            b'\r' if at > first_digit && !(negative && magnitude == 0) => {
                return match bytes.get(at + 1) {
                    None => Header::Partial,
                    Some(b'\n') => {
                        Header::Number { number: if negative { -magnitude } else { magnitude }, len: at + 2 }
                    }
                    Some(_) => Header::Invalid,
                };
            }
            _ => return Header::Invalid,
        }
    }
    Header::Partial
}

#[cfg(test)]
mod tests {
    use super::{Header, parse_header};

    #[test]
    fn a_number_needs_its_whole_line() {
        for number in [0, 1, -1, 42, i64::MAX, -i64::MAX] {
            let line = format!("*{number}\r\n");
            for end in 1..line.len() {
                assert_eq!(parse_header(&line.as_bytes()[..end]), Header::Partial, "{line:?} up to {end}");
            }
            let rest = format!("{line}$3\r\n");
            assert_eq!(parse_header(rest.as_bytes()), Header::Number { number, len: line.len() });
        }
    }

    #[test]
    fn other_lines_are_refused_as_soon_as_they_differ() {
        for line in [
            "*\r\n",
            "*-\r\n",
            "*-0\r\n",
            "*+1",
            "*00",
            "*01",
            "* 1",
            "*1 ",
            "*1\n",
            "*1\rx",
            "*x",
            "*9223372036854775808",
        ] {
            assert_eq!(parse_header(line.as_bytes()), Header::Invalid, "{line:?}");
        }
    }
}
