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

mod transaction;

#[cfg(test)]
mod tests;

use crate::command::{
    Command, CommandError, Condition, Entry, Expiry, ExpiryRule, MAX_KEY_LEN, MAX_KEYS_PER_COMMAND, Pattern, Put,
    PutMode, Range, Reply, TimeToLive, Unmet, Versioned,
};
use crate::position::Revision;
use bytes::Bytes;
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
            Command::Delete { key, condition } => {
                let stored = self.visible(key)?;
                match unmet_condition(condition.as_ref(), stored.as_ref()) {
                    Some(error) => Outcome::fail(error),
                    None => Outcome {
                        reply: Reply::Integer(i64::from(stored.is_some())),
                        effects: stored.map(|_| Effect::Delete { key: key.clone() }).into_iter().collect(),
                    },
                }
            }
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
                for key in keys {
                    values.push(self.visible(key)?.map(Stored::to_versioned));
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
            Command::Append { key, bytes } => {
                let stored = self.visible(key)?;
                let present = stored.map_or(&[][..], |stored| stored.value);
                let len = present.len() as u64 + bytes.len() as u64;
                self.changed_value(key, stored, len, || [present, bytes].concat())
            }
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

    fn put(&self, put: &Put) -> Result<Outcome, V::Error> {
        let stored = self.visible(&put.key)?;
        let unmet = match (put.mode, &stored) {
            (PutMode::Create, Some(_)) => Some(CommandError::KeyExists),
            (PutMode::Update, None) => Some(CommandError::KeyMissing),
            _ => unmet_condition(put.condition.as_ref(), stored.as_ref()),
        };
        let previous = || stored.map_or(Reply::Missing, |stored| Reply::Value(stored.to_versioned()));
        if let Some(error) = unmet {
            return Ok(match (put.return_previous, put.unmet) {
                (true, Unmet::Missing) => Outcome::read(previous()),
                (false, Unmet::Missing) => Outcome::read(Reply::Missing),
                (_, Unmet::Fail) => Outcome::fail(error),
            });
        }
        let reply = if put.return_previous { previous() } else { Reply::Written(self.context.revision) };
        Ok(match self.expiry(put.expiry, stored) {
            Err(error) => Outcome::fail(error),
            Ok(ExpiresAt::Passed) => Outcome {
                reply,
                effects: stored.map(|_| Effect::Delete { key: put.key.clone() }).into_iter().collect(),
            },
            Ok(ExpiresAt::At(expires_at_ms)) => Outcome {
                reply,
                effects: smallvec![Effect::Put { key: put.key.clone(), value: put.value.clone(), expires_at_ms }],
            },
        })
    }

    fn put_many(&self, entries: &[(Bytes, Bytes)], only_if_none_exists: bool) -> Result<Outcome, V::Error> {
        if only_if_none_exists {
            for (key, _) in entries {
                if self.visible(key)?.is_some() {
                    return Ok(Outcome::read(Reply::Integer(0)));
                }
            }
        }
        let mut effects = Effects::with_capacity(entries.len());
        let mut seen = hashbrown::HashSet::with_capacity_and_hasher(entries.len(), std::hash::RandomState::new());
        for (key, value) in entries.iter().rev() {
            if seen.insert(key) {
                effects.push(Effect::Put { key: key.clone(), value: value.clone(), expires_at_ms: 0 });
            }
        }
        effects.reverse();
        Ok(Outcome { reply: Reply::Integer(1), effects })
    }

    fn delete_many(&self, keys: &[Bytes], which: impl Fn(&Stored<'_>) -> bool) -> Result<Outcome, V::Error> {
        let mut effects = Effects::new();
        let mut seen = hashbrown::HashSet::with_hasher(std::hash::RandomState::new());
        for key in keys {
            if self.view.stored(key)?.is_some_and(|stored| which(&stored)) && (keys.len() == 1 || seen.insert(key)) {
                effects.push(Effect::Delete { key: key.clone() });
            }
        }
        Ok(Outcome { reply: Reply::Integer(effects.len() as i64), effects })
    }

    fn write_part(&self, key: &Bytes, offset: u64, bytes: &Bytes) -> Result<Outcome, V::Error> {
        let stored = self.visible(key)?;
        let present = stored.map_or(&[][..], |stored| stored.value);
        if bytes.is_empty() {
            return Ok(Outcome::read(Reply::Integer(present.len() as i64)));
        }
        let len = offset.saturating_add(bytes.len() as u64).max(present.len() as u64);
        Ok(self.changed_value(key, stored, len, || {
            // `changed_value` has held `len` against the limit, so that these positions fit.
            let mut value = present.to_vec();
            value.resize(len as usize, 0);
            let start = offset as usize;
            value[start..start + bytes.len()].copy_from_slice(bytes);
            value
        }))
    }

    fn increment(&self, key: &Bytes, by: i64) -> Result<Outcome, V::Error> {
        let stored = self.visible(key)?;
        let present = match stored {
            None => 0,
            Some(stored) => match parse_integer(stored.value) {
                Some(number) => number,
                None => return Ok(Outcome::fail(CommandError::NotAnInteger)),
            },
        };
        let Some(sum) = present.checked_add(by) else {
            return Ok(Outcome::fail(CommandError::IntegerOverflow));
        };
        let value = sum.to_string().into_bytes();
        let outcome = self.changed_value(key, stored, value.len() as u64, || value);
        Ok(if outcome.reply.is_failure() { outcome } else { Outcome { reply: Reply::Integer(sum), ..outcome } })
    }

    /// A value that a command computed from the present one; it keeps its expiry.
    fn changed_value(
        &self,
        key: &Bytes,
        stored: Option<Stored<'_>>,
        len: u64,
        value: impl FnOnce() -> Vec<u8>,
    ) -> Outcome {
        let max = self.context.max_value_len;
        if len > max as u64 {
            return Outcome::fail(CommandError::ValueTooLong { len, max });
        }
        Outcome {
            reply: Reply::Integer(len as i64),
            effects: smallvec![Effect::Put {
                key: key.clone(),
                value: value().into(),
                expires_at_ms: stored.map_or(0, |stored| stored.expires_at_ms),
            }],
        }
    }

    fn set_expiry(&self, key: &Bytes, expiry: Expiry, rule: ExpiryRule) -> Result<Outcome, V::Error> {
        let Some(stored) = self.visible(key)? else {
            return Ok(Outcome::read(Reply::Integer(0)));
        };
        let new = match self.expiry(expiry, Some(stored)) {
            Err(error) => return Ok(Outcome::fail(error)),
            Ok(new) => new,
        };
        // Never is later than every time; a time that has passed is earlier than every one that a visible key has.
        let rank = |expires_at_ms: u64| if expires_at_ms == 0 { u64::MAX } else { expires_at_ms };
        let new_rank = match new {
            ExpiresAt::Passed => 0,
            ExpiresAt::At(expires_at_ms) => rank(expires_at_ms),
        };
        let applies = match rule {
            ExpiryRule::Always => true,
            ExpiryRule::IfNone => stored.expires_at_ms == 0,
            ExpiryRule::IfSome => stored.expires_at_ms != 0,
            ExpiryRule::IfLater => new_rank > rank(stored.expires_at_ms),
            ExpiryRule::IfEarlier => new_rank < rank(stored.expires_at_ms),
        };
        let effect = match new {
            _ if !applies => None,
            ExpiresAt::Passed => Some(Effect::Delete { key: key.clone() }),
            ExpiresAt::At(0) if stored.expires_at_ms == 0 => None,
            ExpiresAt::At(expires_at_ms) => {
                Some(Effect::Put { key: key.clone(), value: Bytes::copy_from_slice(stored.value), expires_at_ms })
            }
        };
        Ok(Outcome { reply: Reply::Integer(i64::from(effect.is_some())), effects: effect.into_iter().collect() })
    }

    /// The absolute expiry that `expiry` asks for.
    fn expiry(&self, expiry: Expiry, stored: Option<Stored<'_>>) -> Result<ExpiresAt, CommandError> {
        let at_ms = match expiry {
            Expiry::Never => return Ok(ExpiresAt::At(0)),
            Expiry::Keep => return Ok(ExpiresAt::At(stored.map_or(0, |stored| stored.expires_at_ms))),
            Expiry::AtMs(at_ms) => at_ms,
            Expiry::InMs(in_ms) => i64::try_from(self.context.now_ms)
                .ok()
                .and_then(|now_ms| now_ms.checked_add(in_ms))
                .ok_or(CommandError::InvalidExpiry)?,
        };
        match u64::try_from(at_ms) {
            Ok(at_ms) if at_ms > self.context.now_ms => Ok(ExpiresAt::At(at_ms)),
            _ => Ok(ExpiresAt::Passed),
        }
    }

    fn read_range(&self, query: &crate::command::RangeQuery) -> Result<(Vec<Entry>, Option<Bytes>), V::Error> {
        let limit = query.effective_limit();
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0_usize, None);
        if limit == 0 {
            return Ok((entries, next));
        }
        self.view.walk(&query.narrowed(), &mut |key, stored| {
            if !stored.is_visible_at(self.context.now_ms) || !query.takes(key) {
                return Walk::On;
            }
            // One entry more than fits tells that there is more to read.
            if entries.len() == limit || bytes >= MAX_RANGE_REPLY_BYTES {
                next = entries.last().map(|entry: &Entry| entry.key.clone());
                return Walk::Stop;
            }
            let version = Versioned {
                value: if query.with_values { Bytes::copy_from_slice(stored.value) } else { Bytes::new() },
                revision: stored.revision,
                expires_at_ms: stored.expires_at_ms,
            };
            bytes += key.len() + version.value.len();
            entries.push(Entry { key: Bytes::copy_from_slice(key), version });
            Walk::On
        })?;
        Ok((entries, next))
    }

    fn scan(&self, cursor: u64, limit: u32, pattern: Option<&Pattern>) -> Result<Outcome, V::Error> {
        let mut keys = Vec::new();
        let limit = limit.clamp(1, crate::command::MAX_RANGE_LIMIT) as usize;
        let cursor = self.view.scan(cursor, limit, &mut |key, stored| {
            if stored.is_visible_at(self.context.now_ms) && pattern.is_none_or(|pattern| pattern.matches(key)) {
                keys.push(Bytes::copy_from_slice(key));
            }
        })?;
        Ok(Outcome::read(Reply::Scanned { keys, cursor }))
    }
}

