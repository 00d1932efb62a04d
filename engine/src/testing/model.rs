//! The model: what every command means, written down as simply as it can be.
//!
//! A state is a map, a command changes it in place, a transaction works on a copy that is kept or
//! dropped. No effects, no limits on time or memory; whatever executes commands for real must come
//! to the same replies and the same map. Keys that have expired stay in the map, hidden, until they
//! are overwritten or swept: [`Command::Count`] tells.

mod matching;
mod write;

pub use matching::matches;

use crate::command::{
    Command, CommandError, Entry, MAX_KEY_LEN, MAX_KEYS_PER_COMMAND, MAX_RANGE_LIMIT, RangeQuery, Reply, TimeToLive,
    Transaction, Versioned,
};
use crate::evaluate::Context;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The state, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    entries: BTreeMap<Vec<u8>, Versioned>,
}

impl Model {
    /// The empty state.
    pub fn new() -> Model {
        Model::default()
    }

    /// All keys with their versions, those that have expired included.
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Versioned> {
        &self.entries
    }

    /// Executes a command.
    pub fn execute(&mut self, command: &Command, context: Context) -> Reply {
        if let Some(error) = refusal(command, context) {
            return Reply::Failed(error);
        }
        match self.outcome(command, context) {
            Ok(reply) => reply,
            Err(error) => Reply::Failed(error),
        }
    }

    /// The keys that a read at this time sees, in order.
    pub fn visible(&self, now_ms: u64) -> impl Iterator<Item = (&[u8], &Versioned)> {
        self.entries
            .iter()
            .filter(move |(_, version)| version.expires_at_ms == 0 || version.expires_at_ms > now_ms)
            .map(|(key, version)| (key.as_slice(), version))
    }

    /// The key's version, if a read at this time sees it.
    pub fn get(&self, key: &[u8], now_ms: u64) -> Option<&Versioned> {
        let version = self.entries.get(key)?;
        (version.expires_at_ms == 0 || version.expires_at_ms > now_ms).then_some(version)
    }

    fn outcome(&mut self, command: &Command, context: Context) -> Result<Reply, CommandError> {
        let now_ms = context.now_ms;
        Ok(match command {
            Command::Put(put) => self.put(put, context)?,
            Command::PutMany { entries, only_if_none_exists } => {
                if *only_if_none_exists && entries.iter().any(|(key, _)| self.get(key, now_ms).is_some()) {
                    return Ok(Reply::Integer(0));
                }
                for (key, value) in entries {
                    self.set(key, value, 0, context);
                }
                Reply::Integer(1)
            }
            Command::Delete { key, condition } => {
                self.require(key, condition.as_ref(), context)?;
                Reply::Integer(self.remove_visible(key, now_ms))
            }
            Command::DeleteMany { keys } => {
                Reply::Integer(keys.iter().map(|key| self.remove_visible(key, now_ms)).sum())
            }
            Command::Sweep { keys } => Reply::Integer(keys.iter().map(|key| self.remove_expired(key, now_ms)).sum()),
            Command::Read { key } => match self.get(key, now_ms) {
                Some(version) => Reply::Value(version.clone()),
                None => Reply::Missing,
            },
            Command::ReadMany { keys } => {
                let values: Vec<_> = keys.iter().map(|key| self.get(key, now_ms).cloned()).collect();
                if values.iter().flatten().map(|version| version.value.len()).sum::<usize>() > context.max_reply_len() {
                    return Err(CommandError::ReplyTooLong { max: context.max_reply_len() });
                }
                Reply::Values(values)
            }
            Command::Exists { keys } => {
                Reply::Integer(keys.iter().filter(|key| self.get(key, now_ms).is_some()).count() as i64)
            }
            Command::Length { key } => Reply::Integer(self.value(key, now_ms).len() as i64),
            Command::TimeToLive { key } => Reply::TimeToLive(match self.get(key, now_ms) {
                None => TimeToLive::Missing,
                Some(version) if version.expires_at_ms == 0 => TimeToLive::Never,
                Some(version) => {
                    TimeToLive::Expires { at_ms: version.expires_at_ms, in_ms: version.expires_at_ms - now_ms }
                }
            }),
            Command::ReadPart { key, start, end } => Reply::Bytes(part(&self.value(key, now_ms), *start, *end)),
            Command::WritePart { key, offset, bytes } => self.write_part(key, *offset, bytes, context)?,
            Command::Append { key, bytes } => {
                let mut value = self.value(key, now_ms);
                value.extend_from_slice(bytes);
                self.replace(key, value, context)?
            }
            Command::Increment { key, by } => self.increment(key, *by, context)?,
            Command::SetExpiry { key, expiry, rule } => self.set_expiry(key, *expiry, *rule, context)?,
            Command::ReadRange(query) => self.read_range(query, now_ms),
            Command::CountRange(query) => Reply::Integer(self.selected(query, now_ms).count() as i64),
            // The order of a scan is the state's own; the model answers with all that may come. See `agree`.
            Command::Scan { pattern, .. } => Reply::Scanned {
                keys: self
                    .visible(now_ms)
                    .filter(|(key, _)| pattern.as_ref().is_none_or(|pattern| matches(pattern, key)))
                    .map(|(key, _)| Bytes::copy_from_slice(key))
                    .collect(),
                cursor: 0,
            },
            Command::Count => Reply::Integer(self.entries.len() as i64),
            Command::Flush => {
                self.entries.clear();
                Reply::Done
            }
            Command::Transaction(transaction) => self.transaction(transaction, context),
        })
    }

