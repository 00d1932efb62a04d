//! The data directory: what is in it, who has it, and whether it can be used.
//!
//! ```text
//! FORMAT        what this directory is; made first ("being made", "being restored"), made final last
//! LABEL         what the layer above keeps here
//! LOCK          held by the process that has the directory open
//! catalog/      small durable facts
//! segments/     segment files
//! images/       images that the running process made
//! checkpoints/  one folder each, named by instance
//! log/          the write-ahead log
//! incoming/     a donor's checkpoint while it is received; counts for nothing
//! ```

use crate::env::Environment;
use crate::error::Fault;
use crate::files;
use crate::label;
use crate::manifest::Shape;
use crate::page;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SKINKDIR";
const FOLDERS: [&str; 5] = ["catalog", "segments", "images", "checkpoints", "log"];
const OTHERS: [&str; 11] = [
    OUTLINE,
    "FORMAT",
    "FORMAT.new",
    label::NAME,
    "LABEL.new",
    "LOCK",
    "images.old",
    "incoming",
    "incoming.old",
    "lost+found",
    SEGMENTS_OLD,
];
const OUTLINE: &str = "outline";
const SEGMENTS_OLD: &str = "segments.old";

/// How far a data directory was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Begun as an empty one: nothing was ever in it, the next start makes it anew.
    BeingMade,
    /// To the end: it can be opened.
    Complete,
    /// Begun from a backup: a part of the state may be in it, so it is never opened.
    BeingRestored,
}

/// What a data directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// How far it was made.
    pub stage: Stage,
    /// Random number of this directory; its log files carry it.
    pub directory: u64,
    /// What the state is made of.
    pub shape: Shape,
    /// Length of a log file, in bytes.
    pub log_file_len: u64,
}

/// A data directory that this process holds.
pub struct Directory {
    root: PathBuf,
    _lock: Option<Box<dyn Send + Sync>>,
}

fn refused(text: String) -> Fault {
    Fault::Refused(text)
}

