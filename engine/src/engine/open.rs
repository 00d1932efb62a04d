//! Opening a data directory: from the newest good checkpoint, without touching a segment.

use super::{Background, Engine, KeptCheckpoint};
use crate::command::DEFAULT_MAX_VALUE_LEN;
use crate::directory::{Directory, Format};
use crate::env::{BLOCK, Disk, Environment};
use crate::error::Fault;
use crate::files;
use crate::key::{HASH_VERSION, SegmentId};
use crate::log::{LogFiles, LogOptions, LogScan, LogWriter};
use crate::manifest::{Manifest, Shape};
use crate::position::{Instance, LogPosition};
use crate::segment::{Place, Segment, SegmentCut};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

/// What a new data directory is made with.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Number of segments, 1 to 4096.
    pub segments: u16,
    /// Length of a log file, in bytes.
    pub log_file_len: u64,
    /// Longest value, in bytes.
    pub max_value_len: u32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions { segments: 256, log_file_len: 64 << 20, max_value_len: DEFAULT_MAX_VALUE_LEN as u32 }
    }
}

/// Most segments that a data directory can have.
pub const MAX_SEGMENTS: u16 = 4096;
/// Addresses reserved for all segments together, in bytes: 16 of the 128 TiB that a process has.
const ADDRESS_BUDGET: u64 = 16 << 40;
/// What 32-bit offsets in units of 8 bytes reach.
const MAX_SEGMENT_LEN: u64 = 32 << 30;

/// What opening found.
pub struct Opened {
    /// The checkpoint that the state stands at.
    pub manifest: Manifest,
    /// The log from there on.
    pub log: LogScan,
    /// Goes on where the log ends.
    pub writer: LogWriter,
}

impl Engine {
    /// Opens a data directory; makes a new one where there is none.
    ///
    /// No segment is read: each is installed by the first command that needs it. What the log has beyond the
    /// checkpoint is to be executed by the caller.
    ///
    /// # Errors
    /// The directory can't be used, is damaged, or the disk fails.
    pub fn open(environment: Environment, root: &Path, options: EngineOptions) -> Result<(Engine, Opened), Fault> {
        let (directory, format) = Directory::take(&environment, root)?;
        let (format, log_files, writer) = match format {
            Some(format) if format.is_complete => {
                directory.check_folders(&environment)?;
                directory.sync_names(&environment)?;
                let log_files = log_files(&environment, &directory, &format);
                // Refuses what does not belong there: now, rather than when files are dropped.
                log_files.list()?;
                (format, Arc::new(log_files), None)
            }
            _ => {
                let (format, log_files, writer) = create(&environment, &directory, options)?;
                (format, log_files, Some(writer))
            }
        };
        directory.renew_images(&environment)?;
        let (checkpoints, manifest) = checkpoints(&environment, &directory, &format)?;
        let newest = checkpoints.last().map(|checkpoint| checkpoint.folder.clone());
        let place = place(&environment, &directory, &format.shape, newest);
        tidy_segments(&place, &manifest)?;
        let log = crate::log::scan(&log_files, manifest.log_position, manifest.is_clean_stop)?;
        if log.torn > 0 {
            tracing::warn!(
                position = log.end.get(),
                "the log's last write was torn; it was never acknowledged and is left out"
            );
        }
        let writer = match writer {
            Some(writer) => writer,
            None => LogWriter::resume(Arc::clone(&log_files), &log)?,
        };
        let segments = manifest.segments.iter().enumerate();
        let highest = manifest.segments.iter().map(|cut| cut.generation).max().unwrap_or_default();
        let engine = Engine {
            segments: segments.map(|(number, cut)| Segment::waiting(SegmentId(number as u16), *cut)).collect(),
            place,
            format,
            directory,
            layout: Arc::new(Mutex::new(())),
            pins: AtomicUsize::new(0),
            next_generation: AtomicU32::new(highest.next().0),
            log_files,
            background: Mutex::new(Background { checkpoints, next_segment: 0 }),
            last_checkpoint: AtomicU64::new(manifest.instance.get()),
            garbage: Mutex::default(),
            pending_cut: Mutex::default(),
            environment,
        };
        Ok((engine, Opened { manifest, log, writer }))
    }
}

