//! Reads of many keys, and of parts of values.

use super::{Evaluation, Outcome, View, Walk};
use crate::command::{Entry, Pattern, RangeQuery, Reply, Versioned};
use bytes::Bytes;

/// A range read stops after so many bytes of keys and values, so that replies stay bounded.
const MAX_RANGE_REPLY_BYTES: usize = 32 << 20;

impl<V: View> Evaluation<'_, V> {
    pub(super) fn read_range(&self, query: &RangeQuery) -> Result<(Vec<Entry>, Option<Bytes>), V::Error> {
        let limit = query.effective_limit();
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0_usize, None);
        if limit == 0 {
            return Ok((entries, next));
        }
        self.view.walk(&query.narrowed(), &mut |key, stored| {
            if !stored.is_visible_at(self.context.now_ms) || !query.takes(key) {
                return Walk::On;
            }
            // One entry more than fits tells that there is more to read.
            if entries.len() == limit || bytes >= MAX_RANGE_REPLY_BYTES {
                next = entries.last().map(|entry: &Entry| entry.key.clone());
                return Walk::Stop;
            }
            let version = Versioned {
                value: if query.with_values { Bytes::copy_from_slice(stored.value) } else { Bytes::new() },
                revision: stored.revision,
                expires_at_ms: stored.expires_at_ms,
            };
            bytes += key.len() + version.value.len();
            entries.push(Entry { key: Bytes::copy_from_slice(key), version });
            Walk::On
        })?;
        Ok((entries, next))
    }

    pub(super) fn scan(&self, cursor: u64, limit: u32, pattern: Option<&Pattern>) -> Result<Outcome, V::Error> {
        let mut keys = Vec::new();
        let limit = limit.clamp(1, crate::command::MAX_RANGE_LIMIT) as usize;
        let cursor = self.view.scan(cursor, limit, &mut |key, stored| {
            if stored.is_visible_at(self.context.now_ms) && pattern.is_none_or(|pattern| pattern.matches(key)) {
                keys.push(Bytes::copy_from_slice(key));
            }
        })?;
        Ok(Outcome::read(Reply::Scanned { keys, cursor }))
    }
}

/// Bytes `start..=end` of a value, as Redis' GETRANGE counts them.
pub(super) fn part_of(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    let from_start = |position: i64| if position < 0 { position.saturating_add(len) } else { position };
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let start = from_start(start).max(0);
    let end = from_start(end).max(0).min(len - 1);
    if start > end { &[] } else { &value[start as usize..=end as usize] }
}
