//! The cells of a table, as people and as programs read them.

use skink_server::statement::is_printable;
use std::fmt::Write;

/// What stands in one place of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Text of the shell's or the server's.
    Text(String),
    /// A number.
    Integer(i64),
    /// When a key expires, in milliseconds since 1970; `None` for never.
    Expires(Option<i64>),
    /// Nothing.
    Null,
}

impl Cell {
    /// The cell as text in one line; what is not printable as `X'..'`. At least its first `max_chars` characters.
    pub fn to_text(&self, max_chars: Option<usize>, now_ms: u64) -> String {
        match self {
            Cell::Bytes(bytes) => bytes_text(bytes, max_chars),
            Cell::Text(text) => bytes_text(text.as_bytes(), max_chars),
            Cell::Integer(number) => number.to_string(),
            Cell::Expires(None) => "never".to_string(),
            Cell::Expires(Some(at_ms)) => time_left(*at_ms, now_ms),
            Cell::Null => "NULL".to_string(),
        }
    }

    /// Whether people expect it at the right of its column.
    pub fn is_number(&self) -> bool {
        matches!(self, Cell::Integer(_))
    }

    /// The cell as JSON. Bytes that are no text are an object with their hexadecimal digits.
    pub fn to_json(&self) -> String {
        match self {
            Cell::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => json_string(text),
                Err(_) => format!("{{\"hex\":\"{}\"}}", hexadecimal(bytes)),
            },
            Cell::Text(text) => json_string(text),
            Cell::Integer(number) | Cell::Expires(Some(number)) => number.to_string(),
            Cell::Expires(None) | Cell::Null => "null".to_string(),
        }
    }
}

/// As it stands if all of it is printable, else as the statement language writes it.
fn bytes_text(bytes: &[u8], max_chars: Option<usize>) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => match max_chars {
            Some(max) => text.chars().take(max).collect(),
            None => text.to_string(),
        },
        _ => {
            // Two digits a byte, so this is at least as long as asked for.
            let shown = max_chars.and_then(|max| bytes.get(..max)).unwrap_or(bytes);
            format!("X'{}'", hexadecimal(shown))
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A string as JSON has it.
pub fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control.is_control() => {
                // Control characters are all below U+00A0.
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

/// The two largest units of the time from now until then.
fn time_left(at_ms: i64, now_ms: u64) -> String {
    let left_ms = u64::try_from(at_ms).unwrap_or(0).saturating_sub(now_ms);
    let (seconds, minutes, hours) = (left_ms / 1_000, left_ms / 60_000, left_ms / 3_600_000);
    match (hours / 24, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{left_ms}ms"),
        (0, 0, 0, _) => format!("{seconds}s"),
        (0, 0, _, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _, _) => format!("{hours}h {}m", minutes % 60),
        (days, _, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// A text that may come from anywhere, for the terminal: what could move the cursor is replaced. Lines stay.
pub fn harmless(text: &str) -> String {
    text.chars().map(|shown| if shown == '\n' || is_printable(shown) { shown } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, harmless, json_string, time_left};

    fn text(bytes: &[u8]) -> String {
        Cell::Bytes(bytes.to_vec()).to_text(None, 0)
    }

    #[test]
    fn what_is_not_printable_is_hexadecimal() {
        assert_eq!(text("Zoë's".as_bytes()), "Zoë's");
        assert_eq!(text(b"a\nb"), "X'610a62'");
        assert_eq!(text(b"\x1b[2J"), "X'1b5b324a'");
        assert_eq!(text(b"\xff"), "X'ff'");
        assert_eq!(text(b""), "");
        assert_eq!(text("\u{202e}".as_bytes()), "X'e280ae'");
    }

    #[test]
    fn no_more_is_made_than_is_shown() {
        assert_eq!(Cell::Bytes(vec![b'a'; 1 << 20]).to_text(Some(3), 0), "aaa");
        assert_eq!(Cell::Bytes(vec![0; 1 << 20]).to_text(Some(3), 0), "X'000000'");
    }

    #[test]
    fn json_keeps_every_byte() {
        assert_eq!(json_string("a\"\\\n\u{1}é\u{7f}"), r#""a\"\\\n\u0001é\u007f""#);
        assert_eq!(Cell::Bytes(b"\x00\xff".to_vec()).to_json(), r#"{"hex":"00ff"}"#);
        assert_eq!(Cell::Expires(None).to_json(), "null");
        assert_eq!(Cell::Expires(Some(12)).to_json(), "12");
    }

    #[test]
    fn times_have_their_two_largest_units() {
        let cases = [
            (-5, "0ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (61_000, "1m 1s"),
            (3_600_000, "1h 0m"),
            (90_000_000, "1d 1h"),
        ];
        for (left_ms, expected) in cases {
            assert_eq!(time_left(1_000_000 + left_ms, 1_000_000), expected);
        }
    }

    #[test]
    fn errors_can_not_move_the_cursor() {
        assert_eq!(harmless("a\n\u{1b}[31mb\r"), "a\n\u{fffd}[31mb\u{fffd}");
    }
}
