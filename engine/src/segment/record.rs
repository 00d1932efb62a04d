//! Records: one version of one key's value in a segment file.
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 4 | head_crc | CRC-32 over bytes 4..48 and the key |
//! | 4 | 4 | record_len | whole record with padding to 8 bytes |
//! | 8 | 8 | previous | offset of this key's previous version in the file, 0 for none |
//! | 16 | 1 | kind | 1 put, 2 tombstone |
//! | 17 | 1 | flags | 0 |
//! | 18 | 2 | key_len | |
//! | 20 | 4 | value_len | |
//! | 24 | 4 | value_crc | CRC-32 over the value |
//! | 28 | 4 | reserved | 0 |
//! | 32 | 8 | revision | who wrote it |
//! | 40 | 8 | expires_at_ms | 0 for never |
//! | 48 | | key, value, zeros | |
//!
//! All integers are little-endian. Two checksums instead of one, so that an update can check the version
//! that it replaces without reading its value; together they cover every byte but the padding, which
//! readers of whole files check to be zero.

use crate::command::MAX_KEY_LEN;
use crate::evaluate::Stored;
use crate::position::Revision;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the key.
pub const RECORD_HEAD_LEN: usize = 48;
/// Records start at multiples of this.
pub const RECORD_ALIGN: u64 = 8;

/// What a record says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has this value.
    Put,
    /// It does not exist.
    Tombstone,
}

/// A record's fixed fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Put or tombstone.
    pub kind: Kind,
    /// Whole length with padding.
    pub record_len: u32,
    /// Offset of the previous version; 0 for none.
    pub previous: u64,
    /// Length of the key.
    pub key_len: u16,
    /// Length of the value.
    pub value_len: u32,
    /// CRC-32 of the value.
    pub value_crc: u32,
    /// Who wrote it.
    pub revision: Revision,
    /// When it expires; 0 for never.
    pub expires_at_ms: u64,
}

/// Length of a record with padding, in bytes.
pub fn record_len(key_len: usize, value_len: usize) -> u64 {
    ((RECORD_HEAD_LEN + key_len + value_len) as u64).next_multiple_of(RECORD_ALIGN)
}

