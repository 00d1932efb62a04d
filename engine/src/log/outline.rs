//! The outline of a log: what a start needs of it, in one piece.
//!
//! The log is written past the system's cache, and most of it is payloads. A start that walked it would wait for the disk
//! at each of tens of thousands of heads. So each write is noted in a small file before it begins, with the frames in it that
//! are not payloads; that file is written through the cache, where it stays when the process is killed.
//!
//! ```text
//! outline:  | head | write 1 | write 2 | ... | write n |      write k + 1 is noted when write k is durable
//! log:      | payloads .. ordering | payloads .. ordering | ...
//! ```
//!
//! Of each process, all noted writes but the last one were durable: the log needs to be looked at only for the last one and what is
//! behind it. After a kill, nothing is behind it. After a power cut the end of the outline may be lost, so it proves
//! nothing about the end of the log then; the machine's boot tells the two apart. An outline is of use or not there: whatever is
//! wrong with it, the log is walked.
//!
//! Files are `outline/<first position of the log file>-<number of the process>.out`. A head: magic, version, boot, CRC-32. A
//! record: CRC-32 of what follows, its length, start and end of the write, then whole frames as they are in the log.

use super::frame::{FrameHead, FrameKind, HEAD_LEN};
use crate::env::{Disk, DiskFile, Open};
use crate::position::LogPosition;
use bytes::{Buf, Bytes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"SKINKOUT";
const VERSION: u32 = 1;
/// Magic, version, CRC, boot.
const FILE_HEAD_LEN: usize = 24;
/// CRC, length, start, end.
const RECORD_HEAD_LEN: usize = 24;
/// Longest file that is read, in bytes: one that is longer is no outline of a log file.
const MAX_LEN: u64 = 1 << 30;
/// Bytes that are read at a time of what is stepped over; few in tests, so that some are needed.
const WINDOW: u64 = if cfg!(test) { 200 } else { 64 << 10 };

/// A write as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotedWrite {
    /// Where the next one starts, if that is in the same file.
    pub(super) end: LogPosition,
    /// Its frames but for payloads, with their bodies.
    pub(super) frames: Vec<(FrameHead, Bytes)>,
    /// Which process noted it, as they follow each other.
    process: u64,
    is_last: bool,
}

/// What is noted of a log.
#[derive(Debug, Default)]
pub struct Outline {
    writes: BTreeMap<LogPosition, NotedWrite>,
    /// The process of which something was noted last.
    newest: Option<u64>,
    /// The last write that was begun, if that is known: nothing was lost since.
    last: Option<(LogPosition, LogPosition)>,
    /// Number for the next process.
    next_process: u64,
}

impl Outline {
    /// Reads what is there of the writes that end behind a position. What can't be used is left out.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path, from: LogPosition) -> Outline {
        let mut outline = Outline::default();
        let mut names: Vec<(u64, u64, String)> = disk
            .list(folder)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| parse_name(&name).map(|(first, process)| (process, first, name)))
            .collect();
        names.sort_unstable();
        for (number, (process, _, name)) in names.iter().enumerate() {
            outline.next_process = process + 1;
            // A process that went on with a later log file has written nothing behind its start in this one.
            let is_over = |(of, first, _): &(u64, u64, String)| of == process && *first <= from.get();
            if names.get(number + 1).is_some_and(is_over) {
                outline.last = None;
                continue;
            }
            match NotedFile::read(disk, &folder.join(name), from) {
                Some(noted) => outline.take_file(noted, *process, disk.boot(), from),
                None => outline.last = None,
            }
        }
        outline
    }

    fn take_file(&mut self, noted: NotedFile, process: u64, boot: Option<u64>, from: LogPosition) {
        let NotedFile { written_in, stepped_over, records: mut rest } = noted;
        if let Some(start) = stepped_over {
            self.go_on(process, start);
        }
        while let Some(record) = Record::of(&rest) {
            let Record { start, end, .. } = record;
            let Some(frames) = record.frames() else { break };
            self.go_on(process, start);
            if end > from {
                self.writes.insert(start, NotedWrite { end, frames, process, is_last: true });
            }
            self.last = (boot.is_some() && boot == Some(written_in)).then_some((start, end));
            rest.advance(record.bytes.len());
        }
        if !rest.is_empty() {
            // Something else was begun there.
            self.last = None;
        }
    }

    /// A process notes another write.
    fn go_on(&mut self, process: u64, start: LogPosition) {
        // It goes on where it found the end: what one before it had noted from there on never was.
        if self.newest != Some(process) {
            self.newest = Some(process);
            drop(self.writes.split_off(&start));
        }
        if let Some((_, before)) = self.writes.iter_mut().next_back()
            && before.process == process
        {
            before.is_last = false;
        }
    }

    /// A write that was durable, if one is noted there.
    pub(super) fn durable(&self, start: LogPosition, epoch: u32) -> Option<&NotedWrite> {
        let write = self.writes.get(&start).filter(|write| !write.is_last)?;
        write.frames.iter().all(|(head, _)| head.epoch == epoch).then_some(write)
    }

    /// Where the last write that was begun ends, if the log is known to end there or before, and not before `position`.
    pub(super) fn known_end(&self, position: LogPosition) -> Option<LogPosition> {
        let (start, end) = self.last?;
        (start <= position && position <= end).then_some(end)
    }

    /// Number for the next process.
    pub(super) fn next_process(&self) -> u64 {
        self.next_process
    }
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, process) = name.strip_suffix(".out")?.split_once('-')?;
    Some((u64::from_str_radix(first, 16).ok()?, process.parse().ok()?))
}

