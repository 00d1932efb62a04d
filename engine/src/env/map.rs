//! Memory that stands for files. All `unsafe` of the engine is in this file.
//!
//! An [`Appender`] has a file mapped for its whole possible size and writes it: what it appends lies above its
//! *tail*, what it overwrites below. Whoever reads without it has a [`Reader`], which reaches what the appender
//! [showed](Appender::show). As long as there is a reader, nothing that was shown is written, so the two never touch the
//! same bytes; who borrows the appender itself reads up to its tail, and keeps it from writing by that:
//!
//! ```text
//! 0              shown                tail           allocated              capacity (addresses only)
//! |-- readers -----|-- overwritten -----|-- appended ----|-- never touched -----|
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
    /// End of what readers may see; nothing below is written while there is one.
    shown: AtomicU64,
}

impl Shared {
    /// Bytes of the mapping.
    ///
    /// # Safety
    /// They lie inside what is allocated, and nobody writes them as long as the answer lives.
    #[inline]
    unsafe fn bytes(&self, offset: u64, len: usize) -> &[u8] {
        // SAFETY: bytes of a mapping are always initialised, it lives as long as `self`, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts(self.backing.base().add(offset as usize), len) }
    }
}

/// Reads what its appender showed.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    /// Bytes `offset..offset + len`; `None` if not all of them were shown.
    #[inline]
    pub fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64)?;
        if end > self.shared.shown.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: what is shown is below the tail, which is at most the allocated length, and was written before it was
        // shown (release, acquire). As long as `self` lives the appender writes nothing below `shown`: `overwrite`
        // refuses it, `append` starts at the tail. Only an appender without readers lowers `shown`.
        Some(unsafe { self.shared.bytes(offset, len) })
    }
}

/// How far files are grown ahead of the tail, and in what steps pages are made present.
const GROW_MIN: u64 = 64 << 10;
const GROW_MAX: u64 = 1 << 20;
const POPULATE_STEP: u64 = 64 << 10;

/// Writes a map. There is one per map.
pub struct Appender {
    shared: Arc<Shared>,
    /// End of what is written.
    tail: u64,
    /// Length of the file: bytes that may be touched without a fault.
    allocated: u64,
    /// Pages below are present and writable without a costly first fault.
    populated: u64,
}

impl Appender {
    /// `allocated` is the file's length.
    pub(super) fn new(backing: Backing, file: Arc<dyn DiskFile>, tail: u64, allocated: u64) -> Appender {
        assert!(tail <= allocated && allocated <= backing.capacity(), "{tail} <= {allocated} <= capacity");
        let shared = Arc::new(Shared { backing, file, shown: AtomicU64::new(0) });
        Appender { shared, tail, allocated, populated: tail }
    }

