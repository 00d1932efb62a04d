//! Where the files of segments come from that are not in place yet.
//!
//! | source | what it is | how it brings a file |
//! | --- | --- | --- |
//! | [`LocalCheckpoint`] | the data directory's own checkpoint | by a hard link |
//! | [`BackupFolder`] | a checkpoint's folder, copied by whatever program | by a copy, of what was checked alone |

use super::backup::copy;
use super::open::MAX_SEGMENTS;
use crate::directory::Directory;
use crate::env::{Environment, Open};
use crate::error::Fault;
use crate::key::{HASH_VERSION, SegmentId};
use crate::manifest::Manifest;
use crate::segment::{Place, SegmentCut, check_image_file, check_segment_file, too_short};
use std::io;
use std::path::{Path, PathBuf};

/// Where the files of segments come from.
pub(super) trait SegmentSource {
    /// Puts the file of a segment at its cut into a folder, under its name. What is in it is durable, its name not yet.
    fn bring_segment(&self, id: SegmentId, cut: &SegmentCut, folder: &Path) -> Result<(), Fault>;

    /// Puts the segment's image into the folder, too, where the source has one. An image is a help: damage is an error
    /// that leaves nothing in the folder, and the segment is good without it.
    fn bring_image(&self, id: SegmentId, cut: &SegmentCut, folder: &Path) -> Result<(), Fault>;
}

/// A checkpoint of the data directory itself.
pub(super) struct LocalCheckpoint<'p> {
    pub(super) place: &'p Place,
    pub(super) folder: PathBuf,
}

impl SegmentSource for LocalCheckpoint<'_> {
    fn bring_segment(&self, id: SegmentId, cut: &SegmentCut, folder: &Path) -> Result<(), Fault> {
        let name = Place::segment_name(id, cut.generation);
        let (from, to) = (self.folder.join(&name), folder.join(&name));
        self.place.environment.disk.hard_link(&from, &to).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Refused(format!(
                "{} is missing, and so is {}: the data directory was deleted in part; restore it from a backup",
                to.display(),
                from.display()
            )),
            _ => Fault::io("linking", &from)(error),
        })
    }

    /// None: the checkpoint's images are used where they are.
    fn bring_image(&self, _: SegmentId, _: &SegmentCut, _: &Path) -> Result<(), Fault> {
        Ok(())
    }
}

/// A checkpoint's folder that was copied elsewhere. Nothing in it is believed before it was checked.
pub(super) struct BackupFolder {
    place: Place,
    folder: PathBuf,
}

impl BackupFolder {
    /// Looks at a backup: what its manifest says, and whether all that it names is there. No segment is read yet.
    ///
    /// # Errors
    /// It is no backup, or of another version, or not all of one; damage; faults of the disk.
    pub(super) fn open(environment: &Environment, folder: &Path) -> Result<(BackupFolder, Manifest), Fault> {
        let manifest = read_manifest(environment, folder)?;
        let place = super::place(environment, &Directory::at(folder), &manifest.shape, None);
        let backup = BackupFolder { place, folder: folder.to_path_buf() };
        for (id, cut) in manifest.files() {
            let path = folder.join(Place::segment_name(id, cut.generation));
            let file = environment.disk.open(&path, Open::Read).map_err(|error| missing(&path, error))?;
            let len = file.len().map_err(Fault::io("reading", &path))?;
            if len < cut.length {
                return Err(too_short(&path, len, cut.length));
            }
        }
        Ok((backup, manifest))
    }
}

fn read_manifest(environment: &Environment, folder: &Path) -> Result<Manifest, Fault> {
    let disk = environment.disk.as_ref();
    let (path, shown) = (Manifest::path(folder), folder.display());
    match disk.metadata(&path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Fault::Refused(match disk.list(folder) {
                Err(_) => format!("there is no folder {shown}"),
                Ok(names) if names.iter().any(|name| name == "FORMAT") => format!(
                    "{shown} is a data directory, no backup: serve it as it is, or name a folder in {shown}/checkpoints"
                ),
                Ok(_) => format!("{shown} holds no MANIFEST: it is no backup, or a copy that was cut short"),
            }));
        }
        result => result.map_err(Fault::io("reading", &path))?,
    };
    let manifest = Manifest::read(disk, folder)?;
    let shape = &manifest.shape;
    if shape.hash_version != HASH_VERSION || !(1..=MAX_SEGMENTS).contains(&shape.segments) {
        return Err(Fault::Refused(format!(
            "{}: its keys are in {} segments by hash version {}, this program has hash version {HASH_VERSION}: \
             use the program that wrote it",
            path.display(),
            shape.segments,
            shape.hash_version
        )));
    }
    Ok(manifest)
}

fn missing(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::corrupt(path, 0, "the file is missing: the backup is not complete"),
        _ => Fault::io("opening", path)(error),
    }
}

impl SegmentSource for BackupFolder {
    fn bring_segment(&self, id: SegmentId, cut: &SegmentCut, folder: &Path) -> Result<(), Fault> {
        let name = Place::segment_name(id, cut.generation);
        let (from, to) = (self.folder.join(&name), folder.join(&name));
        let target = self.place.environment.disk.open(&to, Open::CreateNew).map_err(Fault::io("creating", &to))?;
        target.allocate(cut.length).map_err(Fault::io("extending", &to))?;
        let mut at = 0;
        check_segment_file(&self.place, id, cut, &from, &mut |bytes| {
            target.write_all_at(bytes, at).map_err(Fault::io("writing", &to))?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        assert_eq!(at, cut.length, "what was checked is what the cut counts");
        target.sync_data().map_err(Fault::io("syncing", &to))
    }

    fn bring_image(&self, id: SegmentId, cut: &SegmentCut, folder: &Path) -> Result<(), Fault> {
        let disk = self.place.environment.disk.as_ref();
        let name = Place::image_name(id, cut.generation);
        let (from, to) = (self.folder.join(&name), folder.join(&name));
        let len = match disk.open(&from, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.and_then(|file| file.len()).map_err(Fault::io("reading", &from))?,
        };
        copy(disk, &from, &to, len)?;
        // Checked where it was copied to: there, the disk is one to map files of.
        let Err(damage) = check_image_file(&self.place, id, cut.generation, &to) else { return Ok(()) };
        disk.remove_file(&to).map_err(Fault::io("removing", &to))?;
        Err(match damage {
            Fault::Corrupt { offset, what, .. } => Fault::corrupt(&from, offset, what),
            fault => fault,
        })
    }
}