/// What is of use of a file.
struct NotedFile {
    /// The boot.
    written_in: u64,
    /// Where the first write starts, if it is not among the records.
    stepped_over: Option<LogPosition>,
    records: Bytes,
}

impl NotedFile {
    /// Reads it. Most of a long log is of no use any more: writes that end at `from` or before are stepped over unseen,
    /// but for the last one, which says how the log ends.
    fn read(disk: &dyn Disk, path: &Path, from: LogPosition) -> Option<NotedFile> {
        let file = disk.open(path, Open::Read).ok()?;
        let len = file.len().ok().filter(|len| *len <= MAX_LEN)?;
        let mut window = vec![0; usize::try_from(len.min(WINDOW)).ok()?];
        file.read_exact_at(&mut window, 0).ok()?;
        let written_in = decode_head(&window)?;
        // Where the window begins, and where the next record does.
        let (mut first, mut at) = (0, FILE_HEAD_LEN as u64);
        let mut stepped_over = None;
        while at + RECORD_HEAD_LEN as u64 <= len {
            if at + RECORD_HEAD_LEN as u64 > first + window.len() as u64 {
                first = at;
                window.truncate(usize::try_from(len - at).ok()?);
                file.read_exact_at(&mut window, at).ok()?;
            }
            let head = window.get((at - first) as usize..)?.first_chunk()?;
            let (start, end, whole) = decode_record_head(head)?;
            if start >= end || end > from || at + whole as u64 >= len {
                break;
            }
            stepped_over = stepped_over.or(Some(start));
            at += whole as u64;
        }
        let mut records = vec![0; usize::try_from(len - at).ok()?];
        file.read_exact_at(&mut records, at).ok()?;
        Some(NotedFile { written_in, stepped_over, records: records.into() })
    }
}

