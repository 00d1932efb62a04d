//! Maintenance: compaction and images, one segment at a time, and the scrubber.

use super::{Background, Engine};
use crate::error::Fault;
use crate::files;
use crate::segment::{Kind, Replaced, SegmentCut, compact, refresh};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Segment files on the disk, in percent of what is live, above which a checkpoint is taken to let go of replaced ones.
const SPACE_PERCENT: u64 = 225;
/// The same, above which only one checkpoint is kept.
const KEEP_PERCENT: u64 = 190;
/// Below this, space is no reason for anything, in bytes.
const SPACE_FLOOR: u64 = 128 << 20;

/// What the state takes on the disk, log aside.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpaceReport {
    /// Bytes of segment files and images, those that only checkpoints name included.
    pub files: u64,
    /// Bytes of the records of live keys.
    pub live: u64,
}

impl Engine {
    /// Does one piece of work in the background, if there is any: answers whether there was. `pause` is called with
    /// bytes copied, to throttle.
    ///
    /// # Errors
    /// A full disk: try again later. Damage, other faults: stop.
    pub fn maintain(&self, pause: &dyn Fn(u64)) -> Result<bool, Fault> {
        let start = self.background.lock().next_segment;
        for step in 0..self.segments.len() {
            let index = (start + step) % self.segments.len();
            let segment = &self.segments[index];
            let Some(guard) = segment.lock_installed() else { continue };
            let installed = guard.installed();
            let may_compact = !self.keeps_tombstones.load(Ordering::Acquire);
            let is_pinned = self.pins.load(Ordering::Acquire) > 0;
            let (compaction, image) = (may_compact && installed.wants_compaction(is_pinned), installed.wants_image());
            drop(guard);
            if !compaction && !image {
                continue;
            }
            self.background.lock().next_segment = index + 1;
            if compaction {
                let keep_old = || self.pins.load(Ordering::Acquire) > 0;
                let generation = self.new_generation();
                let old_length = segment.cut().length;
                match compact(segment, generation, &self.layout, &keep_old, pause) {
                    Ok(Some(old)) => {
                        self.let_go(index, old, old_length)?;
                    }
                    other => {
                        // What was begun is of no use, and on a full disk it would be in the way.
                        let disk = self.environment.disk.as_ref();
                        files::remove_gently(disk, &self.place.segment_path(segment.id(), generation))?;
                        files::remove_gently(disk, &self.place.image_path(segment.id(), generation))?;
                        other?;
                    }
                }
            } else {
                refresh(segment)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Lets go of the files of a generation that was replaced, at once if no checkpoint names them, else with the next one.
    fn let_go(&self, index: usize, mut replaced: Replaced, length: u64) -> Result<(), Fault> {
        let (old, is_unread) = (replaced.generation, replaced.unmap());
        let id = self.segments[index].id();
        let (file, image) = (self.place.segment_path(id, old), self.place.image_path(id, old));
        let names_it = |cuts: &[SegmentCut]| cuts.get(index).is_some_and(|cut| cut.generation == old && cut.length > 0);
        let is_needed = {
            let no_cut = self.layout.lock();
            let is_pending = self.pending_cut.lock().as_ref().is_some_and(|pending| names_it(&pending.segments));
            drop(no_cut);
            is_pending || self.background.lock().checkpoints.iter().any(|checkpoint| names_it(&checkpoint.segments))
        };
        if is_needed {
            let mut garbage = self.garbage.lock();
            garbage.push(file, length);
            garbage.push(image, 0);
            return Ok(());
        }
        let disk = self.environment.disk.as_ref();
        let is_spare = is_unread && self.place.keep_spare(&file).map_err(Fault::io("keeping", &file))?;
        if !is_spare {
            files::remove_gently(disk, &file)?;
        }
        files::remove_gently(disk, &image)
    }

    /// Installs segments that wait for it, as far as they can be.
    pub fn install_waiting(&self) {
        for segment in 0..self.segments.len() {
            if let Err(fault) = self.lock_segment(segment) {
                tracing::warn!(segment, %fault, "a segment can't be installed");
            }
        }
    }

    /// Installs all segments that wait for it.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    pub fn install_all(&self) -> Result<(), Fault> {
        (0..self.segments.len()).try_for_each(|segment| self.lock_segment(segment).map(drop))
    }

    /// Makes images where installing would have to index more than `tail` bytes, so that the next start is quick.
    ///
    /// # Errors
    /// Faults of the disk, damage.
    pub fn refresh_images(&self, tail: u64) -> Result<(), Fault> {
        for segment in &self.segments {
            let wants = segment.lock_installed().is_some_and(|guard| guard.installed().tail_after_image() > tail);
            if wants {
                refresh(segment)?;
            }
        }
        Ok(())
    }

    /// Looks for keys that have expired, from a cursor on (0 first), among some `limit` keys of segments that have keys
    /// with an expiry; answers with them and the next cursor, 0 at the end. They are removed by a
    /// [`Sweep`](crate::command::Command::Sweep) in the order, not here (E2).
    ///
    /// # Errors
    /// Damage.
    pub fn expired_keys(&self, cursor: u64, now_ms: u64, limit: usize) -> Result<(Vec<Bytes>, u64), Fault> {
        let mut keys = Vec::new();
        let next = super::view::scan(cursor, limit, self.segments.len(), |index, digest, limit, found| {
            let segment = &self.segments[index];
            if segment.cut().totals.expiring_records == 0 {
                return Ok(1 << 32);
            }
            let guard = self.lock_segment(index)?;
            guard.installed().scan(digest, limit, &mut |record| {
                *found += 1;
                if record.head.kind == Kind::Put
                    && record.head.expires_at_ms != 0
                    && record.head.expires_at_ms <= now_ms
                {
                    keys.push(Bytes::copy_from_slice(record.key));
                }
                Ok(())
            })
        })?;
        Ok((keys, next))
    }

    /// Checks the checksums of everything in a segment up to where it stands. It holds no lock.
    ///
    /// # Errors
    /// Damage.
    pub fn scrub(&self, segment: usize) -> Result<(), Fault> {
        let Some(guard) = self.segments[segment].lock_installed() else { return Ok(()) };
        let (file, length) = (guard.installed().share(), guard.installed().length());
        drop(guard);
        let Some(file) = file else { return Ok(()) };
        let mut offset = crate::page::PAGE_LEN as u64;
        while offset < length {
            let record = file.record(offset)?;
            record.stored().map_err(|what| file.damaged(offset, what))?;
            offset = record.end();
        }
        Ok(())
    }

    /// What the state takes on the disk.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn space(&self) -> Result<SpaceReport, Fault> {
        let live = self.live_bytes();
        let background = self.background.lock();
        let mut files = 0;
        let mut seen = hashbrown::HashSet::with_hasher(std::hash::RandomState::new());
        let kept = background.checkpoints.iter().map(|checkpoint| &checkpoint.folder);
        let folders = kept.chain(&background.given_up).map(|folder| folder.path());
        for folder in [self.directory.segments(), self.directory.images()].into_iter().chain(folders) {
            for name in self.environment.disk.list(&folder).map_err(Fault::io("listing", &folder))? {
                // Links have one name in all folders; images of different folders can differ, and are small.
                if seen.insert(name.clone()) {
                    files +=
                        self.environment.disk.metadata(&folder.join(name)).map_or(0, |metadata| metadata.allocated);
                }
            }
        }
        Ok(SpaceReport { files, live })
    }

    /// Whether a checkpoint should be taken to let go of files that compaction replaced: they take too much of the disk
    /// for what is live.
    pub fn wants_space(&self) -> bool {
        let (total, replaced) = self.space_estimate(&self.background.lock());
        let live = self.live_bytes();
        // A checkpoint syncs every file that changed. Taken for less, checkpoints would leave no time for compaction.
        replaced > live / 2 && total > (live / 100).saturating_mul(SPACE_PERCENT).max(SPACE_FLOOR)
    }

    /// Whether the older of the two kept checkpoints costs too much: the newest one then stands alone.
    pub(super) fn is_short_of_space(&self, background: &Background) -> bool {
        let (total, _) = self.space_estimate(background);
        total > (self.live_bytes() / 100).saturating_mul(KEEP_PERCENT).max(SPACE_FLOOR)
    }

    /// Bytes of segment files on the disk, and how many of them are of generations that were replaced; from what is
    /// known in memory.
    fn space_estimate(&self, background: &Background) -> (u64, u64) {
        let present: u64 = self.segments.iter().map(|segment| segment.cut().length).sum();
        let mut replaced: hashbrown::HashMap<PathBuf, u64, std::hash::RandomState> = hashbrown::HashMap::default();
        for (path, bytes) in &self.garbage.lock().files {
            replaced.insert(path.clone(), *bytes);
        }
        for checkpoint in &background.checkpoints {
            for (segment, cut) in self.segments.iter().zip(checkpoint.segments.iter()) {
                if cut.length > 0 && cut.generation != segment.cut().generation {
                    replaced.insert(self.place.segment_path(segment.id(), cut.generation), cut.length);
                }
            }
        }
        let replaced = replaced.values().sum();
        (present + replaced, replaced)
    }
}
