//! redb 4: a copy-on-write B-tree in one file.

use super::{Embedded, EngineError, Options};
use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableError};
use std::path::Path;

const NAME: &str = "redb";
const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("data");

struct Redb {
    database: Database,
    durability: Durability,
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let cache_bytes = usize::try_from(options.cache_bytes).unwrap_or(usize::MAX);
    let database = Database::builder().set_cache_size(cache_bytes).create(folder.join("data.redb"));
    let database = database.map_err(redb::Error::from).map_err(EngineError::of(NAME))?;
    let durability = if options.durable { Durability::Immediate } else { Durability::None };
    Ok(Box::new(Redb { database, durability }))
}

impl Redb {
    fn write<'p>(
        &self,
        durability: Durability,
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in pairs {
                table.insert(key, value)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(false),
            other => other?,
        };
        value.clear();
        Ok(table.get(key)?.map(|bytes| value.extend_from_slice(bytes.value())).is_some())
    }
}

impl Embedded for Redb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.write(self.durability, std::iter::once((key, value))).map_err(EngineError::of(NAME))
    }

    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        let pairs = pairs.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        self.write(Durability::None, pairs).map_err(EngineError::of(NAME))
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        self.read(key, value).map_err(EngineError::of(NAME))
    }

    fn flush(&self) -> Result<(), EngineError> {
        // A durable commit, even an empty one, carries all earlier ones to disk.
        self.write(Durability::Immediate, std::iter::empty()).map_err(EngineError::of(NAME))
    }
}