    fn selected<'a>(&'a self, query: &'a RangeQuery, now_ms: u64) -> impl Iterator<Item = (&'a [u8], &'a Versioned)> {
        let starts = |key: &[u8]| match &query.range.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start.as_ref(),
            Bound::Excluded(start) => key > start.as_ref(),
        };
        let ends = |key: &[u8]| match &query.range.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= end.as_ref(),
            Bound::Excluded(end) => key < end.as_ref(),
        };
        self.visible(now_ms).filter(move |(key, _)| {
            starts(key) && ends(key) && query.pattern.as_ref().is_none_or(|pattern| matches(pattern, key))
        })
    }

    fn read_range(&self, query: &RangeQuery, now_ms: u64) -> Reply {
        let limit = query.limit.min(MAX_RANGE_LIMIT) as usize;
        let mut entries: Vec<Entry> = self
            .selected(query, now_ms)
            .map(|(key, version)| {
                let mut version = version.clone();
                if !query.with_values {
                    version.value = Bytes::new();
                }
                Entry { key: Bytes::copy_from_slice(key), version }
            })
            .collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|entry| entry.key.clone());
        Reply::Entries { entries, next }
    }

    fn transaction(&mut self, transaction: &Transaction, context: Context) -> Reply {
        for precondition in &transaction.preconditions {
            if self.get(&precondition.key, context.now_ms).map(|version| version.revision) != precondition.revision {
                return Reply::Aborted;
            }
        }
        let mut copy = self.clone();
        let mut replies = Vec::new();
        for (index, command) in transaction.commands.iter().enumerate() {
            let reply = match command {
                Command::Transaction(_) => Reply::Failed(CommandError::NestedTransaction),
                command => copy.execute(command, context),
            };
            match reply {
                Reply::Failed(error) if transaction.all_or_nothing => return Reply::RolledBack { index, error },
                reply => replies.push(reply),
            }
        }
        if replies.iter().map(Reply::values_len).sum::<usize>() > context.max_reply_len() {
            return Reply::Failed(CommandError::ReplyTooLong { max: context.max_reply_len() });
        }
        *self = copy;
        Reply::Transaction(replies)
    }
}

/// Whether a reply is the one that the model gave.
///
/// Equality, but for scans: a step of a scan may return any of the keys that are there, in any order, and any cursor.
pub fn agree(model: &Reply, reply: &Reply) -> bool {
    match (model, reply) {
        (Reply::Scanned { keys: all, .. }, Reply::Scanned { keys, .. }) => keys.iter().all(|key| all.contains(key)),
        (Reply::Transaction(model), Reply::Transaction(replies)) => {
            model.len() == replies.len() && model.iter().zip(replies).all(|(model, reply)| agree(model, reply))
        }
        _ => model == reply,
    }
}

/// The limits on what a command carries, which come before its meaning.
fn refusal(command: &Command, context: Context) -> Option<CommandError> {
    let keys = named_keys(command);
    let longest = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    if longest > MAX_KEY_LEN {
        return Some(CommandError::KeyTooLong { len: longest, max: MAX_KEY_LEN });
    }
    if keys.len() > MAX_KEYS_PER_COMMAND {
        return Some(CommandError::TooManyKeys { max: MAX_KEYS_PER_COMMAND });
    }
    let max = context.max_value_len;
    let values: Vec<&Bytes> = match command {
        Command::Put(put) => vec![&put.value],
        Command::PutMany { entries, .. } => entries.iter().map(|(_, value)| value).collect(),
        _ => vec![],
    };
    let long = values.into_iter().find(|value| value.len() > max)?;
    Some(CommandError::ValueTooLong { len: long.len() as u64, max })
}

/// The keys that a command names, a transaction's own and its commands' included.
fn named_keys(command: &Command) -> Vec<&Bytes> {
    match command {
        Command::Put(put) => vec![&put.key],
        Command::PutMany { entries, .. } => entries.iter().map(|(key, _)| key).collect(),
        Command::DeleteMany { keys }
        | Command::Sweep { keys }
        | Command::ReadMany { keys }
        | Command::Exists { keys } => keys.iter().collect(),
        Command::Delete { key, .. }
        | Command::Read { key }
        | Command::Length { key }
        | Command::TimeToLive { key }
        | Command::ReadPart { key, .. }
        | Command::WritePart { key, .. }
        | Command::Append { key, .. }
        | Command::Increment { key, .. }
        | Command::SetExpiry { key, .. } => vec![key],
        Command::ReadRange(_) | Command::CountRange(_) | Command::Scan { .. } | Command::Count | Command::Flush => {
            vec![]
        }
        Command::Transaction(transaction) => {
            let own = transaction.preconditions.iter().map(|precondition| &precondition.key);
            own.chain(transaction.commands.iter().flat_map(named_keys)).collect()
        }
    }
}

/// Bytes `start..=end` of a value; a negative position counts from the end, what lies outside is cut off.
fn part(value: &[u8], start: i64, end: i64) -> Bytes {
    let len = value.len() as i128;
    let position = |at: i64| if at < 0 { len + i128::from(at) } else { i128::from(at) };
    // Redis compares two positions that both count from the end before it cuts them off at the start:
    // of "abc", -10 to -20 is nothing, while -20 to -10 is the first byte.
    if start < 0 && end < 0 && start > end {
        return Bytes::new();
    }
    let (start, end) = (position(start).max(0), position(end).max(0));
    value
        .iter()
        .enumerate()
        .filter(|(index, _)| (start..=end).contains(&(*index as i128)))
        .map(|(_, byte)| *byte)
        .collect()
}
