//! Replies to commands of Redis' protocol, printed as redis-cli does: for people in a terminal, as they came elsewhere.

use super::cell::harmless;
use crate::client::Reply;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes the reply to a command; `arguments` decide whether its text is meant to be read as it stands.
///
/// # Errors
/// The output fails.
pub fn reply_of_command(
    arguments: &[impl AsRef<[u8]>],
    reply: &Reply,
    in_terminal: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    match reply {
        Reply::Bulk(text) if in_terminal && is_page(arguments) => writeln!(out, "{}", page(text)),
        Reply::Verbatim(text) if in_terminal => writeln!(out, "{}", page(text)),
        reply if in_terminal => out.write_all(tree(reply).as_bytes()),
        reply => {
            write_raw(reply, out)?;
            out.write_all(b"\n")
        }
    }
}

/// Whether the answer to this command is text of several lines.
fn is_page(arguments: &[impl AsRef<[u8]>]) -> bool {
    let word = |at: usize| arguments.get(at).map(|word| word.as_ref().to_ascii_uppercase()).unwrap_or_default();
    word(0) == b"INFO" || (word(0) == b"CLIENT" && matches!(word(1).as_slice(), b"LIST" | b"INFO"))
}

fn page(text: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(text).replace("\r\n", "\n")).trim_end().to_string()
}

/// A reply for people: a value a line, what is nested numbered and indented.
pub fn tree(reply: &Reply) -> String {
    let mut text = String::new();
    write_tree(reply, 0, &mut text);
    text
}

fn write_tree(reply: &Reply, indent: usize, text: &mut String) {
    match reply {
        Reply::Status(status) => line(text, &harmless(status)),
        Reply::Error(error) => line(text, &format!("(error) {}", harmless(error))),
        Reply::Integer(number) => line(text, &format!("(integer) {number}")),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => line(text, &quoted(bytes)),
        Reply::Null => line(text, "(nil)"),
        Reply::Boolean(value) => line(text, &format!("({value})")),
        Reply::Double(number) => line(text, &format!("(double) {number}")),
        Reply::BigNumber(number) => line(text, &format!("(big number) {}", harmless(number))),
        Reply::Array(values) if values.is_empty() => line(text, "(empty array)"),
        Reply::Set(values) if values.is_empty() => line(text, "(empty set)"),
        Reply::Push(values) if values.is_empty() => line(text, "(empty push)"),
        Reply::Map(pairs) if pairs.is_empty() => line(text, "(empty hash)"),
        Reply::Array(values) => write_numbered(values, ')', indent, text),
        Reply::Set(values) => write_numbered(values, '~', indent, text),
        Reply::Push(values) => write_numbered(values, '>', indent, text),
        Reply::Map(pairs) => {
            for (number, (key, value)) in pairs.iter().enumerate() {
                let label = label(number, pairs.len(), '#', indent, text);
                let mut shown = String::new();
                write_tree(key, label, &mut shown);
                let _ = write!(text, "{} => ", shown.trim_end());
                // What is nested in a value starts on a line of its own.
                match value {
                    Reply::Array(inner) | Reply::Set(inner) | Reply::Push(inner) if !inner.is_empty() => {
                        let _ = write!(text, "\n{:label$}", "");
                    }
                    Reply::Map(inner) if !inner.is_empty() => {
                        let _ = write!(text, "\n{:label$}", "");
                    }
                    _ => {}
                }
                write_tree(value, label, text);
            }
        }
    }
}

fn line(text: &mut String, shown: &str) {
    text.push_str(shown);
    text.push('\n');
}

fn write_numbered(values: &[Reply], sign: char, indent: usize, text: &mut String) {
    for (number, value) in values.iter().enumerate() {
        let label = label(number, values.len(), sign, indent, text);
        write_tree(value, label, text);
    }
}

