//! Mistakes that a runtime can make: the simulator shows that it would notice them.

use skink_engine::env::sim::SimDisk;
use skink_engine::env::{Disk, DiskFile, Metadata, Open};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Something that the runtime around the nodes does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A log write counts as durable when it is only written.
    LogIsNotDurable,
    /// Reads are executed at once, however old the state is.
    ReadsDoNotWait,
    /// The node hears that a checkpoint is durable when it is only begun.
    CheckpointIsDoneEarly,
    /// Who got no answer hands the same commands in again, as a batch of its own.
    RetriesAreNewBatches,
    /// A replica that lost its disk starts as if it had always had the new one.
    LostDiskIsNotTold,
    /// What arrives through a connection may overtake what was sent before.
    MessagesOvertake,
}

impl Mistake {
    pub const ALL: [Mistake; 6] = [
        Mistake::LogIsNotDurable,
        Mistake::ReadsDoNotWait,
        Mistake::CheckpointIsDoneEarly,
        Mistake::RetriesAreNewBatches,
        Mistake::LostDiskIsNotTold,
        Mistake::MessagesOvertake,
    ];
}

/// A disk whose durable writes are like any others: a power cut may lose them.
pub struct HastyDisk(pub SimDisk);

impl Disk for HastyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(path, if how == Open::Durable { Open::ReadWrite } else { how })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.0.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.sync_folder(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }
}
