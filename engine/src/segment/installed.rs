//! One generation of a segment's file with its index, ready to execute commands on.
//!
//! The index is the [image](super::image) and the [delta](super::delta); each key is in exactly one of the
//! two, with the offset of its newest record. Tombstones stay in the index until compaction, so that an
//! older cut can be read by walking the chain of versions from any key.
//!
//! A version that no cut names and no reader outside of the lock may see is overwritten by the next one of the same
//! length ([`Installed::append`]); every other one stays, and the next one is appended.

use super::delta::{Delta, DeltaSlot};
use super::file::{AppendFile, RecordFile, SegmentFile};
use super::image::{Image, Slot};
use super::record::{Content, Head, Kind, Record};
use super::{SegmentCut, Totals, install};
use crate::env::map::Appender;
use crate::error::Fault;
use crate::evaluate::Stored;
use crate::key::{Generation, KeyHash, SegmentId};

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

/// Bytes of a record, at most, that are asked for before its head was read: as many as a core waits for at once.
const PREFETCH_MAX: u64 = 1152;

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
    pub(super) file: RecordFile,
    pub(super) image: Image,
    /// Length of the file that the image on disk covers.
    pub(super) covered: u64,
    /// What the covered part holds, as far as versions in it were not replaced by ones that lie behind it.
    pub(super) covered_totals: Totals,
    /// Whether that is no longer what the image on disk says.
    pub(super) is_image_stale: bool,
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
            file: RecordFile::Nothing,
            image: Image::empty(),
            covered: 0,
            covered_totals: Totals::default(),
            is_image_stale: false,
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
        match &self.file {
            RecordFile::Appended(file) => file.appender.tail(),
            _ => 0,
        }
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

    /// Asks for the memory in which a key is going to be looked for, so that it comes while other work is done.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        self.image.prefetch(hash.digest());
    }

    /// Finds a key's newest record. From the offset `whole_from` on, more than its head is going to be used.
    #[inline]
    fn find(&self, hash: KeyHash, key: &[u8], whole_from: u64) -> Result<Option<(Found, Record<'_>)>, Fault> {
        let file = &self.file;
        if !file.is_there() {
            return Ok(None);
        }
        let len = (self.totals.live_bytes / self.totals.live_records.max(1)).min(PREFETCH_MAX);
        let mut record = None;
        let mut is_it = |offset| {
            if offset >= whole_from {
                file.prefetch(offset, len);
            }
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
        Ok(self.find(hash, key, u64::MAX)?.map(|(_, record)| record))
    }

    /// Where the newest records of all keys with a hash are, tombstones included.
    pub(crate) fn offsets_with(&self, hash: KeyHash) -> Result<Vec<u64>, Fault> {
        let mut offsets = Vec::new();
        if !self.file.is_there() {
            return Ok(offsets);
        }
        let mut look = |offset| {
            if self.hash(self.record(offset)?.key) == hash {
                offsets.push(offset);
            }
            Ok::<bool, Fault>(false)
        };
        self.image.find(hash.digest(), &mut look)?;
        self.delta.find(hash.digest(), &mut look)?;
        Ok(offsets)
    }

    /// A key's present version.
    #[inline]
    pub fn stored(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Stored<'_>>, Fault> {
        match self.find(hash, key, 0)? {
            Some((_, record)) => self.stored_of(&record),
            None => Ok(None),
        }
    }

    pub(crate) fn stored_of<'a>(&'a self, record: &Record<'a>) -> Result<Option<Stored<'a>>, Fault> {
        record.stored().map_err(|what| self.damaged(record.offset, what))
    }

    /// The record at an offset that the index gave.
    pub(crate) fn record(&self, offset: u64) -> Result<Record<'_>, Fault> {
        self.file.record(offset)
    }

    pub(super) fn damaged(&self, offset: u64, what: &str) -> Fault {
        self.file.damaged(offset, what).unwrap_or_else(|| Fault::corrupt(&self.place.folder, offset, what))
    }

    /// Makes room for records of this length in all, so that appending them can't fail for want of it (S4).
    ///
    /// # Errors
    /// A full disk; nothing has changed then.
    #[inline]
    pub fn reserve(&mut self, len: u64) -> Result<(), Fault> {
        if let RecordFile::Appended(AppendFile { appender, path }) = &mut self.file {
            return appender.reserve(len).map_err(Fault::io("extending", path));
        }
        self.file = RecordFile::Appended(install::create_file(&self.place, self.id, self.generation, len)?);
        Ok(())
    }

    fn appender(&mut self) -> &mut Appender {
        match &mut self.file {
            RecordFile::Appended(file) => &mut file.appender,
            _ => unreachable!("room was reserved"),
        }
    }

    /// Writes a version. Room for it was [reserved](Installed::reserve) before.
    ///
    /// It is appended; where the version before lies at or above `frozen`, nobody reads that outside of the lock, and
    /// the two are of one length, it takes its place (S1).
    ///
    /// # Errors
    /// Only damage of the version that it replaces.
    pub fn append(&mut self, hash: KeyHash, key: &[u8], content: &Content<'_>, frozen: u64) -> Result<(), Fault> {
        self.write(hash, key, Head::new(key, content, 0), content.value.unwrap_or_default(), frozen)
    }

    /// The same, of a head whose previous version is not known yet.
    pub(super) fn write(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        head: Head,
        value: &[u8],
        frozen: u64,
    ) -> Result<(), Fault> {
        let previous = self.find(hash, key, frozen)?.map(|(found, record)| (found, record.offset, record.head));
        if head.kind == Kind::Tombstone && previous.is_none_or(|(_, _, old)| old.kind == Kind::Tombstone) {
            return Ok(());
        }
        if let Some((_, offset, old)) = &previous
            && *offset >= frozen
            && (old.kind, old.record_len) == (head.kind, head.record_len)
        {
            let head = Head { previous: old.previous, ..head };
            if self.appender().overwrite(*offset, head.record_len as usize, |room| head.write(key, value, room)) {
                self.count_overwritten(*offset, &Totals::of(old, hash), &Totals::of(&head, hash));
                return Ok(());
            }
        }
        let head = Head { previous: previous.map_or(0, |(_, offset, _)| offset), ..head };
        let offset = self.appender().append(head.record_len as usize, |room| head.write(key, value, room));
        self.point_to(hash, previous.map(|(found, _, old)| (found, old)), &head, offset);
        Ok(())
    }

    fn count_overwritten(&mut self, offset: u64, old: &Totals, new: &Totals) {
        self.totals.replace(old, new);
        if offset < self.covered {
            // An image in a checkpoint covers what a cut names.
            assert_eq!(self.image_at, ImageAt::Images, "S1: what a checkpoint's image covers is not overwritten");
            self.covered_totals.replace(old, new);
            self.is_image_stale = true;
        }
    }

    /// Lets the index know of a record that the file has beyond what is indexed; checks all of it.
    pub(super) fn index_record(&mut self, offset: u64) -> Result<u64, Fault> {
        let record = self.record(offset)?;
        self.stored_of(&record)?;
        let (head, end, hash) = (record.head, record.end(), self.hash(record.key));
        let previous = self.find(hash, record.key, u64::MAX)?.map(|(found, record)| (found, record.head));
        self.point_to(hash, previous, &head, offset);
        Ok(end)
    }

    fn point_to(&mut self, hash: KeyHash, previous: Option<(Found, Head)>, head: &Head, offset: u64) {
        let old = previous.map_or_else(Totals::default, |(_, old)| Totals::of(&old, hash));
        self.totals.replace(&old, &Totals::of(head, hash));
        match previous {
            Some((Found::Image(slot), _)) => self.image.set(slot, offset),
            Some((Found::Delta(slot), _)) => self.delta.set(slot, offset),
            None => self.delta.insert(hash.digest(), offset),
        }
    }

    /// Its file, to read without the lock as far as it is written now.
    pub(crate) fn share(&self) -> Option<SegmentFile> {
        self.file.share()
    }

    /// Lets those who [share](Installed::share) the file read all that is written now.
    pub(crate) fn show(&self) {
        self.file.show();
    }
}