fn encode_head(boot: u64) -> [u8; FILE_HEAD_LEN] {
    let mut bytes = [0; FILE_HEAD_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..].copy_from_slice(&boot.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The boot in which a file was written.
fn decode_head(bytes: &[u8]) -> Option<u64> {
    let head: [u8; FILE_HEAD_LEN] = bytes.get(..FILE_HEAD_LEN)?.try_into().ok()?;
    let boot = u64::from_le_bytes(head[16..].try_into().ok()?);
    (head == encode_head(boot)).then_some(boot)
}

fn encode_record(start: LogPosition, end: LogPosition, write: &[u8], record: &mut Vec<u8>) {
    record.clear();
    record.resize(RECORD_HEAD_LEN, 0);
    let mut rest = write;
    while let Some(head) = rest.first_chunk::<HEAD_LEN>().and_then(FrameHead::decode) {
        let Some((frame, after)) = usize::try_from(head.len()).ok().and_then(|len| rest.split_at_checked(len)) else {
            break;
        };
        if head.kind != FrameKind::Payload {
            record.extend_from_slice(frame);
        }
        rest = after;
    }
    let len = (record.len() - RECORD_HEAD_LEN) as u32;
    record[4..8].copy_from_slice(&len.to_le_bytes());
    record[8..16].copy_from_slice(&start.get().to_le_bytes());
    record[16..24].copy_from_slice(&end.get().to_le_bytes());
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Start and end of a write, and the bytes of its record.
fn decode_record_head(head: &[u8; RECORD_HEAD_LEN]) -> Option<(LogPosition, LogPosition, usize)> {
    let position = |at: usize| Some(LogPosition::new(u64::from_le_bytes(*head[at..].first_chunk()?)));
    let len = u32::from_le_bytes(*head[4..].first_chunk()?);
    Some((position(8)?, position(16)?, RECORD_HEAD_LEN.checked_add(len as usize)?))
}

/// A record, of which only the lengths were looked at.
struct Record {
    /// Where the write starts and ends.
    start: LogPosition,
    end: LogPosition,
    /// All of it.
    bytes: Bytes,
}

impl Record {
    /// The one at the start of something.
    fn of(bytes: &Bytes) -> Option<Record> {
        let (start, end, whole) = decode_record_head(bytes.first_chunk()?)?;
        (start < end && whole <= bytes.len()).then(|| Record { start, end, bytes: bytes.slice(..whole) })
    }

    /// The frames in it, if it is what was written.
    fn frames(&self) -> Option<Vec<(FrameHead, Bytes)>> {
        // It is of the bodies, too.
        let crc = u32::from_le_bytes(*self.bytes.first_chunk()?);
        if crc32fast::hash(&self.bytes[4..]) != crc {
            return None;
        }
        let mut frames = Vec::new();
        let mut at = RECORD_HEAD_LEN;
        while at < self.bytes.len() {
            let head = FrameHead::decode(self.bytes[at..].first_chunk::<HEAD_LEN>()?)?;
            let body = at + HEAD_LEN..(at + HEAD_LEN).checked_add(head.body_len as usize)?;
            let next = usize::try_from(head.len()).ok().and_then(|len| at.checked_add(len))?;
            let is_right = head.write_start == self.start && head.position < self.end;
            if !is_right || next > self.bytes.len() || body.end > next {
                return None;
            }
            frames.push((head, self.bytes.slice(body)));
            at = next;
        }
        Some(frames)
    }
}

/// Notes the writes of one process. Where it can't, there is no outline from then on: nothing depends on it.
pub(super) struct OutlineWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    process: u64,
    /// Of which log file it notes writes, where, and up to which byte.
    file: Option<(LogPosition, Arc<dyn DiskFile>, u64)>,
    record: Vec<u8>,
    has_failed: bool,
}

impl OutlineWriter {
    pub(super) fn new(disk: &Arc<dyn Disk>, folder: &Path, process: u64) -> OutlineWriter {
        let (disk, folder) = (Arc::clone(disk), folder.to_path_buf());
        OutlineWriter { disk, folder, process, file: None, record: Vec::new(), has_failed: false }
    }

    /// A write of these bytes is about to begin; all before it is durable.
    pub(super) fn note(&mut self, log_file: LogPosition, start: LogPosition, bytes: &[u8]) {
        if self.has_failed || self.try_note(log_file, start, bytes).is_ok() {
            return;
        }
        self.has_failed = true;
        // What is noted says how the log ends, which is so no longer.
        if let Some((first, _, _)) = self.file.take() {
            let _ = self.disk.remove_file(&self.path(first));
        }
    }

    fn path(&self, log_file: LogPosition) -> PathBuf {
        self.folder.join(format!("{:016x}-{}.out", log_file.get(), self.process))
    }

    fn try_note(&mut self, log_file: LogPosition, start: LogPosition, bytes: &[u8]) -> std::io::Result<()> {
        if self.file.as_ref().is_none_or(|(first, _, _)| *first != log_file) {
            self.disk.create_folder(&self.folder)?;
            let path = self.path(log_file);
            let file = match self.disk.open(&path, Open::CreateNew) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    self.disk.remove_file(&path)?;
                    self.disk.open(&path, Open::CreateNew)?
                }
                result => result?,
            };
            // Of a boot that is not known, nothing is concluded.
            file.write_all_at(&encode_head(self.disk.boot().unwrap_or_default()), 0)?;
            self.file = Some((log_file, file, FILE_HEAD_LEN as u64));
        }
        encode_record(start, start.plus(bytes.len() as u64), bytes, &mut self.record);
        if let Some((_, file, at)) = &mut self.file {
            file.write_all_at(&self.record, *at)?;
            *at += self.record.len() as u64;
        }
        if self.record.capacity() > 1 << 20 {
            self.record = Vec::new();
        }
        Ok(())
    }
}

/// Removes the outlines of log files that are gone: those before `first`.
pub(super) fn drop_below(disk: &dyn Disk, folder: &Path, first: LogPosition) {
    for name in disk.list(folder).unwrap_or_default() {
        if parse_name(&name).is_some_and(|(of, _)| of < first.get()) {
            // It is of no use, and does no harm.
            let _ = disk.remove_file(&folder.join(name));
        }
    }
}

#[cfg(test)]
mod tests;
