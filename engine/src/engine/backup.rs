//! Backup: a checkpoint, copied elsewhere.
//!
//! A checkpoint's folder can be copied by any program. This copies less: each segment file up to the length that counts.

use super::Engine;
use crate::env::{Disk, Open};
use crate::error::Fault;
use crate::manifest::Manifest;
use crate::position::Instance;
use crate::segment::Place;
use std::path::Path;

/// Bytes that are copied at a time.
const COPY_STEP: usize = 1 << 20;

/// What a backup holds.
#[derive(Debug, Clone, Copy)]
pub struct BackupInfo {
    /// The last instance that is in it.
    pub instance: Instance,
    /// Keys in it.
    pub live_records: u64,
    /// Bytes of its segment files.
    pub bytes: u64,
}

impl Engine {
    /// Copies the newest checkpoint into a folder that does not exist yet. The manifest comes last, so that a copy that
    /// was cut short is no backup.
    ///
    /// # Errors
    /// The folder exists; faults of the disk.
    pub fn backup(&self, folder: &Path) -> Result<BackupInfo, Fault> {
        let disk = self.environment.disk.as_ref();
        if disk.metadata(folder).is_ok() {
            return Err(Fault::Refused(format!("{} exists already; name a new folder", folder.display())));
        }
        // The lock keeps the checkpoint from being dropped meanwhile.
        let background = self.background.lock();
        let Some(newest) = background.checkpoints.last() else {
            return Err(Fault::Refused("there is no checkpoint yet".into()));
        };
        let source = newest.folder.path();
        let manifest = Manifest::read(disk, &source)?;
        disk.create_folder(folder).map_err(Fault::io("creating", folder))?;
        let mut bytes = 0;
        for (id, cut) in manifest.files() {
            let name = Place::segment_name(id, cut.generation);
            copy(disk, &source.join(&name), &folder.join(&name), cut.length)?;
            bytes += cut.length;
        }
        crate::files::write_atomically(disk, &Manifest::path(folder), &manifest.encode())?;
        Ok(BackupInfo { instance: manifest.instance, live_records: manifest.live_records(), bytes })
    }
}

/// Copies the first `len` bytes of a file, durably.
pub(super) fn copy(disk: &dyn Disk, from: &Path, to: &Path, len: u64) -> Result<(), Fault> {
    let source = disk.open(from, Open::Read).map_err(Fault::io("opening", from))?;
    let target = disk.open(to, Open::CreateNew).map_err(Fault::io("creating", to))?;
    target.allocate(len).map_err(Fault::io("extending", to))?;
    let mut buffer = vec![0; COPY_STEP.min(usize::try_from(len).unwrap_or(COPY_STEP))];
    let mut at = 0;
    while at < len {
        let step = (len - at).min(buffer.len() as u64) as usize;
        source.read_exact_at(&mut buffer[..step], at).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Fault::corrupt(from, at, format!("it ends before its length of {len}"))
            }
            _ => Fault::io("reading", from)(error),
        })?;
        target.write_all_at(&buffer[..step], at).map_err(Fault::io("writing", to))?;
        at += step as u64;
    }
    target.sync_data().map_err(Fault::io("syncing", to))
}
