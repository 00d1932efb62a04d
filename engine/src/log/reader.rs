//! Reading a log back: walking its frames by their heads, and telling a torn end from damage.
//!
//! The end of the log is where no frame is that belongs there. If a later write starts anywhere behind that
//! point, all before it was durable once, so the hole is damage. If none does, the last write was torn, and as
//! it was never reported durable, it is left out as a whole.

use super::file::{LogFileHeader, LogFiles};
use super::frame::{FrameHead, FrameKind, HEAD_LEN};
use super::outline::Outline;
use crate::env::{BLOCK, DiskFile, Open};
use crate::error::Fault;
use crate::position::LogPosition;
use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;

/// A frame that a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it starts.
    pub position: LogPosition,
    /// What it is.
    pub kind: FrameKind,
    /// Bytes of its body.
    pub body_len: u32,
    /// The body, of [`FrameKind::Ordering`] frames alone; its checksum was checked.
    pub body: Bytes,
}

/// What a scan found.
pub struct LogScan {
    /// Payload and ordering frames from the start position on.
    pub frames: Vec<Frame>,
    /// Where the next write goes.
    pub end: LogPosition,
    /// Bytes of a torn last write that were left out, at least; 0 if the log ends cleanly.
    pub torn: u64,
    /// Whether the process before stopped in order, and nothing was written since.
    pub(super) is_clean_end: bool,
    pub(super) last_file: Option<(LogPosition, LogFileHeader)>,
}

struct OpenFile {
    file: Arc<dyn DiskFile>,
    header: LogFileHeader,
    first: LogPosition,
    /// Its length; shorter than it should be after a power cut while it was made.
    len: u64,
    window: RefCell<Window>,
}

/// Least and most bytes that are read at a time. Steps over long payloads read little, so that they are not read
/// with the heads; short steps read more and more ahead.
const MIN_WINDOW: u64 = 4 << 10;
const MAX_WINDOW: u64 = 256 << 10;
/// Steps up to this are short, in bytes.
const SHORT_STEP: u64 = 16 << 10;

/// What was read last of a file.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Fills `bytes` from an offset on; they are inside the file.
    fn read(&mut self, open: &OpenFile, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + bytes.len() as u64 > end {
            if bytes.len() as u64 >= MAX_WINDOW {
                return open.file.read_exact_at(bytes, offset);
            }
            let is_near = offset >= self.start && offset < end + SHORT_STEP && end > 0;
            let ahead = if is_near { (self.bytes.len() as u64 * 4).min(MAX_WINDOW) } else { MIN_WINDOW };
            let len = ahead.max(bytes.len() as u64).min(open.len - offset);
            self.bytes.resize(usize::try_from(len).map_err(std::io::Error::other)?, 0);
            self.start = offset;
            if let Err(error) = open.file.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let at = (offset - self.start) as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }
}

/// A place in the scan: frames before it are of complete writes.
struct WriteMark {
    frames: usize,
    heads: Vec<FrameHead>,
}

