//! Installing a donor's checkpoint: it becomes this directory's newest one, and the state in memory follows.
//!
//! ```text
//! files into segments/ -> links and MANIFEST into checkpoints/<instance>.new -> its name, durably -> all segments wait at its cut
//!             a start finds the old state                                     |       a start finds the new one
//! ```
//!
//! The state in memory changes after what is durable did: nothing in between can fail.

use super::incoming::CheckedIncoming;
use super::kept::{CheckpointFolder, KeptCheckpoint};
use super::{CheckpointInfo, Engine};
use crate::error::Fault;
use crate::files;
use crate::manifest::{MAX_ORDERING_LEN, Manifest};
use crate::position::LogPosition;
use crate::segment::{Place, Segment};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Engine {
    /// Installs a donor's checkpoint: it is this directory's newest one, and the state is the one that it holds. Call it
    /// when no command is in flight; a checkpoint that is being made ends first, and a cut that still waits for its
    /// checkpoint is given up. No segment is read: each is installed by the first command that needs it.
    ///
    /// A start goes on in the log at `log_position`, at which the log must be durable; `ordering` is what the order keeps
    /// with the checkpoint, in place of what the donor's kept.
    ///
    /// # Errors
    /// Refused: a checkpoint or a cut here is not older. A full disk: the state is as it was, and the checkpoint has to be
    /// received again. Other faults of the disk: stop; the next start finds the old state or the new one.
    ///
    /// # Panics
    /// If the checkpoint was received for another engine, or `ordering` is too long.
    pub fn install(
        &self,
        incoming: CheckedIncoming,
        log_position: LogPosition,
        ordering: Vec<u8>,
    ) -> Result<CheckpointInfo, Fault> {
        let started = self.environment.clock.elapsed();
        assert_eq!(incoming.folder.path, self.directory.incoming(), "it was received for this directory");
        assert!(ordering.len() <= MAX_ORDERING_LEN, "the order keeps little with a checkpoint");
        let _one_at_a_time = self.checkpointing.lock();
        let mut background = self.background.lock();
        let manifest = Manifest { log_position, is_clean_stop: false, ordering, ..incoming.manifest.clone() };
        self.check_is_newer(manifest.instance)?;
        if let Some(pending) = &*self.pending_cut.lock()
            && pending.instance >= manifest.instance
        {
            return Err(Fault::Refused(format!(
                "the donor's checkpoint at instance {} is refused: the state here is at {} or above",
                manifest.instance, pending.instance
            )));
        }
        let folder = Manifest::folder(&self.directory.checkpoints(), manifest.instance);
        let durable = self
            .move_into_place(&incoming.folder.path, &manifest)
            .and_then(|()| self.write_folder(&mut background, &folder, &manifest, None));
        if let Err(fault) = durable {
            // Where it is a full disk, nothing was named yet, and what was moved would be in the way.
            self.remove_files(&manifest);
            return Err(fault);
        }
        let replaced = self.wait_at(&manifest, &folder);
        background.checkpoints.push(KeptCheckpoint {
            instance: manifest.instance,
            folder: CheckpointFolder::new(folder),
            log_position,
            segments: Arc::new(manifest.segments.clone()),
        });
        self.last_checkpoint.store(manifest.instance.get(), Ordering::Release);
        self.drop_old_checkpoints(&mut background, replaced)?;
        Ok(CheckpointInfo {
            instance: manifest.instance,
            new_bytes: manifest.files().map(|(_, cut)| cut.length).sum(),
            live_records: manifest.live_records(),
            digest: manifest.digest(),
            duration: self.environment.clock.elapsed().saturating_sub(started),
        })
    }

    /// Moves the files that were received to those of the state: under names of new generations, which nobody uses.
    fn move_into_place(&self, incoming: &Path, manifest: &Manifest) -> Result<(), Fault> {
        // What an earlier process received may have had the same names: what is moved are these files.
        self.environment.disk.sync_folder(incoming).map_err(Fault::io("syncing", incoming))?;
        for (id, cut) in manifest.files() {
            let from = incoming.join(Place::segment_name(id, cut.generation));
            let to = self.place.segment_path(id, cut.generation);
            self.environment.disk.rename(&from, &to).map_err(Fault::io("renaming", &from))?;
        }
        // A file of an earlier process may have had the name, and a power cut would bring it back: the manifest would
        // speak of another one.
        let folder = self.directory.segments();
        self.environment.disk.sync_folder(&folder).map_err(Fault::io("syncing", &folder))
    }

    /// Best effort: the next start removes them, too.
    fn remove_files(&self, manifest: &Manifest) {
        for (id, cut) in manifest.files() {
            let _ = files::remove_gently(self.environment.disk.as_ref(), &self.place.segment_path(id, cut.generation));
        }
    }

    /// Puts the state of a checkpoint in the place of the present one; answers with how many files were ever replaced.
    fn wait_at(&self, manifest: &Manifest, folder: &Path) -> u64 {
        if self.pins.load(Ordering::Acquire) > 0 {
            self.install_for_pins();
        }
        let mut held: Vec<_> = self.segments.iter().map(Segment::hold).collect();
        let no_cut = self.layout.lock();
        let is_pinned = self.pins.load(Ordering::Acquire) > 0;
        let mut garbage = self.garbage.lock();
        let mut old_generations = Vec::with_capacity(held.len());
        for (held, cut) in held.iter_mut().zip(&manifest.segments) {
            let (id, old) = (held.id(), held.cut());
            if old.length > 0 {
                garbage.push(self.place.segment_path(id, old.generation), old.length);
                garbage.push(self.place.image_path(id, old.generation), 0);
            }
            old_generations.push(held.wait_at(*cut, is_pinned));
        }
        let replaced = garbage.pushed();
        *self.pending_cut.lock() = None;
        *self.place.checkpoint.lock() = Some(folder.to_path_buf());
        drop((garbage, no_cut, held));
        // Unmapped when no lock is held.
        drop(old_generations);
        replaced
    }

    /// Pinned cuts read generations that are installed. Where one can't be, a pinned cut finds it gone, and the checkpoint
    /// is installed nevertheless: it may be the cure.
    fn install_for_pins(&self) {
        for index in 0..self.segments.len() {
            if let Err(fault) = self.lock_segment(index) {
                tracing::warn!(%fault, "a pinned cut loses a segment to the checkpoint that is installed");
            }
        }
    }
}
