//! The engine: the state of one replica, on one data directory.
//!
//! ```text
//! open -> execute(command) ... cut -> checkpoint (in the background) -> maintain (compaction, images, garbage)
//! ```
//!
//! It has no threads: whoever uses it calls [`Engine::execute`] from as many as it likes, [`Engine::cut`] when no
//! command is in flight, and [`Engine::checkpoint`] and [`Engine::maintain`] from one in the background. Replicas that
//! are far behind take another one's checkpoint: [`Engine::newest_checkpoint`] there, [`Engine::begin_incoming`] and
//! [`Engine::install`] here.

mod backup;
mod checkpoint;
mod create;
mod donor;
mod execute;
mod handover;
mod incoming;
mod install;
mod kept;
mod maintenance;
mod open;
mod range;
mod restore;
mod source;
mod view;

#[cfg(test)]
mod tests;

pub use backup::BackupInfo;
pub use checkpoint::{CheckpointInfo, Cut};
pub use donor::PinnedCheckpoint;
pub use handover::Version;
pub use incoming::{CheckedIncoming, Incoming};
pub use maintenance::SpaceReport;
pub(crate) use open::place;
pub use open::{EngineOptions, Identity, Opened};
pub use range::PinnedCut;
pub use restore::{RestoreError, RestoreInfo};

use crate::directory::{Directory, Format};
use crate::env::Environment;
use crate::error::Fault;
use crate::key::{Generation, KeyHash};
use crate::log::LogFiles;
use crate::position::Instance;
use crate::segment::{Guard, Place, Segment, SegmentCut};
use kept::{CheckpointFolder, KeptCheckpoint};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The state of one replica.
pub struct Engine {
    environment: Environment,
    directory: Directory,
    format: Format,
    place: Place,
    segments: Vec<Segment>,
    /// Held by a cut, and by whatever changes which file a segment is in.
    layout: Arc<Mutex<()>>,
    /// Pinned cuts. Changes under `layout`.
    pins: AtomicUsize,
    /// The next generation of any segment's file: one counter keeps names unique.
    next_generation: AtomicU32,
    log_files: Arc<LogFiles>,
    /// Held while a checkpoint is made or installed, before `background`.
    checkpointing: Mutex<()>,
    background: Mutex<Background>,
    /// The last checkpoint's instance.
    last_checkpoint: AtomicU64,
    /// Segment files that a checkpoint or the present state no longer names.
    garbage: Mutex<Garbage>,
    /// The last cut, until it is a checkpoint: files that it names stay. Set under `layout`.
    pending_cut: Mutex<Option<PendingCut>>,
    /// Whether a donor's checkpoint is being received.
    is_receiving: Arc<AtomicBool>,
    /// Whether nothing is compacted, as that drops tombstones.
    keeps_tombstones: AtomicBool,
}

/// What is known of a cut that is no checkpoint yet.
struct PendingCut {
    instance: Instance,
    segments: Vec<SegmentCut>,
}

/// What checkpoints know of one another. One at a time is made.
struct Background {
    /// The kept checkpoints, oldest first.
    checkpoints: Vec<KeptCheckpoint>,
    /// Folders of those that are kept no more, while they are read.
    given_up: Vec<Arc<CheckpointFolder>>,
    /// How many there have been.
    given_up_count: u64,
    /// Where the search for maintenance work goes on.
    next_segment: usize,
}

/// Files that were replaced, in the order in which they were: a cut needs none that was replaced before it was taken,
/// but those that are replaced while it waits for its checkpoint.
#[derive(Default)]
struct Garbage {
    files: VecDeque<(PathBuf, u64)>,
    /// How many were taken out.
    taken: u64,
}

impl Garbage {
    /// Adds a file of so many bytes.
    fn push(&mut self, path: PathBuf, bytes: u64) {
        self.files.push_back((path, bytes));
    }

    /// How many there have ever been.
    fn pushed(&self) -> u64 {
        self.taken + self.files.len() as u64
    }