    /// End of what is written.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Bytes `offset..offset + len`; `None` if they are not all below the tail.
    #[inline]
    pub fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len as u64)? > self.tail {
            return None;
        }
        // SAFETY: what is below the tail is allocated. Only the appender writes, and the answer borrows it.
        Some(unsafe { self.shared.bytes(offset, len) })
    }

    /// Asks the processor for bytes that are going to be read or written: they then come all at the same time, where a
    /// walk through them would wait for the first ones to know where the next ones are.
    #[inline]
    pub fn prefetch(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.tail);
        for at in (offset..end).step_by(CACHE_LINE) {
            prefetch(self.shared.backing.base().wrapping_add(at as usize));
        }
    }

    /// Shows all that is written to the readers that there are.
    #[inline]
    pub fn show(&self) {
        self.shared.shown.fetch_max(self.tail, Ordering::Release);
    }

    /// A reader, to which all that is written is shown.
    pub fn reader(&self) -> Reader {
        self.show();
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// Whether a reader may see what lies at this offset.
    #[inline]
    fn is_shown(&mut self, offset: u64) -> bool {
        if offset >= self.shared.shown.load(Ordering::Relaxed) {
            return false;
        }
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => {
                *shared.shown.get_mut() = 0;
                false
            }
            None => true,
        }
    }

    /// Whether there is no reader.
    pub fn is_unread(&mut self) -> bool {
        Arc::get_mut(&mut self.shared).is_some()
    }

    /// Writes `len` bytes anew that were appended before, through `fill`; answers `false`, and writes nothing, where a
    /// reader may see them.
    ///
    /// # Panics
    /// If they were not appended.
    #[inline]
    pub fn overwrite(&mut self, offset: u64, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        assert!(offset.checked_add(len as u64).is_some_and(|end| end <= self.tail), "what is overwritten was appended");
        if self.is_shown(offset) {
            return false;
        }
        // SAFETY: the range is below the tail, so mapped and backed. No reader reaches it: it is not shown, or there is
        // none, and `show` needs a borrow of the appender. `&mut self` excludes other borrows of these bytes.
        fill(unsafe { self.bytes_mut(offset, len) });
        true
    }

    /// Bytes of the mapping, to write.
    ///
    /// # Safety
    /// They lie inside what is allocated, and no reader reaches them.
    #[inline]
    unsafe fn bytes_mut(&mut self, offset: u64, len: usize) -> &mut [u8] {
        // SAFETY: bytes of a mapping are always initialised; `&mut self` of the only appender excludes another writer and
        // those who read through it; the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(self.shared.backing.base().add(offset as usize), len) }
    }

    /// Makes sure that the next `len` bytes can be written. A full disk is an error here (S4).
    ///
    /// # Errors
    /// Those of growing the file; `FileTooLarge` past the map's capacity. Nothing has changed then.
    #[inline]
    pub fn reserve(&mut self, len: u64) -> io::Result<()> {
        let end = self.tail + len;
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

    /// Appends `len` bytes that `fill` writes, and returns their offset.
    ///
    /// # Panics
    /// If they were not reserved before.
    #[inline]
    pub fn append(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> u64 {
        let offset = self.tail;
        let end = offset + len as u64;
        assert!(end <= self.allocated, "S4: the file is extended before it is written");
        // SAFETY: the range is below the allocated length, so mapped and backed, and above the tail: nothing of it is shown.
        fill(unsafe { self.bytes_mut(offset, len) });
        self.tail = end;
        offset
    }
}

const CACHE_LINE: usize = 64;

/// Asks the processor for the bytes at an address.
#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint: it reads and writes nothing, and is ignored for an address that is not mapped.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
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

impl PrivateBytes {
    /// Asks the processor for the bytes at an offset, which are going to be read.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        if let Some(byte) = self.get(offset) {
            prefetch(byte);
        }
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
    use super::Appender;
    use crate::env::{Disk, Open, RealDisk};
    use std::path::Path;

    fn appender(folder: &Path, capacity: u64) -> Appender {
        RealDisk.open(&folder.join("file"), Open::CreateNew).unwrap().map_append(capacity, 0).unwrap()
    }

    fn append(appender: &mut Appender, bytes: &[u8]) -> u64 {
        appender.reserve(bytes.len() as u64).unwrap();
        appender.append(bytes.len(), |room| room.copy_from_slice(bytes))
    }

    #[test]
    fn readers_see_what_was_shown_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut appender = appender(folder.path(), 1 << 30);
        let reader = appender.reader();
        assert_eq!(append(&mut appender, b"skink"), 0);
        assert_eq!((appender.get(0, 5), appender.get(1, 5)), (Some(&b"skink"[..]), None));
        assert_eq!(reader.get(0, 1), None);
        appender.show();
        assert_eq!((reader.get(0, 5), reader.get(1, 5), reader.get(u64::MAX, 2)), (Some(&b"skink"[..]), None, None));
        assert_eq!(&std::fs::read(folder.path().join("file")).unwrap()[..5], b"skink");
    }

    #[test]
    fn what_a_reader_may_see_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut appender = appender(folder.path(), 1 << 30);
        append(&mut appender, b"old");
        assert!(appender.overwrite(0, 3, |room| room.copy_from_slice(b"new")));
        let (reader, other) = (appender.reader(), appender.reader().clone());
        append(&mut appender, b"tail");
        drop(reader);
        assert!(!appender.overwrite(0, 3, |_| unreachable!("it is not written")));
        assert!(appender.overwrite(3, 4, |room| room.copy_from_slice(b"TAIL")), "this was not shown");
        assert_eq!((other.get(0, 3), other.get(0, 7)), (Some(&b"new"[..]), None));
        drop(other);
        assert!(appender.overwrite(0, 3, |room| room.copy_from_slice(b"NEW")));
        assert_eq!(appender.get(0, 7), Some(&b"NEWTAIL"[..]));
    }

    #[test]
    #[should_panic(expected = "what is overwritten was appended")]
    fn what_was_not_appended_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut appender = appender(folder.path(), 1 << 30);
        append(&mut appender, b"four");
        appender.overwrite(1, 4, |_| ());
    }

    #[test]
    fn a_full_map_refuses_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut appender = appender(folder.path(), 1 << 16);
        appender.reserve(1 << 16).unwrap();
        assert_eq!(appender.reserve((1 << 16) + 1).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
        assert_eq!(appender.tail(), 0);
    }
}
