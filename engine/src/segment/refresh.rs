//! Refreshing: a new image for the present generation, in the background.
//!
//! ```text
//! lock: copy image and delta -- unlock: merge, write the file, map it, index what came since -- lock: the rest, swap
//! ```

use super::file::RecordFile;
use super::image::Image;
use super::installed::{ImageAt, Installed};
use super::{Segment, SegmentCut, install};
use crate::env::Open;
use crate::error::Fault;
use crate::key::KeyHash;
use std::path::Path;

/// Keys in a delta below which no image is made for its sake.
const MIN_DELTA: usize = 1024;
/// Bytes of file after the image, at least, that make a new one worth it.
const MIN_TAIL: u64 = 8 << 20;
/// What is left to index when the lock is taken for the swap, in bytes: some 50 us.
pub(super) const SWAP_TAIL: u64 = 64 << 10;

impl Installed {
    /// Whether an image should be made: the delta passes an eighth of the segment, or much came after the image.
    pub fn wants_image(&self) -> bool {
        let (image, delta) = self.index_len();
        let tail = self.length().saturating_sub(self.imaged);
        delta > MIN_DELTA.max((image + delta) / 8) || tail > MIN_TAIL.max(self.length() / 4)
    }

    /// Bytes of the file that installing would have to index.
    pub fn tail_after_image(&self) -> u64 {
        self.length() - self.covered.min(self.length())
    }
}

/// Makes a new image of a segment and puts it in place. Answers `false` where another generation came in between.
///
/// # Errors
/// Those of the disk, and damage found in records. The segment goes on with the index that it has.
pub(crate) fn refresh(segment: &Segment) -> Result<bool, Fault> {
    // What the lock is held for: two copies, some 10 bytes a key.
    let Some(mut guard) = segment.lock_installed() else { return Ok(false) };
    let installed = guard.installed_mut();
    installed.sort()?;
    let Some(file) = installed.share() else { return Ok(false) };
    let (place, generation) = (installed.place.clone(), installed.generation);
    let (covered, totals) = (installed.length(), installed.totals);
    let image = installed.image.snapshot();
    let added: Vec<(u32, u64)> = (0..installed.delta.len()).map(|number| installed.delta.sorted(number)).collect();
    drop(guard);

    let mut positions = Vec::with_capacity(added.len());
    for &(_, offset) in &added {
        let key = file.record(offset)?.key;
        positions.push(image.partition(|other| Ok::<_, Fault>(file.record(other)?.key < key))?);
    }
    let image = image.extend(&added, &positions, |offset| {
        Ok::<_, Fault>(KeyHash::of(file.record(offset)?.key, place.seed).digest())
    })?;

    let mut new = Installed::empty(&place, segment.id(), generation);
    new.file = RecordFile::Followed(file);
    new.totals = totals;
    new.use_image(image, covered)?;
    let mut indexed = covered;
    loop {
        let Some(mut guard) = segment.lock_installed() else { return Ok(false) };
        let old = guard.installed_mut();
        if old.generation != generation {
            return Ok(false);
        }
        // What is indexed without the lock must not change meanwhile.
        old.show();
        let tail = old.length();
        if tail - indexed <= SWAP_TAIL {
            new.index_records(indexed, tail)?;
            assert_eq!(new.totals, old.totals, "S3: a new image says what the old index says");
            new.file = std::mem::take(&mut old.file);
            guard.replace(new, false);
            return Ok(true);
        }
        drop(guard);
        new.index_records(indexed, tail)?;
        indexed = tail;
    }
}

impl Installed {
    /// Indexes the file's records from one offset to another.
    pub(super) fn index_records(&mut self, from: u64, to: u64) -> Result<(), Fault> {
        let mut offset = from;
        while offset < to {
            offset = self.index_record(offset)?;
        }
        Ok(())
    }

    /// Takes an image that covers the file up to `covered`: written to a file and mapped, so that it takes no
    /// memory; where the disk is full it stays in memory.
    pub(super) fn use_image(&mut self, image: Image, covered: u64) -> Result<(), Fault> {
        let (place, id, generation) = (&self.place, self.id, self.generation);
        let path = place.image_path(id, generation);
        if !self.write_image(&path, &image.encode(id, generation, place.seed, covered, self.totals))? {
            (self.image, self.imaged) = (image, covered);
            return Ok(());
        }
        match install::open_image(place, id, generation, &path) {
            Ok(Some((_, _, image))) => {
                (self.image, self.covered, self.image_at) = (image, covered, ImageAt::Images);
                (self.imaged, self.covered_totals, self.is_image_stale) = (covered, self.totals, false);
                Ok(())
            }
            Ok(None) => Err(Fault::corrupt(&path, 0, "an image that was just written is gone")),
            Err(what) => Err(Fault::corrupt(&path, 0, what)),
        }
    }

    /// Writes the file of an image under its name; answers `false` where the disk is full.
    fn write_image(&self, path: &Path, bytes: &[u8]) -> Result<bool, Fault> {
        let new_path = path.with_extension("new");
        let disk = &self.place.environment.disk;
        let write = || -> std::io::Result<()> {
            match disk.remove_file(&new_path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = disk.open(&new_path, Open::CreateNew)?;
            file.allocate(bytes.len() as u64)?;
            file.write_all_at(bytes, 0)?;
            disk.rename(&new_path, path)
        };
        match write() {
            Ok(()) => Ok(true),
            Err(error) if crate::env::is_disk_full(&error) => {
                let _ = disk.remove_file(&new_path);
                Ok(false)
            }
            Err(error) => Err(Fault::io("writing", path)(error)),
        }
    }

    /// Whether the folder of images has one that a checkpoint of this cut can use: of its generation, and covering no
    /// more than it.
    ///
    /// Versions that were overwritten since the image was made are still where it says, but its totals are of
    /// before. They are written anew here. Since the cut was taken nothing that it names changes, so that they stay right.
    ///
    /// # Errors
    /// Faults of the disk, damage.
    pub(crate) fn has_image_for(&mut self, cut: &SegmentCut) -> Result<bool, Fault> {
        if self.generation != cut.generation || self.image_at != ImageAt::Images || self.covered > cut.length {
            return Ok(false);
        }
        if self.is_image_stale {
            let path = self.place.image_path(self.id, self.generation);
            let bytes = self.place.environment.disk.read(&path, u64::MAX).map_err(Fault::io("reading", &path))?;
            let bytes =
                Image::with_totals(bytes, self.covered_totals).map_err(|what| Fault::corrupt(&path, 0, what))?;
            if !self.write_image(&path, &bytes)? {
                return Ok(false);
            }
            self.is_image_stale = false;
        }
        Ok(true)
    }
}
