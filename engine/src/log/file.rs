//! The log's files: preallocated, zeroed, used again.
//!
//! A file is named by the position of its first byte (`<16 hex digits>.log`) and starts with a header page.
//! `spare-<n>.log` waits to be used (again). The next file is prepared in the background before the writer
//! gets there; a file gets its header first and its name after, both durable.

use super::outline::{self, Outline, OutlineWriter};
use crate::env::{BLOCK, BlockBuffer, DiskFile, Environment, Open};
use crate::error::Fault;
use crate::page::{self, PAGE_LEN};
use crate::position::LogPosition;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How names of files begin that are being removed.
const GONE: &str = "gone-";
const MAGIC: &[u8; 8] = b"SKINKLOG";
/// Unit in which files are zeroed.
const ZERO_STEP: usize = 256 << 10;

/// The number of this process among those that noted writes, before it is looked for.
const UNKNOWN: u64 = u64::MAX;

/// Header page of a log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogFileHeader {
    /// Position of the file's first byte.
    pub(super) first: LogPosition,
    /// Length of every file of this log.
    pub(super) file_len: u64,
    /// Changes whenever the file is used again.
    pub(super) epoch: u32,
    /// The data directory that the log belongs to.
    pub(super) directory: u64,
}

/// How a log is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Length of a file, a multiple of the block length; bounds the longest frame.
    pub file_len: u64,
    /// Files kept for use again.
    pub spares: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { file_len: 64 << 20, spares: 8 }
    }
}

/// A file to write to.
pub(super) struct LogFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    pub(super) first: LogPosition,
    pub(super) epoch: u32,
    /// Whether it has its whole length. A power cut may have left it shorter.
    pub(super) is_whole: bool,
}

/// The files of a log.
pub struct LogFiles {
    pub(super) environment: Environment,
    pub(super) folder: PathBuf,
    pub(super) options: LogOptions,
    pub(super) directory: u64,
    /// Where writes are noted, and the number of this process there.
    pub(super) outline: Option<PathBuf>,
    next_outline: AtomicU64,
    /// Held while a file is made: two that are made for one position would replace each other.
    making: Mutex<()>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    prepared: Option<LogFile>,
    /// The file that the writer has reached.
    newest: Option<LogPosition>,
    spare_number: u64,
}