fn u32_at(bytes: &[u8; RECORD_HEAD_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; RECORD_HEAD_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Head {
    /// A head for these contents, its value's checksum computed.
    pub fn new(key: &[u8], content: &Content<'_>, previous: u64) -> Head {
        let (kind, value, expires_at_ms) = match content.value {
            Some(value) => (Kind::Put, value, content.expires_at_ms),
            None => (Kind::Tombstone, &[][..], 0),
        };
        assert!(key.len() <= MAX_KEY_LEN && u32::try_from(value.len() + RECORD_HEAD_LEN + key.len() + 8).is_ok());
        Head {
            kind,
            record_len: record_len(key.len(), value.len()) as u32,
            previous,
            key_len: key.len() as u16,
            value_len: value.len() as u32,
            value_crc: crc32fast::hash(value),
            revision: content.revision,
            expires_at_ms,
        }
    }

    /// Reads the fields without trusting them; `None` where they contradict each other.
    fn parse(bytes: &[u8; RECORD_HEAD_LEN]) -> Option<Head> {
        let kind = match bytes[16] {
            1 => Kind::Put,
            2 => Kind::Tombstone,
            _ => return None,
        };
        let head = Head {
            kind,
            record_len: u32_at(bytes, 4),
            previous: u64_at(bytes, 8),
            key_len: u16::from_le_bytes([bytes[18], bytes[19]]),
            value_len: u32_at(bytes, 20),
            value_crc: u32_at(bytes, 24),
            revision: Revision::from_raw(u64_at(bytes, 32)),
            expires_at_ms: u64_at(bytes, 40),
        };
        let fits = usize::from(head.key_len) <= MAX_KEY_LEN
            && record_len(head.key_len.into(), head.value_len as usize) == u64::from(head.record_len)
            && head.previous.is_multiple_of(RECORD_ALIGN)
            && (kind == Kind::Put || head.value_len == 0);
        fits.then_some(head)
    }

    /// Writes the record into its room, which has exactly its length.
    pub fn write(&self, key: &[u8], value: &[u8], room: &mut [u8]) {
        let (head, rest) = room.split_at_mut(RECORD_HEAD_LEN);
        head[4..8].copy_from_slice(&self.record_len.to_le_bytes());
        head[8..16].copy_from_slice(&self.previous.to_le_bytes());
        head[16] = match self.kind {
            Kind::Put => 1,
            Kind::Tombstone => 2,
        };
        head[17] = 0;
        head[18..20].copy_from_slice(&self.key_len.to_le_bytes());
        head[20..24].copy_from_slice(&self.value_len.to_le_bytes());
        head[24..28].copy_from_slice(&self.value_crc.to_le_bytes());
        head[28..32].fill(0);
        head[32..40].copy_from_slice(&self.revision.get().to_le_bytes());
        head[40..48].copy_from_slice(&self.expires_at_ms.to_le_bytes());
        let crc = head_crc(&head[4..], key);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        let (key_room, rest) = rest.split_at_mut(key.len());
        key_room.copy_from_slice(key);
        let (value_room, padding) = rest.split_at_mut(value.len());
        value_room.copy_from_slice(value);
        padding.fill(0);
    }

    /// What the version adds to its segment's digest: a sum over live records, in any order (S3).
    ///
    /// It is made of what is equal on all replicas: not of offsets or lengths with padding.
    #[inline]
    pub fn content_digest(&self, key_hash: u64) -> u64 {
        if self.kind == Kind::Tombstone {
            return 0;
        }
        let mut content = [0; 32];
        content[..8].copy_from_slice(&key_hash.to_le_bytes());
        content[8..16].copy_from_slice(&self.revision.get().to_le_bytes());
        content[16..24].copy_from_slice(&self.expires_at_ms.to_le_bytes());
        content[24..28].copy_from_slice(&self.value_crc.to_le_bytes());
        content[28..].copy_from_slice(&self.value_len.to_le_bytes());
        xxh3_64(&content)
    }

    /// Where in the record the value starts.
    pub fn value_offset(&self) -> usize {
        RECORD_HEAD_LEN + usize::from(self.key_len)
    }
}

fn head_crc(fields: &[u8], key: &[u8]) -> u32 {
    // One pass over a short buffer costs a third of two calls of the hasher.
    if key.len() <= 64 {
        let mut joined = [0; RECORD_HEAD_LEN - 4 + 64];
        let len = fields.len() + key.len();
        joined[..fields.len()].copy_from_slice(fields);
        joined[fields.len()..len].copy_from_slice(key);
        return crc32fast::hash(&joined[..len]);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(key);
    hasher.finalize()
}

/// What a new version holds.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The value, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Who writes it.
    pub revision: Revision,
    /// When it expires; 0 for never.
    pub expires_at_ms: u64,
}

/// A record whose head and key were checked, its value not yet.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The fixed fields.
    pub head: Head,
    /// Where it is.
    pub offset: u64,
    /// The key.
    pub key: &'a [u8],
    unchecked_value: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at `offset` of a segment's bytes through `get(offset, len)`; checks head and key.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn read(get: impl Fn(u64, usize) -> Option<&'a [u8]>, offset: u64) -> Result<Record<'a>, &'static str> {
        let (fixed, head) = Record::head(&get, offset)?;
        let whole = get(offset, head.record_len as usize).ok_or("a record reaches past the end of the segment")?;
        let value_offset = head.value_offset();
        let key = &whole[RECORD_HEAD_LEN..value_offset];
        if head_crc(&fixed[4..], key) != u32_at(fixed, 0) {
            return Err("the checksum of a record's head and key does not match");
        }
        let unchecked_value = &whole[value_offset..value_offset + head.value_len as usize];
        Ok(Record { head, offset, key, unchecked_value })
    }

    /// The length that the head at `offset` says its record has: for whoever must read the rest of it first. Nothing but
    /// the head is looked at, and its checksum is not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn claimed_len(get: impl Fn(u64, usize) -> Option<&'a [u8]>, offset: u64) -> Result<u32, &'static str> {
        Ok(Record::head(&get, offset)?.1.record_len)
    }

    #[inline]
    fn head(
        get: &impl Fn(u64, usize) -> Option<&'a [u8]>,
        offset: u64,
    ) -> Result<(&'a [u8; RECORD_HEAD_LEN], Head), &'static str> {
        let fixed: &[u8; RECORD_HEAD_LEN] = get(offset, RECORD_HEAD_LEN)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("a record's head reaches past the end of the segment")?;
        Ok((fixed, Head::parse(fixed).ok_or("a record's head makes no sense")?))
    }

    /// The value, checked.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn value(&self) -> Result<&'a [u8], &'static str> {
        if crc32fast::hash(self.unchecked_value) == self.head.value_crc {
            Ok(self.unchecked_value)
        } else {
            Err("the checksum of a record's value does not match")
        }
    }

    /// The version as commands see it, its value checked; `None` for a tombstone.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn stored(&self) -> Result<Option<Stored<'a>>, &'static str> {
        Ok(match self.head.kind {
            Kind::Tombstone => None,
            Kind::Put => Some(Stored {
                value: self.value()?,
                revision: self.head.revision,
                expires_at_ms: self.head.expires_at_ms,
            }),
        })
    }

    /// Where the next record starts.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.head.record_len)
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Head, Kind, Record};
    use crate::position::Revision;
    use proptest::prelude::*;

    fn written(key: &[u8], value: Option<&[u8]>, previous: u64) -> Vec<u8> {
        let content = Content { value, revision: Revision::from_raw(77), expires_at_ms: 5 };
        let head = Head::new(key, &content, previous);
        let mut room = vec![0xee; head.record_len as usize];
        head.write(key, value.unwrap_or_default(), &mut room);
        room
    }

    fn read(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
        Record::read(|offset, len| bytes.get(offset as usize..offset as usize + len), 0)
    }

    #[test]
    fn the_layout_is_version_1() {
        let bytes = written(b"key", Some(b"value"), 8);
        let mut expected = vec![0; 56];
        expected[4] = 56;
        expected[8] = 8;
        expected[16] = 1;
        expected[18] = 3;
        expected[20] = 5;
        expected[24..28].copy_from_slice(&crc32fast::hash(b"value").to_le_bytes());
        expected[32] = 77;
        expected[40] = 5;
        expected[48..].copy_from_slice(b"keyvalue");
        let mut covered = expected[4..48].to_vec();
        covered.extend_from_slice(b"key");
        expected[..4].copy_from_slice(&crc32fast::hash(&covered).to_le_bytes());
        assert_eq!(bytes, expected);
        assert_eq!(read(&written(b"k", None, 0)).unwrap().head.kind, Kind::Tombstone);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key in proptest::collection::vec(any::<u8>(), 0..200), value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = written(&key, Some(&value), 16);
            let record = read(&bytes).unwrap();
            prop_assert_eq!(record.key, &key[..]);
            prop_assert_eq!(record.value().unwrap(), &value[..]);
            prop_assert_eq!(record.end(), bytes.len() as u64);
        }

        #[test]
        fn a_flipped_bit_is_found(key in proptest::collection::vec(any::<u8>(), 0..100), value in proptest::collection::vec(any::<u8>(), 0..100), position in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = written(&key, Some(&value), 16);
            let covered = 48 + key.len() + value.len();
            bytes[position.index(covered)] ^= 1_u8 << bit;
            let found = match read(&bytes) {
                Err(_) => true,
                Ok(record) => record.value().is_err(),
            };
            prop_assert!(found);
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