    /// Takes those out that were among the first `pushed`.
    fn take(&mut self, pushed: u64) -> Vec<PathBuf> {
        let count = pushed.saturating_sub(self.taken).min(self.files.len() as u64);
        self.taken += count;
        self.files.drain(..count as usize).map(|(path, _)| path).collect()
    }
}

impl Engine {
    /// What the data directory is.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The data directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The environment that the engine works in.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The files of the log that belongs to the state.
    pub fn log_files(&self) -> &Arc<LogFiles> {
        &self.log_files
    }

    /// A key's hash.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.place.seed)
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Segments that were installed since the start.
    pub fn installed_count(&self) -> usize {
        self.segments.iter().filter(|segment| segment.is_installed()).count()
    }

    /// Number of keys, those included that have expired and were not swept yet.
    pub fn key_count(&self) -> u64 {
        self.segments.iter().map(|segment| segment.cut().totals.live_records).sum()
    }

    /// Number of keys that have an expiry.
    pub fn expiring_count(&self) -> u64 {
        self.segments.iter().map(|segment| segment.cut().totals.expiring_records).sum()
    }

    /// Bytes of the records of live keys.
    pub fn live_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.cut().totals.live_bytes).sum()
    }

    /// Where each segment stands.
    pub fn segment_cuts(&self) -> Vec<SegmentCut> {
        self.segments.iter().map(Segment::cut).collect()
    }

    /// The same, for a cut: what lies below never changes from now on (S1). Under `layout`, while no command is in flight.
    fn freeze(&self) -> Vec<SegmentCut> {
        self.segments.iter().map(Segment::freeze).collect()
    }

    /// Instance of the last durable checkpoint.
    pub fn last_checkpoint(&self) -> Instance {
        Instance::new(self.last_checkpoint.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// Instances and folders of the checkpoints that are kept, oldest first.
    pub fn kept_checkpoints(&self) -> Vec<(Instance, PathBuf)> {
        let background = self.background.lock();
        background.checkpoints.iter().map(|checkpoint| (checkpoint.instance, checkpoint.folder.path())).collect()
    }

    fn lock_segment(&self, index: usize) -> Result<Guard<'_>, Fault> {
        self.segments[index].lock(&self.place)
    }

    fn new_generation(&self) -> Generation {
        Generation(self.next_generation.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a write can be accepted now: room for it, what is in flight, and the next log file.
    ///
    /// Writes are refused while there still is some room, so that what was accepted can be executed and deletes
    /// go through; see `docs/operations.md`.
    ///
    /// # Errors
    /// The disk is nearly full.
    pub fn check_room(&self, only_deletes: bool) -> Result<(), Fault> {
        let reserve = self.room_reserve();
        self.check_free(if only_deletes { reserve / 4 } else { reserve }, "accepting writes in")
    }

    fn check_free(&self, needed: u64, action: &'static str) -> Result<(), Fault> {
        let root = self.directory.root();
        let free = self.environment.disk.free_bytes(root).map_err(Fault::io("asking for free space at", root))?;
        if free >= needed {
            return Ok(());
        }
        Err(Fault::Full {
            action,
            path: root.to_path_buf(),
            source: std::io::Error::new(
                std::io::ErrorKind::StorageFull,
                format!("{free} bytes are free, {needed} are kept in reserve"),
            ),
        })
    }

    /// Whether a log file can be made ahead of its time: what is kept free for writes that were accepted stays free.
    ///
    /// # Errors
    /// The disk is nearly full.
    pub fn check_room_for_log_file(&self) -> Result<(), Fault> {
        self.check_free(self.room_reserve() + self.format.log_file_len, "making log files in")
    }

    /// Bytes that are kept free: a step of growth for every segment that is in use would be too much for small
    /// disks, so a quarter of a log file and at least 4 MiB.
    fn room_reserve(&self) -> u64 {
        (self.format.log_file_len / 4).max(4 << 20)
    }
}
