//! The image: the bulk of a segment's index, a file that is mapped and not read.
//!
//! | part | bytes | |
//! | --- | --- | --- |
//! | header page | 4096 | [`ImageHeader`] |
//! | buckets | 64 each | 12 tags of a byte, 4 zeros, 12 offsets of 4 bytes, 0 for free |
//! | sorted | 4 each | slot numbers (bucket * 12 + place) in key order |
//!
//! A key's home bucket follows from its digest's high bits, its tag is the digest's low byte; a full bucket
//! overflows into the next one, without wrapping round, so that buckets are in the order of digests. One
//! lookup touches one cache line. Offsets count in units of 8 bytes. The sorted part names slots, not
//! offsets: an update changes one slot and nothing else. The file is mapped copy-on-write: the
//! newest offset of a key that was updated since stands in the slot itself, and only pages with
//! such slots take memory (`docs/decisions/0001-private-image.md`).

use super::record::RECORD_ALIGN;
use crate::env::map::PrivateBytes;
use crate::key::{Generation, SegmentId};
use crate::page::{self, PAGE_LEN};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"SKINKIDX";
const BUCKET: usize = 64;
const PLACES: usize = 12;
const OFFSETS: usize = 16;
/// Buckets after the last home, for what overflows from it.
const SPARE_BUCKETS: usize = 8;
/// Share of places in use above which an image is built anew with more buckets, in percent.
const MAX_LOAD_PERCENT: usize = 85;
/// Share that a new image starts with.
const NEW_LOAD_PERCENT: usize = 70;

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageHeader {
    /// The segment.
    pub segment: SegmentId,
    /// The generation of the file that the offsets point into.
    pub generation: Generation,
    /// The seed of the key hash.
    pub seed: u64,
    /// The index covers the file up to this length.
    pub covered: u64,
    /// What the covered part holds.
    pub totals: super::Totals,
    home_buckets: u32,
    entries: u32,
    body_crc: u32,
}

/// A place in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// Buckets and sorted slots.
pub struct Image {
    bytes: PrivateBytes,
    /// Where the buckets start in `bytes`.
    start: usize,
    home_buckets: usize,
    entries: usize,
}

fn units(offset: u64) -> u32 {
    let unit = offset / RECORD_ALIGN;
    assert!(offset.is_multiple_of(RECORD_ALIGN) && unit != 0 && u32::try_from(unit).is_ok(), "offset {offset}");
    unit as u32
}

impl Image {
    /// One without entries.
    pub fn empty() -> Image {
        Image { bytes: PrivateBytes::Owned(Vec::new()), start: 0, home_buckets: 0, entries: 0 }
    }

    fn with_room_for(entries: usize) -> Image {
        if entries == 0 {
            return Image::empty();
        }
        let home_buckets = (entries * 100).div_ceil(PLACES * NEW_LOAD_PERCENT);
        let bytes = vec![0; (home_buckets + SPARE_BUCKETS) * BUCKET];
        Image { bytes: PrivateBytes::Owned(bytes), start: 0, home_buckets, entries: 0 }
    }

    /// Number of keys in it, tombstones included.
    pub fn len(&self) -> usize {
        self.entries
    }

    fn buckets(&self) -> usize {
        if self.home_buckets == 0 { 0 } else { self.home_buckets + SPARE_BUCKETS }
    }

    fn home(&self, digest: u32) -> usize {
        ((u64::from(digest) * self.home_buckets as u64) >> 32) as usize
    }

    /// The smallest digest whose home is this bucket; past the last one 2^32.
    fn first_digest(&self, bucket: usize) -> u64 {
        ((bucket as u64) << 32).div_ceil(self.home_buckets as u64)
    }

    fn bucket(&self, bucket: usize) -> &[u8; BUCKET] {
        let at = self.start + bucket * BUCKET;
        match self.bytes[at..at + BUCKET].first_chunk() {
            Some(bucket) => bucket,
            None => unreachable!("a slice of the length of a bucket"),
        }
    }

    fn place_units(bucket: &[u8; BUCKET], place: usize) -> u32 {
        let at = OFFSETS + place * 4;
        u32::from_le_bytes([bucket[at], bucket[at + 1], bucket[at + 2], bucket[at + 3]])
    }

    /// The newest offset in a slot.
    pub fn offset(&self, slot: Slot) -> u64 {
        let (bucket, place) = (slot.0 as usize / PLACES, slot.0 as usize % PLACES);
        u64::from(Self::place_units(self.bucket(bucket), place)) * RECORD_ALIGN
    }

