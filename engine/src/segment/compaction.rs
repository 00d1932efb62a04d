//! Compaction: the live records of a segment, copied into the next generation of its file.
//!
//! ```text
//! copy what is live, in file order, the lock taken for a few records at a time
//! -- build the image -- follow what was appended meanwhile -- lock: the rest (bounded), swap
//! ```
//!
//! The old file is never changed (S1): checkpoints and pinned cuts go on using it.

use super::file::SegmentFile;
use super::image::Image;
use super::installed::Installed;
use super::record::Record;
use super::refresh::SWAP_TAIL;
use super::{Generation, Segment};
use crate::error::Fault;
use crate::page::PAGE_LEN;
use parking_lot::Mutex;

/// Records that are looked up under one hold of the lock: some 10 us.
const LOOKUPS_PER_LOCK: usize = 32;
/// Files below this are not worth it, in bytes.
const MIN_FILE: u64 = 256 << 10;

impl Installed {
    /// Whether over half of the file is dead; where a cut is pinned, over three quarters: as long as it is, what it needs
    /// stays where it is, and a compaction frees nothing.
    pub fn wants_compaction(&self, is_pinned: bool) -> bool {
        let limit = if is_pinned { self.length() / 4 * 3 } else { self.length() / 2 };
        self.length() > MIN_FILE && self.dead_bytes() > limit
    }

    /// Bytes of records that no key needs.
    pub fn dead_bytes(&self) -> u64 {
        self.length().saturating_sub(PAGE_LEN as u64 + self.totals.live_bytes)
    }
}

/// A generation that was replaced.
pub(crate) struct Replaced {
    /// Its number.
    pub(crate) generation: Generation,
    old: Option<Installed>,
}

impl Replaced {
    /// Lets go of its map, outside of every lock: unmapping takes a while. Answers whether nobody reads the file any
    /// more, so that it could be written over.
    pub(crate) fn unmap(&mut self) -> bool {
        self.old.take().is_some_and(|mut old| old.file.is_unread())
    }
}

/// Compacts a segment into this generation. `layout` is held during the swap, so that no cut sees half of it;
/// `keep_old` is asked then whether a pinned cut needs the old generation. `pause` is called with the bytes
/// copied since the last call, to throttle. Answers with the old generation, or `None` where another one came in between.
///
/// # Errors
/// Those of the disk, and damage found in records. The segment goes on with the file that it has.
pub(crate) fn compact(
    segment: &Segment,
    new_generation: Generation,
    layout: &Mutex<()>,
    keep_old: &dyn Fn() -> bool,
    pause: &dyn Fn(u64),
) -> Result<Option<Replaced>, Fault> {
    let Some(guard) = segment.lock_installed() else { return Ok(None) };
    let (place, generation, snapshot) =
        (guard.installed().place.clone(), guard.installed().generation, guard.installed().length());
    let Some(file) = guard.installed().share() else { return Ok(None) };
    drop(guard);

    // What is live, in the order of the file.
    let mut new = Installed::empty(&place, segment.id(), new_generation);
    let mut offset = PAGE_LEN as u64;
    let mut chunk: Vec<Record<'_>> = Vec::with_capacity(LOOKUPS_PER_LOCK);
    while offset < snapshot {
        chunk.clear();
        let start = offset;
        while offset < snapshot && chunk.len() < LOOKUPS_PER_LOCK {
            let record = file.record(offset)?;
            offset = record.end();
            chunk.push(record);
        }
        {
            let Some(guard) = segment.lock_installed() else { return Ok(None) };
            let old = guard.installed();
            if old.generation != generation {
                return Ok(None);
            }
            let mut failure = None;
            chunk.retain(|record| match old.newest(old.hash(record.key), record.key) {
                Ok(newest) => newest.is_some_and(|newest| newest.offset == record.offset),
                Err(fault) => {
                    failure = Some(fault);
                    false
                }
            });
            if let Some(fault) = failure {
                return Err(fault);
            }
        }
        for record in &chunk {
            new.copy(&file, record)?;
        }
        pause(offset - start);
    }
    drop(chunk);
    new.image_of_delta()?;

    // What came meanwhile, tombstones too.
    let mut followed = snapshot;
    loop {
        let Some(mut guard) = segment.lock_installed() else { return Ok(None) };
        let old = guard.installed();
        if old.generation != generation {
            return Ok(None);
        }
        // What is copied without the lock must not change meanwhile.
        old.show();
        let tail = old.length();
        if tail - followed <= SWAP_TAIL {
            new.copy_records(&file, followed, tail)?;
            assert_eq!(new.totals, old.totals, "S3: compaction keeps what is live and nothing else");
            // Always after the segment's lock: a flush holds those of all segments when it takes this one. The guard
            // publishes where the segment stands when it goes, so it goes first.
            let no_cut = layout.lock();
            let old = guard.replace(new, keep_old());
            drop(guard);
            drop(no_cut);
            drop(file);
            return Ok(Some(Replaced { generation, old }));
        }
        drop(guard);
        new.copy_records(&file, followed, tail)?;
        followed = tail;
    }
}

impl Installed {
    /// Appends a record of another generation, its value checked.
    fn copy(&mut self, from: &SegmentFile, record: &Record<'_>) -> Result<(), Fault> {
        let stored = record.stored().map_err(|what| from.damaged(record.offset, what))?;
        self.reserve(record.head.record_len.into())?;
        let value = stored.map_or(&[][..], |stored| stored.value);
        // No cut names anything of it yet.
        self.write(self.hash(record.key), record.key, record.head, value, 0)
    }

    fn copy_records(&mut self, from: &SegmentFile, start: u64, end: u64) -> Result<(), Fault> {
        let mut offset = start;
        while offset < end {
            let record = from.record(offset)?;
            self.copy(from, &record)?;
            offset = record.end();
        }
        Ok(())
    }

    /// Turns a delta of all keys into an image.
    fn image_of_delta(&mut self) -> Result<(), Fault> {
        if !self.file.is_there() {
            return Ok(());
        }
        self.sort()?;
        let delta = std::mem::take(&mut self.delta);
        let entries: Vec<(u32, u64)> = (0..delta.len()).map(|number| delta.sorted(number)).collect();
        self.use_image(Image::build(&entries), self.length())
    }
}
