//! Checking a segment's file from end to end, without using any index: every record, every checksum, the totals.
//!
//! The file is read, not mapped: a disk that can't read a page of it gives an error, where a map would end the
//! process. What was checked is handed on, in order, so that a copy can be made of it and of nothing else.

use super::install::{Place, SEGMENT_MAGIC, SegmentFileHeader, open_image};
use super::{Record, SegmentCut, Totals};
use crate::env::{DiskFile, Open};
use crate::error::Fault;
use crate::key::{Generation, KeyHash, SegmentId};
use crate::page::{self, PAGE_LEN};
use hashbrown::HashMap;
use std::hash::RandomState;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at a time; longer records are read whole.
const READ_STEP: u64 = 1 << 20;

/// Takes the bytes that were checked, in order.
pub(crate) type Checked<'c> = &'c mut dyn FnMut(&[u8]) -> Result<(), Fault>;

/// The part of a file that is in memory.
struct Window<'w> {
    file: Arc<dyn DiskFile>,
    path: &'w Path,
    /// Up to where the file counts.
    end: u64,
    /// Where in the file `bytes` starts.
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Has `len` bytes from `offset` on in memory, or as many as there are. What is before them was checked.
    fn load(&mut self, offset: u64, len: u64, checked: Checked<'_>) -> Result<(), Fault> {
        let loaded = self.start + self.bytes.len() as u64;
        let wanted = offset.saturating_add(len).min(self.end);
        if wanted <= loaded {
            return Ok(());
        }
        let done = (offset - self.start) as usize;
        checked(&self.bytes[..done])?;
        self.bytes.drain(..done);
        self.start = offset;
        let kept = self.bytes.len();
        let new_end = wanted.max(loaded.saturating_add(READ_STEP)).min(self.end);
        self.bytes.resize((new_end - offset) as usize, 0);
        self.file.read_exact_at(&mut self.bytes[kept..], loaded).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::corrupt(self.path, loaded, "it became shorter"),
            _ => Fault::io("reading", self.path)(error),
        })
    }

    fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(len)?)
    }
}

/// Checks a segment's file up to a cut's length, and hands on what was checked.
///
/// # Errors
/// Damage, with its offset; faults of the disk, and those of `checked`.
pub(crate) fn check_segment_file(
    place: &Place,
    id: SegmentId,
    cut: &SegmentCut,
    path: &Path,
    checked: Checked<'_>,
) -> Result<(), Fault> {
    if cut.length == 0 {
        return Ok(());
    }
    let file = place.environment.disk.open(path, Open::Read).map_err(Fault::io("opening", path))?;
    let len = file.len().map_err(Fault::io("reading", path))?;
    if len < cut.length {
        return Err(too_short(path, len, cut.length));
    }
    let mut window = Window { file, path, end: cut.length, start: 0, bytes: Vec::new() };
    window.load(0, PAGE_LEN as u64, checked)?;
    check_header(place, id, cut.generation, &window)?;
    // Each key's newest version: its offset, and what it adds to the totals.
    let mut newest: HashMap<Vec<u8>, (u64, Totals), RandomState> = HashMap::default();
    let mut offset = PAGE_LEN as u64;
    while offset < cut.length {
        let damaged = |what: &str| Fault::corrupt(path, offset, what);
        window.load(offset, super::record::RECORD_HEAD_LEN as u64, checked)?;
        let claimed = Record::claimed_len(|offset, len| window.get(offset, len), offset).map_err(damaged)?;
        window.load(offset, claimed.into(), checked)?;
        let record = Record::read(|offset, len| window.get(offset, len), offset).map_err(damaged)?;
        record.stored().map_err(damaged)?;
        let padding_at = record.head.value_offset() + record.head.value_len as usize;
        let padding = window.get(offset + padding_at as u64, record.head.record_len as usize - padding_at);
        if padding.is_none_or(|padding| padding.iter().any(|&byte| byte != 0)) {
            return Err(damaged("a record's padding is not zero"));
        }
        let hash = KeyHash::of(record.key, place.seed);
        if hash.segment(place.segments) != id {
            return Err(damaged("a record's key belongs to another segment"));
        }
        let known = newest.entry_ref(record.key).or_default();
        if record.head.previous != known.0 {
            return Err(damaged("a record does not point to its key's previous version"));
        }
        let adds = Totals::of(&record.head, hash);
        *known = (offset, adds);
        offset = record.end();
    }
    let totals = newest.values().fold(Totals::default(), |sum, (_, adds)| Totals {
        live_records: sum.live_records + adds.live_records,
        live_bytes: sum.live_bytes + adds.live_bytes,
        expiring_records: sum.expiring_records + adds.expiring_records,
        digest: sum.digest.wrapping_add(adds.digest),
    });
    if offset != cut.length || totals != cut.totals {
        let what = format!("S3: its records say {totals:?} up to {offset}, the checkpoint says {cut:?}");
        return Err(Fault::corrupt(path, cut.length, what));
    }
    checked(&window.bytes)
}

/// A file that does not have what its cut counts on.
pub(crate) fn too_short(path: &Path, len: u64, expected: u64) -> Fault {
    Fault::corrupt(path, len, format!("it has {len} bytes where {expected} belong"))
}

fn check_header(place: &Place, id: SegmentId, generation: Generation, window: &Window<'_>) -> Result<(), Fault> {
    let path = window.path;
    let page = window.get(0, PAGE_LEN).ok_or_else(|| Fault::corrupt(path, 0, "it is shorter than its header"))?;
    let header: SegmentFileHeader = page::decode(SEGMENT_MAGIC, page).map_err(|what| Fault::corrupt(path, 0, what))?;
    if header != place.header(id, generation) {
        return Err(Fault::corrupt(path, 0, format!("its header says {header:?}")));
    }
    let expected = place.header_page(id, generation);
    match page.iter().zip(&expected).position(|(found, expected)| found != expected) {
        Some(offset) => Err(Fault::corrupt(path, offset as u64, "what follows its header is not zero")),
        None => Ok(()),
    }
}

/// Checks an image's file; there need not be one.
///
/// # Errors
/// Damage.
pub(crate) fn check_image_file(place: &Place, id: SegmentId, generation: Generation, path: &Path) -> Result<(), Fault> {
    open_image(place, id, generation, path).map(|_| ()).map_err(|what| Fault::corrupt(path, 0, what))
}
