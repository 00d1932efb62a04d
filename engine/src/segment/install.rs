//! Installing: making a segment's file ready to execute commands on.
//!
//! Map the file and its image, check the headers, check and index the records after the image. A damaged
//! or missing image costs time alone: the file has everything. A damaged file is a fault that names the offset.

use super::file::{AppendFile, RecordFile};
use super::image::Image;
use super::installed::{ImageAt, Installed};
use super::{SegmentCut, Totals};
use crate::env::map::Appender;
use crate::env::{Environment, Open};
use crate::error::Fault;
use crate::key::{Generation, SegmentId};
use crate::page::{self, PAGE_LEN};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const SEGMENT_MAGIC: &[u8; 8] = b"SKINKSEG";

/// Header page of a segment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFileHeader {
    /// The segment.
    pub segment: SegmentId,
    /// The generation.
    pub generation: Generation,
    /// How many segments the state has.
    pub segments: u16,
    /// Version of the key hash.
    pub hash_version: u16,
    /// The seed of the key hash.
    pub seed: u64,
}

/// Where the segments of a data directory are, and what they share.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) environment: Environment,
    pub(crate) folder: Arc<PathBuf>,
    /// Where this process puts images.
    pub(crate) images: Arc<PathBuf>,
    /// Folder of the newest checkpoint; what waits to be installed has its image there.
    pub(crate) checkpoint: Arc<Mutex<Option<PathBuf>>>,
    pub(crate) seed: u64,
    pub(crate) segments: u16,
    /// Files that no segment, checkpoint or reader needs: giving their blocks back and asking for new ones costs more
    /// than writing over them.
    pub(crate) spares: Arc<Mutex<Vec<PathBuf>>>,
    /// Addresses reserved for each segment, in bytes.
    pub(crate) capacity: u64,
}

impl Place {
    pub(crate) fn segment_name(segment: SegmentId, generation: Generation) -> String {
        format!("{segment}.{generation}.seg")
    }

    pub(crate) fn image_name(segment: SegmentId, generation: Generation) -> String {
        format!("{segment}.{generation}.idx")
    }

    pub(crate) fn segment_path(&self, segment: SegmentId, generation: Generation) -> PathBuf {
        self.folder.join(Place::segment_name(segment, generation))
    }

    pub(crate) fn image_path(&self, segment: SegmentId, generation: Generation) -> PathBuf {
        self.images.join(Place::image_name(segment, generation))
    }

    pub(super) fn header(&self, segment: SegmentId, generation: Generation) -> SegmentFileHeader {
        SegmentFileHeader {
            segment,
            generation,
            segments: self.segments,
            hash_version: crate::key::HASH_VERSION,
            seed: self.seed,
        }
    }

    /// The first page of a segment file.
    pub(crate) fn header_page(&self, segment: SegmentId, generation: Generation) -> Vec<u8> {
        page::encode_page(SEGMENT_MAGIC, &self.header(segment, generation))
    }
}

/// Most files that are kept to be written over.
const MAX_SPARES: usize = 8;
/// Files longer than this are not worth keeping: they may wait long for a segment that needs so much.
const MAX_SPARE_LEN: u64 = 64 << 20;

impl Place {
    /// Keeps a file to be written over, if there is room for it; answers whether it did. Nobody may read it any more.
    pub(crate) fn keep_spare(&self, path: &Path) -> std::io::Result<bool> {
        let disk = &self.environment.disk;
        let metadata = disk.metadata(path)?;
        let mut spares = self.spares.lock();
        if spares.len() >= MAX_SPARES || metadata.links != 1 || metadata.len > MAX_SPARE_LEN {
            return Ok(false);
        }
        // The end of a name says what becomes of it at the next start.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let spare = path.with_file_name(format!("spare-{name}"));
        disk.rename(path, &spare)?;
        spares.push(spare);
        Ok(true)
    }
}

