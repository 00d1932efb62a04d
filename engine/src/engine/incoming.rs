//! Receiving: a donor's checkpoint, into a folder of its own, where it counts for nothing.
//!
//! ```text
//! begin: its manifest fits, there is room -> write, in order within each segment -> finish: all of it is there, checked, synced
//!                                                      |  dropped: the room is given back
//! ```
//!
//! Nothing that a donor sends is believed before it was checked. A donor numbers generations as it likes, so each segment
//! gets a generation of this directory, and its file a header page that says so. Its records are the donor's, byte for byte.

use super::Engine;
use crate::env::{Disk, DiskFile, Environment, Open};
use crate::error::Fault;
use crate::files;
use crate::key::{Generation, SegmentId};
use crate::manifest::{MAX_ORDERING_LEN, Manifest};
use crate::page::PAGE_LEN;
use crate::position::Instance;
use crate::segment::{Place, Totals, check_segment_file};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A checkpoint that comes from a donor. Dropping it gives its room back.
///
/// Faults say what to do: `Refused`, what came is no good, ask another donor; `Full`, try again when there is room; others, the
/// own disk fails. In any case the state is as it was.
pub struct Incoming {
    folder: IncomingFolder,
    place: Place,
    /// The donor's, but for the generations.
    manifest: Manifest,
    donor_generations: Vec<Generation>,
    /// Bytes of each segment's file that are there.
    received: Vec<u64>,
    /// The file that was written last.
    open: Option<(SegmentId, Arc<dyn DiskFile>)>,
}

/// A donor's checkpoint that is here as a whole, checked and durable: to be [installed](Engine::install).
pub struct CheckedIncoming {
    pub(super) folder: IncomingFolder,
    pub(super) manifest: Manifest,
}

/// Where it lies until then. One checkpoint is received at a time.
pub(super) struct IncomingFolder {
    environment: Environment,
    pub(super) path: PathBuf,
    is_in_use: Arc<AtomicBool>,
}

impl Drop for IncomingFolder {
    fn drop(&mut self) {
        // Best effort: the next one, and the next start, remove it too.
        let _ = files::remove_folder(self.environment.disk.as_ref(), &self.path);
        self.is_in_use.store(false, Ordering::Release);
    }
}

impl Engine {
    /// Begins to receive the checkpoint that this manifest of a donor is of.
    ///
    /// # Errors
    /// Refused: it is of another cluster or shape, not newer than the last checkpoint here, or makes no sense; or another
    /// one is being received. There is no room for it; faults of the disk.
    pub fn begin_incoming(&self, manifest: Manifest) -> Result<Incoming, Fault> {
        self.check_incoming(&manifest)?;
        if self.is_receiving.swap(true, Ordering::AcqRel) {
            return Err(Fault::Refused("another checkpoint is being received".into()));
        }
        let disk = self.environment.disk.as_ref();
        let folder = IncomingFolder {
            environment: self.environment.clone(),
            path: self.directory.incoming(),
            is_in_use: Arc::clone(&self.is_receiving),
        };
        files::remove_folder(disk, &folder.path)?;
        let needed = manifest.files().map(|(_, cut)| cut.length).sum::<u64>() + self.room_reserve();
        self.check_free(needed, "receiving a checkpoint in")?;
        disk.create_folder(&folder.path).map_err(Fault::io("creating", &folder.path))?;
        let mut manifest = manifest;
        let mut donor_generations = Vec::with_capacity(manifest.segments.len());
        for cut in &mut manifest.segments {
            // Also where there is no file yet: the segment's first write makes one, under a name that must be new.
            donor_generations.push(std::mem::replace(&mut cut.generation, self.new_generation()));
        }
        let received = vec![0; manifest.segments.len()];
        Ok(Incoming { folder, place: self.place.clone(), manifest, donor_generations, received, open: None })
    }

    /// Whether a donor's manifest is one that can be installed here.
    fn check_incoming(&self, manifest: &Manifest) -> Result<(), Fault> {
        let refuse = |what: String| Err(Fault::Refused(format!("the donor's checkpoint is refused: {what}")));
        let (ours, theirs) = (self.format.shape, manifest.shape);
        if theirs.cluster != ours.cluster {
            return refuse(format!("it is of cluster {:016x}, this is {:016x}", theirs.cluster, ours.cluster));
        }
        if theirs != ours {
            return refuse(format!(
                "its shape is {theirs:?}, here it is {ours:?}: replicas of a cluster have one shape"
            ));
        }
        self.check_is_newer(manifest.instance)?;
        if manifest.segments.len() != self.segments.len() || manifest.ordering.len() > MAX_ORDERING_LEN {
            return refuse("its manifest is not one that Skink makes".into());
        }
        for (number, cut) in manifest.segments.iter().enumerate() {
            let is_empty = cut.length == 0 && cut.totals == Totals::default();
            let is_file = (PAGE_LEN as u64..=self.place.capacity).contains(&cut.length) && cut.length.is_multiple_of(8);
            if !is_empty && !is_file {
                return refuse(format!("segment {number} can't have {} bytes with {:?}", cut.length, cut.totals));
            }
        }
        Ok(())
    }

