//! Header pages: the first 4 KiB of every file that Skink makes, and small files as a whole.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic: what kind of file it is |
//! | 8 | 4 | format version |
//! | 12 | 4 | length of the body |
//! | 16 | | body: postcard of the kind's fields |
//! | 16 + length | 4 | CRC-32 over all before |
//!
//! Integers are little-endian. A page is padded with zeros to 4 KiB; a small file ends after the CRC.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;

/// Length of a header page, in bytes.
pub const PAGE_LEN: usize = 4096;
const BODY: usize = 16;

/// The format version of every kind that has none of its own.
pub const FORMAT_VERSION: u32 = 1;

/// Encodes a small file.
///
/// # Panics
/// If the fields can't be encoded, which none of Skink's types can bring about.
pub fn encode<T: Serialize>(magic: &[u8; 8], fields: &T) -> Vec<u8> {
    encode_version(magic, FORMAT_VERSION, fields)
}

/// Encodes a small file of a kind that has versions of its own.
///
/// # Panics
/// As [`encode`].
pub fn encode_version<T: Serialize>(magic: &[u8; 8], version: u32, fields: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAGE_LEN);
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let Ok(mut bytes) = postcard::to_extend(fields, bytes) else { panic!("plain data can be encoded") };
    let len = u32::try_from(bytes.len() - BODY).unwrap_or(u32::MAX);
    bytes[12..16].copy_from_slice(&len.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Encodes a header page, padded to [`PAGE_LEN`].
///
/// # Panics
/// If the fields take more than a page.
pub fn encode_page<T: Serialize>(magic: &[u8; 8], fields: &T) -> Vec<u8> {
    let mut bytes = encode(magic, fields);
    assert!(bytes.len() <= PAGE_LEN, "a header fits a page");
    bytes.resize(PAGE_LEN, 0);
    bytes
}

/// Decodes a small file or a header page.
///
/// # Errors
/// What is wrong with it, for people.
pub fn decode<T: DeserializeOwned>(magic: &[u8; 8], bytes: &[u8]) -> Result<T, String> {
    open(magic, FORMAT_VERSION..=FORMAT_VERSION, bytes)?.fields()
}

/// A page whose checksum matches, of a version that is read: its fields are still to be decoded.
#[derive(Debug)]
pub struct Page<'b> {
    /// Its format version.
    pub version: u32,
    body: &'b [u8],
}

impl Page<'_> {
    /// Decodes its fields, whose type its version says.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn fields<T: DeserializeOwned>(&self) -> Result<T, String> {
        postcard::from_bytes(self.body).map_err(|error| format!("its header can't be decoded: {error}"))
    }
}

/// Opens a small file or a header page of one of these versions.
///
/// # Errors
/// What is wrong with it, for people.
pub fn open<'b>(magic: &[u8; 8], versions: RangeInclusive<u32>, bytes: &'b [u8]) -> Result<Page<'b>, String> {
    let name = String::from_utf8_lossy(magic);
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..8) != Some(&magic[..]) {
        return Err(format!("it does not start with {name:?}: not a file of this kind, or overwritten"));
    }
    let (Some(version), Some(len)) = (word(8), word(12)) else {
        return Err("it is cut off within its header".into());
    };
    let end = BODY + len as usize;
    let body = bytes.get(BODY..end).ok_or("it is cut off within its header, or the length there is damaged")?;
    if word(end) != Some(crc32fast::hash(&bytes[..end])) {
        return Err("the checksum of its header does not match".into());
    }
    // After the checksum, so that a flipped bit is not taken for another version.
    if !versions.contains(&version) {
        let (oldest, newest) = versions.into_inner();
        let read =
            if oldest == newest { format!("version {newest}") } else { format!("versions {oldest} to {newest}") };
        return Err(format!(
            "it has format version {version}, this program reads {read}: use the program that wrote it"
        ));
    }
    Ok(Page { version, body })
}

#[cfg(test)]
mod tests {
    use super::{PAGE_LEN, decode, encode, encode_page, encode_version, open};

    #[test]
    fn pages_keep_their_fields_and_show_damage() {
        let page = encode_page(b"SKINKTST", &(7_u64, "name".to_string()));
        assert_eq!(page.len(), PAGE_LEN);
        assert_eq!(decode(b"SKINKTST", &page), Ok((7_u64, "name".to_string())));
        assert!(decode::<(u64, String)>(b"SKINKALT", &page).is_err());
        let small = encode(b"SKINKTST", &(7_u64, "name".to_string()));
        for bit in 0..small.len() * 8 {
            let mut damaged = small.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u64, String)>(b"SKINKTST", &damaged).is_err(), "bit {bit}");
        }
        for len in 0..small.len() {
            assert!(decode::<(u64, String)>(b"SKINKTST", &small[..len]).is_err());
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut page = encode(b"SKINKTST", &1_u8);
        page[8] = 2;
        let end = page.len() - 4;
        let crc = crc32fast::hash(&page[..end]);
        page[end..].copy_from_slice(&crc.to_le_bytes());
        assert!(decode::<u8>(b"SKINKTST", &page).unwrap_err().contains("version 2, this program reads version 1:"));
    }

    #[test]
    fn a_kind_can_have_versions_of_its_own() {
        let page = encode_version(b"SKINKTST", 2, &7_u8);
        let opened = open(b"SKINKTST", 1..=2, &page).unwrap();
        assert_eq!((opened.version, opened.fields()), (2, Ok(7_u8)));
        assert_eq!(open(b"SKINKTST", 1..=2, &encode(b"SKINKTST", &7_u8)).unwrap().version, 1);
        let refusal = open(b"SKINKTST", 3..=4, &page).unwrap_err();
        assert!(refusal.contains("version 2, this program reads versions 3 to 4:"), "{refusal}");
    }
}