/// Makes a new data directory, with a checkpoint of the empty state. The log's writer and everybody else must share
/// the log's files, which know what is being made and what is in use.
fn create(
    environment: &Environment,
    directory: &Directory,
    options: EngineOptions,
) -> Result<(Format, Arc<LogFiles>, LogWriter), Fault> {
    let refuse = |what: &str| Err(Fault::Refused(what.to_string()));
    if !(1..=MAX_SEGMENTS).contains(&options.segments) {
        return refuse("the number of segments must be 1 to 4096");
    }
    if !options.log_file_len.is_multiple_of(BLOCK as u64) || options.log_file_len < 8 * BLOCK as u64 {
        return refuse("the length of log files must be a multiple of 4096, at least 32768");
    }
    if u64::from(options.max_value_len) + (1 << 16) > options.log_file_len - 4 * BLOCK as u64 {
        return refuse(
            "the longest value must fit a log file with 80 KiB to spare: \
             make log files longer (--log-file-mb) or the longest value shorter (--max-value-mb)",
        );
    }
    let shape = Shape {
        cluster: (environment.random)(),
        segments: options.segments,
        seed: (environment.random)(),
        hash_version: HASH_VERSION,
        max_value_len: options.max_value_len,
    };
    let mut format =
        Format { is_complete: false, directory: (environment.random)(), shape, log_file_len: options.log_file_len };
    directory.write_format(environment, &format)?;
    directory.sync_names_above(environment)?;
    directory.make_folders(environment)?;
    let log_files = Arc::new(log_files(environment, directory, &format));
    let writer = LogWriter::create(Arc::clone(&log_files))?;
    let manifest = Manifest {
        shape,
        instance: Instance::ZERO,
        time_ms: 0,
        log_position: LogPosition::new(BLOCK as u64),
        is_clean_stop: true,
        proxies: Vec::new(),
        segments: vec![SegmentCut::default(); usize::from(options.segments)],
    };
    let disk = environment.disk.as_ref();
    let folder = Manifest::folder(&directory.checkpoints(), Instance::ZERO);
    disk.create_folder(&folder).map_err(Fault::io("creating", &folder))?;
    disk.sync_folder(&directory.checkpoints()).map_err(Fault::io("syncing", &folder))?;
    files::write_atomically(disk, &Manifest::path(&folder), &manifest.encode())?;
    format.is_complete = true;
    directory.write_format(environment, &format)?;
    Ok((format, log_files, writer))
}

fn log_files(environment: &Environment, directory: &Directory, format: &Format) -> LogFiles {
    let options = LogOptions { file_len: format.log_file_len, ..LogOptions::default() };
    LogFiles::new(environment, &directory.log(), options, format.directory)
}

pub(crate) fn place(
    environment: &Environment,
    directory: &Directory,
    shape: &Shape,
    checkpoint: Option<PathBuf>,
) -> Place {
    Place {
        environment: environment.clone(),
        folder: Arc::new(directory.segments()),
        images: Arc::new(directory.images()),
        checkpoint: Arc::new(Mutex::new(checkpoint)),
        spares: Arc::default(),
        seed: shape.seed,
        segments: shape.segments,
        capacity: (ADDRESS_BUDGET / u64::from(shape.segments)).min(MAX_SEGMENT_LEN),
    }
}

