//! Walking a segment's keys: in key order for ranges, in digest order for scans.

use super::installed::Installed;
use super::record::Record;
use crate::command::Range;
use crate::error::Fault;
use std::cmp::Ordering;
use std::ops::Bound;

impl Installed {
    /// Brings the delta in key order, which [`Installed::range_offsets`] needs.
    pub(crate) fn sort(&mut self) -> Result<(), Fault> {
        let file = &self.file;
        self.delta.sort(|offset| Ok(file.record(offset)?.key))
    }

    /// Offsets of the newest records of the range's keys, tombstones included, in key order: at most `limit`.
    /// After [`Installed::sort`].
    pub(crate) fn range_offsets(&self, range: &Range, limit: usize) -> Result<Vec<u64>, Fault> {
        let key_at = |offset: u64| Ok::<_, Fault>(self.record(offset)?.key);
        let is_before = |offset: u64| -> Result<bool, Fault> {
            Ok(match &range.start {
                Bound::Unbounded => false,
                Bound::Included(start) => key_at(offset)? < start.as_ref(),
                Bound::Excluded(start) => key_at(offset)? <= start.as_ref(),
            })
        };
        let mut image_at = self.image.partition(is_before)?;
        let mut delta_at = self.delta.partition(is_before)?;
        let image_key = |at: usize| -> Result<Option<(u64, &[u8])>, Fault> {
            if at == self.image.len() {
                return Ok(None);
            }
            let offset = self.image.offset(self.image.sorted(at));
            Ok(Some((offset, key_at(offset)?)))
        };
        let delta_key = |at: usize| -> Result<Option<(u64, &[u8])>, Fault> {
            if at == self.delta.len() {
                return Ok(None);
            }
            let (_, offset) = self.delta.sorted(at);
            Ok(Some((offset, key_at(offset)?)))
        };
        let (mut from_image, mut from_delta) = (image_key(image_at)?, delta_key(delta_at)?);
        let mut offsets = Vec::new();
        while offsets.len() < limit {
            let order = match (from_image, from_delta) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((_, image)), Some((_, delta))) => image.cmp(delta),
            };
            let next = if order == Ordering::Less { from_image } else { from_delta };
            let Some((offset, key)) = next else { break };
            if !range.ends_at_or_after(key) {
                break;
            }
            offsets.push(offset);
            if order == Ordering::Less {
                image_at += 1;
                from_image = image_key(image_at)?;
            } else {
                delta_at += 1;
                from_delta = delta_key(delta_at)?;
            }
        }
        Ok(offsets)
    }

    /// Visits the newest records of keys in digest order, from a digest on and about `limit` of them; answers with
    /// the digest, up to 2^32, before which all were visited.
    pub(crate) fn scan(
        &self,
        from: u32,
        limit: usize,
        visit: &mut dyn FnMut(&Record<'_>) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let (offsets, covered) = self.image.offsets_from_digest(from, limit);
        let wanted = u64::from(from)..covered;
        for offset in offsets {
            let record = self.record(offset)?;
            if wanted.contains(&u64::from(self.hash(record.key).digest())) {
                visit(&record)?;
            }
        }
        for (digest, offset) in self.delta.offsets() {
            if wanted.contains(&u64::from(digest)) {
                visit(&self.record(offset)?)?;
            }
        }
        Ok(covered)
    }
}
