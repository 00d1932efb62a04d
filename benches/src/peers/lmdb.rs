//! LMDB through heed: a copy-on-write B-tree in a mapped file.
#![allow(unsafe_code, reason = "heed's `open` and `flags` are unsafe functions; LMDB has no other entrance")]

use super::{Embedded, EngineError, Options};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithTls};
use std::fs;
use std::path::Path;

const NAME: &str = "lmdb";
/// The file is sparse, so room costs address space only; random updates at 3 values a page need about twice the
/// live data.
const MAP_FACTOR: u64 = 8;
/// The benchmarks use at most 64 threads; a slot each, and some to spare.
const READERS: u32 = 256;

struct Lmdb {
    environment: Env<WithTls>,
    database: Database<Bytes, Bytes>,
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let engine = open_in(&folder.join("lmdb"), options).map_err(EngineError::of(NAME))?;
    Ok(Box::new(engine))
}

fn open_in(folder: &Path, options: &Options) -> Result<Lmdb, heed::Error> {
    fs::create_dir_all(folder)?;
    let map_bytes = options.live_bytes.saturating_mul(MAP_FACTOR).saturating_add(1 << 30);
    let map_bytes = usize::try_from(map_bytes.next_multiple_of(1 << 20)).unwrap_or(usize::MAX);
    let mut open_options = EnvOpenOptions::new();
    open_options.map_size(map_bytes).max_readers(READERS);
    if !options.durable {
        // SAFETY: the dangers of these flags are a database that is damaged by a system crash, after which
        // these folders are thrown away, and stray writes into the map, which safe code can't make.
        unsafe { open_options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
    }
    // SAFETY: nobody else opens or changes the files while this process has them mapped: the folder is a
    // temporary one of this run, and a child that opened it has ended before.
    let environment = unsafe { open_options.open(folder)? };
    let mut transaction = environment.write_txn()?;
    let database = environment.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Lmdb { environment, database })
}

impl Lmdb {
    fn write(&self, key: &[u8], value: &[u8]) -> Result<(), heed::Error> {
        let mut transaction = self.environment.write_txn()?;
        self.database.put(&mut transaction, key, value)?;
        transaction.commit()
    }

    fn read(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, heed::Error> {
        let transaction = self.environment.read_txn()?;
        value.clear();
        Ok(self.database.get(&transaction, key)?.map(|bytes| value.extend_from_slice(bytes)).is_some())
    }
}

// `put_many` stays one transaction a key: a transaction of many random keys frees thousands of pages at once, and
// their list in LMDB's free-page tree is then rewritten with every small commit that takes a page from it. Loaded
// in transactions of 1024 keys, unsynced updates afterwards were measured at a half to a third.
impl Embedded for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.write(key, value).map_err(EngineError::of(NAME))
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        self.read(key, value).map_err(EngineError::of(NAME))
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.environment.force_sync().map_err(EngineError::of(NAME))
    }
}
