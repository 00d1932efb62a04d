//! Ranges of keys and queries over them.

use super::{MAX_RANGE_LIMIT, Pattern};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// A range of keys in byte order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Where it starts.
    pub start: Bound<Bytes>,
    /// Where it ends.
    pub end: Bound<Bytes>,
}

impl Range {
    /// All keys.
    pub fn all() -> Range {
        Range { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// The keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Range {
        let mut end = prefix.to_vec();
        // The first key after all that start with the prefix: drop trailing 0xff, raise the last byte.
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                break;
            }
        }
        Range {
            start: Bound::Included(Bytes::copy_from_slice(prefix)),
            end: if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.into()) },
        }
    }

    /// The keys that are in both ranges.
    pub fn intersect(self, other: Range) -> Range {
        let start = match (self.start, other.start) {
            (Bound::Unbounded, one) | (one, Bound::Unbounded) => one,
            (Bound::Included(a), Bound::Included(b)) => Bound::Included(a.max(b)),
            (Bound::Excluded(a), Bound::Excluded(b)) => Bound::Excluded(a.max(b)),
            (Bound::Included(included), Bound::Excluded(excluded))
            | (Bound::Excluded(excluded), Bound::Included(included)) => {
                if excluded >= included {
                    Bound::Excluded(excluded)
                } else {
                    Bound::Included(included)
                }
            }
        };
        let end = match (self.end, other.end) {
            (Bound::Unbounded, one) | (one, Bound::Unbounded) => one,
            (Bound::Included(a), Bound::Included(b)) => Bound::Included(a.min(b)),
            (Bound::Excluded(a), Bound::Excluded(b)) => Bound::Excluded(a.min(b)),
            (Bound::Included(included), Bound::Excluded(excluded))
            | (Bound::Excluded(excluded), Bound::Included(included)) => {
                if excluded <= included {
                    Bound::Excluded(excluded)
                } else {
                    Bound::Included(included)
                }
            }
        };
        Range { start, end }
    }

    /// Whether the key is at or after the start.
    pub fn starts_at_or_before(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start.as_ref(),
            Bound::Excluded(start) => key > start.as_ref(),
        }
    }

    /// Whether the key is at or before the end.
    pub fn ends_at_or_after(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= end.as_ref(),
            Bound::Excluded(end) => key < end.as_ref(),
        }
    }

    /// Whether the range holds the key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.starts_at_or_before(key) && self.ends_at_or_after(key)
    }
}

/// A read over a range, in key order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeQuery {
    /// The keys to look at.
    pub range: Range,
    /// Which of them to take.
    pub pattern: Option<Pattern>,
    /// Most entries to return; at most [`MAX_RANGE_LIMIT`] are.
    pub limit: u32,
    /// Whether to return the values too.
    pub with_values: bool,
}

impl RangeQuery {
    /// A query over a range with values and without a pattern.
    pub fn new(range: Range, limit: u32) -> RangeQuery {
        RangeQuery { range, pattern: None, limit, with_values: true }
    }

    /// The range, narrowed to the pattern's literal prefix.
    pub fn narrowed(&self) -> Range {
        match &self.pattern {
            Some(pattern) => self.range.clone().intersect(Range::prefix(&pattern.literal_prefix())),
            None => self.range.clone(),
        }
    }

    /// Whether the query takes a key that is in the range.
    pub fn takes(&self, key: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(key))
    }

    /// The limit that holds.
    pub fn effective_limit(&self) -> usize {
        self.limit.min(MAX_RANGE_LIMIT) as usize
    }

    pub(super) fn size(&self) -> usize {
        let bound = |bound: &Bound<Bytes>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        bound(&self.range.start) + bound(&self.range.end) + self.pattern.as_ref().map_or(0, Pattern::len)
    }
}

#[cfg(test)]
mod tests {
    use super::Range;
    use std::ops::Bound;

    #[test]
    fn a_prefix_range_holds_exactly_the_prefixed_keys() {
        let range = Range::prefix(b"a\xff");
        assert!(range.contains(b"a\xff") && range.contains(b"a\xffz"));
        assert!(!range.contains(b"a\xfe") && !range.contains(b"b"));
        assert!(Range::prefix(b"\xff\xff").contains(b"\xff\xff\x01"));
        assert!(Range::prefix(b"").contains(b"anything"));
    }

    #[test]
    fn the_intersection_holds_what_both_hold() {
        let keys: Vec<Vec<u8>> = (b'a'..=b'f').map(|byte| vec![byte]).collect();
        let bounds =
            |byte: u8| [Bound::Unbounded, Bound::Included(vec![byte].into()), Bound::Excluded(vec![byte].into())];
        for start_a in bounds(b'b') {
            for start_b in bounds(b'c').into_iter().chain(bounds(b'b')) {
                for end_a in bounds(b'e') {
                    for end_b in bounds(b'd').into_iter().chain(bounds(b'e')) {
                        let a = Range { start: start_a.clone(), end: end_a.clone() };
                        let b = Range { start: start_b.clone(), end: end_b };
                        let both = a.clone().intersect(b.clone());
                        for key in &keys {
                            assert_eq!(both.contains(key), a.contains(key) && b.contains(key), "{a:?} {b:?} {key:?}");
                        }
                    }
                }
            }
        }
    }
}
