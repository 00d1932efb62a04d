//! Memory that stands for files. All `unsafe` of the engine is in this file.
//!
//! [`AppendMap`] is a file mapped for its whole possible size, of which the part below its *tail* is
//! written and never changes again, and the part above belongs to the one [`Appender`]. Readers reach
//! only what is below the tail, the appender writes only above it, so the two never touch the same bytes:
//!
//! ```text
//! 0            tail (published)      allocated              capacity (addresses only)
//! |-- readers --|-- the appender ------|-- never touched -----|
//! ```
//!
//! A mapped file that somebody truncates underneath the process is a fail-stop: the kernel ends the
//! process with SIGBUS (`docs/operations.md`).
#![allow(unsafe_code, reason = "mapped memory; each block says why it is sound")]

use super::{BLOCK, Block, DiskFile};
use memmap2::{MmapMut, MmapRaw};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory behind an append map.
pub(super) enum Backing {
    /// A file of the operating system.
    File(MmapRaw),
    /// Memory that a simulated file also holds.
    Memory(Arc<MmapRaw>),
}

impl Backing {
    fn base(&self) -> *mut u8 {
        match self {
            Backing::File(map) => map.as_mut_ptr(),
            Backing::Memory(map) => map.as_mut_ptr(),
        }
    }

    fn capacity(&self) -> u64 {
        match self {
            Backing::File(map) => map.len() as u64,
            Backing::Memory(map) => map.len() as u64,
        }
    }
}

struct Shared {
    backing: Backing,
    file: Arc<dyn DiskFile>,
    /// End of what readers may see.
    tail: AtomicU64,
}

/// A file mapped to append to: the one appender, and a reader to clone from.
pub struct AppendMap {
    /// The only one who writes.
    pub appender: Appender,
    /// Who reads.
    pub reader: Reader,
}

impl AppendMap {
    /// `allocated` is the file's length: bytes that may be touched without a fault.
    pub(super) fn new(backing: Backing, file: Arc<dyn DiskFile>, tail: u64, allocated: u64) -> AppendMap {
        assert!(tail <= allocated && allocated <= backing.capacity(), "{tail} <= {allocated} <= capacity");
        let shared = Arc::new(Shared { backing, file, tail: AtomicU64::new(tail) });
        AppendMap {
            appender: Appender { shared: Arc::clone(&shared), allocated, populated: tail },
            reader: Reader { shared },
        }
    }
}

/// Reads what is below the tail.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    /// End of what can be read.
    pub fn tail(&self) -> u64 {
        self.shared.tail.load(Ordering::Acquire)
    }

    /// Bytes `offset..offset + len`; `None` if they are not all below the tail.
    #[inline]
    pub fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64)?;
        if end > self.tail() {
            return None;
        }
        // SAFETY: `end` is at most the tail, which is at most the allocated length of the mapping, so
        // the bytes are mapped and backed. Bytes below the tail were written before the tail was raised
        // (release, acquire) and are never written again, as the only writer starts at the tail and the
        // tail never falls. The mapping lives as long as `shared`, which `self` borrows.
        Some(unsafe { std::slice::from_raw_parts(self.shared.backing.base().add(offset as usize), len) })
    }

    /// How many readers and appenders the map has.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    /// The file that is mapped.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.shared.file
    }
}

/// How far files are grown ahead of the tail, and in what steps pages are made present.
const GROW_MIN: u64 = 64 << 10;
const GROW_MAX: u64 = 1 << 20;
const POPULATE_STEP: u64 = 64 << 10;

/// Writes above the tail. There is one per map.
pub struct Appender {
    shared: Arc<Shared>,
    /// Length of the file.
    allocated: u64,
    /// Pages below are present and writable without a costly first fault.
    populated: u64,
}

impl Appender {
    /// End of what is written.
    pub fn tail(&self) -> u64 {
        self.shared.tail.load(Ordering::Relaxed)
    }

    /// Makes sure that the next `len` bytes can be written. A full disk is an error here (S4).
    ///
    /// # Errors
    /// Those of growing the file; `FileTooLarge` past the map's capacity. Nothing has changed then.
    #[inline]
    pub fn reserve(&mut self, len: u64) -> io::Result<()> {
        let end = self.tail() + len;
        if end <= self.populated { Ok(()) } else { self.grow(end) }
    }

    #[cold]
    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end > self.allocated {
            // Ahead by a quarter of the file, so that small databases stay small.
            let ahead = (end / 4).clamp(GROW_MIN, GROW_MAX);
            let capacity = self.shared.backing.capacity();
            let wanted = (end + ahead).next_multiple_of(GROW_MIN).min(capacity);
            if end > wanted {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("the segment is full: it can hold {capacity} bytes; more segments are needed"),
                ));
            }
            match self.shared.file.allocate(wanted) {
                Ok(()) => self.allocated = wanted,
                // Less ahead where the disk is nearly full.
                Err(error) if super::is_disk_full(&error) => {
                    let least = end.next_multiple_of(BLOCK as u64).min(capacity);
                    self.shared.file.allocate(least)?;
                    self.allocated = least;
                }
                Err(error) => return Err(error),
            }
        }
        // Zeros through the file, then present pages: a first touch through the map costs four times as much.
        let start = self.populated.next_multiple_of(BLOCK as u64);
        let stop = end.next_multiple_of(POPULATE_STEP).min(self.allocated);
        if let Backing::File(map) = &self.shared.backing
            && start < stop
        {
            static ZEROS: [u8; POPULATE_STEP as usize] = [0; POPULATE_STEP as usize];
            let mut at = start;
            while at < stop {
                let step = (stop - at).min(POPULATE_STEP);
                self.shared.file.write_all_at(&ZEROS[..step as usize], at)?;
                at += step;
            }
            // SAFETY: the range is inside the mapping and below the file's length, starts at a page,
            // and populating changes no byte. An old kernel that lacks the call only costs time.
            let _ = unsafe {
                rustix::mm::madvise(
                    map.as_mut_ptr().add(start as usize).cast(),
                    (stop - start) as usize,
                    rustix::mm::Advice::LinuxPopulateWrite,
                )
            };
        }
        self.populated = stop.max(end.min(self.allocated));
        Ok(())
    }

    /// Appends `len` bytes that `fill` writes, publishes them and returns their offset.
    ///
    /// # Panics
    /// If they were not reserved before.
    #[inline]
    pub fn append(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> u64 {
        let offset = self.tail();
        let end = offset + len as u64;
        assert!(end <= self.allocated, "S4: the file is extended before it is written");
        // SAFETY: the range is below the allocated length, so mapped and backed. It is above the tail:
        // readers never reach it, and `&mut self` of the only appender excludes another writer. Bytes of a
        // mapping are always initialised.
        let room = unsafe { std::slice::from_raw_parts_mut(self.shared.backing.base().add(offset as usize), len) };
        fill(room);
        self.shared.tail.store(end, Ordering::Release);
        offset
    }
}

