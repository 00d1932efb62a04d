//! One generation of a segment's file with its index, ready to execute commands on.
//!
//! The index is the [image](super::image) and the [delta](super::delta); each key is in exactly one of the
//! two, with the offset of its newest record. Tombstones stay in the index until compaction, so that an
//! older cut can be read by walking the chain of versions from any key.

use super::delta::{Delta, DeltaSlot};
use super::image::{Image, Slot};
use super::record::{Content, Head, Kind, Record};
use super::{SegmentCut, Totals, install};
use crate::env::map::{AppendMap, Appender, Reader};
use crate::error::Fault;
use crate::evaluate::Stored;
use crate::key::{Generation, KeyHash, SegmentId};
use std::path::PathBuf;
use std::sync::Arc;

/// A segment's file, mapped, to read.
#[derive(Clone)]
pub(crate) struct SegmentFile {
    pub(super) reader: Reader,
    pub(super) path: Arc<PathBuf>,
}

impl SegmentFile {
    pub(super) fn new(map: AppendMap, path: PathBuf) -> (SegmentFile, Appender) {
        (SegmentFile { reader: map.reader, path: Arc::new(path) }, map.appender)
    }

    /// The record at an offset, its head and key checked.
    #[inline]
    pub(crate) fn record(&self, offset: u64) -> Result<Record<'_>, Fault> {
        Record::read(|at, len| self.reader.get(at, len), offset).map_err(|what| self.damaged(offset, what))
    }

    /// The version of a record's key in the file's first `length` bytes: back along the chain of versions.
    pub(crate) fn version_at<'a>(&'a self, mut record: Record<'a>, length: u64) -> Result<Option<Record<'a>>, Fault> {
        while record.offset >= length {
            let previous = record.head.previous;
            if previous == 0 {
                return Ok(None);
            }
            if previous >= record.offset {
                return Err(self.damaged(record.offset, "a record's previous version lies after it"));
            }
            record = self.record(previous)?;
        }
        Ok(Some(record))
    }

    /// Whether no other reader of the map is left besides this one and its appender.
    pub(crate) fn has_one_reader(&self) -> bool {
        self.reader.users() <= 2
    }

    #[cold]
    pub(crate) fn damaged(&self, offset: u64, what: &str) -> Fault {
        Fault::corrupt(&self.path, offset, what)
    }
}

/// Where the file of an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageAt {
    /// There is none.
    Nowhere,
    /// In the checkpoint at which the segment was installed, and in every one since.
    Checkpoint,
    /// In the folder of images that this process made.
    Images,
}

/// Where the index has a key.
#[derive(Debug, Clone, Copy)]
enum Found {
    Image(Slot),
    Delta(DeltaSlot),
}

/// One generation of a segment.
pub(crate) struct Installed {
    pub(super) id: SegmentId,
    pub(super) generation: Generation,
    pub(super) place: super::Place,
    /// None until the first write.
    pub(super) file: Option<SegmentFile>,
    /// Who writes the file; an index that follows another one's file has none.
    pub(super) appender: Option<Appender>,
    pub(super) image: Image,
    /// Length of the file that the image on disk covers.
    pub(super) covered: u64,
    /// Where that image is.
    pub(super) image_at: ImageAt,
    /// Length of the file that the image in use covers, which is not on disk where that was full.
    pub(super) imaged: u64,
    pub(super) delta: Delta,
    pub(super) totals: Totals,
}

impl Installed {
    /// A generation without records; its file is made by the first write.
    pub(crate) fn empty(place: &super::Place, id: SegmentId, generation: Generation) -> Installed {
        Installed {
            id,
            generation,
            place: place.clone(),
            file: None,
            appender: None,
            image: Image::empty(),
            covered: 0,
            image_at: ImageAt::Nowhere,
            imaged: 0,
            delta: Delta::default(),
            totals: Totals::default(),
        }
    }

    /// The segment.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Its number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Length of its file.
    #[inline]
    pub fn length(&self) -> u64 {
        self.appender.as_ref().map_or(0, Appender::tail)
    }

    /// Its part of a cut taken now.
    #[inline]
    pub fn cut(&self) -> SegmentCut {
        SegmentCut { generation: self.generation, length: self.length(), totals: self.totals }
    }

    /// Number of keys in the index's two parts, tombstones included.
    pub fn index_len(&self) -> (usize, usize) {
        (self.image.len(), self.delta.len())
    }

