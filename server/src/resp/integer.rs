//! Integers as Redis takes them in arguments.

/// A decimal 64-bit integer: an optional minus, no plus, no blanks, no leading zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // The standard library's parser takes "+1", "007" and "-0"; Redis takes none of them.
    match digits {
        [b'0'] => (digits.len() == text.len()).then_some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn only_the_canonical_text_of_an_integer_is_one() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "-0", "00", "007", "-07", " 1", "1 ", "1x", "9223372036854775808", "\u{661}"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
