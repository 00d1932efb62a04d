//! Cut and checkpoint: a consistent point of the whole state, and making it durable.

use super::kept::{CheckpointFolder, KeptCheckpoint};
use super::{Background, Engine, PendingCut};
use crate::env::{Clock, Open};
use crate::error::Fault;
use crate::files;
use crate::key::SegmentId;
use crate::manifest::{MAX_ORDERING_LEN, Manifest, ProxyPosition};
use crate::position::{Instance, LogPosition};
use crate::segment::{Place, SegmentCut};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Checkpoints that are kept in any case where there is room.
const KEPT: usize = 2;

/// Bytes of a segment file that are written back at a time.
const WRITEBACK_STEP: u64 = 256 << 10;

/// Time that the log is owed, for its turn on the disk to be worth taking.
const TURN: Duration = Duration::from_millis(4);

/// How writing back shares the disk with the log: one that is handed hundreds of megabytes makes the log's next writes
/// wait behind them (8 to 18 ms each, measured).
struct Pace {
    clock: Arc<dyn Clock>,
    /// Time left to the log after writing back, in units of what that took.
    share: u32,
    owed: Duration,
}

impl Pace {
    fn at_once(clock: &Arc<dyn Clock>) -> Pace {
        Pace { clock: Arc::clone(clock), share: 0, owed: Duration::ZERO }
    }

    /// Where files that were replaced wait for the checkpoint, it takes half of the disk in place of a third.
    fn beside_the_log(clock: &Arc<dyn Clock>, is_short_of_space: bool) -> Pace {
        Pace { clock: Arc::clone(clock), share: if is_short_of_space { 1 } else { 2 }, owed: Duration::ZERO }
    }

    fn write<T>(&mut self, write: impl FnOnce() -> T) -> T {
        let started = self.clock.elapsed();
        let result = write();
        self.owed += self.clock.elapsed().saturating_sub(started) * self.share;
        result
    }
}

/// A consistent point of the whole state: a length per segment.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The last instance that is in it.
    pub instance: Instance,
    /// That instance's time.
    pub time_ms: u64,
    /// Where the log goes on after it.
    pub log_position: LogPosition,
    /// The ids that the order had delivered.
    pub proxies: Vec<ProxyPosition>,
    /// What the order keeps with it.
    pub ordering: Vec<u8>,
    /// Where each segment stands.
    pub segments: Vec<SegmentCut>,
    /// How many files had been replaced.
    replaced: u64,
}

/// What making a checkpoint took.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointInfo {
    /// Its instance.
    pub instance: Instance,
    /// Bytes that were appended to segment files since the checkpoint before.
    pub new_bytes: u64,
    /// Keys in it.
    pub live_records: u64,
    /// Sum of the segments' digests.
    pub digest: u64,
    /// How long it took.
    pub duration: Duration,
}

impl Engine {
    /// Takes a cut. Call it when no command is in flight; it reads one length per segment and locks none of them.
    /// `ordering` is what the order keeps with the checkpoint, opaque here.
    ///
    /// # Panics
    /// If that is longer than [`MAX_ORDERING_LEN`]: the checkpoint could not be read.
    pub fn cut(
        &self,
        instance: Instance,
        time_ms: u64,
        log_position: LogPosition,
        proxies: Vec<ProxyPosition>,
        ordering: Vec<u8>,
    ) -> Cut {
        assert!(ordering.len() <= MAX_ORDERING_LEN, "the order keeps little with a checkpoint");
        let no_swap = self.layout.lock();
        let segments = self.freeze();
        let replaced = self.garbage.lock().pushed();
        *self.pending_cut.lock() = Some(PendingCut { instance, segments: segments.clone() });
        drop(no_swap);
        Cut { instance, time_ms, log_position, proxies, ordering, segments, replaced }
    }

