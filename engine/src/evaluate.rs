//! What commands mean: from a view of the state to a reply and effects, without side effects.
//!
//! ```text
//! command, view, time  ->  evaluate  ->  reply + effects  ->  whoever holds the state applies the effects
//! ```
//!
//! Nothing here reads a clock, draws randomness or depends on an iteration order (invariant E2). Whoever
//! calls it makes sure that the view does not change between evaluation and application. Effects are
//! few: a fault of the storage can be dealt with before any of them is applied, so that a command is
//! applied wholly or not at all.

mod read;
mod transaction;
mod write;

#[cfg(test)]
mod tests;

use crate::command::{
    Command, CommandError, MAX_KEY_LEN, MAX_KEYS_PER_COMMAND, MAX_REPLY_LEN, Range, Reply, TimeToLive, Versioned,
};
use crate::position::Revision;
use bytes::Bytes;
use read::part_of;
use smallvec::{SmallVec, smallvec};

/// A key's present version, borrowed from the state.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The value.
    pub value: &'a [u8],
    /// Who wrote it.
    pub revision: Revision,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expires_at_ms: u64,
}

impl Stored<'_> {
    /// Whether reads at this time see it.
    pub fn is_visible_at(&self, now_ms: u64) -> bool {
        self.expires_at_ms == 0 || self.expires_at_ms > now_ms
    }

    /// A copy that owns its value.
    pub fn to_versioned(self) -> Versioned {
        Versioned {
            value: Bytes::copy_from_slice(self.value),
            revision: self.revision,
            expires_at_ms: self.expires_at_ms,
        }
    }
}

/// What a visitor of a range wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// The next entry.
    On,
    /// No more.
    Stop,
}

/// The state as a command sees it. Expired keys are still in it; `evaluate` hides them.
pub trait View {
    /// A fault of the storage; never an answer to a client.
    type Error;

    /// The version of a key, expired or not.
    fn stored(&self, key: &[u8]) -> Result<Option<Stored<'_>>, Self::Error>;

    /// Visits the keys of a range in order.
    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), Self::Error>;

    /// Visits keys in the state's own stable order from a cursor on, about `limit` of them; returns the next cursor, 0 at the end.
    ///
    /// A key that is there all the while is visited by a series of calls that starts at 0 and ends with 0.
    fn scan(&self, cursor: u64, limit: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, Self::Error>;

    /// The number of keys, those that have expired included until they are swept.
    fn count(&self) -> Result<u64, Self::Error>;
}

/// A change to the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
        /// When it expires; 0 for never.
        expires_at_ms: u64,
    },
    /// The key, which exists, is gone.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// All keys are gone. Always the first effect.
    Flush,
}

/// A command's effects; one for most commands.
pub type Effects = SmallVec<[Effect; 1]>;

/// What evaluating a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub reply: Reply,
    /// The changes, at most one per key.
    pub effects: Effects,
}

impl Outcome {
    fn read(reply: Reply) -> Outcome {
        Outcome { reply, effects: Effects::new() }
    }

    fn fail(error: CommandError) -> Outcome {
        Outcome::read(Reply::Failed(error))
    }
}

/// What evaluation depends on besides command and state; equal at all replicas.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The command's position.
    pub revision: Revision,
    /// The header's time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The longest value allowed, in bytes.
    pub max_value_len: usize,
}

impl Context {
    /// Bytes of values that one reply may carry: one value always fits.
    pub fn max_reply_len(&self) -> usize {
        MAX_REPLY_LEN.max(self.max_value_len)
    }
}

/// Evaluates a command against a view.
///
/// # Errors
/// Only faults of the view; a command that can't be done is answered with [`Reply::Failed`].
pub fn evaluate<V: View>(command: &Command, view: &V, context: Context) -> Result<Outcome, V::Error> {
    if let Some(error) = oversized(command, context) {
        return Ok(Outcome::fail(error));
    }
    match command {
        Command::Transaction(transaction) => transaction::evaluate(transaction, view, context),
        single => evaluate_single(single, view, context),
    }
}

/// Evaluates a command that is not a transaction, on its own or inside one.
///
/// Apart from [`evaluate`], or a transaction's view would be a view over a view over a view, a type without an end.
fn evaluate_single<V: View>(command: &Command, view: &V, context: Context) -> Result<Outcome, V::Error> {
    Evaluation { view, context }.command(command)
}

/// The limits on keys and values, which hold for every command before anything of it is looked at.
fn oversized(command: &Command, context: Context) -> Option<CommandError> {
    let (mut longest_key, mut keys) = (0, 0);
    command.footprint(&mut |key, _| {
        longest_key = longest_key.max(key.len());
        keys += 1;
    });
    if longest_key > MAX_KEY_LEN {
        return Some(CommandError::KeyTooLong { len: longest_key, max: MAX_KEY_LEN });
    }
    if keys > MAX_KEYS_PER_COMMAND {
        return Some(CommandError::TooManyKeys { max: MAX_KEYS_PER_COMMAND });
    }
    oversized_value(command, context)
}

