//! Entrances for fuzzing: readers of the formats on disk, fed with hostile bytes.
//!
//! Checksums are put right first, as no fuzzer would guess them: what is tried is what lies behind. None of these
//! may panic, or take memory on the word of a length.

use crate::directory::Directory;
use crate::directory::Format;
use crate::engine::place;
use crate::env::map::PrivateBytes;
use crate::env::sim::{SimClock, SimDisk};
use crate::env::{BLOCK, Disk, Environment, Open};
use crate::key::{Generation, SegmentId};
use crate::log::{self, BodyReader, FrameHead, FrameKind, HEAD_LEN, LogFiles, LogOptions, LogWriter};
use crate::manifest::{Manifest, Shape};
use crate::page::{self, PAGE_LEN};
use crate::position::LogPosition;
use crate::segment::{Image, Place, Record, Segment, SegmentCut, Totals, check_segment_file};
use std::path::Path;
use std::sync::Arc;

/// A small file or header page around this body.
fn page_around(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    page_of_version(magic, page::FORMAT_VERSION, body)
}

fn page_of_version(magic: &[u8; 8], version: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// A page: as it is, and with `data` as its body; the catalog's file.
pub fn page(data: &[u8]) {
    let _ = crate::catalog::decode(&page_around(b"SKINKCAT", data));
    let _ = page::decode::<Format>(b"SKINKDIR", data);
    if let Ok(format) = page::decode::<Format>(b"SKINKDIR", &page_around(b"SKINKDIR", data)) {
        assert_eq!(page::decode(b"SKINKDIR", &page::encode(b"SKINKDIR", &format)), Ok(format));
    }
}

/// A manifest with `data` as its body, of each version that is read.
pub fn manifest(data: &[u8]) {
    for version in 1..=2 {
        if let Ok(manifest) = Manifest::decode(&page_of_version(b"SKINKMAN", version, data)) {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }
}

/// An image's file: as it is, and with a header page around the first half.
pub fn image(data: &[u8]) {
    let _ = Image::open(PrivateBytes::Owned(data.to_vec()));
    let (header, body) = data.split_at(data.len() / 2);
    let mut file = page_around(b"SKINKIDX", header);
    file.resize(file.len().max(PAGE_LEN), 0);
    file.extend_from_slice(body);
    let _ = Image::open(PrivateBytes::Owned(file));
}

/// A record anywhere, then a whole segment file of such records: read, checked and installed.
pub fn segment(data: &[u8]) {
    let get = |offset: u64, len: usize| {
        let offset = usize::try_from(offset).ok()?;
        data.get(offset..offset.checked_add(len)?)
    };
    for offset in (0..data.len() as u64).step_by(8) {
        let _ = Record::read(get, offset).and_then(|record| record.stored().map(|_| ()));
    }

    let (environment, disk) = environment(PAGE_LEN + data.len());
    let directory = Directory::at(Path::new("/data"));
    let shape = Shape { cluster: 1, segments: 1, seed: 2, hash_version: crate::key::HASH_VERSION, max_value_len: 100 };
    let place = place(&environment, &directory, &shape, None);
    let mut bytes = place.header_page(SegmentId(0), Generation(1));
    bytes.extend_from_slice(data);
    put_record_checksums_right(&mut bytes[PAGE_LEN..]);
    let length = bytes.len() as u64 / 8 * 8;
    let path = directory.segments().join(Place::segment_name(SegmentId(0), Generation(1)));
    write(&disk, &path, &bytes);
    let cut = SegmentCut { generation: Generation(1), length, totals: Totals::default() };
    let checked = check_segment_file(&place, SegmentId(0), &cut, &path, &mut |_| Ok(()));
    let installed = Segment::waiting(SegmentId(0), cut).lock(&place).map(|_| ());
    assert!(installed.is_ok() || checked.is_err(), "what is checked can be installed: {installed:?}");
}

/// Makes the checksums of what looks like records true.
fn put_record_checksums_right(mut bytes: &mut [u8]) {
    while bytes.len() >= 48 {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let (record_len, value_len) = (word(4), word(20));
        let key_end = 48 + usize::from(u16::from_le_bytes([bytes[18], bytes[19]]));
        let Some(value) = bytes.get(key_end..key_end.saturating_add(value_len)) else { return };
        let value_crc = crc32fast::hash(value);
        bytes[24..28].copy_from_slice(&value_crc.to_le_bytes());
        let head_crc = crc32fast::hash(&bytes[4..key_end]);
        bytes[..4].copy_from_slice(&head_crc.to_le_bytes());
        match bytes.split_at_mut_checked(record_len.max(8)) {
            Some((_, rest)) => bytes = rest,
            None => return,
        }
    }
}

/// A frame's head.
pub fn frame_head(data: &[u8]) {
    let mut bytes = [0; HEAD_LEN];
    let len = data.len().min(HEAD_LEN);
    bytes[..len].copy_from_slice(&data[..len]);
    let _ = FrameHead::decode(&bytes);
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    if let Some(head) = FrameHead::decode(&bytes) {
        assert!(head.len() >= HEAD_LEN as u64);
        assert_eq!(FrameHead::decode(&head.encode()), Some(head));
    }
}

const EPOCH: u64 = 7;
const LOG_FILE_LEN: u64 = 8 * BLOCK as u64;

/// A log file made of what `data` says: frames that are right in what it leaves alone, and any bytes. Where a scan finds an
/// end, the log goes on there, and is found whole again.
pub fn log(data: &[u8]) {
    let (environment, disk) = environment(LOG_FILE_LEN as usize);
    let folder = Path::new("/log");
    let _ = disk.create_folder(folder);
    let options = LogOptions { file_len: LOG_FILE_LEN, spares: 0 };
    let files = Arc::new(LogFiles::new(&environment, folder, options, 1));
    let Ok(writer) = LogWriter::create(Arc::clone(&files)) else { unreachable!("an empty disk") };
    drop(writer);
    let hostile = log_bytes(data);
    let path = folder.join("0000000000000000.log");
    if let Ok(file) = disk.open(&path, Open::ReadWrite) {
        let _ = file.write_all_at(&hostile, BLOCK as u64);
    }
    let start = LogPosition::new(BLOCK as u64);
    for was_clean in [false, true] {
        let Ok(found) = log::scan(&files, start, was_clean) else { continue };
        let Ok(mut writer) = LogWriter::resume(Arc::clone(&files), &found) else { continue };
        let (frames, end) = (found.frames.len(), found.end);
        // A later write can prove that what was taken for torn is damage: after a clean stop, nothing is searched.
        if found.torn > 0 || writer.append(FrameKind::Ordering, &[b"more"]).and_then(|_| writer.flush()).is_err() {
            continue;
        }
        if let Ok(again) = log::scan(&files, start, false) {
            assert!(again.frames.len() > frames && again.end > end, "what is written is found");
            let mut reader = BodyReader::new(&files);
            for frame in &again.frames {
                let _ = reader.read(frame.position);
            }
        }
        break;
    }
}

/// The bytes after a log file's header page.
fn log_bytes(data: &[u8]) -> Vec<u8> {
    let room = LOG_FILE_LEN as usize - BLOCK;
    let mut bytes: Vec<u8> = Vec::new();
    let mut rest = data;
    let mut write_start = BLOCK as u64;
    while let Some((&[choice, len, change], after)) = rest.split_first_chunk::<3>() {
        let (body, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        if choice & 0x80 != 0 {
            bytes.extend_from_slice(body);
            continue;
        }
        if choice & 0x40 != 0 {
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            write_start = (BLOCK + bytes.len()) as u64;
        }
        let kinds = [FrameKind::Payload, FrameKind::Ordering, FrameKind::Seal, FrameKind::End];
        let head = FrameHead {
            kind: kinds[usize::from(choice & 3)],
            is_last: choice & 4 != 0,
            body_len: if change & 1 != 0 { u32::from(change) << 24 } else { body.len() as u32 },
            body_crc: crc32fast::hash(body) ^ u32::from(change & 2),
            epoch: EPOCH as u32 ^ u32::from(change & 4),
            nonce: u32::from(choice & 8),
            position: LogPosition::new((BLOCK + bytes.len()) as u64 ^ u64::from(change & 8)),
            write_start: LogPosition::new(write_start.wrapping_add(u64::from(change & 0xf0) << 6)),
        };
        bytes.extend_from_slice(&head.encode());
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.truncate(room);
    bytes
}

fn environment(max_file_len: usize) -> (Environment, SimDisk) {
    let disk = SimDisk::new(1, max_file_len.next_multiple_of(BLOCK));
    let environment =
        Environment { disk: Arc::new(disk.clone()), clock: Arc::new(SimClock::default()), random: Arc::new(|| EPOCH) };
    (environment, disk)
}

fn write(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let attempt = || {
        disk.create_folder(path.parent().unwrap_or(Path::new("/")))?;
        let file = disk.open(path, Open::CreateNew)?;
        file.allocate(bytes.len() as u64)?;
        file.write_all_at(bytes, 0)
    };
    let result: std::io::Result<()> = attempt();
    assert!(result.is_ok(), "the simulated disk has room: {result:?}");
}
