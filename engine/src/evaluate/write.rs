//! What the commands that write do to one key, or to several that they name.

use super::{Effect, Effects, Evaluation, Outcome, Stored, View};
use crate::command::{CommandError, Condition, Expiry, ExpiryRule, Put, PutMode, Reply, Unmet};
use bytes::Bytes;
use smallvec::smallvec;

impl<V: View> Evaluation<'_, V> {
    pub(super) fn put(&self, put: &Put) -> Result<Outcome, V::Error> {
        if put.is_blind() && put.expiry == Expiry::Never {
            // Nothing depends on the present version: looking it up and checking its value would cost as much as the write.
            let effect = Effect::Put { key: put.key.clone(), value: put.value.clone(), expires_at_ms: 0 };
            return Ok(Outcome { reply: Reply::Written(self.context.revision), effects: smallvec![effect] });
        }
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

    pub(super) fn put_many(&self, entries: &[(Bytes, Bytes)], only_if_none_exists: bool) -> Result<Outcome, V::Error> {
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

    pub(super) fn delete(&self, key: &Bytes, condition: Option<&Condition>) -> Result<Outcome, V::Error> {
        let stored = self.visible(key)?;
        Ok(match unmet_condition(condition, stored.as_ref()) {
            Some(error) => Outcome::fail(error),
            None => Outcome {
                reply: Reply::Integer(i64::from(stored.is_some())),
                effects: stored.map(|_| Effect::Delete { key: key.clone() }).into_iter().collect(),
            },
        })
    }

    pub(super) fn delete_many(&self, keys: &[Bytes], which: impl Fn(&Stored<'_>) -> bool) -> Result<Outcome, V::Error> {
        let mut effects = Effects::new();
        let mut seen = hashbrown::HashSet::with_hasher(std::hash::RandomState::new());
        for key in keys {
            if self.view.stored(key)?.is_some_and(|stored| which(&stored)) && (keys.len() == 1 || seen.insert(key)) {
                effects.push(Effect::Delete { key: key.clone() });
            }
        }
        Ok(Outcome { reply: Reply::Integer(effects.len() as i64), effects })
    }

    pub(super) fn write_part(&self, key: &Bytes, offset: u64, bytes: &Bytes) -> Result<Outcome, V::Error> {
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

    pub(super) fn append(&self, key: &Bytes, bytes: &Bytes) -> Result<Outcome, V::Error> {
        let stored = self.visible(key)?;
        let present = stored.map_or(&[][..], |stored| stored.value);
        let len = present.len() as u64 + bytes.len() as u64;
        Ok(self.changed_value(key, stored, len, || [present, bytes].concat()))
    }

    pub(super) fn increment(&self, key: &Bytes, by: i64) -> Result<Outcome, V::Error> {
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

    pub(super) fn set_expiry(&self, key: &Bytes, expiry: Expiry, rule: ExpiryRule) -> Result<Outcome, V::Error> {
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
}

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