/// The limit on the values that a command carries; a transaction's commands are looked at one by one.
fn oversized_value(command: &Command, context: Context) -> Option<CommandError> {
    let max = context.max_value_len;
    let too_long =
        |value: &Bytes| (value.len() > max).then_some(CommandError::ValueTooLong { len: value.len() as u64, max });
    match command {
        Command::Put(put) => too_long(&put.value),
        Command::PutMany { entries, .. } => entries.iter().find_map(|(_, value)| too_long(value)),
        _ => None,
    }
}

struct Evaluation<'v, V> {
    view: &'v V,
    context: Context,
}

impl<'v, V: View> Evaluation<'v, V> {
    /// The key's version, if it exists and has not expired.
    fn visible(&self, key: &[u8]) -> Result<Option<Stored<'v>>, V::Error> {
        Ok(self.view.stored(key)?.filter(|stored| stored.is_visible_at(self.context.now_ms)))
    }

    fn command(&self, command: &Command) -> Result<Outcome, V::Error> {
        Ok(match command {
            Command::Put(put) => self.put(put)?,
            Command::PutMany { entries, only_if_none_exists } => self.put_many(entries, *only_if_none_exists)?,
            Command::Delete { key, condition } => self.delete(key, condition.as_ref())?,
            Command::DeleteMany { keys } => {
                self.delete_many(keys, |stored| stored.is_visible_at(self.context.now_ms))?
            }
            Command::Sweep { keys } => self.delete_many(keys, |stored| !stored.is_visible_at(self.context.now_ms))?,
            Command::Read { key } => Outcome::read(match self.visible(key)? {
                Some(stored) => Reply::Value(stored.to_versioned()),
                None => Reply::Missing,
            }),
            Command::ReadMany { keys } => {
                let mut values = Vec::with_capacity(keys.len());
                let mut len = 0;
                for key in keys {
                    let stored = self.visible(key)?;
                    len += stored.map_or(0, |stored| stored.value.len());
                    let max = self.context.max_reply_len();
                    if len > max {
                        return Ok(Outcome::fail(CommandError::ReplyTooLong { max }));
                    }
                    values.push(stored.map(Stored::to_versioned));
                }
                Outcome::read(Reply::Values(values))
            }
            Command::Exists { keys } => {
                let mut count = 0;
                for key in keys {
                    count += i64::from(self.visible(key)?.is_some());
                }
                Outcome::read(Reply::Integer(count))
            }
            Command::Length { key } => {
                Outcome::read(Reply::Integer(self.visible(key)?.map_or(0, |stored| stored.value.len() as i64)))
            }
            Command::TimeToLive { key } => Outcome::read(Reply::TimeToLive(match self.visible(key)? {
                None => TimeToLive::Missing,
                Some(Stored { expires_at_ms: 0, .. }) => TimeToLive::Never,
                Some(Stored { expires_at_ms: at_ms, .. }) => {
                    TimeToLive::Expires { at_ms, in_ms: at_ms - self.context.now_ms }
                }
            })),
            Command::ReadPart { key, start, end } => {
                let value = self.visible(key)?.map_or(&[][..], |stored| stored.value);
                Outcome::read(Reply::Bytes(Bytes::copy_from_slice(part_of(value, *start, *end))))
            }
            Command::WritePart { key, offset, bytes } => self.write_part(key, *offset, bytes)?,
            Command::Append { key, bytes } => self.append(key, bytes)?,
            Command::Increment { key, by } => self.increment(key, *by)?,
            Command::SetExpiry { key, expiry, rule } => self.set_expiry(key, *expiry, *rule)?,
            Command::ReadRange(query) => {
                let (entries, next) = self.read_range(query)?;
                Outcome::read(Reply::Entries { entries, next })
            }
            Command::CountRange(query) => {
                let mut count = 0;
                self.view.walk(&query.narrowed(), &mut |key, stored| {
                    count += i64::from(stored.is_visible_at(self.context.now_ms) && query.takes(key));
                    Walk::On
                })?;
                Outcome::read(Reply::Integer(count))
            }
            Command::Scan { cursor, limit, pattern } => self.scan(*cursor, *limit, pattern.as_ref())?,
            Command::Count => Outcome::read(Reply::Integer(i64::try_from(self.view.count()?).unwrap_or(i64::MAX))),
            Command::Flush => Outcome { reply: Reply::Done, effects: smallvec![Effect::Flush] },
            Command::Transaction(_) => Outcome::fail(CommandError::NestedTransaction),
        })
    }
}
