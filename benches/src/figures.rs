//! What the kernel says about a process and a folder: memory, processor time, disk, bytes written.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Unit of `st_blocks` and of the block devices' counters, whatever the real block size.
const SECTOR_BYTES: u64 = 512;

/// Resident memory of a process that belongs to no file: heap, stacks, and private copies of file pages.
pub fn anonymous_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    field(&text, "Anonymous:").map(|kib| kib * 1024).ok_or_else(|| missing("Anonymous"))
}

/// Processor time that a process has taken, its threads together, in steps of 10 ms.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc(5): fields 14 and 15, user and system time. The name, field 2, may hold anything, but ends at the last bracket.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11).take(2));
    let ticks: Option<u64> = fields.and_then(|fields| fields.map(|field| field.parse::<u64>().ok()).sum());
    let seconds = ticks.map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| missing("processor time"))
}

/// Bytes that a process caused to be written to disk, counted when it dirties them; its children aside.
pub fn written_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    field(&text, "write_bytes:").ok_or_else(|| missing("write_bytes"))
}

/// Bytes written so far to the block device that holds `folder`, by everyone. `None` where the kernel doesn't
/// count, such as on overlays and in memory.
pub fn device_written_bytes(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // Fields of Documentation/block/stat.rst; the seventh is "write sectors".
    text.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * SECTOR_BYTES)
}

/// Disk space of each entry of `folder`, by name; holes in files don't count, and a file with several names counts for
/// the first one met. Entries that vanish meanwhile, as logs and temporary files do, count nothing.
pub fn disk_bytes(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let (mut sizes, mut seen) = (BTreeMap::new(), HashSet::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sizes.insert(entry.file_name().to_string_lossy().into_owned(), new_bytes(&entry.path(), &mut seen)?);
    }
    Ok(sizes)
}

/// Disk space of a file or of a folder with everything below it; a file with several names counts once.
pub fn tree_bytes(path: &Path) -> io::Result<u64> {
    new_bytes(path, &mut HashSet::new())
}

/// Disk space of what was not seen yet; `seen` holds inodes of one file system.
fn new_bytes(path: &Path, seen: &mut HashSet<u64>) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !seen.insert(metadata.ino()) {
        return Ok(0);
    }
    let mut bytes = metadata.blocks() * SECTOR_BYTES;
    if metadata.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            other => other?,
        };
        for entry in entries {
            bytes += new_bytes(&entry?.path(), seen)?;
        }
    }
    Ok(bytes)
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn missing(name: &str) -> io::Error {
    io::Error::other(format!("the kernel doesn't tell {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_grows_with_it() {
        let pid = std::process::id();
        let before = anonymous_bytes(pid).unwrap();
        let block = vec![1u8; 64 << 20];
        let after = anonymous_bytes(pid).unwrap();
        assert!(after >= before + (48 << 20), "{before} to {after} with {} more", block.len());
    }

    #[test]
    fn processor_time_grows_with_work() {
        let pid = std::process::id();
        let (before, begin) = (processor_time(pid).unwrap(), std::time::Instant::now());
        let mut x = 1u64;
        while processor_time(pid).unwrap() < before + Duration::from_millis(50) {
            (0..100_000).for_each(|_| x = std::hint::black_box(x.wrapping_mul(3)));
            assert!(begin.elapsed() < Duration::from_secs(60), "a busy thread takes processor time");
        }
    }

    #[test]
    fn disk_counts_what_is_allocated() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("wal")).unwrap();
        fs::write(folder.path().join("wal/1"), vec![1; 100_000]).unwrap();
        let holes = fs::File::create(folder.path().join("data")).unwrap();
        holes.set_len(1 << 30).unwrap();
        holes.sync_all().unwrap();
        fs::File::open(folder.path().join("wal/1")).unwrap().sync_all().unwrap();
        let sizes = disk_bytes(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&sizes["wal"]), "{sizes:?}");
        assert!(sizes["data"] < 1 << 20, "{sizes:?}");
        let all = tree_bytes(folder.path()).unwrap();
        fs::hard_link(folder.path().join("wal/1"), folder.path().join("again")).unwrap();
        assert_eq!(tree_bytes(folder.path()).unwrap(), all, "a link is no second file");
    }
}
