//! The catalog: small durable facts by name. Nothing on the hot path touches it.
//!
//! It is one small file, `catalog/facts`, that is replaced as a whole with every fact (`docs/formats.md`): a power cut
//! leaves the old one or the new one. `docs/decisions/0011-a-file-for-the-catalog.md` says why it is no database.

use crate::env::Environment;
use crate::error::Fault;
use crate::files;
use crate::page;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SKINKCAT";
/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// Name of the counter of process starts.
const INCARNATION: &str = "incarnation";

type Facts = BTreeMap<String, Vec<u8>>;

/// Small durable facts of a data directory.
pub struct Catalog {
    environment: Environment,
    path: PathBuf,
    facts: Mutex<Facts>,
}

impl Catalog {
    /// Opens the one in this folder, empty where there is none.
    ///
    /// # Errors
    /// Faults of the disk, and damage.
    pub fn open(environment: &Environment, folder: &Path) -> Result<Catalog, Fault> {
        let path = path_in(folder);
        let disk = &environment.disk;
        if let Err(error) = disk.metadata(folder) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(Fault::io("looking at", folder)(error));
            }
            disk.create_folder(folder).map_err(Fault::io("creating", folder))?;
            // Without its own name, what is durable in it would be gone after a power cut.
            let above = folder.parent().unwrap_or(Path::new("/"));
            disk.sync_folder(above).map_err(Fault::io("syncing", above))?;
        }
        let facts = read(environment, &path)?;
        Ok(Catalog { environment: environment.clone(), path, facts: Mutex::new(facts) })
    }

    /// A fact, if it was ever put.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.facts.lock().get(name).cloned()
    }

    /// Puts a fact, durably when it returns.
    ///
    /// # Errors
    /// Faults of the disk; the catalog is then as it was.
    pub fn put(&self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let mut facts = self.facts.lock();
        let mut changed = facts.clone();
        changed.insert(name.to_string(), value.to_vec());
        files::write_atomically(self.environment.disk.as_ref(), &self.path, &page::encode(MAGIC, &changed))?;
        *facts = changed;
        Ok(())
    }

    /// Counts this start of the process; durable when it returns. Batch ids carry it (O3).
    ///
    /// It is above `used`, the last one in the state's window of ids, too: a restored directory has the window and a
    /// new catalog, and batches of an older incarnation would be skipped.
    ///
    /// # Errors
    /// Faults of the disk, and damage.
    pub fn next_incarnation(&self, used: u64) -> Result<u64, Fault> {
        let last = match self.get(INCARNATION) {
            None => 0,
            Some(bytes) => bytes
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| Fault::corrupt(&self.path, 0, "the incarnation in it does not have 8 bytes"))?,
        };
        let next = last.max(used).saturating_add(1);
        self.put(INCARNATION, &next.to_le_bytes())?;
        Ok(next)
    }
}

fn path_in(folder: &Path) -> PathBuf {
    folder.join("facts")
}

fn read(environment: &Environment, path: &Path) -> Result<Facts, Fault> {
    match environment.disk.read(path, MAX_LEN) {
        Ok(bytes) => decode(&bytes).map_err(|what| Fault::corrupt(path, 0, what)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Facts::new()),
        Err(error) => Err(Fault::io("reading", path)(error)),
    }
}

/// Checks the one in this folder, if there is one, and changes nothing.
///
/// # Errors
/// Faults of the disk, and damage.
pub(crate) fn check(environment: &Environment, folder: &Path) -> Result<(), Fault> {
    read(environment, &path_in(folder)).map(drop)
}

/// Decodes the file.
pub(crate) fn decode(bytes: &[u8]) -> Result<Facts, String> {
    page::decode(MAGIC, bytes)
}

#[cfg(test)]
mod tests {
    use super::{Catalog, Facts, MAGIC};
    use crate::env::sim::{SimClock, SimDisk};
    use crate::env::{Disk, Environment, Open};
    use crate::page;
    use std::path::Path;
    use std::sync::Arc;

    const FOLDER: &str = "/catalog";

    fn environment(disk: &SimDisk) -> Environment {
        Environment { disk: Arc::new(disk.clone()), clock: Arc::new(SimClock::default()), random: Arc::new(|| 1) }
    }

    fn open(disk: &SimDisk) -> Catalog {
        Catalog::open(&environment(disk), Path::new(FOLDER)).unwrap()
    }

    #[test]
    fn incarnations_go_up_over_restarts() {
        let disk = SimDisk::new(1, 1 << 20);
        for expected in 1..4 {
            assert_eq!(open(&disk).next_incarnation(0).unwrap(), expected);
        }
        let catalog = open(&disk);
        assert_eq!(catalog.next_incarnation(9).unwrap(), 10, "above what a restored state has seen");
        assert_eq!(catalog.next_incarnation(9).unwrap(), 11);
        assert_eq!(catalog.get("nothing"), None);
        catalog.put("incarnation", b"short").unwrap();
        assert!(open(&disk).next_incarnation(0).is_err());
    }

    #[test]
    fn incarnations_go_up_over_power_cuts() {
        for seed in 0..20 {
            let disk = SimDisk::new(seed, 1 << 20);
            for expected in 1..4 {
                assert_eq!(open(&disk).next_incarnation(0).unwrap(), expected, "seed {seed}");
                disk.power_cut();
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_missing_end_is_found() {
        let disk = SimDisk::new(1, 1 << 20);
        open(&disk).next_incarnation(6).unwrap();
        let path = Path::new(FOLDER).join("facts");
        let file = disk.open(&path, Open::ReadWrite).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let facts = Facts::from([("incarnation".to_string(), 7_u64.to_le_bytes().to_vec())]);
        assert_eq!(bytes, page::encode(MAGIC, &facts));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            file.write_all_at(&bytes, 0).unwrap();
            assert!(Catalog::open(&environment(&disk), Path::new(FOLDER)).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        file.write_all_at(&bytes, 0).unwrap();
        assert_eq!(open(&disk).get("incarnation").unwrap(), 7_u64.to_le_bytes());
        file.truncate(bytes.len() as u64 - 1).unwrap();
        assert!(Catalog::open(&environment(&disk), Path::new(FOLDER)).is_err());
    }
}