impl LogFiles {
    fn open_to_read(&self, first: LogPosition) -> Result<Option<OpenFile>, Fault> {
        let path = self.path_of(first);
        let file = match self.environment.disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::io("opening", &path)(error)),
        };
        let header = self.header(file.as_ref(), first)?;
        let len = file.len().map_err(Fault::io("reading", &path))?;
        Ok(Some(OpenFile { file, header, first, len, window: RefCell::default() }))
    }

    fn read_at(&self, open: &OpenFile, position: LogPosition, bytes: &mut [u8]) -> Result<bool, Fault> {
        let offset = position.since(open.first);
        if offset + bytes.len() as u64 > self.options.file_len {
            return Ok(false);
        }
        if offset + bytes.len() as u64 > open.len {
            return Ok(false);
        }
        let window = &mut *open.window.borrow_mut();
        window.read(open, offset, bytes).map_err(Fault::io("reading", &self.path_of(open.first)))?;
        Ok(true)
    }

    /// The frame head at a position, if one is there that belongs there.
    fn head_at(&self, open: &OpenFile, position: LogPosition) -> Result<Option<FrameHead>, Fault> {
        let mut bytes = [0; HEAD_LEN];
        if !self.read_at(open, position, &mut bytes)? {
            return Ok(None);
        }
        Ok(self.head_of(open, position, &bytes))
    }

    fn head_of(&self, open: &OpenFile, position: LogPosition, bytes: &[u8; HEAD_LEN]) -> Option<FrameHead> {
        FrameHead::decode(bytes).filter(|head| {
            let end = position.since(open.first).checked_add(head.len());
            head.position == position
                && head.epoch == open.header.epoch
                && head.write_start <= position
                && end.is_some_and(|end| end <= self.options.file_len)
        })
    }

    /// Whether a write starts at a block. Reads its head alone: a search through a file would else read all of it.
    fn starts_write(&self, open: &OpenFile, position: LogPosition) -> Result<bool, Fault> {
        let mut bytes = [0; HEAD_LEN];
        let offset = position.since(open.first);
        if offset + HEAD_LEN as u64 > open.len {
            return Ok(false);
        }
        open.file.read_exact_at(&mut bytes, offset).map_err(Fault::io("reading", &self.path_of(open.first)))?;
        // Most blocks of a file that was prepared are empty.
        let is_empty = bytes[..8] == [0; 8];
        Ok(!is_empty && self.head_of(open, position, &bytes).is_some_and(|head| head.write_start == position))
    }

    fn body_of(&self, open: &OpenFile, head: &FrameHead) -> Result<Result<Vec<u8>, Fault>, Fault> {
        let mut body = vec![0; head.body_len as usize];
        let at = head.position.plus(HEAD_LEN as u64);
        let is_there = self.read_at(open, at, &mut body)?;
        if is_there && crc32fast::hash(&body) == head.body_crc {
            return Ok(Ok(body));
        }
        let offset = at.since(open.first);
        Ok(Err(Fault::corrupt(&self.path_of(open.first), offset, "the checksum of a frame's body does not match")))
    }

    /// A position at or behind `from` at which a write starts; it proves that all before it was durable.
    fn later_write(&self, open: &OpenFile, from: LogPosition, blocks: u64) -> Result<Option<LogPosition>, Fault> {
        let mut position = from.plus(1);
        position = LogPosition::new(position.get().next_multiple_of(BLOCK as u64));
        let file_end = open.first.plus(self.options.file_len);
        let search_end = LogPosition::new(position.get().saturating_add(blocks.saturating_mul(BLOCK as u64)));
        while position < file_end.min(search_end) {
            if self.starts_write(open, position)? {
                return Ok(Some(position));
            }
            position = position.plus(BLOCK as u64);
        }
        if search_end <= file_end {
            return Ok(None);
        }
        // Files after this one: the next is prepared empty, so look at its first write.
        for first in self.list()?.into_iter().filter(|&first| first >= file_end) {
            let Some(next) = self.open_to_read(first)? else { continue };
            let start = first.plus(BLOCK as u64);
            if self.head_at(&next, start)?.is_some_and(|head| head.write_start == start) {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }
}

/// Walks the log from a position at which a write starts. With `was_clean`, the last process said when it stopped
/// that the log ends there: then only what a process writes first ([`LogWriter::seal`](super::LogWriter::seal), one
/// block, then the first real write) is looked for behind the end, not the whole file.
///
/// # Errors
/// Damage, which is never cut off; a missing file; faults of the disk.
pub fn scan(files: &LogFiles, from: LogPosition, was_clean: bool) -> Result<LogScan, Fault> {
    scan_with(files, from, was_clean, &Outline::default())
}

/// The same, with what is noted of the log: what was durable is taken from there, without a look at the log, and so without
/// its payload frames. Damage of it shows when it is read.
///
/// # Errors
/// Those of [`scan`].
pub fn scan_with(files: &LogFiles, from: LogPosition, was_clean: bool, outline: &Outline) -> Result<LogScan, Fault> {
    let mut scan = LogScan { frames: Vec::new(), end: from, torn: 0, is_clean_end: false, last_file: None };
    let mut position = from;
    let mut write = WriteMark { frames: 0, heads: Vec::new() };
    // The last complete write, whose bodies are checked if nothing comes after it.
    let mut complete: Option<WriteMark> = None;
    let mut open = match files.open_to_read(files.first_of(from))? {
        Some(open) => open,
        None => return Err(missing(files, files.first_of(from))),
    };
    loop {
        let file_end = open.first.plus(files.options.file_len);
        let noted = outline.durable(position, open.header.epoch).filter(|_| write.heads.is_empty());
        if let Some(noted) = noted.filter(|noted| noted.end <= file_end) {
            let mut is_end = noted.end == file_end;
            for (head, body) in &noted.frames {
                is_end |= head.kind == FrameKind::End;
                if head.kind == FrameKind::Ordering {
                    let (position, body_len) = (head.position, head.body_len);
                    scan.frames.push(Frame { position, kind: head.kind, body_len, body: body.clone() });
                }
            }
            (position, complete) = (noted.end, None);
            write = WriteMark { frames: scan.frames.len(), heads: Vec::new() };
            if is_end {
                open = files.open_to_read(file_end)?.ok_or_else(|| missing(files, file_end))?;
                position = file_end.plus(BLOCK as u64);
            }
            scan.end = position;
            continue;
        }
        let head = files.head_at(&open, position)?;
        // Inside a write: of the same write and process; at its start: a start.
        let head = head.filter(|head| match write.heads.first() {
            Some(first) => head.write_start == first.position && head.nonce == first.nonce,
            None => head.write_start == position,
        });
        let Some(head) = head else {
            // Once a process has written something, damage can be anywhere in what it wrote.
            let search = if was_clean && position == from { 2 } else { blocks_to_search(outline, position) };
            if position < file_end
                && let Some(later) = files.later_write(&open, position, search)?
            {
                let offset = position.since(open.first);
                let what = format!(
                    "no valid frame is here, but a write that began after it is at position {later}: \
                     what was here had been durable; restore it, or the whole data directory, from a backup"
                );
                return Err(Fault::corrupt(&files.path_of(open.first), offset, what));
            }
            scan.is_clean_end = was_clean && position == from;
            break;
        };
        if head.kind == FrameKind::Ordering {
            let body = files.body_of(&open, &head)?;
            let body = match body {
                Ok(body) => body,
                // Torn, unless something was written later.
                Err(fault) => {
                    let after = head.write_start;
                    return match files.later_write(&open, after, blocks_to_search(outline, after))? {
                        Some(_) => Err(fault),
                        None => Ok(cut(files, scan, &open, write.frames, after, position)),
                    };
                }
            };
            scan.frames.push(Frame { position, kind: head.kind, body_len: head.body_len, body: body.into() });
        } else if head.kind == FrameKind::Payload {
            scan.frames.push(Frame { position, kind: head.kind, body_len: head.body_len, body: Bytes::new() });
        }
        write.heads.push(head);
        position = position.plus(head.len());
        if head.is_last {
            position = LogPosition::new(position.get().next_multiple_of(BLOCK as u64));
            let next = WriteMark { frames: scan.frames.len(), heads: Vec::new() };
            complete = Some(std::mem::replace(&mut write, next));
            scan.end = position;
            if head.kind == FrameKind::End || position == file_end {
                // The next file is made before this one's end is written.
                let next = files.open_to_read(file_end)?.ok_or_else(|| missing(files, file_end))?;
                position = file_end.plus(BLOCK as u64);
                scan.end = position;
                open = next;
                // What the file before holds is durable: this one was begun after it.
                complete = None;
            }
        }
    }
    scan.torn = position.since(scan.end);
    scan.frames.truncate(write.frames);
    finish(files, scan, &open, complete, !write.heads.is_empty())
}

/// How far behind a position a later write can be.
fn blocks_to_search(outline: &Outline, position: LogPosition) -> u64 {
    outline.known_end(position).map_or(u64::MAX, |end| end.since(position) / BLOCK as u64 + 1)
}

fn missing(files: &LogFiles, first: LogPosition) -> Fault {
    Fault::Refused(format!(
        "{} is missing: it holds writes that no checkpoint has; put it back, or restore the whole data directory from a backup",
        files.path_of(first).display()
    ))
}

/// Ends a scan, after checking the bodies of the last complete write: nothing after it proves that it was durable,
/// unless a torn write began.
fn finish(
    files: &LogFiles,
    mut scan: LogScan,
    open: &OpenFile,
    last: Option<WriteMark>,
    another_began: bool,
) -> Result<LogScan, Fault> {
    if scan.last_file.is_none() && files.first_of(scan.end) == open.first {
        scan.last_file = Some((open.first, open.header.clone()));
    }
    let Some(last) = last else { return Ok(scan) };
    for head in &last.heads {
        if head.kind == FrameKind::Payload
            && let Err(fault) = files.body_of(open, head)?
        {
            if another_began {
                return Err(fault);
            }
            let end = scan.end;
            return Ok(cut(files, scan, open, last.frames, head.write_start, end));
        }
    }
    Ok(scan)
}

fn cut(
    files: &LogFiles,
    mut scan: LogScan,
    open: &OpenFile,
    frames: usize,
    end: LogPosition,
    seen: LogPosition,
) -> LogScan {
    scan.frames.truncate(frames);
    scan.torn = seen.since(end).max(1);
    scan.end = end;
    if files.first_of(end) == open.first {
        scan.last_file = Some((open.first, open.header.clone()));
    }
    scan
}

/// Reads the bodies of frames, and keeps the file open in which the last one was.
pub struct BodyReader<'f> {
    files: &'f LogFiles,
    open: Option<OpenFile>,
}

impl<'f> BodyReader<'f> {
    /// A reader over a log.
    pub fn new(files: &'f LogFiles) -> BodyReader<'f> {
        BodyReader { files, open: None }
    }

    /// The body of the frame at a position, its checksum checked.
    ///
    /// # Errors
    /// Damage; a missing file; faults of the disk.
    pub fn read(&mut self, position: LogPosition) -> Result<Vec<u8>, Fault> {
        let first = self.files.first_of(position);
        let open = match self.open.take() {
            Some(open) if open.first == first => open,
            _ => self.files.open_to_read(first)?.ok_or_else(|| missing(self.files, first))?,
        };
        let open = self.open.insert(open);
        match self.files.head_at(open, position)? {
            Some(head) => self.files.body_of(open, &head)?,
            None => Err(damaged(self.files, position, "no valid frame is where one must be")),
        }
    }
}

/// A fault that names the file and offset of a log position.
pub fn damaged(files: &LogFiles, position: LogPosition, what: impl Into<String>) -> Fault {
    let first = files.first_of(position);
    Fault::corrupt(&files.path_of(first), position.since(first), what)
}
