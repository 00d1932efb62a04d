//! Inline commands: a line of words, as one types them into telnet.
//!
//! Words are separated by blanks. A word, or a part of one, may stand in double quotes, where `\n`, `\r`,
//! `\t`, `\b`, `\a`, `\xHH` and `\` before any other byte are escapes, or in single quotes, where only `\'` is.
//! A closing quote ends the word.

use super::Arguments;
use bytes::Bytes;

/// The words of a line without its end; `None` if a quote is not closed or the word goes on behind it.
pub(super) fn split(line: &Bytes) -> Option<Arguments> {
    let mut words = Arguments::new();
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|byte| is_blank(**byte)).count();
        if at == line.len() {
            return Some(words);
        }
        let len = line[at..].iter().take_while(|byte| !is_blank(**byte) && !is_quote(**byte)).count();
        let end = at + len;
        if line.get(end).is_some_and(|byte| is_quote(*byte)) {
            let (word, end) = quoted(line, at, end)?;
            words.push(word.into());
            at = end;
        } else {
            words.push(line.slice(at..end));
            at = end;
        }
    }
}

/// The word that starts at `start` and has its quote at `quote`, and where it ends.
fn quoted(line: &[u8], start: usize, quote: usize) -> Option<(Vec<u8>, usize)> {
    let mut word = line[start..quote].to_vec();
    let mut at = quote + 1;
    let closing = line[quote];
    loop {
        match line[at..] {
            [byte, ..] if byte == closing => {
                at += 1;
                return line.get(at).is_none_or(|next| is_blank(*next)).then_some((word, at));
            }
            [b'\\', b'x', high, low, ..] if closing == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(high) << 4 | hex(low));
                at += 4;
            }
            [b'\\', escaped, ..] if closing == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            [b'\\', b'\'', ..] if closing == b'\'' => {
                word.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                word.push(byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        other => (other | 0x20) - b'a' + 10,
    }
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::split;
    use bytes::Bytes;

    #[test]
    fn a_line_is_split_by_redis_rules() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t ", &[]),
            (b"GET key", &[b"GET", b"key"]),
            (b"  SET\tk  v ", &[b"SET", b"k", b"v"]),
            (b"SET k \"a b\"", &[b"SET", b"k", b"a b"]),
            (b"SET k ''", &[b"SET", b"k", b""]),
            (br#"SET k "\x00\xfF\n\r\t\b\a\"\\\q\x4""#, &[b"SET", b"k", b"\x00\xff\n\r\t\x08\x07\"\\qx4"]),
            (br#"SET k 'it\'s \n "x"'"#, &[b"SET", b"k", br#"it's \n "x""#]),
            (br#"SET k pre"fix" x"#, &[b"SET", b"k", b"prefix", b"x"]),
            (b"SET k \xff\x00", &[b"SET", b"k", b"\xff\x00"]),
        ];
        for (line, words) in cases {
            let split = split(&Bytes::copy_from_slice(line));
            let split: Option<Vec<&[u8]>> =
                split.as_ref().map(|words| words.iter().map(|word| word.as_ref()).collect());
            assert_eq!(split.as_deref(), Some(*words), "{:?}", line.escape_ascii().to_string());
        }
    }

    #[test]
    fn quotes_must_close_at_the_end_of_a_word() {
        for line in
            [r#"GET "key"#, "GET 'key", r#"GET "key"x"#, "GET 'a'b", r#"GET "a""b""#, r#"GET "a\""#, r#"GET "\"#]
        {
            assert_eq!(split(&Bytes::from_static(line.as_bytes())), None, "{line}");
        }
    }
}
