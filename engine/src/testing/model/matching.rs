//! Which keys a pattern matches: element by element, for all lengths of the key at once.

use crate::command::Pattern;

/// One element of a pattern.
enum Element {
    /// Any run of bytes.
    Run,
    /// Any byte.
    Any,
    /// This byte.
    Byte(u8),
    /// One of these ranges of bytes, or none of them.
    Class { ranges: Vec<(u8, u8)>, negated: bool },
}

/// Whether the key matches the pattern.
pub fn matches(pattern: &Pattern, key: &[u8]) -> bool {
    let elements = match pattern {
        Pattern::Like(text) => like(text),
        Pattern::Glob(text) => glob(text),
    };
    // For every length, whether so much of the key matches the elements so far. No elements match nothing of it.
    let mut matching: Vec<bool> = (0..=key.len()).map(|len| len == 0).collect();
    for element in &elements {
        matching = (0..=key.len())
            .scan(false, |shorter, len| {
                *shorter |= matching[len];
                Some(match element {
                    Element::Run => *shorter,
                    element => len > 0 && matching[len - 1] && element.takes(key[len - 1]),
                })
            })
            .collect();
    }
    matching[key.len()]
}

impl Element {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Element::Run | Element::Any => true,
            Element::Byte(wanted) => *wanted == byte,
            Element::Class { ranges, negated } => {
                ranges.iter().any(|&(low, high)| low <= byte && byte <= high) != *negated
            }
        }
    }
}

fn like(text: &[u8]) -> Vec<Element> {
    let mut bytes = text.iter().copied();
    let mut elements = Vec::new();
    while let Some(byte) = bytes.next() {
        elements.push(match byte {
            b'%' => Element::Run,
            b'_' => Element::Any,
            // A backslash at the end stands for itself.
            b'\\' => Element::Byte(bytes.next().unwrap_or(b'\\')),
            other => Element::Byte(other),
        });
    }
    elements
}

fn glob(text: &[u8]) -> Vec<Element> {
    let mut bytes = text.iter().copied().peekable();
    let mut elements = Vec::new();
    while let Some(byte) = bytes.next() {
        elements.push(match byte {
            b'*' => Element::Run,
            b'?' => Element::Any,
            b'\\' => Element::Byte(bytes.next().unwrap_or(b'\\')),
            b'[' => {
                let negated = bytes.next_if_eq(&b'^').is_some();
                // The class ends at the first bracket without a backslash, or at the pattern's end.
                let mut class = Vec::new();
                while let Some(inside) = bytes.next() {
                    match inside {
                        b']' => break,
                        b'\\' => {
                            class.push(inside);
                            class.extend(bytes.next());
                        }
                        _ => class.push(inside),
                    }
                }
                Element::Class { ranges: ranges(&class), negated }
            }
            other => Element::Byte(other),
        });
    }
    elements
}

/// The members of a class: single bytes and `a-z`, in either order.
fn ranges(class: &[u8]) -> Vec<(u8, u8)> {
    let (first, rest) = match class {
        [] => return vec![],
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
    };
    match rest {
        [b'-', last, rest @ ..] => [vec![(first.min(*last), first.max(*last))], ranges(rest)].concat(),
        rest => [vec![(first, first)], ranges(rest)].concat(),
    }
}