    /// Whether a donor's checkpoint is ahead of this directory's.
    pub(super) fn check_is_newer(&self, instance: Instance) -> Result<(), Fault> {
        let last = self.last_checkpoint();
        if instance > last {
            return Ok(());
        }
        Err(Fault::Refused(format!(
            "the donor's checkpoint is refused: it is at instance {instance}, the last one here at {last}"
        )))
    }
}

impl Incoming {
    /// The last instance that will be in it.
    pub fn instance(&self) -> Instance {
        self.manifest.instance
    }

    /// What is to be asked for next: a segment whose file is not here as a whole, and the bytes of it that are missing.
    pub fn missing(&self) -> Option<(SegmentId, Range<u64>)> {
        let mut files = self.manifest.files().map(|(id, cut)| (id, self.received[id.index()]..cut.length));
        files.find(|(_, missing)| !missing.is_empty())
    }

    /// Takes bytes of a segment's file, which go on where the last ones ended.
    ///
    /// # Errors
    /// Refused: they are out of order, too many, or of another file. A full disk: the same bytes can be written again when
    /// there is room. Other faults of the disk.
    pub fn write(&mut self, segment: SegmentId, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let refuse = |what: &str| {
            let from = format!("{} bytes of segment {segment} from {offset} on", bytes.len());
            Err(Fault::Refused(format!("what the donor sent is refused: {from}, {what}")))
        };
        let Some(cut) = self.manifest.segments.get(segment.index()).copied() else {
            return refuse("which there is none of");
        };
        let received = self.received[segment.index()];
        if offset != received {
            return refuse(&format!("where {received} is next"));
        }
        if bytes.len() as u64 > cut.length - received {
            return refuse(&format!("where it ends at {}", cut.length));
        }
        let in_header = (PAGE_LEN as u64).saturating_sub(offset).min(bytes.len() as u64) as usize;
        let (header, body) = bytes.split_at(in_header);
        if !header.is_empty() {
            let expected = self.place.header_page(segment, self.donor_generations[segment.index()]);
            if expected[offset as usize..][..in_header] != *header {
                return refuse("which are not those of its header");
            }
        }
        if !body.is_empty() {
            self.write_body(segment, offset + in_header as u64, body)?;
        }
        self.received[segment.index()] += bytes.len() as u64;
        Ok(())
    }

    fn write_body(&mut self, segment: SegmentId, offset: u64, body: &[u8]) -> Result<(), Fault> {
        let path = self.path(segment);
        let file = match self.open.take() {
            Some((id, file)) if id == segment => file,
            _ => self.open(segment, &path)?,
        };
        file.write_all_at(body, offset).map_err(Fault::io("writing", &path))?;
        // Written back at once, at the pace of the disk: syncing all of it in the end would stall the log for seconds.
        file.write_back(offset, body.len() as u64).map_err(Fault::io("writing back", &path))?;
        self.open = Some((segment, file));
        Ok(())
    }

    fn path(&self, segment: SegmentId) -> PathBuf {
        let generation = self.manifest.segments[segment.index()].generation;
        self.folder.path.join(Place::segment_name(segment, generation))
    }

    /// Opens a segment's file. What comes first makes it: with room for all of it, and its own header.
    fn open(&self, segment: SegmentId, path: &Path) -> Result<Arc<dyn DiskFile>, Fault> {
        let disk = self.place.environment.disk.as_ref();
        if self.received[segment.index()] > PAGE_LEN as u64 {
            return disk.open(path, Open::ReadWrite).map_err(Fault::io("opening", path));
        }
        self.make(segment, disk, path).map_err(Fault::io("making", path))
    }

    fn make(&self, segment: SegmentId, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let cut = self.manifest.segments[segment.index()];
        match disk.remove_file(path) {
            // Left over from an attempt that the disk had no room for.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = disk.open(path, Open::CreateNew)?;
        file.allocate(cut.length)?;
        file.write_all_at(&self.place.header_page(segment, cut.generation), 0)?;
        Ok(file)
    }

    /// Checks that all of it came, every record and every total; makes it durable. Reads all of it, so not for a thread that
    /// others wait for.
    ///
    /// # Errors
    /// Refused: something is missing or wrong. Faults of the disk.
    pub fn finish(mut self) -> Result<CheckedIncoming, Fault> {
        self.open = None;
        if let Some((segment, missing)) = self.missing() {
            return Err(Fault::Refused(format!(
                "the donor's checkpoint is not complete: segment {segment} has {} of {} bytes",
                missing.start, missing.end
            )));
        }
        let disk = self.place.environment.disk.as_ref();
        for (segment, cut) in self.manifest.files() {
            let path = self.path(segment);
            if cut.length == PAGE_LEN as u64 {
                // All header, so that nothing was written yet.
                self.make(segment, disk, &path).map_err(Fault::io("making", &path))?;
            }
            check_segment_file(&self.place, segment, &cut, &path, &mut |_| Ok(())).map_err(|fault| match fault {
                Fault::Corrupt { offset, what, .. } => Fault::Refused(format!(
                    "what the donor sent is refused: segment {segment} is damaged at offset {offset}: {what}"
                )),
                fault => fault,
            })?;
            let sync = || disk.open(&path, Open::ReadWrite)?.sync_data();
            sync().map_err(|source| Fault::Io { action: "syncing", path: path.clone(), source })?;
        }
        Ok(CheckedIncoming { folder: self.folder, manifest: self.manifest })
    }
}

impl CheckedIncoming {
    /// What it says of itself, with generations of this directory.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
