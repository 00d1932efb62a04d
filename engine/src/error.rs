//! Faults of the engine, grouped by what the caller must do about them.
//!
//! A fault concerns this replica alone. What every replica computes alike, an unmet condition for
//! example, is no fault but a reply ([`CommandError`](crate::command::CommandError)).

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A fault.
#[derive(Debug, Error)]
pub enum Fault {
    /// The disk is full. Nothing of the operation has happened: try again when there is room.
    #[error("the disk is full: {action} {}: {source}; free some space, writes go on by themselves then", .path.display())]
    Full {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk failed. Stop: what the file holds now is not known.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what was written to it. Don't answer from it.
    #[error("{} is damaged at offset {offset}: {what}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The data directory can't be used as it is; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Fault {
    /// For `map_err`: what was being done to which file.
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Fault + 'a {
        move |source| {
            let path = path.to_path_buf();
            if crate::env::is_disk_full(&source) {
                Fault::Full { action, path, source }
            } else {
                Fault::Io { action, path, source }
            }
        }
    }

    /// A damaged file.
    pub fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Fault {
        Fault::Corrupt { path: path.to_path_buf(), offset, what: what.into() }
    }

    /// Whether the same operation may succeed later without anybody repairing something.
    pub fn is_transient(&self) -> bool {
        matches!(self, Fault::Full { .. })
    }
}
