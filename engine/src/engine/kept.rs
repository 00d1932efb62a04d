//! The checkpoints that are kept, and what is still read of those that are not.
//!
//! ```text
//! kept --two newer ones--> given up: it has lost its name, and with it any claim on the log --nobody reads it--> removed
//! ```
//!
//! A folder that is read has whoever reads it among its holders. It is renamed under them, and removed with the first
//! checkpoint that finds them gone: a donor keeps the files of one checkpoint, and neither log files nor later checkpoints.

use super::{Background, Engine};
use crate::env::{Disk, DiskFile, Open};
use crate::error::Fault;
use crate::files;
use crate::position::{Instance, LogPosition};
use crate::segment::SegmentCut;
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkpoint that counts.
pub(super) struct KeptCheckpoint {
    pub(super) instance: Instance,
    pub(super) folder: Arc<CheckpointFolder>,
    pub(super) log_position: LogPosition,
    pub(super) segments: Arc<Vec<SegmentCut>>,
}

/// A checkpoint's folder, under the name that it has now.
pub(super) struct CheckpointFolder {
    path: Mutex<PathBuf>,
}

impl CheckpointFolder {
    pub(super) fn new(path: PathBuf) -> Arc<CheckpointFolder> {
        Arc::new(CheckpointFolder { path: Mutex::new(path) })
    }

    /// Where it is, for whoever keeps it from being renamed meanwhile.
    pub(super) fn path(&self) -> PathBuf {
        self.path.lock().clone()
    }

    /// Its path, to rename it: it is not opened meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock()
    }

    /// Opens one of its files to read; also says where that is.
    pub(super) fn open(&self, disk: &dyn Disk, name: &str) -> (PathBuf, io::Result<Arc<dyn DiskFile>>) {
        let folder = self.path.lock();
        let path = folder.join(name);
        let file = disk.open(&path, Open::Read);
        (path, file)
    }
}

impl Engine {
    /// Lets go of what no kept checkpoint needs: older checkpoints, segment files among the first `replaced` that were
    /// replaced, log files.
    pub(super) fn drop_old(&self, background: &mut Background, keep: usize, replaced: u64) -> Result<(), Fault> {
        let disk = self.environment.disk.as_ref();
        while background.checkpoints.len() > keep {
            let old = background.checkpoints.remove(0);
            self.give_up(background, old.folder)?;
        }
        // Only under the lock do folders find new readers.
        for folder in std::mem::take(&mut background.given_up) {
            if Arc::strong_count(&folder) > 1 {
                background.given_up.push(folder);
            } else {
                files::remove_folder(disk, &folder.path())?;
            }
        }
        // Nothing refers any more to files of generations that were replaced before the cut: the kept checkpoints have
        // names of their own. Not under the lock, a flush wants it.
        let garbage = self.garbage.lock().take(replaced);
        for path in garbage {
            files::remove_gently(disk, &path)?;
        }
        if let Some(oldest) = background.checkpoints.iter().map(|checkpoint| checkpoint.log_position).min() {
            self.log_files.drop_below(oldest)?;
        }
        Ok(())
    }

    /// Takes its name from a folder that counts by it, durably, before anything in it goes: a crash never leaves half of
    /// it under that name, and no start goes on from a checkpoint whose log is gone.
    pub(super) fn give_up(&self, background: &mut Background, folder: Arc<CheckpointFolder>) -> Result<(), Fault> {
        let disk = self.environment.disk.as_ref();
        background.given_up_count += 1;
        let mut path = folder.lock();
        // Its instance may have come up twice, and both may be read.
        let old = path.with_extension(format!("{}.old", background.given_up_count));
        disk.rename(&path, &old).map_err(Fault::io("renaming", &path))?;
        *path = old;
        drop(path);
        sync_names(disk, &self.directory.checkpoints())?;
        background.given_up.push(folder);
        Ok(())
    }

    /// Gives a new checkpoint's folder the name that counts, durably. One at the same instance (nothing was ordered
    /// since) is replaced; until that is durable, the old one can come back: it may be the only one.
    pub(super) fn put_in_place(
        &self,
        background: &mut Background,
        new_folder: &Path,
        folder: &Path,
        instance: Instance,
    ) -> Result<(), Fault> {
        let disk = self.environment.disk.as_ref();
        let replaced = folder.with_extension(REPLACED);
        let at = background.checkpoints.iter().position(|checkpoint| checkpoint.instance == instance);
        let old = at.map(|at| Arc::clone(&background.checkpoints[at].folder));
        let mut old_path = old.as_ref().map(|old| old.lock());
        let is_replacing = disk.metadata(folder).is_ok();
        if is_replacing {
            disk.rename(folder, &replaced).map_err(Fault::io("renaming", folder))?;
        }
        if let Err(error) = disk.rename(new_folder, folder) {
            if is_replacing {
                let _ = disk.rename(&replaced, folder);
            }
            return Err(Fault::io("renaming", new_folder)(error));
        }
        if let Some(path) = &mut old_path {
            path.clone_from(&replaced);
        }
        drop(old_path);
        sync_names(disk, &self.directory.checkpoints())?;
        match (at, old) {
            (Some(at), Some(old)) => {
                background.checkpoints.remove(at);
                self.give_up(background, old)
            }
            _ => files::remove_folder(disk, &replaced),
        }
    }
}

/// Extension of a checkpoint's folder while another one takes its name.
pub(super) const REPLACED: &str = "replaced";

/// A sync that fails is final: whether the names are durable is not known then.
fn sync_names(disk: &dyn Disk, folder: &Path) -> Result<(), Fault> {
    disk.sync_folder(folder).map_err(|source| Fault::Io { action: "syncing", path: folder.to_path_buf(), source })
}
