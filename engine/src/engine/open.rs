//! Opening a data directory: from the newest good checkpoint, without touching a segment.

use super::create::{create, log_files};
use super::kept::{CheckpointFolder, KeptCheckpoint, REPLACED};
use super::source::{LocalCheckpoint, SegmentSource};
use super::{Background, Engine};
use crate::command::DEFAULT_MAX_VALUE_LEN;
use crate::directory::{Directory, Format, Stage};
use crate::env::{Disk, Environment};
use crate::error::Fault;
use crate::files;
use crate::key::SegmentId;
use crate::log::{LogScan, LogWriter};
use crate::manifest::{Manifest, Shape};
use crate::segment::{Place, Segment};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// What a new data directory is made with.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Number of segments, 1 to 4096.
    pub segments: u16,
    /// Length of a log file, in bytes.
    pub log_file_len: u64,
    /// Longest value, in bytes.
    pub max_value_len: u32,
    /// The cluster that it is of; without it, a cluster of its own.
    pub identity: Option<Identity>,
}

/// What all replicas of a cluster have in common, and no others: with it, they have one
/// [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// Seed of the key hash.
    pub seed: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            segments: 256,
            log_file_len: 64 << 20,
            max_value_len: DEFAULT_MAX_VALUE_LEN as u32,
            identity: None,
        }
    }
}

/// Most segments that a data directory can have.
pub const MAX_SEGMENTS: u16 = 4096;
/// Addresses reserved for all segments together, in bytes: 16 of the 128 TiB that a process has.
const ADDRESS_BUDGET: u64 = 16 << 40;
/// What 32-bit offsets in units of 8 bytes reach.
const MAX_SEGMENT_LEN: u64 = 32 << 30;
/// With less room on the disk, a start removes what it puts aside before it goes on.
const ROOM_TO_START: u64 = 256 << 20;

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
            Some(format) if format.stage == Stage::BeingRestored => return Err(directory.half_restored()),
            Some(format) if format.stage == Stage::Complete => {
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
        directory.put_incoming_aside(&environment)?;
        let (checkpoints, manifest) = checkpoints(&environment, &directory, &format)?;
        let newest = checkpoints.last().map(|checkpoint| checkpoint.folder.path());
        let place = place(&environment, &directory, &format.shape, newest);
        tidy_segments(&place, &manifest, &directory.segments_aside())?;
        let free = environment.disk.free_bytes(directory.root()).map_err(Fault::io("looking at", directory.root()))?;
        if free < ROOM_TO_START {
            // A replay needs the room that it takes, and can't wait until something removes it in the background.
            directory.remove_put_aside(&environment)?;
        }
        let log = {
            let from = manifest.log_position;
            crate::log::scan_with(&log_files, from, manifest.is_clean_stop, &log_files.outline_from(from))?
        };
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
            checkpointing: Mutex::default(),
            background: Mutex::new(Background {
                checkpoints,
                given_up: Vec::new(),
                given_up_count: 0,
                next_segment: 0,
            }),
            last_checkpoint: AtomicU64::new(manifest.instance.get()),
            garbage: Mutex::default(),
            pending_cut: Mutex::default(),
            is_receiving: Arc::default(),
            keeps_tombstones: AtomicBool::new(false),
            environment,
        };
        Ok((engine, Opened { manifest, log, writer }))
    }
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
                    folder: CheckpointFolder::new(path),
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
        if replaced.extension().is_none_or(|extension| extension != REPLACED) {
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

/// Gives a file a name, or one like it, in a folder that is removed in the background.
fn put_aside(environment: &Environment, from: &Path, to: &Path) -> Result<(), Fault> {
    let disk = environment.disk.as_ref();
    let folder = to.parent().unwrap_or(Path::new("/"));
    disk.create_folder(folder).map_err(Fault::io("creating", folder))?;
    // One of an earlier start may not be removed yet: to write over it would be to remove it here.
    let mut name = to.to_path_buf();
    while disk.metadata(&name).is_ok() {
        name.as_mut_os_string().push(format!(".{:x}", (environment.random)()));
    }
    disk.rename(from, &name).map_err(Fault::io("renaming", from))
}

/// Brings the folder of segment files in line with the checkpoint: files of generations that it doesn't name are put
/// aside, as removing gigabytes takes seconds, and missing ones are linked from it.
fn tidy_segments(place: &Place, manifest: &Manifest, aside: &Path) -> Result<(), Fault> {
    let disk = place.environment.disk.as_ref();
    let folder = place.folder.as_ref();
    let mut missing: hashbrown::HashSet<String, std::hash::RandomState> =
        manifest.files().map(|(id, cut)| Place::segment_name(id, cut.generation)).collect();
    for name in disk.list(folder).map_err(Fault::io("listing", folder))? {
        if missing.remove(&name) {
            continue;
        }
        if !name.ends_with(".seg") {
            return Err(Fault::Refused(format!(
                "{} is no segment file; move it out of the data directory",
                folder.join(&name).display()
            )));
        }
        put_aside(&place.environment, &folder.join(&name), &aside.join(&name))?;
    }
    let Some(checkpoint) = place.checkpoint.lock().clone() else { return Ok(()) };
    let source = LocalCheckpoint { place, folder: checkpoint };
    for (id, cut) in manifest.files() {
        if missing.contains(&Place::segment_name(id, cut.generation)) {
            source.bring_segment(id, &cut, folder)?;
        }
    }
    Ok(())
}