/// A range read stops after so many bytes of keys and values, so that replies stay bounded.
const MAX_RANGE_REPLY_BYTES: usize = 32 << 20;

enum ExpiresAt {
    Passed,
    /// 0 for never.
    At(u64),
}

/// The error if the condition does not hold for the key's visible version.
fn unmet_condition(condition: Option<&Condition>, stored: Option<&Stored<'_>>) -> Option<CommandError> {
    let holds = match (condition, stored) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(Condition::ValueIs(value)), Some(stored)) => stored.value == value,
        (Some(Condition::RevisionIs(revision)), Some(stored)) => stored.revision == *revision,
    };
    (!holds).then(|| CommandError::ConditionFailed { revision: stored.map(|stored| stored.revision) })
}

/// A decimal 64-bit integer as Redis takes it: an optional minus, no plus, no blanks, no leading zeros.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // The round trip refuses "+1", "-0" and "007".
    (number.to_string().as_bytes() == text).then_some(number)
}

/// Bytes `start..=end` of a value, as Redis' GETRANGE counts them.
fn part_of(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    let from_start = |position: i64| if position < 0 { position.saturating_add(len) } else { position };
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let start = from_start(start).max(0);
    let end = from_start(end).max(0).min(len - 1);
    if start > end { &[] } else { &value[start as usize..=end as usize] }
}
