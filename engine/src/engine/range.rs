//! Reading ranges: keys in order over all segments, at the present or at a pinned cut.

use super::Engine;
use super::view;
use crate::command::{Command, Range, Reply};
use crate::error::Fault;
use crate::evaluate::{Context, Stored, View, Walk, evaluate};
use crate::key::{KeyHash, SegmentId};
use crate::position::Instance;
use crate::segment::{SegmentCut, SegmentFile, Totals};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Keys that are looked up in a segment at a time, at first and at most.
const FIRST_CHUNK: usize = 4;
const MAX_CHUNK: usize = 256;

/// Newest offsets of a segment's keys in a range, in key order: `(segment, range, limit)`.
type ChunkOf<'a> = dyn Fn(usize, &Range, usize) -> Result<Vec<u64>, Fault> + 'a;

/// One segment's part of a merge.
struct Lane {
    offsets: VecDeque<u64>,
    chunk: usize,
    is_exhausted: bool,
}

/// Visits the keys of a range in order: each segment's file with the length that counts, `chunk(segment, range,
/// limit)` gives newest offsets in key order.
pub(super) fn merge(
    files: &[(Option<SegmentFile>, u64)],
    chunk: &ChunkOf<'_>,
    range: &Range,
    visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk,
) -> Result<(), Fault> {
    let mut lanes: Vec<Lane> = Vec::with_capacity(files.len());
    // The next key of each segment, the smallest on top.
    let mut heads: BinaryHeap<Reverse<(&[u8], usize)>> = BinaryHeap::with_capacity(files.len());
    for (segment, (file, _)) in files.iter().enumerate() {
        let mut lane = Lane { offsets: VecDeque::new(), chunk: FIRST_CHUNK, is_exhausted: file.is_none() };
        if let Some(file) = file {
            lane.fill(segment, chunk, range.clone())?;
            if let Some(&offset) = lane.offsets.front() {
                heads.push(Reverse((file.record(offset)?.key, segment)));
            }
        }
        lanes.push(lane);
    }
    while let Some(Reverse((key, segment))) = heads.pop() {
        let (lane, (file, length)) = (&mut lanes[segment], &files[segment]);
        let (Some(file), Some(offset)) = (file, lane.offsets.pop_front()) else { continue };
        if let Some(record) = file.version_at(file.record(offset)?, *length)?
            && let Some(stored) = record.stored().map_err(|what| file.damaged(record.offset, what))?
            && visit(key, stored) == Walk::Stop
        {
            return Ok(());
        }
        if lane.offsets.is_empty() && !lane.is_exhausted {
            let rest = Range { start: Bound::Excluded(Bytes::copy_from_slice(key)), end: range.end.clone() };
            lane.fill(segment, chunk, rest)?;
        }
        if let Some(&offset) = lane.offsets.front() {
            heads.push(Reverse((file.record(offset)?.key, segment)));
        }
    }
    Ok(())
}

impl Lane {
    fn fill(&mut self, segment: usize, chunk: &ChunkOf<'_>, range: Range) -> Result<(), Fault> {
        let offsets = chunk(segment, &range, self.chunk)?;
        self.is_exhausted = offsets.len() < self.chunk;
        self.chunk = (self.chunk * 4).min(MAX_CHUNK);
        self.offsets = offsets.into();
        Ok(())
    }
}

/// A consistent point of the state that can be read while commands go on.
pub struct PinnedCut {
    engine: Arc<Engine>,
    instance: Instance,
    now_ms: u64,
    segments: Vec<SegmentCut>,
}

impl Engine {
    /// Pins the present state, as of an instance and time. Call it when no command is in flight.
    pub fn pin(self: &Arc<Self>, instance: Instance, now_ms: u64) -> PinnedCut {
        let no_swap = self.layout.lock();
        self.pins.fetch_add(1, Ordering::AcqRel);
        let segments = self.freeze();
        drop(no_swap);
        PinnedCut { engine: Arc::clone(self), instance, now_ms, segments }
    }
}

impl Drop for PinnedCut {
    fn drop(&mut self) {
        let no_swap = self.engine.layout.lock();
        let is_last = self.engine.pins.fetch_sub(1, Ordering::AcqRel) == 1;
        drop(no_swap);
        if is_last {
            let is_pinned = || self.engine.pins.load(Ordering::Acquire) > 0;
            self.engine.segments.iter().for_each(|segment| segment.drop_retired(is_pinned));
        }
    }
}

