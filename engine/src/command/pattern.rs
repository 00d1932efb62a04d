//! Patterns over keys: SQL's `LIKE` and the glob of Redis' `MATCH`.
//!
//! Matching is iterative and remembers only the last wildcard, so its time is bounded by
//! pattern length times key length, whatever the pattern (no exponential backtracking).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A pattern over keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// `%` is any run of bytes, `_` any one byte, `\` takes the next byte as it is.
    Like(Bytes),
    /// `*`, `?`, `[abc]`, `[^a-z]` and `\` as in Redis.
    Glob(Bytes),
}

/// One element of a pattern, with how many bytes of pattern it takes.
enum Element {
    AnyRun,
    AnyOne(usize),
    One(u8, usize),
    Class { end: usize, start: usize, negated: bool },
}

impl Pattern {
    /// Bytes of the pattern's text.
    pub fn len(&self) -> usize {
        self.text().len()
    }

    /// Whether the pattern's text is empty (it then matches the empty key alone).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn text(&self) -> &[u8] {
        match self {
            Pattern::Like(text) | Pattern::Glob(text) => text,
        }
    }

    fn element(&self, at: usize) -> Option<Element> {
        let text = self.text();
        let byte = *text.get(at)?;
        let escaped = || match text.get(at + 1) {
            Some(&next) => Element::One(next, 2),
            None => Element::One(b'\\', 1),
        };
        Some(match self {
            Pattern::Like(_) => match byte {
                b'%' => Element::AnyRun,
                b'_' => Element::AnyOne(1),
                b'\\' => escaped(),
                other => Element::One(other, 1),
            },
            Pattern::Glob(_) => match byte {
                b'*' => Element::AnyRun,
                b'?' => Element::AnyOne(1),
                b'\\' => escaped(),
                b'[' => {
                    let negated = text.get(at + 1) == Some(&b'^');
                    let start = at + 1 + usize::from(negated);
                    let mut end = start;
                    while let Some(&inside) = text.get(end) {
                        match inside {
                            b']' => break,
                            b'\\' => end += 2,
                            _ => end += 1,
                        }
                    }
                    Element::Class { start, end: end.min(text.len()), negated }
                }
                other => Element::One(other, 1),
            },
        })
    }

    /// Whether the class between `start` and `end` of the text holds `byte`.
    fn class_holds(&self, start: usize, end: usize, byte: u8) -> bool {
        let class = self.text().get(start..end).unwrap_or_default();
        let mut at = 0;
        while let Some(&first) = class.get(at) {
            let (low, width) = match (first, class.get(at + 1)) {
                (b'\\', Some(&next)) => (next, 2),
                _ => (first, 1),
            };
            match (class.get(at + width), class.get(at + width + 1)) {
                (Some(b'-'), Some(&high)) => {
                    if (low.min(high)..=low.max(high)).contains(&byte) {
                        return true;
                    }
                    at += width + 2;
                }
                _ => {
                    if low == byte {
                        return true;
                    }
                    at += width;
                }
            }
        }
        false
    }

    /// Whether the key matches.
    pub fn matches(&self, key: &[u8]) -> bool {
        let (mut at, mut position) = (0, 0);
        // Where to go on after the last wildcard: its successor in the pattern, the next key byte to try.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match self.element(at) {
                Some(Element::AnyRun) => {
                    retry = Some((at + 1, position));
                    at += 1;
                    continue;
                }
                None if position == key.len() => return true,
                None => None,
                Some(element) => key.get(position).and_then(|&byte| match element {
                    Element::AnyOne(width) => Some(width),
                    Element::One(wanted, width) => (wanted == byte).then_some(width),
                    Element::Class { start, end, negated } => {
                        (self.class_holds(start, end, byte) != negated).then_some(end + 1 - at)
                    }
                    Element::AnyRun => None,
                }),
            };
            match (step, retry) {
                (Some(width), _) => {
                    at += width;
                    position += 1;
                }
                (None, Some((after, from))) if from < key.len() => {
                    retry = Some((after, from + 1));
                    at = after;
                    position = from + 1;
                }
                (None, _) => return false,
            }
        }
    }

    /// The bytes that every matching key starts with.
    pub fn literal_prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::new();
        let mut at = 0;
        while let Some(Element::One(byte, width)) = self.element(at) {
            prefix.push(byte);
            at += width;
        }
        prefix
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn like(pattern: &'static str, key: &str) -> bool {
        Pattern::Like(pattern.into()).matches(key.as_bytes())
    }

    fn glob(pattern: &'static str, key: &str) -> bool {
        Pattern::Glob(pattern.into()).matches(key.as_bytes())
    }

    #[test]
    fn like_has_its_two_wildcards_and_an_escape() {
        assert!(like("user:%", "user:1") && like("user:%", "user:") && !like("user:%", "use"));
        assert!(like("%b%", "abc") && like("a_c", "abc") && !like("a_c", "ac"));
        assert!(like(r"50\%", "50%") && !like(r"50\%", "50x"));
        assert!(like("", "") && !like("", "a") && like("%", ""));
    }

    #[test]
    fn glob_is_as_in_redis() {
        assert!(glob("h?llo", "hello") && glob("h*llo", "heeeello") && glob("*", ""));
        assert!(glob("h[ae]llo", "hallo") && !glob("h[ae]llo", "hillo"));
        assert!(glob("h[^e]llo", "hallo") && !glob("h[^e]llo", "hello"));
        assert!(glob("h[a-b]llo", "hbllo") && !glob("h[a-b]llo", "hcllo"));
        assert!(glob(r"a\*c", "a*c") && !glob(r"a\*c", "abc"));
        assert!(!glob("a[", "a["), "an open class holds nothing");
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = Pattern::Glob("a*".repeat(2000).into());
        assert!(!pattern.matches("a".repeat(1999).as_bytes()));
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_wildcard() {
        assert_eq!(Pattern::Like("user:%".into()).literal_prefix(), b"user:");
        assert_eq!(Pattern::Glob(r"a\*b*".into()).literal_prefix(), b"a*b");
    }
}
