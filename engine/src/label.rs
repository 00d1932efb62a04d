//! A label: what the layer above keeps in a data directory, also before the directory is made. Opaque here.
//!
//! It is the small file `LABEL`, replaced as a whole: a power cut leaves the old one or the new one. A directory that
//! holds nothing else counts as empty.

use crate::env::Environment;
use crate::error::Fault;
use crate::files;
use crate::page;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SKINKLAB";
/// Name of the file.
pub(crate) const NAME: &str = "LABEL";
/// Longest label, in bytes.
const MAX_LEN: u64 = 64 << 10;

fn path_in(root: &Path) -> PathBuf {
    root.join(NAME)
}

/// Reads a directory's label, `None` where there is none.
///
/// # Errors
/// Damage, and faults of the disk.
pub fn read(environment: &Environment, root: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let path = path_in(root);
    match environment.disk.read(&path, MAX_LEN) {
        Ok(bytes) => page::decode(MAGIC, &bytes).map(Some).map_err(|what| Fault::corrupt(&path, 0, what)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("reading", &path)(error)),
    }
}

/// Puts a label on a directory, durably when it returns; the directory is created where there is none.
///
/// # Errors
/// Faults of the disk; what was there stays then.
pub fn write(environment: &Environment, root: &Path, label: &[u8]) -> Result<(), Fault> {
    let disk = environment.disk.as_ref();
    if disk.metadata(root).is_err() {
        disk.create_folder(root).map_err(Fault::io("creating", root))?;
    }
    files::write_atomically(disk, &path_in(root), &page::encode(MAGIC, &label.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{path_in, read, write};
    use crate::engine::{Engine, EngineOptions};
    use crate::env::sim::{SimClock, SimDisk};
    use crate::env::{Disk, Environment, Open};
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn a_label_is_there_before_the_directory_is_made_and_damage_is_found() {
        let disk = SimDisk::new(1, 1 << 30);
        let environment =
            Environment { disk: Arc::new(disk.clone()), clock: Arc::new(SimClock::default()), random: Arc::new(|| 1) };
        let root = Path::new("/data");
        assert_eq!(read(&environment, root).unwrap(), None);
        write(&environment, root, b"first").unwrap();
        write(&environment, root, b"second").unwrap();
        assert_eq!(read(&environment, root).unwrap().unwrap(), b"second");
        let options =
            EngineOptions { segments: 2, log_file_len: 1 << 20, max_value_len: 1 << 10, ..Default::default() };
        drop(Engine::open(environment.clone(), root, options).unwrap());
        drop(Engine::open(environment.clone(), root, options).unwrap());
        assert_eq!(read(&environment, root).unwrap().unwrap(), b"second");
        let file = disk.open(&path_in(root), Open::ReadWrite).unwrap();
        file.write_all_at(b"x", 20).unwrap();
        assert!(read(&environment, root).unwrap_err().to_string().contains("LABEL"));
    }
}