/// Writes `12) `; the first stands behind what is on the line already. Returns the indentation of what follows.
fn label(number: usize, of: usize, sign: char, indent: usize, text: &mut String) -> usize {
    let digits = of.to_string().len();
    let before = if number == 0 { 0 } else { indent };
    let _ = write!(text, "{:before$}{:>digits$}{sign} ", "", number + 1);
    indent + digits + 2
}

/// In double quotes, with Redis' escapes; so what is shown can be typed.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text.push('"');
    text
}

/// A value a line, as it came.
fn write_raw(reply: &Reply, out: &mut dyn Write) -> io::Result<()> {
    let mut raw_values = |values: &[Reply]| {
        values.iter().enumerate().try_for_each(|(number, value)| {
            if number > 0 {
                out.write_all(b"\n")?;
            }
            write_raw(value, out)
        })
    };
    match reply {
        Reply::Array(values) | Reply::Set(values) | Reply::Push(values) => raw_values(values),
        Reply::Map(pairs) => pairs.iter().enumerate().try_for_each(|(number, (key, value))| {
            if number > 0 {
                out.write_all(b"\n")?;
            }
            write_raw(key, out)?;
            out.write_all(b" ")?;
            write_raw(value, out)
        }),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => out.write_all(bytes),
        Reply::Status(text) | Reply::Error(text) | Reply::BigNumber(text) => out.write_all(text.as_bytes()),
        Reply::Integer(number) => write!(out, "{number}"),
        Reply::Double(number) => write!(out, "{number}"),
        Reply::Boolean(value) => write!(out, "{value}"),
        Reply::Null => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{reply_of_command, tree};
    use crate::client::Reply;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    fn shown(command: &[&str], reply: &Reply, in_terminal: bool) -> String {
        let mut out = Vec::new();
        reply_of_command(command, reply, in_terminal, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn single_values_look_as_in_redis_cli() {
        let cases = [
            (Reply::Status("OK".to_string()), "OK\n", "OK\n"),
            (Reply::Integer(3), "(integer) 3\n", "3\n"),
            (bulk("a\"\n\x01"), "\"a\\\"\\n\\x01\"\n", "a\"\n\x01\n"),
            (Reply::Null, "(nil)\n", "\n"),
            (Reply::Boolean(true), "(true)\n", "true\n"),
            (Reply::Double(1.5), "(double) 1.5\n", "1.5\n"),
            (Reply::Array(vec![]), "(empty array)\n", "\n"),
        ];
        for (reply, terminal, raw) in cases {
            assert_eq!(shown(&["GET", "k"], &reply, true), terminal);
            assert_eq!(shown(&["GET", "k"], &reply, false), raw);
        }
    }

    #[test]
    fn nested_values_are_numbered_and_indented() {
        let inner = Reply::Array(vec![bulk("a"), bulk("b")]);
        let nested = Reply::Array(vec![bulk("0"), inner.clone(), Reply::Null]);
        assert_eq!(tree(&nested), "1) \"0\"\n2) 1) \"a\"\n   2) \"b\"\n3) (nil)\n");
        let many = Reply::Array((0..10).map(Reply::Integer).collect());
        assert!(tree(&many).starts_with(" 1) (integer) 0\n 2) "));
        let map = Reply::Map(vec![(bulk("k"), Reply::Integer(1)), (bulk("list"), inner)]);
        assert_eq!(tree(&map), "1# \"k\" => (integer) 1\n2# \"list\" => \n   1) \"a\"\n   2) \"b\"\n");
        assert_eq!(shown(&["SCAN", "0"], &nested, false), "0\na\nb\n\n");
    }

    #[test]
    fn pages_are_shown_as_they_stand_but_harmless() {
        let info = bulk("# Server\r\nversion:1\x1b\r\n");
        assert_eq!(shown(&["info"], &info, true), "# Server\nversion:1\u{fffd}\n");
        assert_eq!(shown(&["CLIENT", "list"], &bulk("id=1\n"), true), "id=1\n");
    }
}
