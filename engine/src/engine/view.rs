//! The state as a command sees it: the segments that it touches, locked.

use super::range::merge;
use crate::command::Range;
use crate::error::Fault;
use crate::evaluate::{Stored, View, Walk};
use crate::key::{KeyHash, SegmentId};
use crate::segment::Guard;
use smallvec::SmallVec;

/// Locked segments, in ascending order of their numbers, so that two commands can't wait for each other.
pub(super) struct Locked<'s> {
    pub(super) guards: SmallVec<[Guard<'s>; 1]>,
    pub(super) seed: u64,
    pub(super) segments: u16,
}

impl<'s> Locked<'s> {
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.seed)
    }

    fn position(&self, id: SegmentId) -> usize {
        if self.guards.len() == 1 {
            return 0;
        }
        match self.guards.binary_search_by_key(&id, Guard::id) {
            Ok(position) => position,
            Err(_) => panic!("a command touches segment {id}, which its footprint does not name"),
        }
    }

    pub(super) fn guard(&self, hash: KeyHash) -> &Guard<'s> {
        &self.guards[self.position(hash.segment(self.segments))]
    }

    pub(super) fn guard_mut(&mut self, hash: KeyHash) -> &mut Guard<'s> {
        let position = self.position(hash.segment(self.segments));
        &mut self.guards[position]
    }

    fn all(&self) -> &[Guard<'s>] {
        assert_eq!(self.guards.len(), usize::from(self.segments), "a command over everything locks everything");
        &self.guards
    }
}

impl View for Locked<'_> {
    type Error = Fault;

    fn stored(&self, key: &[u8]) -> Result<Option<Stored<'_>>, Fault> {
        let hash = self.hash(key);
        self.guard(hash).installed().stored(hash, key)
    }

    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), Fault> {
        let guards = self.all();
        let files: Vec<_> = guards.iter().map(|guard| (guard.installed().share(), u64::MAX)).collect();
        let chunk = |segment: usize, range: &Range, limit| guards[segment].installed().range_offsets(range, limit);
        merge(&files, &chunk, range, visit)
    }

    fn scan(&self, cursor: u64, limit: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, Fault> {
        let guards = self.all();
        scan(cursor, limit, guards.len(), |segment, digest, limit, found| {
            let installed = guards[segment].installed();
            installed.scan(digest, limit, &mut |record| {
                if let Some(stored) = installed.stored_of(record)? {
                    *found += 1;
                    visit(record.key, stored);
                }
                Ok(())
            })
        })
    }

    fn count(&self) -> Result<u64, Fault> {
        Ok(self.all().iter().map(|guard| guard.installed().cut().totals.live_records).sum())
    }
}

/// Walks segments in order and each in digest order. A cursor is the segment's number (high half) and a digest
/// (low half), so it stays good when keys come and go, over restarts, and at every replica.
pub(super) fn scan(
    cursor: u64,
    limit: usize,
    segments: usize,
    mut step: impl FnMut(usize, u32, usize, &mut usize) -> Result<u64, Fault>,
) -> Result<u64, Fault> {
    let (mut segment, mut digest) = ((cursor >> 32) as usize, cursor as u32);
    let mut found = 0;
    while segment < segments && found < limit {
        let covered = step(segment, digest, limit - found, &mut found)?;
        match u32::try_from(covered) {
            Ok(next) => digest = next,
            Err(_) => (segment, digest) = (segment + 1, 0),
        }
    }
    Ok(if segment < segments { (segment as u64) << 32 | u64::from(digest) } else { 0 })
}