impl PinnedCut {
    /// The last instance that is in it.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Executes a command that only reads, on the pinned state.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    ///
    /// # Panics
    /// If the command writes.
    pub fn read(&self, command: &Command) -> Result<Reply, Fault> {
        let context = Context {
            revision: self.instance.revision(0),
            now_ms: self.now_ms,
            max_value_len: self.engine.format().shape.max_value_len as usize,
        };
        let outcome = evaluate(command, self, context)?;
        assert!(outcome.effects.is_empty(), "a pinned cut is read, not written");
        Ok(outcome.reply)
    }

    /// Number of segments.
    pub(super) fn segment_count(&self) -> u16 {
        self.engine.place.segments
    }

    /// What a segment holds in the cut.
    pub(super) fn totals(&self, segment: SegmentId) -> Totals {
        self.segments.get(segment.index()).map_or_else(Totals::default, |cut| cut.totals)
    }

    /// Runs `f` on a segment's pinned generation, locked.
    pub(super) fn with<T>(
        &self,
        segment: usize,
        f: impl FnOnce(&mut crate::segment::Installed) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut guard = self.engine.lock_segment(segment)?;
        let generation = self.segments[segment].generation;
        match guard.generation_mut(generation) {
            Some(installed) => {
                // What `f` finds is then read without the lock.
                installed.show();
                f(installed)
            }
            None => Err(Fault::Refused(format!(
                "segment {segment} of the cut that was being read is gone, as a checkpoint was installed; read again"
            ))),
        }
    }

    pub(super) fn file(&self, segment: usize) -> Result<(Option<SegmentFile>, u64), Fault> {
        let length = self.segments[segment].length;
        if length == 0 {
            return Ok((None, 0));
        }
        Ok((self.with(segment, |installed| Ok(installed.share()))?, length))
    }
}

impl View for PinnedCut {
    type Error = Fault;

    fn stored(&self, _key: &[u8]) -> Result<Option<Stored<'_>>, Fault> {
        unreachable!("commands on single keys are executed on the present state")
    }

    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), Fault> {
        let files = (0..self.segments.len()).map(|segment| self.file(segment)).collect::<Result<Vec<_>, _>>()?;
        let chunk = |segment: usize, range: &Range, limit| {
            self.with(segment, |installed| {
                installed.sort()?;
                installed.range_offsets(range, limit)
            })
        };
        merge(&files, &chunk, range, visit)
    }

    fn scan(&self, cursor: u64, limit: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, Fault> {
        view::scan(cursor, limit, self.segments.len(), |segment, digest, limit, found| {
            let (file, length) = self.file(segment)?;
            let Some(file) = file else { return Ok(1 << 32) };
            self.with(segment, |installed| {
                installed.scan(digest, limit, &mut |record| {
                    if let Some(record) = file.version_at(*record, length)?
                        && let Some(stored) = record.stored().map_err(|what| file.damaged(record.offset, what))?
                    {
                        *found += 1;
                        visit(record.key, stored);
                    }
                    Ok(())
                })
            })
        })
    }

    fn count(&self) -> Result<u64, Fault> {
        Ok(self.segments.iter().map(|cut| cut.totals.live_records).sum())
    }
}

impl PinnedCut {
    /// The version of one key in the pinned state.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn read_key<T>(&self, key: &[u8], f: impl FnOnce(Option<Stored<'_>>) -> T) -> Result<T, Fault> {
        let hash = KeyHash::of(key, self.engine.place.seed);
        let segment = hash.segment(self.engine.place.segments).index();
        let (file, length) = self.file(segment)?;
        let Some(file) = file else { return Ok(f(None)) };
        let newest = self.with(segment, |installed| Ok(installed.newest(hash, key)?.map(|record| record.offset)))?;
        let stored = match newest {
            None => None,
            Some(offset) => match file.version_at(file.record(offset)?, length)? {
                None => None,
                Some(record) => record.stored().map_err(|what| file.damaged(record.offset, what))?,
            },
        };
        Ok(f(stored.filter(|stored| stored.is_visible_at(self.now_ms))))
    }
}