impl LogFiles {
    /// The log in a folder.
    ///
    /// # Panics
    /// If the options are not usable.
    pub fn new(environment: &Environment, folder: &Path, options: LogOptions, directory: u64) -> LogFiles {
        assert!(options.file_len.is_multiple_of(BLOCK as u64) && options.file_len >= 8 * BLOCK as u64);
        LogFiles {
            environment: environment.clone(),
            folder: folder.to_path_buf(),
            options,
            directory,
            outline: None,
            next_outline: AtomicU64::new(UNKNOWN),
            making: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Notes writes in a folder, so that a start need not look for them.
    #[must_use]
    pub fn with_outline(self, folder: &Path) -> LogFiles {
        LogFiles { outline: Some(folder.to_path_buf()), ..self }
    }

    /// What is noted of the log.
    pub fn outline(&self) -> Outline {
        self.outline_from(LogPosition::new(0))
    }

    /// What is noted of the log behind a position.
    pub fn outline_from(&self, from: LogPosition) -> Outline {
        let Some(folder) = &self.outline else { return Outline::default() };
        let outline = Outline::read(self.environment.disk.as_ref(), folder, from);
        let _ =
            self.next_outline.compare_exchange(UNKNOWN, outline.next_process(), Ordering::Relaxed, Ordering::Relaxed);
        outline
    }

    pub(super) fn outline_writer(&self) -> Option<OutlineWriter> {
        let folder = self.outline.as_ref()?;
        if self.next_outline.load(Ordering::Relaxed) == UNKNOWN {
            // A number that was used would mix what two processes noted.
            let _ = self.outline();
        }
        let process = self.next_outline.fetch_add(1, Ordering::Relaxed);
        Some(OutlineWriter::new(&self.environment.disk, folder, process))
    }

    /// Longest body that a frame can have, with some room to spare in its file.
    pub fn max_body_len(&self) -> usize {
        usize::try_from(self.options.file_len).unwrap_or(usize::MAX) - 4 * BLOCK
    }

    /// Start of the file that holds a position.
    pub(super) fn first_of(&self, position: LogPosition) -> LogPosition {
        LogPosition::new(position.get() / self.options.file_len * self.options.file_len)
    }

    pub(super) fn path_of(&self, first: LogPosition) -> PathBuf {
        self.folder.join(format!("{:016x}.log", first.get()))
    }

    /// First positions of the files that are there, in order.
    ///
    /// # Errors
    /// A name that does not belong here, or a folder that can't be read.
    pub fn list(&self) -> Result<Vec<LogPosition>, Fault> {
        let mut firsts = Vec::new();
        for name in self.environment.disk.list(&self.folder).map_err(Fault::io("listing", &self.folder))? {
            let digits = name.strip_suffix(".log").unwrap_or_default();
            match u64::from_str_radix(digits, 16) {
                Ok(first) if digits.len() == 16 && first.is_multiple_of(self.options.file_len) => {
                    firsts.push(LogPosition::new(first));
                }
                Ok(first) if digits.len() == 16 => {
                    return Err(Fault::Refused(format!(
                        "{}: {first} is no multiple of the log's file length, {} bytes; the file length \
                         (log.file_mb) can't be changed once a data directory is made",
                        self.folder.join(&name).display(),
                        self.options.file_len
                    )));
                }
                _ if digits.starts_with("spare-") || digits.starts_with(GONE) => {}
                _ => {
                    return Err(Fault::Refused(format!(
                        "{} is no file of this log; move it out of the data directory",
                        self.folder.join(&name).display()
                    )));
                }
            }
        }
        Ok(firsts)
    }

    /// Where the files that are there start: what was appended below is gone since
    /// [`drop_below`](LogFiles::drop_below).
    ///
    /// # Errors
    /// Those of [`list`](LogFiles::list).
    pub fn start(&self) -> Result<LogPosition, Fault> {
        // The file that is written to is never dropped, so an empty list is that of a log to be made.
        Ok(self.list()?.first().copied().unwrap_or(LogPosition::ZERO))
    }

    fn spares(&self) -> std::io::Result<Vec<PathBuf>> {
        let names = self.environment.disk.list(&self.folder)?;
        Ok(names.iter().filter(|name| name.starts_with("spare-")).map(|name| self.folder.join(name)).collect())
    }

    /// Makes the file at `first` ready, if it is not yet, nor in use. For a thread in the background.
    ///
    /// # Errors
    /// A full disk: call again when there is room. Other faults of the disk.
    pub fn prepare(&self, first: LogPosition) -> Result<(), Fault> {
        let _making = self.making.lock();
        {
            let shared = self.shared.lock();
            // The writer may have got there first, and its file must not be replaced.
            if shared.newest >= Some(first) || shared.prepared.as_ref().is_some_and(|file| file.first == first) {
                return Ok(());
            }
        }
        let file = self.make(first, true)?;
        self.shared.lock().prepared = Some(file);
        Ok(())
    }

    /// The file at `first`, prepared or made now.
    pub(super) fn take(&self, first: LogPosition) -> Result<LogFile, Fault> {
        let _making = self.making.lock();
        let prepared = self.shared.lock().prepared.take_if(|file| file.first == first);
        let file = match prepared {
            Some(file) => file,
            None => self.make(first, false)?,
        };
        self.shared.lock().newest = Some(first);
        Ok(file)
    }

    /// Opens an existing file to go on writing in it.
    pub(super) fn open(&self, first: LogPosition, header: &LogFileHeader) -> Result<LogFile, Fault> {
        let path = self.path_of(first);
        let attempt = || -> std::io::Result<(Arc<dyn DiskFile>, bool)> {
            let file = self.environment.disk.open(&path, Open::Durable)?;
            let is_whole = file.len()? >= self.options.file_len;
            Ok((file, is_whole))
        };
        let (file, is_whole) = attempt().map_err(Fault::io("opening", &path))?;
        self.shared.lock().newest = Some(first);
        Ok(LogFile { file, path, first, epoch: header.epoch, is_whole })
    }

    /// Makes what is in the last two files up to a position durable; at the start of a file, the end of the one
    /// before it may be the last write.
    pub(super) fn sync_end(&self, end: LogPosition) -> Result<(), Fault> {
        let last = self.first_of(end);
        for first in self.list()? {
            if first <= last && first.plus(self.options.file_len) >= last {
                let path = self.path_of(first);
                let sync = || self.environment.disk.open(&path, Open::ReadWrite)?.sync_data();
                sync().map_err(|source| Fault::Io { action: "syncing", path: path.clone(), source })?;
            }
        }
        let sync_names = || self.environment.disk.sync_folder(&self.folder);
        sync_names().map_err(|source| Fault::Io { action: "syncing", path: self.folder.clone(), source })
    }

    fn make(&self, first: LogPosition, in_background: bool) -> Result<LogFile, Fault> {
        let disk = &self.environment.disk;
        let path = self.path_of(first);
        // Prepared by the process before, and not used.
        if let Ok(file) = disk.open(&path, Open::Read)
            && let Ok(header) = self.header(file.as_ref(), first)
        {
            let file = disk.open(&path, Open::Durable).map_err(Fault::io("opening", &path))?;
            let is_whole = file.len().map_err(Fault::io("opening", &path))? >= self.options.file_len;
            return Ok(LogFile { file, path, first, epoch: header.epoch, is_whole });
        }
        let attempt = || -> std::io::Result<LogFile> {
            let (spare, is_zeroed) = match self.spares()?.into_iter().next() {
                Some(spare) => (spare, true),
                None => {
                    let mut shared = self.shared.lock();
                    shared.spare_number += 1;
                    (self.folder.join(format!("spare-{}-{}.log", first.get(), shared.spare_number)), false)
                }
            };
            if !is_zeroed {
                let new = disk.open(&spare, Open::CreateNew)?;
                if let Err(error) = new.allocate(self.options.file_len) {
                    drop(new);
                    let _ = disk.remove_file(&spare);
                    return Err(error);
                }
            }
            let file = disk.open(&spare, Open::Durable)?;
            if file.len()? < self.options.file_len {
                file.allocate(self.options.file_len)?;
            }
            if !is_zeroed {
                // A write to space that was never written costs twice as much: zero all of it where there is time,
                // else enough for the first moments.
                let len = if in_background { self.options.file_len } else { self.options.file_len.min(4 << 20) };
                let zeros = BlockBuffer::zeros(ZERO_STEP.min(len as usize));
                let mut at = 0;
                while at < len {
                    let step = (len - at).min(zeros.len() as u64);
                    let started = Instant::now();
                    file.write_all_at(&zeros.as_slice()[..step as usize], at)?;
                    if in_background {
                        // The log itself writes to the same disk.
                        std::thread::sleep(started.elapsed());
                    }
                    at += step;
                }
            }
            let epoch = (self.environment.random)() as u32;
            let header = LogFileHeader { first, file_len: self.options.file_len, epoch, directory: self.directory };
            let mut page = BlockBuffer::new();
            page.extend_from_slice(&page::encode_page(MAGIC, &header));
            file.write_all_at(page.as_slice(), 0)?;
            disk.rename(&spare, &path)?;
            disk.sync_folder(&self.folder)?;
            Ok(LogFile { file, path: path.clone(), first, epoch, is_whole: true })
        };
        attempt().map_err(Fault::io("making the log file", &path))
    }

    /// Reads a file's header.
    pub(super) fn header(&self, file: &dyn DiskFile, first: LogPosition) -> Result<LogFileHeader, Fault> {
        let path = self.path_of(first);
        let mut page = vec![0; PAGE_LEN];
        file.read_exact_at(&mut page, 0).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::corrupt(&path, 0, "it is shorter than its header"),
            _ => Fault::io("reading", &path)(error),
        })?;
        let header: LogFileHeader = page::decode(MAGIC, &page).map_err(|what| Fault::corrupt(&path, 0, what))?;
        if (header.first, header.file_len, header.directory) != (first, self.options.file_len, self.directory) {
            return Err(Fault::corrupt(&path, 0, format!("its header says {header:?}: it belongs to another log")));
        }
        Ok(header)
    }

