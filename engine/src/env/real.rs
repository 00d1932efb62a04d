//! The environment of the operating system.

use super::map::{Appender, Backing, PrivateBytes};
use super::{Clock, Disk, DiskFile, Metadata, Open};
use rustix::fs::{FallocateFlags, OFlags};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The file system of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

struct RealFile {
    file: fs::File,
    /// Whether each write must be followed by `fdatasync` (the file system refuses direct IO).
    sync_each_write: bool,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        let mut sync_each_write = false;
        let file = match how {
            Open::Read => options.open(path),
            Open::ReadWrite => options.write(true).open(path),
            Open::CreateNew => options.write(true).create_new(true).open(path),
            Open::Durable => {
                let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
                match options.write(true).custom_flags(flags).open(path) {
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                        sync_each_write = true;
                        options.custom_flags(0).open(path)
                    }
                    result => result,
                }
            }
        }?;
        Ok(Arc::new(RealFile { file, sync_each_write }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Metadata {
            len: metadata.len(),
            allocated: metadata.blocks() * 512,
            links: metadata.nlink(),
            is_folder: metadata.is_dir(),
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn boot(&self) -> Option<u64> {
        let id = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        Some(xxhash_rust::xxh3::xxh3_64(&id))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        if self.sync_each_write {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        super::map::write_back(&self.file, offset, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::INTR) => self.allocate(len),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn map_append(self: Arc<Self>, capacity: u64, tail: u64) -> io::Result<Appender> {
        let allocated = self.file.metadata()?.len();
        if tail > allocated {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file has {allocated} bytes where {tail} are in use"),
            ));
        }
        let capacity = capacity.max(allocated);
        let len = usize::try_from(capacity).map_err(io::Error::other)?;
        let map = memmap2::MmapOptions::new().len(len).map_raw(&self.file)?;
        Ok(Appender::new(Backing::File(map), self, tail, allocated))
    }

    fn map_private(&self) -> io::Result<PrivateBytes> {
        PrivateBytes::map(&self.file)
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    }

    fn elapsed(&self) -> Duration {
        static FIRST_ASKED: OnceLock<Instant> = OnceLock::new();
        FIRST_ASKED.get_or_init(Instant::now).elapsed()
    }
}