    /// Sets the newest offset of a slot.
    pub fn set(&mut self, slot: Slot, offset: u64) {
        let at = self.start + slot.0 as usize / PLACES * BUCKET + OFFSETS + slot.0 as usize % PLACES * 4;
        self.bytes[at..at + 4].copy_from_slice(&units(offset).to_le_bytes());
    }

    /// Asks for the memory in which a key's slot is going to be looked for.
    #[inline]
    pub fn prefetch(&self, digest: u32) {
        self.bytes.prefetch(self.start + self.home(digest) * BUCKET);
    }

    /// Finds the slot of a key among those with its tag; `is_it` compares the record at an offset.
    #[inline]
    pub fn find<E>(
        &self,
        digest: u32,
        mut is_it: impl FnMut(u64) -> Result<bool, E>,
    ) -> Result<Option<(Slot, u64)>, E> {
        if self.home_buckets == 0 {
            return Ok(None);
        }
        let tag = digest as u8;
        for number in self.home(digest)..self.buckets() {
            let bucket = self.bucket(number);
            for place in 0..PLACES {
                if bucket[place] == tag {
                    let unit = Self::place_units(bucket, place);
                    if unit != 0 && is_it(u64::from(unit) * RECORD_ALIGN)? {
                        let slot = Slot((number * PLACES + place) as u32);
                        return Ok(Some((slot, u64::from(unit) * RECORD_ALIGN)));
                    }
                }
            }
            if Self::place_units(bucket, PLACES - 1) == 0 {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Puts a new key into the first free place from its home on; `None` where all of them are full.
    fn place(&mut self, digest: u32, offset: u64) -> Option<Slot> {
        for number in self.home(digest)..self.buckets() {
            let free = (0..PLACES).find(|&place| Self::place_units(self.bucket(number), place) == 0);
            if let Some(place) = free {
                let slot = Slot((number * PLACES + place) as u32);
                let at = self.start + number * BUCKET + place;
                self.bytes[at] = digest as u8;
                self.set(slot, offset);
                self.entries += 1;
                return Some(slot);
            }
        }
        None
    }

    /// Position `number` in key order.
    pub fn sorted(&self, number: usize) -> Slot {
        let at = self.start + self.buckets() * BUCKET + number * 4;
        let bytes = &self.bytes[at..at + 4];
        Slot(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The first position in key order at which `is_before` no longer holds for the slot's record.
    pub fn partition<E>(&self, mut is_before: impl FnMut(u64) -> Result<bool, E>) -> Result<usize, E> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.offset(self.sorted(middle)))? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Offsets of the keys from a digest on, about `limit` of them, and the digest (up to 2^32) before which
    /// all of them are there. Keys with other digests can be among them.
    pub fn offsets_from_digest(&self, digest: u32, limit: usize) -> (Vec<u64>, u64) {
        let mut offsets = Vec::new();
        if self.home_buckets == 0 {
            return (offsets, 1 << 32);
        }
        let mut take = |number: usize| {
            let bucket = self.bucket(number);
            let units = (0..PLACES).map(|place| Self::place_units(bucket, place)).filter(|&unit| unit != 0);
            offsets.extend(units.map(|unit| u64::from(unit) * RECORD_ALIGN));
            (offsets.len(), Self::place_units(bucket, PLACES - 1) != 0)
        };
        let mut number = self.home(digest);
        let (mut found, mut is_full) = take(number);
        number += 1;
        while found < limit && number < self.home_buckets {
            (found, is_full) = take(number);
            number += 1;
        }
        let covered = if number >= self.home_buckets { 1 << 32 } else { self.first_digest(number) };
        // What overflowed from these buckets stands in the ones after them, as long as they are full.
        while is_full && number < self.buckets() {
            (_, is_full) = take(number);
            number += 1;
        }
        (offsets, covered)
    }

    /// A copy in plain memory, to build on while this one is in use.
    pub fn snapshot(&self) -> Image {
        Image {
            bytes: PrivateBytes::Owned(self.bytes[self.start..].to_vec()),
            start: 0,
            home_buckets: self.home_buckets,
            entries: self.entries,
        }
    }

    /// An image of these keys: digest and offset, in key order.
    pub fn build(entries: &[(u32, u64)]) -> Image {
        let mut room = entries.len();
        loop {
            let mut image = Image::with_room_for(room);
            let slots: Option<Vec<Slot>> =
                entries.iter().map(|&(digest, offset)| image.place(digest, offset)).collect();
            match slots {
                Some(slots) => {
                    image.append_sorted(slots);
                    return image;
                }
                // Too many in the last buckets: more buckets spread them.
                None => room = room * 5 / 4 + PLACES,
            }
        }
    }

    fn append_sorted(&mut self, slots: Vec<Slot>) {
        assert_eq!(slots.len(), self.entries);
        let PrivateBytes::Owned(bytes) = &mut self.bytes else { unreachable!("built in plain memory") };
        bytes.truncate(if self.home_buckets == 0 { 0 } else { (self.home_buckets + SPARE_BUCKETS) * BUCKET });
        bytes.extend(slots.iter().flat_map(|slot| slot.0.to_le_bytes()));
    }

    /// This snapshot with more keys. `added` is in key order; `position(n)` tells before which of this image's
    /// keys the n-th of them comes; `digest_of` reads the digest of the key at an offset.
    pub fn extend<E>(
        mut self,
        added: &[(u32, u64)],
        positions: &[usize],
        mut digest_of: impl FnMut(u64) -> Result<u32, E>,
    ) -> Result<Image, E> {
        assert!(matches!(self.bytes, PrivateBytes::Owned(_)) && positions.len() == added.len());
        let old: Vec<Slot> = (0..self.entries).map(|number| self.sorted(number)).collect();
        if (self.entries + added.len()) * 100 <= self.home_buckets * PLACES * MAX_LOAD_PERCENT {
            let new: Option<Vec<Slot>> = added.iter().map(|&(digest, offset)| self.place(digest, offset)).collect();
            if let Some(new) = new {
                self.append_sorted(merge(&old, &new, positions));
                return Ok(self);
            }
        }
        let mut old_entries = Vec::with_capacity(old.len());
        for slot in old {
            let offset = self.offset(slot);
            old_entries.push((digest_of(offset)?, offset));
        }
        Ok(Image::build(&merge(&old_entries, added, positions)))
    }

    /// The file's bytes.
    pub fn encode(
        &self,
        segment: SegmentId,
        generation: Generation,
        seed: u64,
        covered: u64,
        totals: super::Totals,
    ) -> Vec<u8> {
        let body = &self.bytes[self.start..];
        let header = ImageHeader {
            segment,
            generation,
            seed,
            covered,
            totals,
            home_buckets: self.home_buckets as u32,
            entries: self.entries as u32,
            body_crc: crc32fast::hash(body),
        };
        let mut bytes = page::encode_page(MAGIC, &header);
        bytes.extend_from_slice(body);
        bytes
    }

    /// The bytes of an image's file with other totals.
    ///
    /// # Errors
    /// What is wrong with its header.
    pub fn with_totals(mut bytes: Vec<u8>, totals: super::Totals) -> Result<Vec<u8>, String> {
        let header: ImageHeader = page::decode(MAGIC, &bytes)?;
        bytes[..PAGE_LEN].copy_from_slice(&page::encode_page(MAGIC, &ImageHeader { totals, ..header }));
        Ok(bytes)
    }

    /// Takes an image's file as it is mapped; everything in it is checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: PrivateBytes) -> Result<(ImageHeader, Image), String> {
        let header: ImageHeader = page::decode(MAGIC, &bytes)?;
        let image = Image {
            start: PAGE_LEN,
            home_buckets: header.home_buckets as usize,
            entries: header.entries as usize,
            bytes,
        };
        let expected = PAGE_LEN + image.buckets() * BUCKET + image.entries * 4;
        if image.bytes.len() != expected {
            return Err(format!("it has {} bytes in place of {expected}", image.bytes.len()));
        }
        if crc32fast::hash(&image.bytes[PAGE_LEN..]) != header.body_crc {
            return Err("the checksum of its buckets does not match".into());
        }
        Ok((header, image))
    }
}

/// `old` with the n-th of `new` before `old[positions[n]]`.
fn merge<T: Copy>(old: &[T], new: &[T], positions: &[usize]) -> Vec<T> {
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let mut taken = 0;
    for (item, &position) in new.iter().zip(positions) {
        merged.extend_from_slice(&old[taken..position]);
        taken = position;
        merged.push(*item);
    }
    merged.extend_from_slice(&old[taken..]);
    merged
}
