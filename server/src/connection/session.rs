//! What a connection remembers between requests.

use crate::redis::Shape;
use bytes::Bytes;
use skink_engine::command::{Command, Precondition};

/// Most commands in one transaction.
pub(super) const MAX_QUEUED: usize = 65_535;

/// A transaction that is being put together.
#[derive(Default)]
pub(super) struct Queued {
    /// What is no command of the engine has its answer as its shape.
    pub(super) commands: Vec<(Option<Command>, Shape)>,
    /// A command was refused: `EXEC` will refuse all.
    pub(super) is_spoiled: bool,
    /// Bytes that the commands and answers carry.
    pub(super) bytes: usize,
}

/// What a connection remembers.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) name: Bytes,
    pub(super) queued: Option<Queued>,
    pub(super) watched: Vec<Precondition>,
    /// `CLIENT STALE-READS`.
    pub(super) stale_reads: bool,
    /// The statement that begins now is `READ STALE`. Such a one begins only when nothing waits, and is not held.
    pub(super) is_statement_stale: bool,
}

impl Session {
    pub(super) fn new(id: u64) -> Session {
        Session {
            id,
            name: Bytes::new(),
            queued: None,
            watched: Vec::new(),
            stale_reads: false,
            is_statement_stale: false,
        }
    }

    /// Whether what begins now may read from what this replica has, though others may have newer.
    pub(super) fn reads_stale(&self) -> bool {
        self.stale_reads || self.is_statement_stale
    }

    /// Drops the transaction and what it watches.
    pub(super) fn end_transaction(&mut self) {
        self.watched.clear();
        self.queued = None;
    }

    /// Notes that a command inside a transaction was refused.
    pub(super) fn spoil_transaction(&mut self) {
        if let Some(queued) = &mut self.queued {
            queued.is_spoiled = true;
        }
    }
}