/// Makes the file of a new generation, with room for `len` bytes of records.
pub(super) fn create_file(place: &Place, id: SegmentId, generation: Generation, len: u64) -> Result<AppendFile, Fault> {
    let path = place.segment_path(id, generation);
    let disk = &place.environment.disk;
    let attempt = || -> std::io::Result<Appender> {
        let spare = place.spares.lock().pop();
        let had_spare = spare.is_some();
        if let Some(spare) = spare {
            // What it holds is beyond the new file's tail: nobody reads it.
            disk.rename(&spare, &path)?;
        }
        let file = match disk.open(&path, Open::CreateNew) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && had_spare => {
                disk.open(&path, Open::ReadWrite)?
            }
            // Left over from an attempt that the disk had no room for, or that a crash ended.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                disk.remove_file(&path)?;
                disk.open(&path, Open::CreateNew)?
            }
            result => result?,
        };
        let mut appender = file.map_append(place.capacity, 0)?;
        appender.reserve(PAGE_LEN as u64 + len)?;
        let header = place.header_page(id, generation);
        appender.append(PAGE_LEN, |room| room.copy_from_slice(&header));
        Ok(appender)
    };
    Ok(AppendFile::new(attempt().map_err(Fault::io("creating", &path))?, path))
}

/// Installs a segment at a cut.
pub(super) fn install(place: &Place, id: SegmentId, cut: &SegmentCut) -> Result<Installed, Fault> {
    let mut installed = Installed::empty(place, id, cut.generation);
    if cut.length == 0 {
        return Ok(installed);
    }
    let path = place.segment_path(id, cut.generation);
    let file = place.environment.disk.open(&path, Open::ReadWrite).map_err(Fault::io("opening", &path))?;
    let appender = file.map_append(place.capacity, cut.length).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::corrupt(&path, cut.length, error.to_string()),
        _ => Fault::io("mapping", &path)(error),
    })?;
    let file = AppendFile::new(appender, path);
    check_header(place, id, cut.generation, &file)?;
    installed.file = RecordFile::Appended(file);
    installed.covered = PAGE_LEN as u64;
    if let Some((covered, totals, image)) = usable_image(place, id, cut) {
        installed.covered = covered;
        installed.image_at = ImageAt::Checkpoint;
        installed.image = image;
        (installed.totals, installed.covered_totals) = (totals, totals);
    }
    installed.imaged = installed.covered;
    let mut offset = installed.covered;
    while offset < cut.length {
        offset = installed.index_record(offset)?;
    }
    if offset != cut.length || installed.totals != cut.totals {
        let what = format!("S3: its records say {:?}, the checkpoint says {:?}", installed.totals, cut.totals);
        return Err(installed.damaged(cut.length, &what));
    }
    Ok(installed)
}

fn check_header(place: &Place, id: SegmentId, generation: Generation, file: &AppendFile) -> Result<(), Fault> {
    let page = file.appender.get(0, PAGE_LEN).ok_or_else(|| file.damaged(0, "it is shorter than its header"))?;
    let header: SegmentFileHeader = page::decode(SEGMENT_MAGIC, page).map_err(|what| file.damaged(0, &what))?;
    let expected = place.header(id, generation);
    if header != expected {
        return Err(file.damaged(0, &format!("its header says {header:?} where {expected:?} belongs")));
    }
    Ok(())
}

/// The checkpoint's image of a segment. Images outside of checkpoints are never used at a start: they may cover
/// records that a crash took away.
fn usable_image(place: &Place, id: SegmentId, cut: &SegmentCut) -> Option<(u64, Totals, Image)> {
    let path = place.checkpoint.lock().as_ref()?.join(Place::image_name(id, cut.generation));
    match open_image(place, id, cut.generation, &path) {
        Ok(found) => found.filter(|(covered, _, _)| *covered <= cut.length),
        Err(what) => {
            tracing::warn!(path = %path.display(), what, "an image is damaged: the segment is indexed from its records");
            None
        }
    }
}

/// Opens an image; `None` where there is none.
pub(super) fn open_image(
    place: &Place,
    id: SegmentId,
    generation: Generation,
    path: &Path,
) -> Result<Option<(u64, Totals, Image)>, String> {
    let file = match place.environment.disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let bytes = file.map_private().map_err(|error| error.to_string())?;
    let (header, image) = Image::open(bytes)?;
    if (header.segment, header.generation, header.seed) != (id, generation, place.seed) {
        return Err(format!("it belongs to segment {} generation {}", header.segment, header.generation));
    }
    Ok(Some((header.covered, header.totals, image)))
}
