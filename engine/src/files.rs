//! Small helpers over the disk.

use crate::env::{Disk, Open};
use crate::error::Fault;
use std::io;
use std::path::Path;

/// Bytes that are given back at a time: freeing gigabytes at once stalls everybody's syncs for tens of milliseconds.
const REMOVE_STEP: u64 = 16 << 20;

/// Removes a file; one that is no longer named anywhere else is shortened in steps before.
///
/// # Errors
/// Faults of the disk; a file that is gone already is none.
pub fn remove_gently(disk: &dyn Disk, path: &Path) -> Result<(), Fault> {
    let attempt = || -> io::Result<()> {
        let metadata = disk.metadata(path)?;
        if metadata.links == 1 && metadata.len > REMOVE_STEP {
            let file = disk.open(path, Open::ReadWrite)?;
            let mut len = metadata.len;
            while len > REMOVE_STEP {
                len -= REMOVE_STEP;
                file.truncate(len)?;
            }
        }
        disk.remove_file(path)
    };
    match attempt() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(Fault::io("removing", path)),
    }
}

/// Writes a small file under another name, makes it durable, and puts it in place, durably.
///
/// # Errors
/// Faults of the disk; what was in place before stays then.
pub fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let new_path = path.with_extension("new");
    let attempt = || -> io::Result<()> {
        match disk.remove_file(&new_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&new_path, Open::CreateNew)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        disk.rename(&new_path, path)?;
        disk.sync_folder(path.parent().unwrap_or(Path::new("/")))
    };
    attempt().map_err(Fault::io("writing", path))
}

/// Removes a folder and the files in it; one that is gone already is fine.
///
/// # Errors
/// Faults of the disk.
pub fn remove_folder(disk: &dyn Disk, folder: &Path) -> Result<(), Fault> {
    let names = match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(Fault::io("listing", folder))?,
    };
    for name in names {
        remove_gently(disk, &folder.join(name))?;
    }
    disk.remove_folder(folder).map_err(Fault::io("removing", folder))
}
