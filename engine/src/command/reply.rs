//! What a command is answered with.

use crate::position::Revision;
use bytes::Bytes;
use thiserror::Error;

/// A value with what is known of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// The command that wrote it.
    pub revision: Revision,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expires_at_ms: u64,
}

/// A key with its value, as a range read returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its value and version; the value is empty where the query asked for keys alone.
    pub version: Versioned,
}

/// The answer to [`Command::TimeToLive`](super::Command::TimeToLive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeToLive {
    /// There is no such key.
    Missing,
    /// The key does not expire.
    Never,
    /// The key expires at this time (milliseconds since 1970), in so many milliseconds.
    Expires {
        /// Absolute time.
        at_ms: u64,
        /// From the command's time on.
        in_ms: u64,
    },
}

/// What a command is answered with. Every replica computes the same reply to the same command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// The write took place as this revision.
    Written(Revision),
    /// There is no such key, or the write was not to happen.
    Missing,
    /// A value.
    Value(Versioned),
    /// Values of several keys.
    Values(Vec<Option<Versioned>>),
    /// Raw bytes (part of a value).
    Bytes(Bytes),
    /// A count, a sum, a length, or 1 and 0 for done and not done.
    Integer(i64),
    /// The time that a key has left.
    TimeToLive(TimeToLive),
    /// Entries of a range in key order, and the key after which to go on if there may be more.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Start excluded of the query that continues this one.
        next: Option<Bytes>,
    },
    /// Keys of a scan, and the cursor with which to go on; 0 at the end.
    Scanned {
        /// The keys.
        keys: Vec<Bytes>,
        /// The next cursor.
        cursor: u64,
    },
    /// A transaction's replies, in its commands' order.
    Transaction(Vec<Reply>),
    /// A transaction's precondition did not hold; nothing happened.
    Aborted,
    /// An all-or-nothing transaction failed at this command; nothing happened.
    RolledBack {
        /// Index of the command in the transaction.
        index: usize,
        /// Why it failed.
        error: CommandError,
    },
    /// The command failed without an effect.
    Failed(CommandError),
}

impl Reply {
    /// Bytes of values that it carries, and of keys where a range was read. Scans don't count: where one goes on is
    /// not the same at all replicas, and a limit on this decides whether a transaction takes place (E2).
    pub fn values_len(&self) -> usize {
        match self {
            Reply::Value(version) => version.value.len(),
            Reply::Values(values) => values.iter().flatten().map(|version| version.value.len()).sum(),
            Reply::Bytes(bytes) => bytes.len(),
            Reply::Entries { entries, .. } => {
                entries.iter().map(|entry| entry.key.len() + entry.version.value.len()).sum()
            }
            Reply::Transaction(replies) => replies.iter().map(Reply::values_len).sum(),
            _ => 0,
        }
    }

    /// Whether the reply is an error.
    pub fn is_failure(&self) -> bool {
        matches!(self, Reply::Failed(_) | Reply::RolledBack { .. })
    }
}

/// Why a command failed: every replica comes to the same error (it is a reply, not a fault).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// CREATE of a key that exists.
    #[error("the key exists already; use UPDATE to change it")]
    KeyExists,
    /// UPDATE of a key that does not exist.
    #[error("the key does not exist; use CREATE to make it")]
    KeyMissing,
    /// The condition on value or revision did not hold.
    #[error("the condition does not hold{}", match .revision { Some(revision) => format!("; the key's revision is {}", revision.get()), None => "; the key does not exist".to_string() })]
    ConditionFailed {
        /// The key's present revision, if it exists.
        revision: Option<Revision>,
    },
    /// The value is not a decimal 64-bit integer.
    #[error("value is not an integer or out of range")]
    NotAnInteger,
    /// The sum does not fit.
    #[error("increment or decrement would overflow")]
    IntegerOverflow,
    /// A key is too long.
    #[error("the key has {len} bytes; at most {max} are allowed")]
    KeyTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A value is, or would become, too long.
    #[error("the value would have {len} bytes; at most {max} are allowed (limits.max_value_bytes)")]
    ValueTooLong {
        /// Its length.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// More keys than one command may name.
    #[error("the command names more than {max} keys")]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// The reply would carry more bytes of values than one may.
    #[error("the reply would have more than {max} bytes; ask for fewer keys at a time")]
    ReplyTooLong {
        /// The limit.
        max: usize,
    },
    /// The expiry is not a time that can be stored.
    #[error("invalid expire time")]
    InvalidExpiry,
    /// A transaction inside a transaction.
    #[error("a transaction cannot hold another one")]
    NestedTransaction,
}