    /// Makes a cut durable as a checkpoint, then lets go of what no kept checkpoint needs: older checkpoints, segment
    /// files, log files. For one thread in the background. `is_clean_stop` says that the log ends at the cut's position.
    ///
    /// A cut that is older than the newest checkpoint, as a donor's was installed meanwhile, is made durable by that one,
    /// and the answer is about it.
    ///
    /// # Errors
    /// A full disk: the checkpoints before stay, try again later. Other faults: stop.
    pub fn checkpoint(&self, cut: &Cut, is_clean_stop: bool) -> Result<CheckpointInfo, Fault> {
        let started = self.environment.clock.elapsed();
        let _one_at_a_time = self.checkpointing.lock();
        if cut.instance < self.last_checkpoint() {
            return self.newest_info(started);
        }
        let last = self.background.lock().checkpoints.last().map(|checkpoint| Arc::clone(&checkpoint.segments));
        let clock = &self.environment.clock;
        let mut pace =
            if is_clean_stop { Pace::at_once(clock) } else { Pace::beside_the_log(clock, self.wants_space()) };
        // Segments may be compacted meanwhile: the cut, which is pending, keeps their files.
        let new_bytes = self.sync_segments(cut, last.as_deref(), &mut pace)?;
        let mut background = self.background.lock();
        let manifest = Manifest {
            shape: self.format.shape,
            instance: cut.instance,
            time_ms: cut.time_ms,
            log_position: cut.log_position,
            is_clean_stop,
            proxies: cut.proxies.clone(),
            segments: cut.segments.clone(),
            ordering: cut.ordering.clone(),
        };
        let previous = background.checkpoints.last().map(|checkpoint| checkpoint.folder.path());
        let folder = Manifest::folder(&self.directory.checkpoints(), cut.instance);
        self.write_folder(&mut background, &folder, &manifest, previous.as_deref())?;
        *self.place.checkpoint.lock() = Some(folder.clone());
        background.checkpoints.push(KeptCheckpoint {
            instance: cut.instance,
            folder: CheckpointFolder::new(folder),
            log_position: cut.log_position,
            segments: Arc::new(cut.segments.clone()),
        });
        // A cut that was taken since is still to come.
        self.pending_cut.lock().take_if(|pending| pending.segments == cut.segments);
        self.last_checkpoint.store(cut.instance.get(), Ordering::Release);
        self.drop_old_checkpoints(&mut background, cut.replaced)?;
        Ok(CheckpointInfo {
            instance: cut.instance,
            new_bytes,
            live_records: manifest.live_records(),
            digest: manifest.digest(),
            duration: self.environment.clock.elapsed().saturating_sub(started),
        })
    }

    /// What is known of the newest checkpoint, which was not made now.
    fn newest_info(&self, started: Duration) -> Result<CheckpointInfo, Fault> {
        let newest = self.newest_checkpoint()?;
        let manifest = newest.manifest();
        Ok(CheckpointInfo {
            instance: manifest.instance,
            new_bytes: 0,
            live_records: manifest.live_records(),
            digest: manifest.digest(),
            duration: self.environment.clock.elapsed().saturating_sub(started),
        })
    }

    /// Lets go of what the checkpoints before the newest ones needed.
    pub(super) fn drop_old_checkpoints(&self, background: &mut Background, replaced: u64) -> Result<(), Fault> {
        let keep = if self.is_short_of_space(background) { 1 } else { KEPT };
        self.drop_old(background, keep, replaced)
    }

