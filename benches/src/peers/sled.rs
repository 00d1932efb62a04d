//! sled 0.34: a Bw-tree over a log.

use super::{Embedded, EngineError, Options};
use std::path::Path;

const NAME: &str = "sled";

struct Sled {
    database: sled::Db,
    durable: bool,
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let database = sled::Config::new().path(folder.join("sled")).cache_capacity(options.cache_bytes).open();
    Ok(Box::new(Sled { database: database.map_err(EngineError::of(NAME))?, durable: options.durable }))
}

impl Embedded for Sled {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.database.insert(key, value).map_err(EngineError::of(NAME))?;
        if self.durable { self.flush() } else { Ok(()) }
    }

    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        for (key, value) in pairs {
            self.database.insert(key, value.as_slice()).map_err(EngineError::of(NAME))?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        let found = self.database.get(key).map_err(EngineError::of(NAME))?;
        value.clear();
        Ok(found.map(|bytes| value.extend_from_slice(&bytes)).is_some())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.database.flush().map(drop).map_err(EngineError::of(NAME))
    }
}
