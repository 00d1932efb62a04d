//! Keys and values as literals.

use std::fmt;

/// Writes bytes as the literal that parses to them: in single quotes where they are printable UTF-8, else `X'..'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal<'a>(pub &'a [u8]);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().all(is_printable) => write!(f, "'{}'", text.replace('\'', "''")),
            _ => {
                f.write_str("X'")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
        }
    }
}

/// Whether a terminal shows the character as itself: no control characters, nothing invisible, nothing that turns
/// the direction of what follows.
pub fn is_printable(character: char) -> bool {
    let unseen = matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !character.is_control() && !unseen
}

#[cfg(test)]
mod tests {
    use super::Literal;

    #[test]
    fn what_is_printable_is_quoted_and_the_rest_is_hexadecimal() {
        let cases: [(&[u8], &str); 6] = [
            (b"user:1", "'user:1'"),
            (b"", "''"),
            (b"it's", "'it''s'"),
            ("Zoë".as_bytes(), "'Zoë'"),
            (b"a\nb", "X'610a62'"),
            (b"\x00\xff", "X'00ff'"),
        ];
        for (bytes, literal) in cases {
            assert_eq!(Literal(bytes).to_string(), literal);
        }
    }
}
