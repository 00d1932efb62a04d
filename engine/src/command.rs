//! Commands: the operations on the state, as data.
//!
//! A command says what is asked; [`evaluate`](crate::evaluate::evaluate) says what it means. Both are
//! pure, so that every replica that executes the same commands in the same order ends in the same
//! state (invariant E2). The encoding inside a payload is postcard's of these types: variants and
//! fields are part of the format (`docs/formats.md`), append new variants only at the end.

mod nesting;
mod pattern;
mod range;
mod reply;
mod weight;

pub use pattern::Pattern;
pub use range::{Range, RangeQuery};
pub use reply::{CommandError, Entry, Reply, TimeToLive, Versioned};

use crate::position::Revision;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest key, in bytes.
pub const MAX_KEY_LEN: usize = 4096;
/// Default of the longest value, in bytes.
pub const DEFAULT_MAX_VALUE_LEN: usize = 16 << 20;
/// Most keys that one command may name, transactions included.
pub const MAX_KEYS_PER_COMMAND: usize = 65_536;
/// Bytes of values after which a command fails in place of being answered ([`CommandError::ReplyTooLong`]), unless one
/// value may be longer.
pub const MAX_REPLY_LEN: usize = 64 << 20;
/// Most entries that one range read returns; a longer one is continued.
pub const MAX_RANGE_LIMIT: u32 = 65_536;

/// What must be so for a write to happen, checked against the key's present version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The key exists and has this value.
    ValueIs(Bytes),
    /// The key exists and was last written by this revision.
    RevisionIs(Revision),
}

/// Whether a put wants the key to be there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutMode {
    /// Only if the key does not exist.
    Create,
    /// Only if the key exists.
    Update,
    /// In either case.
    Upsert,
}

/// The expiry that a write gives a key. Times are the header's, in milliseconds (invariant E2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// The key does not expire.
    Never,
    /// The key keeps the expiry that it has.
    Keep,
    /// Milliseconds after the command's time; zero or less means at once.
    InMs(i64),
    /// Milliseconds since 1970-01-01 UTC; a time that has passed means at once.
    AtMs(i64),
}

/// When [`Command::SetExpiry`] applies, as Redis' `EXPIRE` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpiryRule {
    /// Always.
    Always,
    /// Only if the key has no expiry (`NX`).
    IfNone,
    /// Only if the key has one (`XX`).
    IfSome,
    /// Only if the new one is later; never counts as infinitely late (`GT`).
    IfLater,
    /// Only if the new one is earlier (`LT`).
    IfEarlier,
}

/// How a write whose mode or condition is not met is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unmet {
    /// With [`Reply::Missing`] (Redis' `SET … NX`).
    Missing,
    /// With an error (`CREATE`, `UPDATE`), which also rolls back an all-or-nothing transaction.
    Fail,
}

/// Sets a key's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The key, at most [`MAX_KEY_LEN`] bytes.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Whether the key must exist.
    pub mode: PutMode,
    /// What else must hold.
    pub condition: Option<Condition>,
    /// The expiry that the key gets.
    pub expiry: Expiry,
    /// Answer with the previous value ([`Reply::Value`] or [`Reply::Missing`]) in place of [`Reply::Written`].
    pub return_previous: bool,
    /// The answer where mode or condition is not met.
    pub unmet: Unmet,
}

impl Put {
    /// A put without conditions or expiry, in the given mode; unmet modes fail.
    pub fn new(mode: PutMode, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        Put {
            key: key.into(),
            value: value.into(),
            mode,
            condition: None,
            expiry: Expiry::Never,
            return_previous: false,
            unmet: Unmet::Fail,
        }
    }

    /// Whether neither what it does nor its reply depends on what there is.
    pub fn is_blind(&self) -> bool {
        // One that expires at once removes what there is, if there is something.
        let is_kept = match self.expiry {
            Expiry::Never => true,
            Expiry::InMs(ms) => ms > 0,
            Expiry::Keep | Expiry::AtMs(_) => false,
        };
        is_kept && self.mode == PutMode::Upsert && self.condition.is_none() && !self.return_previous
    }
}

