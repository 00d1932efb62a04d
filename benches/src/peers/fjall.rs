//! fjall 3: a log-structured merge tree. Built without its compression.

use super::{Embedded, EngineError, Options};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

const NAME: &str = "fjall";

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    durable: bool,
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let database = Database::builder(folder.join("fjall")).cache_size(options.cache_bytes).open();
    let database = database.map_err(EngineError::of(NAME))?;
    let keyspace = database.keyspace("data", KeyspaceCreateOptions::default).map_err(EngineError::of(NAME))?;
    Ok(Box::new(Fjall { database, keyspace, durable: options.durable }))
}

impl Embedded for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.keyspace.insert(key, value).map_err(EngineError::of(NAME))?;
        if self.durable { self.flush() } else { Ok(()) }
    }

    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        let insert = |(key, value): &([u8; 8], Vec<u8>)| self.keyspace.insert(key, value.as_slice());
        pairs.iter().try_for_each(insert).map_err(EngineError::of(NAME))
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        let found = self.keyspace.get(key).map_err(EngineError::of(NAME))?;
        value.clear();
        Ok(found.map(|bytes| value.extend_from_slice(&bytes)).is_some())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.database.persist(PersistMode::SyncAll).map_err(EngineError::of(NAME))
    }
}
