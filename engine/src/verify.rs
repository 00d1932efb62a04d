//! Verifying: every checksum of a data directory or a backup, without using any index.

use crate::catalog;
use crate::directory::{Directory, Format, Stage};
use crate::engine::place;
use crate::env::Environment;
use crate::error::Fault;
use crate::log::{self, LogFiles, LogOptions};
use crate::manifest::Manifest;
use crate::position::Instance;
use crate::segment::{Place, check_image_file, check_segment_file};
use std::path::Path;

/// What verifying found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Checkpoints that were looked at.
    pub checkpoints: Vec<Instance>,
    /// Segment files that were read.
    pub segment_files: usize,
    /// Bytes of them.
    pub segment_bytes: u64,
    /// Keys in the newest checkpoint.
    pub live_records: u64,
    /// Frames in the log behind the oldest checkpoint.
    pub log_frames: usize,
    /// Bytes of a torn last write, which was never acknowledged; no damage.
    pub torn: u64,
    /// Bytes of a donor's checkpoint that is being received, or was when a process ended: it counts for nothing, and is
    /// checked before it does.
    pub incoming: u64,
    /// What is wrong, each with file and offset.
    pub damage: Vec<Fault>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies a data directory, or a checkpoint's folder (a backup). A directory in use can be verified too: what
/// is in its checkpoints does not change.
///
/// # Errors
/// The folder is neither, or can't be read. Damage is not an error here but in the report.
pub fn verify(environment: &Environment, root: &Path) -> Result<VerifyReport, Fault> {
    let mut report = VerifyReport::default();
    let disk = environment.disk.as_ref();
    if disk.metadata(&Manifest::path(root)).is_ok() {
        if let Some(manifest) = verify_checkpoint(environment, root, &mut report)? {
            report.live_records = manifest.live_records();
        }
        return Ok(report);
    }
    let directory = Directory::at(root);
    let format = match directory.read_format(environment) {
        Ok(format) => format,
        Err(fault @ Fault::Corrupt { .. }) => {
            report.damage.push(fault);
            return Ok(report);
        }
        Err(fault) => return Err(fault),
    };
    if format.stage == Stage::BeingRestored {
        return Err(directory.half_restored());
    }
    report.incoming = incoming_bytes(environment, &directory);
    note(catalog::check(environment, &directory.catalog()), &mut report)?;
    let checkpoints = directory.checkpoints();
    let mut oldest: Option<Manifest> = None;
    for name in disk.list(&checkpoints).map_err(Fault::io("listing", &checkpoints))? {
        if Manifest::instance_of_name(&name).is_some()
            && let Some(manifest) = verify_checkpoint(environment, &checkpoints.join(name), &mut report)?
        {
            report.live_records = manifest.live_records();
            oldest.get_or_insert(manifest);
        }
    }
    match oldest {
        Some(oldest) => verify_log(environment, &directory, &format, &oldest, &mut report)?,
        None if report.damage.is_empty() => {
            return Err(Fault::Refused(format!("{} holds no checkpoint", checkpoints.display())));
        }
        None => {}
    }
    Ok(report)
}

/// What lies where a donor's checkpoint is received. It may go while one looks.
fn incoming_bytes(environment: &Environment, directory: &Directory) -> u64 {
    let (disk, folder) = (&environment.disk, directory.incoming());
    let names = disk.list(&folder).unwrap_or_default();
    names.iter().filter_map(|name| disk.metadata(&folder.join(name)).ok()).map(|metadata| metadata.len).sum()
}

/// Keeps damage for the report; other faults end the verification.
fn note<T>(result: Result<T, Fault>, report: &mut VerifyReport) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(fault @ (Fault::Corrupt { .. } | Fault::Refused(_))) => {
            report.damage.push(fault);
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn verify_checkpoint(
    environment: &Environment,
    folder: &Path,
    report: &mut VerifyReport,
) -> Result<Option<Manifest>, Fault> {
    let Some(manifest) = note(Manifest::read(environment.disk.as_ref(), folder), report)? else { return Ok(None) };
    report.checkpoints.push(manifest.instance);
    let place: Place = place(environment, &Directory::at(folder), &manifest.shape, None);
    for (id, cut) in manifest.files() {
        let path = folder.join(Place::segment_name(id, cut.generation));
        note(readable(check_segment_file(&place, id, &cut, &path, &mut |_| Ok(())), &path), report)?;
        report.segment_files += 1;
        report.segment_bytes += cut.length;
        note(
            check_image_file(&place, id, cut.generation, &folder.join(Place::image_name(id, cut.generation))),
            report,
        )?;
    }
    Ok(Some(manifest))
}

/// A missing file is damage, too.
fn readable(result: Result<(), Fault>, path: &Path) -> Result<(), Fault> {
    match result {
        Err(Fault::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Fault::corrupt(path, 0, "the file is missing"))
        }
        result => result,
    }
}

fn verify_log(
    environment: &Environment,
    directory: &Directory,
    format: &Format,
    oldest: &Manifest,
    report: &mut VerifyReport,
) -> Result<(), Fault> {
    let options = LogOptions { file_len: format.log_file_len, ..LogOptions::default() };
    let files = LogFiles::new(environment, &directory.log(), options, format.directory);
    // Of a running or crashed process the end is not known, so all of the last file is searched.
    let Some(scan) = note(log::scan(&files, oldest.log_position, false), report)? else { return Ok(()) };
    report.torn = scan.torn;
    let mut reader = log::BodyReader::new(&files);
    for frame in &scan.frames {
        note(reader.read(frame.position), report)?;
        report.log_frames += 1;
    }
    Ok(())
}