impl Directory {
    /// Takes hold of a directory; it is created where there is none.
    ///
    /// # Errors
    /// Another process has it; it can't be written; it is not empty and not Skink's.
    pub fn take(environment: &Environment, root: &Path) -> Result<(Directory, Option<Format>), Fault> {
        let disk = &environment.disk;
        let denied = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => refused(format!(
                "{}: permission denied; the data directory must belong to the user that runs skink, with mode 0700",
                root.display()
            )),
            io::ErrorKind::ReadOnlyFilesystem => refused(format!("{} is on a read-only file system", root.display())),
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                refused(format!("{} is not a folder; name another data directory", root.display()))
            }
            _ => Fault::io("opening the data directory", root)(error),
        };
        match disk.metadata(root) {
            Ok(metadata) if !metadata.is_folder => {
                return Err(refused(format!("{} is not a folder; name another data directory", root.display())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_folder(root).map_err(denied)?,
            Err(error) => return Err(denied(error)),
        }
        let names = disk.list(root).map_err(denied)?;
        let is_made = names.iter().any(|name| name == "FORMAT");
        let foreign = names.iter().find(|name| !FOLDERS.contains(&name.as_str()) && !OTHERS.contains(&name.as_str()));
        match foreign {
            Some(name) if is_made => {
                return Err(refused(format!(
                    "{} is not Skink's; move it out of the data directory, nothing else may live there",
                    root.join(name).display()
                )));
            }
            Some(name) => {
                return Err(refused(format!(
                    "{} is not empty and no Skink data directory (it holds {name:?}); name an empty or new folder",
                    root.display()
                )));
            }
            None => {}
        }
        let had_parts = names.iter().any(|name| FOLDERS.contains(&name.as_str()));
        if !is_made && had_parts {
            return Err(refused(format!(
                "{}/FORMAT is missing, but parts of a Skink data directory are there: it was deleted in part; \
                 restore it from a backup, or remove the folder to start anew",
                root.display()
            )));
        }
        let lock = disk.lock(&root.join("LOCK")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => refused(format!(
                "{} is in use by another skink process; stop that one first, or connect to it",
                root.display()
            )),
            _ => denied(error),
        })?;
        let directory = Directory { root: root.to_path_buf(), _lock: Some(lock) };
        let format = if is_made { Some(directory.read_format(environment)?) } else { None };
        Ok((directory, format))
    }

    /// A directory to look at without taking hold of it, a backup for example.
    pub fn at(root: &Path) -> Directory {
        Directory { root: root.to_path_buf(), _lock: None }
    }

    /// Reads what the directory is.
    ///
    /// # Errors
    /// Damage, another version, faults of the disk.
    pub fn read_format(&self, environment: &Environment) -> Result<Format, Fault> {
        let path = self.root.join("FORMAT");
        let bytes = environment.disk.read(&path, 4096).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => refused(format!("{}: permission denied", path.display())),
            io::ErrorKind::NotFound => refused(format!("{} is no Skink data directory", self.root.display())),
            _ => Fault::io("reading", &path)(error),
        })?;
        page::decode(MAGIC, &bytes).map_err(|what| Fault::corrupt(&path, 0, what))
    }

    /// Why a directory can't be used whose restore did not come to its end.
    pub fn half_restored(&self) -> Fault {
        refused(format!(
            "{} is half restored: skink restore ended before it was done; remove the folder and restore again",
            self.root.display()
        ))
    }

    /// Writes what the directory is, durably.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn write_format(&self, environment: &Environment, format: &Format) -> Result<(), Fault> {
        files::write_atomically(environment.disk.as_ref(), &self.root.join("FORMAT"), &page::encode(MAGIC, format))
    }

    /// Makes durable what an open relies on: that FORMAT is final, and which checkpoints there are. The process before
    /// may have ended between giving a name and syncing it.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn sync_names(&self, environment: &Environment) -> Result<(), Fault> {
        for folder in [self.root.clone(), self.checkpoints()] {
            environment.disk.sync_folder(&folder).map_err(Fault::io("syncing", &folder))?;
        }
        Ok(())
    }

    /// Makes the directory's own name durable, and those of the folders above it, which may be new, too.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn sync_names_above(&self, environment: &Environment) -> Result<(), Fault> {
        for above in self.root.ancestors().skip(1) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            match environment.disk.sync_folder(above) {
                // Not ours, so not made by us.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                result => result.map_err(Fault::io("syncing", above))?,
            }
        }
        Ok(())
    }

    /// Makes the folders, empty. What an attempt before left behind is removed.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn make_folders(&self, environment: &Environment) -> Result<(), Fault> {
        let disk = environment.disk.as_ref();
        for name in FOLDERS {
            let folder = self.root.join(name);
            if name == "checkpoints" {
                for inside in disk.list(&folder).unwrap_or_default() {
                    files::remove_folder(disk, &folder.join(inside))?;
                }
            }
            if name != "catalog" {
                files::remove_folder(disk, &folder)?;
                disk.create_folder(&folder).map_err(Fault::io("creating", &folder))?;
            }
        }
        disk.sync_folder(&self.root).map_err(Fault::io("syncing", &self.root))
    }

    /// Checks that every folder is there.
    ///
    /// # Errors
    /// One is missing.
    pub fn check_folders(&self, environment: &Environment) -> Result<(), Fault> {
        for name in FOLDERS {
            let folder = self.root.join(name);
            match environment.disk.metadata(&folder) {
                Ok(metadata) if metadata.is_folder => {}
                // Made on demand.
                _ if name == "images" || name == "catalog" => {}
                _ => {
                    return Err(refused(format!(
                        "{} is missing: the data directory was deleted in part; restore it from a backup",
                        folder.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Puts the images of the process before aside, and makes an empty folder for this one's.
    ///
    /// They may cover records that a crash took away, so they are never used again.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn renew_images(&self, environment: &Environment) -> Result<(), Fault> {
        let disk = environment.disk.as_ref();
        let (folder, old) = (self.images(), self.root.join("images.old"));
        if !disk.list(&folder).unwrap_or_default().is_empty() {
            files::remove_folder(disk, &old)?;
            disk.rename(&folder, &old).map_err(Fault::io("renaming", &folder))?;
        }
        disk.create_folder(&folder).map_err(Fault::io("creating", &folder))
    }

    /// Puts aside what the process before received of a donor's checkpoint.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn put_incoming_aside(&self, environment: &Environment) -> Result<(), Fault> {
        let disk = environment.disk.as_ref();
        let (folder, old) = (self.incoming(), self.root.join("incoming.old"));
        match disk.metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(Fault::io("looking at", &folder))?,
        };
        files::remove_folder(disk, &old)?;
        disk.rename(&folder, &old).map_err(Fault::io("renaming", &folder))
    }

    /// Removes what an open put aside: images, segments of before the checkpoint, and what was received in vain. For a thread in the background, as it may
    /// be much.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn remove_put_aside(&self, environment: &Environment) -> Result<(), Fault> {
        for name in ["images.old", "incoming.old", SEGMENTS_OLD] {
            files::remove_folder(environment.disk.as_ref(), &self.root.join(name))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of the catalog.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog")
    }

    /// Folder of the segment files.
    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// Folder of segment files that nobody needs.
    pub fn segments_aside(&self) -> PathBuf {
        self.root.join(SEGMENTS_OLD)
    }

    /// Folder of the running process' images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Folder in which a donor's checkpoint is received.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Folder in which the log's writes are noted.
    pub fn outline(&self) -> PathBuf {
        self.root.join(OUTLINE)
    }

    /// Folder of the log.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }
}