/// The kept checkpoints, oldest first, up to the newest good one, and that one's manifest.
fn checkpoints(
    environment: &Environment,
    directory: &Directory,
    format: &Format,
) -> Result<(Vec<KeptCheckpoint>, Manifest), Fault> {
    let disk = environment.disk.as_ref();
    let folder = directory.checkpoints();
    restore_replaced(disk, &folder)?;
    let mut instances = Vec::new();
    for name in disk.list(&folder).map_err(Fault::io("listing", &folder))? {
        match Manifest::instance_of_name(&name) {
            Some(instance) => instances.push(instance),
            // Begun or half removed when the process ended.
            None if name.ends_with(".new") || name.ends_with(".old") => {
                files::remove_folder(disk, &folder.join(name))?;
            }
            None => {
                return Err(Fault::Refused(format!(
                    "{} is no checkpoint; move it out of the data directory",
                    folder.join(name).display()
                )));
            }
        }
    }
    let (mut kept, mut newest): (Vec<KeptCheckpoint>, Option<Manifest>) = (Vec::new(), None);
    let mut damage = None;
    for instance in instances {
        let path = Manifest::folder(&folder, instance);
        match Manifest::read(disk, &path) {
            Ok(manifest) if manifest.shape == format.shape && manifest.instance == instance => {
                kept.push(KeptCheckpoint {
                    instance,
                    folder: path,
                    log_position: manifest.log_position,
                    segments: Arc::new(manifest.segments.clone()),
                });
                newest = Some(manifest);
            }
            Ok(_) => {
                damage = Some(Fault::corrupt(&Manifest::path(&path), 0, "it belongs to another data directory"));
            }
            Err(fault @ Fault::Corrupt { .. }) => damage = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    match (newest, damage) {
        (Some(manifest), Some(fault)) => {
            tracing::error!(%fault, instance = manifest.instance.get(), "a checkpoint is damaged; another one and the log are used");
            Ok((kept, manifest))
        }
        (Some(manifest), None) => Ok((kept, manifest)),
        (None, Some(fault)) => Err(fault),
        (None, None) => Err(Fault::Refused(format!(
            "{} holds no checkpoint: the data directory was deleted in part; restore it from a backup",
            folder.display()
        ))),
    }
}

/// Gives checkpoints their names back whose replacement did not get there.
fn restore_replaced(disk: &dyn Disk, folder: &Path) -> Result<(), Fault> {
    for name in disk.list(folder).map_err(Fault::io("listing", folder))? {
        let replaced = folder.join(name);
        if replaced.extension().is_none_or(|extension| extension != super::checkpoint::REPLACED) {
            continue;
        }
        let restored = replaced.with_extension("");
        if disk.metadata(&restored).is_ok() {
            files::remove_folder(disk, &replaced)?;
        } else {
            disk.rename(&replaced, &restored).map_err(Fault::io("renaming", &replaced))?;
            disk.sync_folder(folder).map_err(Fault::io("syncing", folder))?;
        }
    }
    Ok(())
}

/// Brings the folder of segment files in line with the checkpoint: files of generations that it doesn't name go,
/// missing ones are linked from it.
fn tidy_segments(place: &Place, manifest: &Manifest) -> Result<(), Fault> {
    let disk = place.environment.disk.as_ref();
    let folder = place.folder.as_ref();
    let mut expected: hashbrown::HashSet<String, std::hash::RandomState> = manifest
        .segments
        .iter()
        .enumerate()
        .filter(|(_, cut)| cut.length > 0)
        .map(|(number, cut)| Place::segment_name(SegmentId(number as u16), cut.generation))
        .collect();
    for name in disk.list(folder).map_err(Fault::io("listing", folder))? {
        if expected.remove(&name) {
            continue;
        }
        if !name.ends_with(".seg") {
            return Err(Fault::Refused(format!(
                "{} is no segment file; move it out of the data directory",
                folder.join(&name).display()
            )));
        }
        files::remove_gently(disk, &folder.join(name))?;
    }
    let Some(checkpoint) = place.checkpoint.lock().clone() else { return Ok(()) };
    for name in expected {
        let from = checkpoint.join(&name);
        disk.hard_link(&from, &folder.join(&name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Fault::Refused(format!(
                "{} is missing, and so is {}: the data directory was deleted in part; restore it from a backup",
                folder.join(&name).display(),
                from.display()
            )),
            _ => Fault::io("linking", &from)(error),
        })?;
    }
    Ok(())
}