/// What a transaction demands of a key before anything of it happens (`WATCH`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The key.
    pub key: Bytes,
    /// The revision that last wrote it; `None` where it must not exist.
    pub revision: Option<Revision>,
}

/// Several commands that take effect as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// If one of these does not hold, nothing happens and the reply is [`Reply::Aborted`].
    pub preconditions: Vec<Precondition>,
    /// The commands, in order. One that is a transaction fails ([`CommandError::NestedTransaction`]).
    #[serde(deserialize_with = "nesting::flat")]
    pub commands: Vec<Command>,
    /// Whether the first failing command undoes all of it ([`Reply::RolledBack`]); else the others stand, as in Redis.
    pub all_or_nothing: bool,
}

/// One operation on the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sets a value.
    Put(Put),
    /// Sets several values; with `only_if_none_exists`, all or none. Answers [`Reply::Integer`] 1 or 0.
    PutMany {
        /// Keys and values; a key that comes twice gets the later value.
        entries: Vec<(Bytes, Bytes)>,
        /// Do nothing if one of the keys exists.
        only_if_none_exists: bool,
    },
    /// Deletes a key if the condition holds. Answers [`Reply::Integer`] 1 or 0, or an error for an unmet condition.
    Delete {
        /// The key.
        key: Bytes,
        /// What must hold.
        condition: Option<Condition>,
    },
    /// Deletes keys and answers with how many there were.
    DeleteMany {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Reads a key: [`Reply::Value`] or [`Reply::Missing`].
    Read {
        /// The key.
        key: Bytes,
    },
    /// Reads keys at one point: [`Reply::Values`].
    ReadMany {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Counts how many of the keys exist (a key named twice counts twice).
    Exists {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// The value's length in bytes, 0 if the key does not exist.
    Length {
        /// The key.
        key: Bytes,
    },
    /// The time that the key has left: [`Reply::TimeToLive`].
    TimeToLive {
        /// The key.
        key: Bytes,
    },
    /// Part of a value; negative positions count from its end, both ends are included (`GETRANGE`).
    ReadPart {
        /// The key.
        key: Bytes,
        /// First byte.
        start: i64,
        /// Last byte.
        end: i64,
    },
    /// Overwrites part of a value, with zeros before it where the value is shorter. Answers with the new length.
    WritePart {
        /// The key.
        key: Bytes,
        /// Where in the value.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Appends to a value. Answers with the new length.
    Append {
        /// The key.
        key: Bytes,
        /// What.
        bytes: Bytes,
    },
    /// Adds to a value that is a decimal 64-bit integer (0 where missing). Answers with the sum.
    Increment {
        /// The key.
        key: Bytes,
        /// What to add.
        by: i64,
    },
    /// Changes a key's expiry. Answers [`Reply::Integer`] 1 if it did, 0 if not.
    SetExpiry {
        /// The key.
        key: Bytes,
        /// The new expiry; [`Expiry::Never`] removes it and answers 1 only if there was one.
        expiry: Expiry,
        /// When it applies.
        rule: ExpiryRule,
    },
    /// Reads a range in key order: [`Reply::Entries`].
    ReadRange(RangeQuery),
    /// Counts the keys of a range that the query's pattern takes; its limit is not used.
    CountRange(RangeQuery),
    /// Walks all keys in an order of its own, from a cursor (0 first): [`Reply::Scanned`].
    Scan {
        /// Where to go on.
        cursor: u64,
        /// About how many keys to look at.
        limit: u32,
        /// Which keys to return.
        pattern: Option<Pattern>,
    },
    /// The number of keys.
    Count,
    /// Deletes everything.
    Flush,
    /// Several commands as one.
    Transaction(Transaction),
    /// Deletes those of the keys that have expired at the command's time; answers with how many.
    Sweep {
        /// The keys.
        keys: Vec<Bytes>,
    },
}

/// How a command touches a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// It only reads it.
    Read,
    /// It may write it.
    Write,
}

/// Which keys a command may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footprint {
    /// The ones that were visited.
    Keys,
    /// Any key: it conflicts with every command that writes, or with every command if it writes itself.
    Everything,
}

impl Command {
    /// Whether the command has no effect on the state.
    pub fn is_read_only(&self) -> bool {
        match self {
            Command::Read { .. }
            | Command::ReadMany { .. }
            | Command::Exists { .. }
            | Command::Length { .. }
            | Command::TimeToLive { .. }
            | Command::ReadPart { .. }
            | Command::ReadRange(_)
            | Command::CountRange(_)
            | Command::Scan { .. }
            | Command::Count => true,
            Command::Put(_)
            | Command::PutMany { .. }
            | Command::Delete { .. }
            | Command::DeleteMany { .. }
            | Command::WritePart { .. }
            | Command::Append { .. }
            | Command::Increment { .. }
            | Command::SetExpiry { .. }
            | Command::Flush
            | Command::Sweep { .. } => false,
            Command::Transaction(transaction) => transaction.commands.iter().all(Command::is_read_only),
        }
    }

    /// Whether the command can only make the state smaller: such commands are let through when the disk is nearly full.
    pub fn only_deletes(&self) -> bool {
        match self {
            Command::Delete { .. } | Command::DeleteMany { .. } | Command::Flush | Command::Sweep { .. } => true,
            Command::Transaction(transaction) => {
                transaction.commands.iter().all(|command| command.is_read_only() || command.only_deletes())
            }
            _ => false,
        }
    }

    /// Whether neither what it does nor its reply depends on the state: it may be executed where the present versions of its
    /// keys are not known, and leaves new ones of all of them, or of none.
    pub fn is_blind(&self) -> bool {
        match self {
            Command::Put(put) => put.is_blind(),
            Command::PutMany { only_if_none_exists, .. } => !only_if_none_exists,
            Command::Transaction(transaction) => {
                transaction.preconditions.is_empty() && transaction.commands.iter().all(Command::is_blind)
            }
            _ => false,
        }
    }

    /// Whether no transaction is inside another one: only such commands can be encoded and decoded again.
    pub fn is_flat(&self) -> bool {
        match self {
            Command::Transaction(transaction) => {
                !transaction.commands.iter().any(|command| matches!(command, Command::Transaction(_)))
            }
            _ => true,
        }
    }

    /// Calls `visit` with every key that the command names and how it touches it.
    pub fn footprint<'a>(&'a self, visit: &mut dyn FnMut(&'a Bytes, Access)) -> Footprint {
        match self {
            Command::Put(put) => visit(&put.key, Access::Write),
            Command::PutMany { entries, .. } => entries.iter().for_each(|(key, _)| visit(key, Access::Write)),
            Command::Delete { key, .. }
            | Command::WritePart { key, .. }
            | Command::Append { key, .. }
            | Command::Increment { key, .. }
            | Command::SetExpiry { key, .. } => visit(key, Access::Write),
            Command::DeleteMany { keys } | Command::Sweep { keys } => {
                keys.iter().for_each(|key| visit(key, Access::Write));
            }
            Command::Read { key }
            | Command::Length { key }
            | Command::TimeToLive { key }
            | Command::ReadPart { key, .. } => visit(key, Access::Read),
            Command::ReadMany { keys } | Command::Exists { keys } => {
                keys.iter().for_each(|key| visit(key, Access::Read));
            }
            Command::ReadRange(_) | Command::CountRange(_) | Command::Scan { .. } | Command::Count | Command::Flush => {
                return Footprint::Everything;
            }
            Command::Transaction(transaction) => {
                for precondition in &transaction.preconditions {
                    visit(&precondition.key, Access::Read);
                }
                let mut whole = Footprint::Keys;
                for command in &transaction.commands {
                    if command.footprint(visit) == Footprint::Everything {
                        whole = Footprint::Everything;
                    }
                }
                return whole;
            }
        }
        Footprint::Keys
    }
}
