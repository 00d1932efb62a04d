//! A segment's file, mapped: by the index that appends to it, and by those who read it without the segment's lock.
//!
//! Under the lock everything is read through the [`RecordFile`]. Who needs records for longer asks for a
//! [`SegmentFile`], which reaches what was written by then; as long as there is one, nothing of that is overwritten.

use super::record::Record;
use crate::env::map::{Appender, Reader};
use crate::error::Fault;
use std::path::PathBuf;
use std::sync::Arc;

/// A segment's file, to read without the segment's lock.
#[derive(Clone)]
pub(crate) struct SegmentFile {
    reader: Reader,
    path: Arc<PathBuf>,
}

impl SegmentFile {
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

    #[cold]
    pub(crate) fn damaged(&self, offset: u64, what: &str) -> Fault {
        Fault::corrupt(&self.path, offset, what)
    }
}

/// A file to append to, and its name.
pub(super) struct AppendFile {
    pub(super) appender: Appender,
    pub(super) path: Arc<PathBuf>,
}

impl AppendFile {
    pub(super) fn new(appender: Appender, path: PathBuf) -> AppendFile {
        AppendFile { appender, path: Arc::new(path) }
    }

    pub(super) fn damaged(&self, offset: u64, what: &str) -> Fault {
        Fault::corrupt(&self.path, offset, what)
    }
}

/// What an index has its records in.
#[derive(Default)]
pub(super) enum RecordFile {
    /// Nothing was written yet.
    #[default]
    Nothing,
    /// A file that it appends to.
    Appended(AppendFile),
    /// A file that another index appends to.
    Followed(SegmentFile),
}

impl RecordFile {
    /// Whether there is a file.
    #[inline]
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, RecordFile::Nothing)
    }

    /// The record at an offset, its head and key checked.
    #[inline]
    pub(super) fn record(&self, offset: u64) -> Result<Record<'_>, Fault> {
        match self {
            RecordFile::Appended(file) => {
                Record::read(|at, len| file.appender.get(at, len), offset).map_err(|what| file.damaged(offset, what))
            }
            RecordFile::Followed(file) => file.record(offset),
            RecordFile::Nothing => unreachable!("an index without a file has no offsets"),
        }
    }

    /// Asks for the memory of a record that is going to be read or written as a whole.
    #[inline]
    pub(super) fn prefetch(&self, offset: u64, len: u64) {
        if let RecordFile::Appended(file) = self {
            file.appender.prefetch(offset, len);
        }
    }

    /// A handle that reads all that is written now without the lock.
    pub(super) fn share(&self) -> Option<SegmentFile> {
        match self {
            RecordFile::Appended(file) => {
                Some(SegmentFile { reader: file.appender.reader(), path: Arc::clone(&file.path) })
            }
            RecordFile::Followed(file) => Some(file.clone()),
            RecordFile::Nothing => None,
        }
    }

    /// Lets the handles that there are read all that is written now.
    pub(super) fn show(&self) {
        if let RecordFile::Appended(file) = self {
            file.appender.show();
        }
    }

    /// Whether it is a file that nobody reads without the lock.
    pub(super) fn is_unread(&mut self) -> bool {
        match self {
            RecordFile::Appended(file) => file.appender.is_unread(),
            RecordFile::Followed(_) | RecordFile::Nothing => false,
        }
    }

    pub(super) fn damaged(&self, offset: u64, what: &str) -> Option<Fault> {
        match self {
            RecordFile::Appended(file) => Some(file.damaged(offset, what)),
            RecordFile::Followed(file) => Some(file.damaged(offset, what)),
            RecordFile::Nothing => None,
        }
    }
}
