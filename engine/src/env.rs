//! The environment: disk, clock and randomness behind traits.
//!
//! Everything that the engine does to files goes through [`Disk`], [`DiskFile`] and the maps of
//! [`map`], also writes through memory, growth and flushes, so that the simulated disk sees them all
//! and a simulated power cut loses exactly what was not made durable.

pub mod map;
mod real;
pub mod sim;

pub use real::{RealDisk, SystemClock};

use map::{Appender, PrivateBytes};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    ReadWrite,
    /// A new file, to read and write; it must not exist.
    CreateNew,
    /// An existing file whose writes are durable when they return. Offsets and lengths of its reads
    /// and writes, and the addresses of the buffers, must be multiples of [`BLOCK`]: see [`BlockBuffer`].
    Durable,
}

/// Unit of durable writes, in bytes.
pub const BLOCK: usize = 4096;

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes.
    pub len: u64,
    /// Bytes that the file takes on the disk.
    pub allocated: u64,
    /// How many names the file has.
    pub links: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// What is at a path; `NotFound` where nothing is.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Creates a folder and the ones above it where they are missing.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or folder another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Takes a lock that one process at a time can have, for as long as the answer lives; `WouldBlock` where another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// What tells one run of the machine from another, if that is known: what was written and not synced is there as long
    /// as it is the same.
    fn boot(&self) -> Option<u64> {
        None
    }
    /// Bytes that are free for this process where the path is.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// A whole file; refused above `max_len` bytes.
    fn read(&self, path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > max_len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, more than {max_len}")));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "a file's length is an operation that can fail")]
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer from an offset on; `UnexpectedEof` past the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes at an offset.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable, through the file or its maps, and the length.
    fn sync_data(&self) -> io::Result<()>;
    /// Writes a part back, through the file or its maps: it shortens a later `sync_data`, and promises nothing.
    fn write_back(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes room up to this length, as zeros; a full disk is an error here and nowhere later (S4).
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to this length.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Maps the file to append to, with `tail` as the end of what is in it, reserving `capacity` bytes of addresses.
    fn map_append(self: Arc<Self>, capacity: u64, tail: u64) -> io::Result<Appender>;
    /// Maps the whole file so that changes stay in memory.
    fn map_private(&self) -> io::Result<PrivateBytes>;
}

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> u64;
    /// Time since some moment in the past. It never goes back, whatever the clock is set to: for measuring.
    fn elapsed(&self) -> Duration;
}

/// All of it.
#[derive(Clone)]
pub struct Environment {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where random numbers (identities, seeds) come from.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Environment {
    /// The real one.
    pub fn real() -> Environment {
        Environment { disk: Arc::new(RealDisk), clock: Arc::new(SystemClock), random: Arc::new(rand::random::<u64>) }
    }
}

/// Whether the error says that the disk, or the user's part of it, is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// A growing buffer whose bytes start at a multiple of [`BLOCK`], as direct writes want it.
pub struct BlockBuffer {
    storage: Vec<Block>,
    len: usize,
}

/// One block of memory at an address that direct IO takes.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
pub(crate) struct Block([u8; BLOCK]);

impl Default for BlockBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockBuffer {
    /// An empty one.
    pub fn new() -> BlockBuffer {
        BlockBuffer { storage: Vec::new(), len: 0 }
    }

    /// A buffer of so many zeros.
    pub fn zeros(len: usize) -> BlockBuffer {
        let mut buffer = BlockBuffer::new();
        buffer.resize(len);
        buffer
    }

    /// Empties it and keeps its memory, up to `keep` bytes of it.
    pub fn clear(&mut self, keep: usize) {
        self.len = 0;
        if self.storage.capacity() * BLOCK > keep {
            self.storage = Vec::new();
        }
        self.storage.clear();
    }

    /// Changes the length; new bytes are zero.
    pub fn resize(&mut self, len: usize) {
        let blocks = len.div_ceil(BLOCK);
        self.storage.resize(blocks, Block([0; BLOCK]));
        self.len = len;
    }

    /// Appends.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.resize(start + bytes.len());
        self.as_mut_slice()[start..].copy_from_slice(bytes);
    }

    /// Appends zeros up to the next multiple of [`BLOCK`].
    pub fn pad(&mut self) {
        self.resize(self.len.next_multiple_of(BLOCK));
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &map::bytes_of(&self.storage)[..self.len]
    }

    /// Its bytes, to change.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut map::bytes_of_mut(&mut self.storage)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, BlockBuffer};

    #[test]
    fn a_block_buffer_is_aligned_and_pads_with_zeros() {
        let mut buffer = BlockBuffer::new();
        buffer.extend_from_slice(b"abc");
        buffer.pad();
        assert_eq!(buffer.len(), BLOCK);
        assert_eq!(buffer.as_slice().as_ptr() as usize % BLOCK, 0);
        assert_eq!(&buffer.as_slice()[..4], b"abc\0");
        buffer.clear(0);
        buffer.resize(2);
        assert_eq!(buffer.as_slice(), [0, 0]);
    }
}
