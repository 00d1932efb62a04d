//! The catalog: small durable facts. Nothing on the hot path touches it, nor does the way to the first answer.

use crate::error::Fault;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Small durable facts by name.
pub trait Catalog: Send + Sync {
    /// A fact, if it was ever put.
    ///
    /// # Errors
    /// Faults of the disk.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Fault>;
    /// Puts a fact, durably when it returns.
    ///
    /// # Errors
    /// Faults of the disk.
    fn put(&self, name: &str, value: &[u8]) -> Result<(), Fault>;
}

/// Name of the counter of process starts.
const INCARNATION: &str = "incarnation";

/// Counts this start of the process; durable when it returns. Batch ids carry it (O3).
///
/// It is above `used`, the last one in the state's window of ids, too: a restored directory has the window and a new
/// catalog, and batches of an older incarnation would be skipped.
///
/// # Errors
/// Faults of the disk, and a damaged catalog.
pub fn next_incarnation(catalog: &dyn Catalog, path: &Path, used: u64) -> Result<u64, Fault> {
    let last = match catalog.get(INCARNATION)? {
        None => 0,
        Some(bytes) => bytes
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| Fault::corrupt(path, 0, "the incarnation in the catalog does not have 8 bytes"))?,
    };
    let next = last.max(used) + 1;
    catalog.put(INCARNATION, &next.to_le_bytes())?;
    Ok(next)
}

/// The catalog of a data directory, in sled. Each value carries a checksum of its own.
pub struct SledCatalog {
    database: sled::Db,
    path: std::path::PathBuf,
}

impl SledCatalog {
    /// Opens it, or makes it where it is not there.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn open(path: &Path) -> Result<SledCatalog, Fault> {
        // Everything in it is flushed as it is put; it holds a few kilobytes.
        let config = sled::Config::new().path(path).cache_capacity(1 << 20).flush_every_ms(None);
        let database = config.open().map_err(|error| fault("opening", path, error))?;
        Ok(SledCatalog { database, path: path.to_path_buf() })
    }

    /// Whether nothing was ever put.
    pub fn is_empty(&self) -> bool {
        self.database.is_empty()
    }
}

fn fault(action: &'static str, path: &Path, error: sled::Error) -> Fault {
    match error {
        sled::Error::Io(error) => Fault::io(action, path)(error),
        sled::Error::Corruption { .. } => Fault::corrupt(path, 0, error.to_string()),
        other => Fault::Io { action, path: path.to_path_buf(), source: std::io::Error::other(other.to_string()) },
    }
}

impl Catalog for SledCatalog {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(value) = self.database.get(name).map_err(|error| fault("reading", &self.path, error))? else {
            return Ok(None);
        };
        let damaged = || Fault::corrupt(&self.path, 0, format!("the checksum of {name:?} does not match"));
        let (crc, value) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
        if crc32fast::hash(value) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        Ok(Some(value.to_vec()))
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let mut bytes = crc32fast::hash(value).to_le_bytes().to_vec();
        bytes.extend_from_slice(value);
        self.database.insert(name, bytes).map_err(|error| fault("writing", &self.path, error))?;
        self.database.flush().map_err(|error| fault("syncing", &self.path, error))?;
        Ok(())
    }
}

/// A catalog in memory, for simulations: it outlives simulated crashes as its clones share it.
#[derive(Clone, Default)]
pub struct MemoryCatalog {
    facts: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Catalog for MemoryCatalog {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.facts.lock().get(name).cloned())
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), Fault> {
        self.facts.lock().insert(name.to_string(), value.to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, SledCatalog, next_incarnation};

    #[test]
    fn incarnations_go_up_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        for expected in 1..4 {
            let catalog = SledCatalog::open(&path).unwrap();
            assert_eq!(next_incarnation(&catalog, &path, 0).unwrap(), expected);
        }
        let catalog = SledCatalog::open(&path).unwrap();
        assert_eq!(next_incarnation(&catalog, &path, 9).unwrap(), 10, "above what a restored state has seen");
        assert_eq!(next_incarnation(&catalog, &path, 9).unwrap(), 11);
        assert_eq!(catalog.get("nothing").unwrap(), None);
        catalog.database.insert("bad", b"12345678".to_vec()).unwrap();
        assert!(catalog.get("bad").is_err());
    }
}