    /// Makes the segment files that changed durable up to the cut; answers with the bytes that are new.
    fn sync_segments(&self, cut: &Cut, before: Option<&Vec<SegmentCut>>, pace: &mut Pace) -> Result<u64, Fault> {
        let disk = &self.environment.disk;
        let mut changed = Vec::new();
        let mut new_bytes = 0;
        for (number, segment) in cut.segments.iter().enumerate() {
            let old = before.and_then(|before| before.get(number)).copied().unwrap_or_default();
            if segment.length == 0 || (old.generation, old.length) == (segment.generation, segment.length) {
                continue;
            }
            let start = if old.generation == segment.generation { old.length } else { 0 };
            new_bytes += segment.length - start;
            let path = self.place.segment_path(SegmentId(number as u16), segment.generation);
            let file = disk.open(&path, Open::ReadWrite).map_err(Fault::io("opening", &path))?;
            changed.push((file, path, start, segment.length));
        }
        // All of it in steps first, so that the syncs, each of which also waits for the file system's journal, are short.
        for (file, path, start, length) in &changed {
            let mut at = *start;
            while at < *length {
                let len = WRITEBACK_STEP.min(length - at);
                pace.write(|| file.write_back(at, len)).map_err(Fault::io("writing back", path))?;
                at += len;
                self.leave_the_disk(pace)?;
            }
        }
        for (file, path, ..) in &changed {
            pace.write(|| file.sync_data()).map_err(|source| Fault::Io {
                action: "syncing",
                path: path.clone(),
                source,
            })?;
            self.leave_the_disk(pace)?;
        }
        if !changed.is_empty() {
            let folder = self.directory.segments();
            disk.sync_folder(&folder).map_err(Fault::io("syncing", &folder))?;
        }
        Ok(new_bytes)
    }

    /// Gives the log its turn on the disk. The processor is free meanwhile: compaction uses it, or checkpoints one after
    /// the other would leave it no time.
    fn leave_the_disk(&self, pace: &mut Pace) -> Result<(), Fault> {
        if pace.owed < TURN {
            return Ok(());
        }
        let started = pace.clock.elapsed();
        let has_worked = match self.maintain(&|_| ()) {
            Err(fault) if fault.is_transient() => false,
            result => result?,
        };
        if !has_worked {
            std::thread::sleep(pace.owed);
        }
        pace.owed = pace.owed.saturating_sub(pace.clock.elapsed().saturating_sub(started));
        Ok(())
    }

    /// Makes a checkpoint's folder: links to its files, which are durable, and its manifest. It counts when it has its name.
    pub(super) fn write_folder(
        &self,
        background: &mut Background,
        folder: &Path,
        manifest: &Manifest,
        previous: Option<&Path>,
    ) -> Result<(), Fault> {
        let disk = self.environment.disk.as_ref();
        let new_folder = folder.with_extension("new");
        files::remove_folder(disk, &new_folder)?;
        let result = (|| {
            disk.create_folder(&new_folder).map_err(Fault::io("creating", &new_folder))?;
            for (id, cut) in manifest.files() {
                let name = Place::segment_name(id, cut.generation);
                let from = self.place.folder.join(&name);
                disk.hard_link(&from, &new_folder.join(&name)).map_err(Fault::io("linking", &from))?;
                self.link_image(id, &cut, &new_folder, previous)?;
            }
            let path = Manifest::path(&new_folder);
            files::write_atomically(disk, &path, &manifest.encode())?;
            self.put_in_place(background, &new_folder, folder, manifest.instance)
        })();
        if result.is_err() {
            // Best effort: the next start removes it, too.
            let _ = files::remove_folder(disk, &new_folder);
        }
        result
    }

    /// Links the image that covers the most of the cut and no more. An image is a help: without one, installing
    /// the segment takes longer.
    fn link_image(&self, id: SegmentId, cut: &SegmentCut, folder: &Path, previous: Option<&Path>) -> Result<(), Fault> {
        let name = Place::image_name(id, cut.generation);
        let from_images = match self.segments[id.index()].lock_installed() {
            Some(mut guard) => guard.installed_mut().has_image_for(cut)?,
            None => false,
        };
        let sources = [from_images.then(|| self.place.images.join(&name)), previous.map(|folder| folder.join(&name))];
        for source in sources.into_iter().flatten() {
            match self.environment.disk.hard_link(&source, &folder.join(&name)) {
                Ok(()) => {
                    // A checkpoint is durable as a whole: a backup of it must not hold half an image.
                    let sync = || self.environment.disk.open(&source, Open::Read)?.sync_data();
                    return sync().map_err(|error| Fault::Io {
                        action: "syncing",
                        path: source.clone(),
                        source: error,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Fault::io("linking", &source)(error)),
            }
        }
        Ok(())
    }
}
