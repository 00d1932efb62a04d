//! Donors: the newest checkpoint, read piece by piece while it is sent to another replica.
//!
//! What is read are the files of segments, up to where they count, and the manifest. Images stay: a receiver indexes
//! what it got.

use super::Engine;
use super::kept::CheckpointFolder;
use crate::env::Environment;
use crate::error::Fault;
use crate::key::SegmentId;
use crate::manifest::Manifest;
use crate::segment::{Place, too_short};
use std::io;
use std::sync::Arc;

/// Most bytes that one read gives.
const MAX_READ: usize = 1 << 20;

/// A checkpoint whose files stay as long as this lives. Later checkpoints are taken, and let go of log files and of
/// older checkpoints, as if it were not there; its own folder goes with the first one after it was dropped.
pub struct PinnedCheckpoint {
    environment: Environment,
    folder: Arc<CheckpointFolder>,
    manifest: Manifest,
}

impl Engine {
    /// Pins the newest checkpoint.
    ///
    /// # Errors
    /// Its manifest is damaged, or the disk fails.
    pub fn newest_checkpoint(&self) -> Result<PinnedCheckpoint, Fault> {
        // Under the lock it is neither replaced nor given up.
        let background = self.background.lock();
        let Some(newest) = background.checkpoints.last() else {
            return Err(Fault::Refused("there is no checkpoint yet".into()));
        };
        let manifest = Manifest::read(self.environment.disk.as_ref(), &newest.folder.path())?;
        let folder = Arc::clone(&newest.folder);
        Ok(PinnedCheckpoint { environment: self.environment.clone(), folder, manifest })
    }
}

impl PinnedCheckpoint {
    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The segments that have a file, with the length that counts of each.
    pub fn files(&self) -> Vec<(SegmentId, u64)> {
        self.manifest.files().map(|(id, cut)| (id, cut.length)).collect()
    }

    /// Bytes of a segment's file: `len` of them, fewer at the end of what counts, and 1 MiB at most. They are not checked
    /// here; a receiver checks every record.
    ///
    /// # Errors
    /// Refused: there is nothing at that offset. The file is shorter than it must be, or the disk fails.
    pub fn read(&self, segment: SegmentId, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let cut = self.manifest.segments.get(segment.index()).filter(|cut| offset < cut.length);
        let Some(cut) = cut else {
            let instance = self.manifest.instance;
            return Err(Fault::Refused(format!(
                "the checkpoint at instance {instance} has no byte {offset} of segment {segment}"
            )));
        };
        let len = (cut.length - offset).min(len.min(MAX_READ) as u64) as usize;
        let disk = self.environment.disk.as_ref();
        let (path, file) = self.folder.open(disk, &Place::segment_name(segment, cut.generation));
        let file = file.map_err(Fault::io("opening", &path))?;
        let mut bytes = vec![0; len];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(too_short(&path, file.len().map_err(Fault::io("reading", &path))?, cut.length))
            }
            Err(error) => Err(Fault::io("reading", &path)(error)),
        }
    }
}
