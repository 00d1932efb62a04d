//! The contenders. Embedded engines share the trait [`Embedded`] and stand in [`ENGINES`]; servers are processes
//! ([`server`]) that speak the Redis protocol, or etcd's.
//!
//! Every contender gets its fair form: values uncompressed, a cache as large as the others' where the engine has
//! one of its own, and the cheapest durable write that the engine documents.
//!
//! | engine | a write without sync | a durable write |
//! | --- | --- | --- |
//! | Skink | a command on the engine | a batch of one command through the log |
//! | sled | `insert` (synced in the background every 500 ms) | `insert`, `flush` |
//! | redb | a transaction with `Durability::None` | a transaction with `Durability::Immediate` |
//! | fjall | `insert` | `insert`, `persist(SyncAll)` |
//! | LMDB | a transaction under `NO_SYNC` and `WRITE_MAP` | a transaction with default flags |
//! | RocksDB | `put` with `sync = false` | `put` with `sync = true` |
//!
//! To add an engine: a file here that implements [`Embedded`] and has an `open`, and a line in [`ENGINES`].

pub mod etcd_server;
mod fjall;
mod lmdb;
mod redb;
pub mod redis_server;
#[cfg(feature = "rocksdb")]
mod rocksdb;
pub mod server;
mod skink;
mod sled;

use std::error::Error;
use std::path::Path;
use thiserror::Error as ThisError;

/// A call to an engine failed.
#[derive(Debug, ThisError)]
#[error("{engine}: {source}")]
pub struct EngineError {
    engine: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl EngineError {
    /// For `map_err`: marks an error with the engine's name.
    pub fn of<E: Into<Box<dyn Error + Send + Sync>>>(engine: &'static str) -> impl Fn(E) -> Self {
        move |source| Self { engine, source: source.into() }
    }
}

/// How an engine is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether `put` returns only when the update survives a power failure.
    pub durable: bool,
    /// Keys and values that the engine will hold, for engines that must reserve.
    pub live_bytes: u64,
    /// The engine's own cache, where it has one.
    pub cache_bytes: u64,
}

impl Options {
    /// Options for this much data, with a cache that holds 1 GiB.
    pub fn new(live_bytes: u64, durable: bool) -> Self {
        Self { durable, live_bytes, cache_bytes: 1 << 30 }
    }
}

/// An engine within this process, used from several threads. Dropping it closes it cleanly.
pub trait Embedded: Send + Sync {
    /// Writes one key, as durable as the engine was opened.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError>;

    /// Writes many keys, for loading: in whatever way suits the engine, not necessarily as durable as it was opened.
    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        pairs.iter().try_for_each(|(key, value)| self.put(key, value))
    }

    /// Replaces the content of `value` by that of the key. False if there is no such key.
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), EngineError>;
}

/// Opens or creates an engine's data in an existing folder.
pub type Open = fn(&Path, &Options) -> Result<Box<dyn Embedded>, EngineError>;

/// An embedded contender.
#[derive(Debug)]
pub struct Engine {
    /// Its name in arguments and reports.
    pub name: &'static str,
    /// How to open it.
    pub open: Open,
}

/// All embedded contenders that were built in.
pub const ENGINES: &[Engine] = &[
    Engine { name: "skink", open: skink::open },
    Engine { name: "sled", open: sled::open },
    Engine { name: "redb", open: redb::open },
    Engine { name: "fjall", open: fjall::open },
    Engine { name: "lmdb", open: lmdb::open },
    #[cfg(feature = "rocksdb")]
    Engine { name: "rocksdb", open: rocksdb::open },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_keeps_what_it_was_given() {
        for engine in ENGINES {
            let folder = tempfile::tempdir().unwrap();
            let mut value = vec![9; 3];
            for durable in [false, true] {
                let open = (engine.open)(folder.path(), &Options::new(1 << 20, durable)).unwrap();
                let number = u8::from(durable);
                assert!(!open.get(&[number; 8], &mut value).unwrap(), "{}", engine.name);
                open.put(&[number; 8], &[number; 1024]).unwrap();
                open.put_many(&[([number + 10; 8], vec![number; 10]), ([number + 20; 8], vec![])]).unwrap();
                assert!(open.get(&[number; 8], &mut value).unwrap());
                assert_eq!(value, [number; 1024], "{}", engine.name);
                open.flush().unwrap();
            }
            let open = (engine.open)(folder.path(), &Options::new(1 << 20, false)).unwrap();
            for (key, expected) in
                [(0, vec![0; 1024]), (1, vec![1; 1024]), (10, vec![0; 10]), (11, vec![1; 10]), (21, vec![])]
            {
                assert!(open.get(&[key; 8], &mut value).unwrap(), "{}, key {key}", engine.name);
                assert_eq!(value, expected, "{}, key {key}", engine.name);
            }
        }
    }
}
