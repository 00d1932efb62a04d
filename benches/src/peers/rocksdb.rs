//! RocksDB through the C interface of the system's library (`rocksdb/c.h`), with the few declarations that
//! measuring needs.
#![allow(unsafe_code, reason = "a C interface; this file is its safe wrapper")]

use super::{Embedded, EngineError, Options};
use std::ffi::{CStr, CString, c_char, c_double, c_int, c_uchar, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

const NAME: &str = "rocksdb";
/// `rocksdb_no_compression` in `c.h`.
const NO_COMPRESSION: c_int = 0;
/// RocksDB's tuning guide: ten bits a key, 1 % false positives; reads of keys skip files that lack them.
const BLOOM_BITS: c_double = 10.0;

/// Declares opaque C types.
macro_rules! opaque {
    ($($name:ident),*) => { $(#[repr(C)] struct $name { _private: [u8; 0] })* };
}
opaque!(Database, DatabaseOptions, TableOptions, Cache, FilterPolicy, WriteOptions, ReadOptions, PinnableSlice);

unsafe extern "C" {
    fn rocksdb_options_create() -> *mut DatabaseOptions;
    fn rocksdb_options_destroy(options: *mut DatabaseOptions);
    fn rocksdb_options_set_create_if_missing(options: *mut DatabaseOptions, value: c_uchar);
    fn rocksdb_options_set_compression(options: *mut DatabaseOptions, value: c_int);
    fn rocksdb_options_set_block_based_table_factory(options: *mut DatabaseOptions, table: *mut TableOptions);
    fn rocksdb_block_based_options_create() -> *mut TableOptions;
    fn rocksdb_block_based_options_destroy(options: *mut TableOptions);
    fn rocksdb_block_based_options_set_block_cache(options: *mut TableOptions, cache: *mut Cache);
    fn rocksdb_block_based_options_set_filter_policy(options: *mut TableOptions, policy: *mut FilterPolicy);
    fn rocksdb_filterpolicy_create_bloom_full(bits_per_key: c_double) -> *mut FilterPolicy;
    fn rocksdb_cache_create_lru(capacity: usize) -> *mut Cache;
    fn rocksdb_cache_destroy(cache: *mut Cache);
    fn rocksdb_open(options: *const DatabaseOptions, name: *const c_char, error: *mut *mut c_char) -> *mut Database;
    fn rocksdb_close(database: *mut Database);
    fn rocksdb_writeoptions_create() -> *mut WriteOptions;
    fn rocksdb_writeoptions_destroy(options: *mut WriteOptions);
    fn rocksdb_writeoptions_set_sync(options: *mut WriteOptions, value: c_uchar);
    fn rocksdb_readoptions_create() -> *mut ReadOptions;
    fn rocksdb_readoptions_destroy(options: *mut ReadOptions);
    fn rocksdb_put(
        database: *mut Database,
        options: *const WriteOptions,
        key: *const c_char,
        key_length: usize,
        value: *const c_char,
        value_length: usize,
        error: *mut *mut c_char,
    );
    fn rocksdb_get_pinned(
        database: *mut Database,
        options: *const ReadOptions,
        key: *const c_char,
        key_length: usize,
        error: *mut *mut c_char,
    ) -> *mut PinnableSlice;
    fn rocksdb_pinnableslice_value(slice: *const PinnableSlice, length: *mut usize) -> *const c_char;
    fn rocksdb_pinnableslice_destroy(slice: *mut PinnableSlice);
    fn rocksdb_flush_wal(database: *mut Database, sync: c_uchar, error: *mut *mut c_char);
    fn rocksdb_free(memory: *mut c_void);
}

struct RocksDb {
    database: NonNull<Database>,
    writes: *mut WriteOptions,
    unsynced_writes: *mut WriteOptions,
    reads: *mut ReadOptions,
}

// SAFETY: RocksDB's database handle may be used from any thread, and the option objects are only read after `open`.
unsafe impl Send for RocksDb {}
// SAFETY: as above; RocksDB synchronizes calls on one handle itself.
unsafe impl Sync for RocksDb {}

/// Calls `action` with a place for an error message, and takes the message if there is one.
fn checked<T>(action: impl FnOnce(*mut *mut c_char) -> T) -> Result<T, EngineError> {
    let mut message: *mut c_char = ptr::null_mut();
    let result = action(&mut message);
    if message.is_null() {
        return Ok(result);
    }
    // SAFETY: RocksDB sets the place to a NUL-terminated string that the caller frees.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: as above, and the text was copied.
    unsafe { rocksdb_free(message.cast()) };
    Err(EngineError::of(NAME)(text))
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let path = CString::new(folder.join("rocksdb").as_os_str().as_bytes()).map_err(EngineError::of(NAME))?;
    let cache_bytes = usize::try_from(options.cache_bytes).unwrap_or(usize::MAX);
    // SAFETY: the `create` functions return valid objects or abort. The table options take over the filter policy
    // and share the cache; the database copies both kinds of options. So all but the policy is destroyed here.
    let database = unsafe {
        let database_options = rocksdb_options_create();
        rocksdb_options_set_create_if_missing(database_options, 1);
        rocksdb_options_set_compression(database_options, NO_COMPRESSION);
        let table_options = rocksdb_block_based_options_create();
        let cache = rocksdb_cache_create_lru(cache_bytes);
        rocksdb_block_based_options_set_block_cache(table_options, cache);
        rocksdb_block_based_options_set_filter_policy(
            table_options,
            rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS),
        );
        rocksdb_options_set_block_based_table_factory(database_options, table_options);
        let database = checked(|error| rocksdb_open(database_options, path.as_ptr(), error));
        rocksdb_block_based_options_destroy(table_options);
        rocksdb_cache_destroy(cache);
        rocksdb_options_destroy(database_options);
        database?
    };
    let database = NonNull::new(database).ok_or_else(|| EngineError::of(NAME)("no database and no error"))?;
    // SAFETY: the `create` functions return valid objects; they live until `drop`.
    let engine = unsafe {
        let writes = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(writes, c_uchar::from(options.durable));
        let unsynced_writes = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(unsynced_writes, 0);
        RocksDb { database, writes, unsynced_writes, reads: rocksdb_readoptions_create() }
    };
    Ok(Box::new(engine))
}

impl RocksDb {
    fn write(&self, options: *const WriteOptions, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        // SAFETY: database and options live as long as `self`; RocksDB copies key and value before it returns.
        checked(|error| unsafe {
            rocksdb_put(
                self.database.as_ptr(),
                options,
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                error,
            );
        })
    }
}

impl Embedded for RocksDb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.write(self.writes, key, value)
    }

    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        pairs.iter().try_for_each(|(key, value)| self.write(self.unsynced_writes, key, value))
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        value.clear();
        // SAFETY: database and options live as long as `self`.
        let slice = checked(|error| unsafe {
            rocksdb_get_pinned(self.database.as_ptr(), self.reads, key.as_ptr().cast(), key.len(), error)
        })?;
        if slice.is_null() {
            return Ok(false);
        }
        let mut length = 0;
        // SAFETY: a slice that isn't null pins `length` bytes at the returned address until it is destroyed, which
        // happens once, after the copy.
        unsafe {
            let bytes = rocksdb_pinnableslice_value(slice, &mut length);
            if length > 0 {
                value.extend_from_slice(std::slice::from_raw_parts(bytes.cast(), length));
            }
            rocksdb_pinnableslice_destroy(slice);
        }
        Ok(true)
    }

    fn flush(&self) -> Result<(), EngineError> {
        // SAFETY: the database lives as long as `self`.
        checked(|error| unsafe { rocksdb_flush_wal(self.database.as_ptr(), 1, error) })
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: all four are valid and owned by `self`, and nobody uses them any more.
        unsafe {
            rocksdb_close(self.database.as_ptr());
            rocksdb_writeoptions_destroy(self.writes);
            rocksdb_writeoptions_destroy(self.unsynced_writes);
            rocksdb_readoptions_destroy(self.reads);
        }
    }
}