    /// Drops the files that end at or below a position: some are kept for use again, the others go.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn drop_below(&self, position: LogPosition) -> Result<(), Fault> {
        let disk = &self.environment.disk;
        let mut spares = self.spares().map_err(Fault::io("listing", &self.folder))?.len();
        self.remove_gone()?;
        for first in self.list()? {
            if first.plus(self.options.file_len) > position {
                break;
            }
            let path = self.path_of(first);
            if spares < self.options.spares {
                let number = {
                    let mut shared = self.shared.lock();
                    shared.spare_number += 1;
                    shared.spare_number
                };
                let spare = self.folder.join(format!("spare-{}-{number}.log", first.get()));
                disk.rename(&path, &spare).map_err(Fault::io("renaming", &path))?;
                spares += 1;
            } else {
                // It is shortened before it goes: under its own name, whoever reads it would take that for damage.
                let gone = self.folder.join(format!("{GONE}{}.log", first.get()));
                disk.rename(&path, &gone).map_err(Fault::io("renaming", &path))?;
                crate::files::remove_gently(disk.as_ref(), &gone)?;
            }
        }
        if let Some(folder) = &self.outline {
            outline::drop_below(disk.as_ref(), folder, self.first_of(position));
        }
        Ok(())
    }

    /// Removes what a process was removing when it ended.
    fn remove_gone(&self) -> Result<(), Fault> {
        let disk = &self.environment.disk;
        let names = disk.list(&self.folder).map_err(Fault::io("listing", &self.folder))?;
        for name in names.iter().filter(|name| name.starts_with(GONE)) {
            crate::files::remove_gently(disk.as_ref(), &self.folder.join(name))?;
        }
        Ok(())
    }

    /// Bytes that the log's files take on the disk.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn disk_bytes(&self) -> Result<u64, Fault> {
        let names = self.environment.disk.list(&self.folder).map_err(Fault::io("listing", &self.folder))?;
        let sizes = names.iter().filter_map(|name| self.environment.disk.metadata(&self.folder.join(name)).ok());
        Ok(sizes.map(|metadata| metadata.allocated).sum())
    }
}