    /// The hash of a key under the cluster's seed.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.place.seed)
    }

    fn find(&self, hash: KeyHash, key: &[u8]) -> Result<Option<(Found, Record<'_>)>, Fault> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut record = None;
        let mut is_it = |offset| {
            let candidate = file.record(offset)?;
            // Tags and digests collide: the key decides.
            if candidate.key == key {
                record = Some(candidate);
            }
            Ok(record.is_some())
        };
        let found = match self.image.find(hash.digest(), &mut is_it)? {
            Some((slot, _)) => Some(Found::Image(slot)),
            None => self.delta.find(hash.digest(), &mut is_it)?.map(|(slot, _)| Found::Delta(slot)),
        };
        Ok(found.zip(record))
    }

    /// A key's newest record, a tombstone perhaps.
    #[inline]
    pub fn newest(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Record<'_>>, Fault> {
        Ok(self.find(hash, key)?.map(|(_, record)| record))
    }

    /// A key's present version.
    #[inline]
    pub fn stored(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Stored<'_>>, Fault> {
        match self.newest(hash, key)? {
            Some(record) => self.stored_of(&record),
            None => Ok(None),
        }
    }

    pub(crate) fn stored_of<'a>(&'a self, record: &Record<'a>) -> Result<Option<Stored<'a>>, Fault> {
        record.stored().map_err(|what| self.damaged(record.offset, what))
    }

    pub(super) fn record(&self, offset: u64) -> Result<Record<'_>, Fault> {
        match &self.file {
            Some(file) => file.record(offset),
            None => unreachable!("an index without a file has no offsets"),
        }
    }

    pub(super) fn damaged(&self, offset: u64, what: &str) -> Fault {
        let path = self.file.as_ref().map_or(&self.place.folder, |file| &file.path);
        Fault::corrupt(path, offset, what)
    }

    /// Makes room for records of this length in all, so that appending them can't fail for want of it (S4).
    ///
    /// # Errors
    /// A full disk; nothing has changed then.
    #[inline]
    pub fn reserve(&mut self, len: u64) -> Result<(), Fault> {
        match (&mut self.appender, &self.file) {
            (Some(appender), Some(file)) => appender.reserve(len).map_err(Fault::io("extending", &file.path)),
            _ => {
                let (file, appender) = install::create_file(&self.place, self.id, self.generation, len)?;
                (self.file, self.appender) = (Some(file), Some(appender));
                Ok(())
            }
        }
    }

    /// Appends a version. Room for it was [reserved](Installed::reserve) before.
    ///
    /// # Errors
    /// Only damage of the version that it replaces.
    pub fn append(&mut self, hash: KeyHash, key: &[u8], content: &Content<'_>) -> Result<(), Fault> {
        let previous = self.find(hash, key)?.map(|(found, record)| (found, record.offset, record.head));
        if content.value.is_none() && previous.is_none_or(|(_, _, head)| head.kind == Kind::Tombstone) {
            return Ok(());
        }
        let head = Head::new(key, content, previous.map_or(0, |(_, offset, _)| offset));
        let Some(appender) = &mut self.appender else { unreachable!("room was reserved") };
        let offset =
            appender.append(head.record_len as usize, |room| head.write(key, content.value.unwrap_or_default(), room));
        self.point_to(hash, previous.map(|(found, _, head)| (found, head)), &head, offset);
        Ok(())
    }

    /// Lets the index know of a record that the file has beyond what is indexed; checks all of it.
    pub(super) fn index_record(&mut self, offset: u64) -> Result<u64, Fault> {
        let record = self.record(offset)?;
        self.stored_of(&record)?;
        let (head, end, hash) = (record.head, record.end(), self.hash(record.key));
        let previous = self.find(hash, record.key)?.map(|(found, record)| (found, record.head));
        self.point_to(hash, previous, &head, offset);
        Ok(end)
    }

    fn point_to(&mut self, hash: KeyHash, previous: Option<(Found, Head)>, head: &Head, offset: u64) {
        if let Some((_, old)) = previous
            && old.kind == Kind::Put
        {
            self.totals.live_records -= 1;
            self.totals.live_bytes -= u64::from(old.record_len);
            self.totals.expiring_records -= u64::from(old.expires_at_ms != 0);
            self.totals.digest = self.totals.digest.wrapping_sub(old.content_digest(hash.get()));
        }
        if head.kind == Kind::Put {
            self.totals.live_records += 1;
            self.totals.live_bytes += u64::from(head.record_len);
            self.totals.expiring_records += u64::from(head.expires_at_ms != 0);
            self.totals.digest = self.totals.digest.wrapping_add(head.content_digest(hash.get()));
        }
        match previous {
            Some((Found::Image(slot), _)) => self.image.set(slot, offset),
            Some((Found::Delta(slot), _)) => self.delta.set(slot, offset),
            None => self.delta.insert(hash.digest(), offset),
        }
    }

    /// Its file, to read without the lock.
    pub(crate) fn file(&self) -> Option<&SegmentFile> {
        self.file.as_ref()
    }

    /// The image on disk: where it lies and how much of the file it covers.
    pub(crate) fn image_at(&self) -> (ImageAt, u64) {
        (self.image_at, self.covered)
    }
}
