//! The writer: gathers frames and makes them durable, one write at a time.

use super::file::{LogFile, LogFiles};
use super::frame::{FrameHead, FrameKind, HEAD_LEN, frame_len};
use super::outline::OutlineWriter;
use super::reader::LogScan;
use crate::env::{BLOCK, BlockBuffer};
use crate::error::Fault;
use crate::position::LogPosition;
use std::sync::Arc;

/// Memory that the buffer keeps between writes, in bytes.
const KEEP_BUFFER: usize = 4 << 20;

/// Appends frames to a log. One per log.
pub struct LogWriter {
    files: Arc<LogFiles>,
    file: LogFile,
    nonce: u32,
    /// Start of the write that is being gathered; a multiple of the block length.
    write_start: LogPosition,
    buffer: BlockBuffer,
    /// Where in the buffer the last frame starts.
    last_frame: usize,
    durable: LogPosition,
    poisoned: Option<String>,
    /// Whether this process has written its first block, a seal. A start after a clean stop looks for it and for the
    /// write after it, so that damage of a process' first write is not taken for an empty log.
    has_sealed_start: bool,
    outline: Option<OutlineWriter>,
}

impl LogWriter {
    /// A new log, whose first file is made now.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn create(files: Arc<LogFiles>) -> Result<LogWriter, Fault> {
        let file = files.take(LogPosition::ZERO)?;
        let start = LogPosition::new(BLOCK as u64);
        Ok(Self::new(files, file, start))
    }

    /// Goes on where a scan found the end. What the scan found is durable then.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn resume(files: Arc<LogFiles>, scan: &LogScan) -> Result<LogWriter, Fault> {
        // The process before may have ended between its last write and the end of the sync.
        if !scan.is_clean_end {
            files.sync_end(scan.end)?;
        }
        let file = match &scan.last_file {
            Some((first, header)) => files.open(*first, header)?,
            None => files.take(files.first_of(scan.end))?,
        };
        Ok(Self::new(files, file, scan.end))
    }

    fn new(files: Arc<LogFiles>, file: LogFile, start: LogPosition) -> LogWriter {
        let nonce = (files.environment.random)() as u32;
        assert!(start.get().is_multiple_of(BLOCK as u64) && start > file.first);
        let outline = files.outline_writer();
        LogWriter {
            outline,
            files,
            file,
            nonce,
            write_start: start,
            buffer: BlockBuffer::new(),
            last_frame: 0,
            durable: start,
            poisoned: None,
            has_sealed_start: false,
        }
    }

    /// Everything below is durable.
    pub fn durable(&self) -> LogPosition {
        self.durable
    }

    /// Where the next frame will start, or a little later.
    pub fn end(&self) -> LogPosition {
        self.write_start.plus(self.buffer.len() as u64)
    }

    /// Start of the write that is being gathered: the last frame is in it, if it was not flushed yet.
    pub fn write_start(&self) -> LogPosition {
        self.write_start
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The first position of the file after the present one, to be [prepared](LogFiles::prepare).
    pub fn next_file(&self) -> LogPosition {
        self.file.first.plus(self.files.options.file_len)
    }

    fn check(&self) -> Result<(), Fault> {
        match &self.poisoned {
            None => Ok(()),
            Some(what) => Err(Fault::Io {
                action: "appending to",
                path: self.file.path.clone(),
                source: std::io::Error::other(format!("an earlier write failed ({what}): the log takes no more")),
            }),
        }
    }

    /// Whether frames of this length in all fit the present file.
    pub fn fits(&self, len: u64) -> bool {
        // A block more than needed, for the padding of the write.
        self.has_sealed_start && self.end().plus(len + BLOCK as u64) <= self.next_file()
    }

    /// Makes sure that frames of this length in all can be appended, in the present file or the next one.
    ///
    /// # Errors
    /// A full disk, if the next file can't be made; nothing has changed then. Failed writes.
    ///
    /// # Panics
    /// If a file can't hold so much.
    pub fn reserve(&mut self, len: u64) -> Result<(), Fault> {
        self.check()?;
        if !self.file.is_whole {
            let made = self.file.file.allocate(self.files.options.file_len);
            made.map_err(Fault::io("extending", &self.file.path))?;
            self.file.is_whole = true;
        }
        if !self.has_sealed_start {
            self.has_sealed_start = true;
            self.reserve(frame_len(0))?;
            self.put(FrameKind::Seal, &[]);
            self.flush()?;
        }
        if self.fits(len) {
            return Ok(());
        }
        let file_end = self.next_file();
        assert!(len + 3 * BLOCK as u64 <= self.files.options.file_len, "a frame of {len} bytes");
        self.flush()?;
        // The next file first: without it, this one stays as it is.
        let next = self.files.take(file_end)?;
        if self.write_start < file_end {
            self.put(FrameKind::End, &[]);
            self.flush()?;
        }
        self.write_start = next.first.plus(BLOCK as u64);
        self.durable = self.write_start;
        self.file = next;
        Ok(())
    }

    /// Appends a frame whose body is these parts; answers with its position. Durable after the next [flush](LogWriter::flush).
    ///
    /// # Errors
    /// As [`LogWriter::reserve`].
    pub fn append(&mut self, kind: FrameKind, parts: &[&[u8]]) -> Result<LogPosition, Fault> {
        let body_len = parts.iter().map(|part| part.len()).sum();
        self.reserve(frame_len(body_len))?;
        Ok(self.put(kind, parts))
    }

    fn put(&mut self, kind: FrameKind, parts: &[&[u8]]) -> LogPosition {
        let position = self.end();
        let mut crc = crc32fast::Hasher::new();
        parts.iter().for_each(|part| crc.update(part));
        let body_len: usize = parts.iter().map(|part| part.len()).sum();
        let Ok(body_len) = u32::try_from(body_len) else { unreachable!("files are shorter than 4 GiB") };
        let head = FrameHead {
            kind,
            is_last: false,
            body_len,
            body_crc: crc.finalize(),
            epoch: self.file.epoch,
            nonce: self.nonce,
            position,
            write_start: self.write_start,
        };
        self.last_frame = self.buffer.len();
        self.buffer.extend_from_slice(&head.encode());
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(8));
        position
    }

    /// Makes all that was appended durable, in one write; answers with the durable position.
    ///
    /// # Errors
    /// A failed write. The log takes no more then.
    pub fn flush(&mut self) -> Result<LogPosition, Fault> {
        self.check()?;
        if self.buffer.is_empty() {
            return Ok(self.durable);
        }
        let at = self.last_frame..self.last_frame + HEAD_LEN;
        let head = self.buffer.as_slice()[at.clone()].try_into().ok().and_then(FrameHead::decode);
        let Some(head) = head else { unreachable!("the buffer's last frame is a frame") };
        self.buffer.as_mut_slice()[at].copy_from_slice(&FrameHead { is_last: true, ..head }.encode());
        self.buffer.pad();
        let offset = self.write_start.since(self.file.first);
        if let Some(outline) = &mut self.outline {
            outline.note(self.file.first, self.write_start, self.buffer.as_slice());
        }
        let written = self.file.file.write_all_at(self.buffer.as_slice(), offset);
        if let Err(error) = written {
            self.poisoned = Some(error.to_string());
            // Not a full disk, even if the system says so: the file was allocated before.
            return Err(Fault::Io { action: "writing", path: self.file.path.clone(), source: error });
        }
        self.write_start = self.write_start.plus(self.buffer.len() as u64);
        self.buffer.clear(KEEP_BUFFER);
        self.durable = self.write_start;
        Ok(self.durable)
    }

    /// Writes a seal, so that damage of what is before it can't be taken for a torn write.
    ///
    /// # Errors
    /// As [`LogWriter::flush`].
    pub fn seal(&mut self) -> Result<LogPosition, Fault> {
        self.append(FrameKind::Seal, &[])?;
        self.flush()
    }
}
