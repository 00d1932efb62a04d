//! Restoring: from a backup, a data directory again.
//!
//! ```text
//! look at the backup -> take the target -> FORMAT (being restored) -> copy and check each file -> FORMAT (complete)
//!        refused: nothing has happened     |   anything wrong: the directory says that it is half restored
//! ```
//!
//! The state is that of the backup's cut: its instance, time and window of ids, so that the next instance and the next
//! incarnation follow. The log is new, and the directory is one of a cluster of its own; see
//! `docs/decisions/0008-restored-directories.md`.

use super::Engine;
use super::create::{check_log_file_len, fitting_log_file_len, make};
use super::source::{BackupFolder, SegmentSource};
use crate::directory::{Directory, Stage};
use crate::env::Environment;
use crate::error::Fault;
use crate::key::SegmentId;
use crate::manifest::{Manifest, Shape};
use crate::position::Instance;
use crate::segment::SegmentCut;
use std::path::Path;
use thiserror::Error;

/// What was restored.
#[derive(Debug)]
pub struct RestoreInfo {
    /// The last instance that is in it.
    pub instance: Instance,
    /// Keys in it.
    pub live_records: u64,
    /// Segment files.
    pub segment_files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Images of the backup that are damaged. They were left out, and nothing is lost: segments are indexed from their
    /// records where there is no image.
    pub damaged_images: Vec<Fault>,
}

/// Why a backup was not restored.
#[derive(Debug, Error)]
#[error("{fault}")]
pub struct RestoreError {
    /// What is wrong.
    pub fault: Fault,
    /// Whether anything was made in the target. It must be removed before another attempt then.
    pub is_half_restored: bool,
}

impl Engine {
    /// Makes a data directory from a backup: a checkpoint's folder, or a copy of one. `log_file_len` is the length of a
    /// file of the new log; without it, the usual one, or what the longest value needs.
    ///
    /// # Errors
    /// The target is neither empty nor absent; the backup is none, of another version, incomplete or damaged; faults of
    /// the disk. Nothing but a restore that came to its end can be opened.
    pub fn restore(
        environment: &Environment,
        backup: &Path,
        root: &Path,
        log_file_len: Option<u64>,
    ) -> Result<RestoreInfo, RestoreError> {
        let refused = |fault| RestoreError { fault, is_half_restored: false };
        let (source, mut manifest) = BackupFolder::open(environment, backup).map_err(refused)?;
        let max_value_len = manifest.shape.max_value_len;
        let log_file_len = log_file_len.unwrap_or_else(|| fitting_log_file_len(max_value_len));
        check_log_file_len(log_file_len, max_value_len).map_err(refused)?;
        let directory = take_empty(environment, root).map_err(refused)?;
        check_room(environment, root, &manifest, log_file_len).map_err(refused)?;
        // The directory that the backup is of may go on: what the two are from here on must not be taken for one.
        manifest.shape = Shape { cluster: (environment.random)(), ..manifest.shape };
        let (instance, live_records) = (manifest.instance, manifest.live_records());
        let mut info = RestoreInfo { instance, live_records, segment_files: 0, bytes: 0, damaged_images: Vec::new() };
        let files: Vec<_> = manifest.files().collect();
        let fill = |folder: &Path| bring_all(&source, &files, folder, &mut info);
        match make(environment, &directory, Stage::BeingRestored, log_file_len, manifest, fill) {
            Ok(_) => Ok(info),
            Err(fault) => Err(RestoreError { fault: final_fault(fault), is_half_restored: true }),
        }
    }
}

/// Takes hold of a directory in which nothing is; it is created where there is none.
fn take_empty(environment: &Environment, root: &Path) -> Result<Directory, Fault> {
    let (directory, format) = Directory::take(environment, root)?;
    let shown = root.display();
    match format.map(|format| format.stage) {
        None => Ok(directory),
        Some(Stage::BeingRestored) => Err(directory.half_restored()),
        Some(Stage::Complete) => Err(Fault::Refused(format!(
            "{shown} is a data directory already, and nothing is restored over one; name an empty or new folder"
        ))),
        Some(Stage::BeingMade) => Err(Fault::Refused(format!(
            "{shown} is not empty: a server began to make a data directory there; remove it, or name another folder"
        ))),
    }
}

/// Whether all of it will fit, as far as one can tell: it is better known now than after hours.
fn check_room(environment: &Environment, root: &Path, manifest: &Manifest, log_file_len: u64) -> Result<(), Fault> {
    let free = environment.disk.free_bytes(root).map_err(Fault::io("asking for free space at", root))?;
    let needed = manifest.files().map(|(_, cut)| cut.length).sum::<u64>() + log_file_len;
    if free < needed {
        let shown = root.display();
        return Err(Fault::Refused(format!("{shown}: {free} bytes are free on this disk, and {needed} are needed")));
    }
    Ok(())
}

fn bring_all(
    source: &dyn SegmentSource,
    files: &[(SegmentId, SegmentCut)],
    folder: &Path,
    info: &mut RestoreInfo,
) -> Result<(), Fault> {
    for (id, cut) in files {
        source.bring_segment(*id, cut, folder)?;
        info.segment_files += 1;
        info.bytes += cut.length;
        match source.bring_image(*id, cut, folder) {
            Err(damage @ Fault::Corrupt { .. }) => info.damaged_images.push(damage),
            result => result?,
        }
    }
    Ok(())
}

/// A full disk is final here: nobody goes on by itself when there is room.
fn final_fault(fault: Fault) -> Fault {
    match fault {
        Fault::Full { action, path, source } => Fault::Io { action, path, source },
        fault => fault,
    }
}