/// A file's bytes in memory that can be changed without changing the file.
pub enum PrivateBytes {
    /// Mapped copy-on-write: only pages that are changed take memory.
    Mapped(MmapMut),
    /// Plain memory.
    Owned(Vec<u8>),
}

impl PrivateBytes {
    /// Maps a file copy-on-write.
    pub(super) fn map(file: &std::fs::File) -> io::Result<PrivateBytes> {
        // SAFETY: changes through the map stay private. The file below is an image, which is written
        // once under another name and never changed after; a foreign change to it would show as a
        // checksum mismatch or, if it is truncated, end the process.
        Ok(PrivateBytes::Mapped(unsafe { memmap2::MmapOptions::new().map_copy(file)? }))
    }
}

impl Deref for PrivateBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            PrivateBytes::Mapped(map) => map,
            PrivateBytes::Owned(bytes) => bytes,
        }
    }
}

impl DerefMut for PrivateBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            PrivateBytes::Mapped(map) => map,
            PrivateBytes::Owned(bytes) => bytes,
        }
    }
}

/// Memory of a simulated file, which its maps share. Access from outside the maps goes through copies.
pub(super) struct SharedMemory {
    pub(super) map: Arc<MmapRaw>,
}

impl SharedMemory {
    /// Zeros; pages take memory when they are touched.
    pub(super) fn new(capacity: usize) -> io::Result<SharedMemory> {
        Ok(SharedMemory { map: Arc::new(MmapRaw::from(MmapMut::map_anon(capacity)?)) })
    }

    /// Copies bytes out.
    ///
    /// The simulator runs in one thread: nobody appends while this copies.
    pub(super) fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.map.len(), "inside the simulated file");
        // SAFETY: the range was just checked; the source is always initialised; regions of the mapping and
        // of `into` don't overlap, as `into` is an exclusive borrow of other memory.
        unsafe { std::ptr::copy_nonoverlapping(self.map.as_mut_ptr().add(offset), into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes in.
    ///
    /// The simulated disk calls it for plain writes to a file, and before a file is mapped or after a crash
    /// has dropped its maps: no reader holds these bytes.
    pub(super) fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= self.map.len(), "inside the simulated file");
        // SAFETY: as for `read`, in the other direction.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.map.as_mut_ptr().add(offset), from.len()) }
    }
}

/// Writes the dirty pages of a part of a file to the disk, and waits for it.
pub(super) fn write_back(file: &std::fs::File, offset: u64, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let range = |at| i64::try_from(at).map_err(io::Error::other);
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: a system call on a descriptor that `file` keeps open; it touches no memory of this process.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), range(offset)?, range(len)?, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bytes of blocks.
pub(super) fn bytes_of(blocks: &[Block]) -> &[u8] {
    // SAFETY: a `Block` is `repr(C)` with one array of `BLOCK` bytes and no padding.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), std::mem::size_of_val(blocks)) }
}

/// The bytes of blocks, to change.
pub(super) fn bytes_of_mut(blocks: &mut [Block]) -> &mut [u8] {
    // SAFETY: as above; every bit pattern is a valid byte array, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), std::mem::size_of_val(blocks)) }
}

#[cfg(test)]
mod tests {
    use crate::env::{Disk, Open, RealDisk};

    #[test]
    fn readers_see_what_is_below_the_tail_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = RealDisk.open(&path, Open::CreateNew).unwrap();
        let mut map = file.map_append(1 << 30, 0).unwrap();
        assert_eq!(map.reader.get(0, 1), None);
        map.appender.reserve(5).unwrap();
        let offset = map.appender.append(5, |room| room.copy_from_slice(b"skink"));
        assert_eq!((offset, map.reader.tail()), (0, 5));
        assert_eq!(map.reader.get(0, 5), Some(&b"skink"[..]));
        assert_eq!(map.reader.get(1, 5), None);
        assert_eq!(map.reader.get(u64::MAX, 2), None);
        map.reader.file().sync_data().unwrap();
        assert_eq!(&std::fs::read(&path).unwrap()[..5], b"skink");
    }

    #[test]
    fn a_full_map_refuses_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&folder.path().join("file"), Open::CreateNew).unwrap();
        let mut map = file.map_append(1 << 16, 0).unwrap();
        map.appender.reserve(1 << 16).unwrap();
        assert_eq!(map.appender.reserve((1 << 16) + 1).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
        assert_eq!(map.reader.tail(), 0);
    }
}
