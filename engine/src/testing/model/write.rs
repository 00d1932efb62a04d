//! The model's writes of single keys.

use super::Model;
use crate::command::{CommandError, Condition, Expiry, ExpiryRule, Put, PutMode, Reply, Unmet, Versioned};
use crate::evaluate::Context;
use bytes::Bytes;

impl Model {
    pub(super) fn put(&mut self, put: &Put, context: Context) -> Result<Reply, CommandError> {
        let before = self.get(&put.key, context.now_ms).cloned();
        let previous = before.clone().map_or(Reply::Missing, Reply::Value);
        let allowed = match put.mode {
            PutMode::Create if before.is_some() => Err(CommandError::KeyExists),
            PutMode::Update if before.is_none() => Err(CommandError::KeyMissing),
            _ => self.require(&put.key, put.condition.as_ref(), context),
        };
        if let Err(error) = allowed {
            return match put.unmet {
                Unmet::Fail => Err(error),
                Unmet::Missing if put.return_previous => Ok(previous),
                Unmet::Missing => Ok(Reply::Missing),
            };
        }
        match expires_at(put.expiry, before.as_ref(), context)? {
            Some(expires_at_ms) => self.set(&put.key, &put.value, expires_at_ms, context),
            // Written and gone at once.
            None => {
                self.remove_visible(&put.key, context.now_ms);
            }
        }
        Ok(if put.return_previous { previous } else { Reply::Written(context.revision) })
    }

    pub(super) fn write_part(
        &mut self,
        key: &Bytes,
        offset: u64,
        bytes: &Bytes,
        context: Context,
    ) -> Result<Reply, CommandError> {
        let mut value = self.value(key, context.now_ms);
        if bytes.is_empty() {
            return Ok(Reply::Integer(value.len() as i64));
        }
        let end = offset.saturating_add(bytes.len() as u64).max(value.len() as u64);
        if end > context.max_value_len as u64 {
            return Err(CommandError::ValueTooLong { len: end, max: context.max_value_len });
        }
        for (index, byte) in (offset as usize..).zip(bytes) {
            while value.len() <= index {
                value.push(0);
            }
            value[index] = *byte;
        }
        self.replace(key, value, context)
    }

    pub(super) fn increment(&mut self, key: &Bytes, by: i64, context: Context) -> Result<Reply, CommandError> {
        let present = match self.get(key, context.now_ms) {
            None => 0,
            Some(version) => integer(&version.value).ok_or(CommandError::NotAnInteger)?,
        };
        let sum = present.checked_add(by).ok_or(CommandError::IntegerOverflow)?;
        self.replace(key, sum.to_string().into_bytes(), context)?;
        Ok(Reply::Integer(sum))
    }

    pub(super) fn set_expiry(
        &mut self,
        key: &Bytes,
        expiry: Expiry,
        rule: ExpiryRule,
        context: Context,
    ) -> Result<Reply, CommandError> {
        let Some(before) = self.get(key, context.now_ms).cloned() else {
            return Ok(Reply::Integer(0));
        };
        let after = expires_at(expiry, Some(&before), context)?;
        // A key that never expires does so infinitely late; one that is to expire at once, before all others.
        let lateness = |expires_at_ms: u64| if expires_at_ms == 0 { u64::MAX } else { expires_at_ms };
        let new = after.map_or(0, lateness);
        let applies = match rule {
            ExpiryRule::Always => true,
            ExpiryRule::IfNone => before.expires_at_ms == 0,
            ExpiryRule::IfSome => before.expires_at_ms != 0,
            ExpiryRule::IfLater => new > lateness(before.expires_at_ms),
            ExpiryRule::IfEarlier => new < lateness(before.expires_at_ms),
        };
        let never_to_never = after == Some(0) && before.expires_at_ms == 0;
        if !applies || never_to_never {
            return Ok(Reply::Integer(0));
        }
        match after {
            Some(expires_at_ms) => self.set(key, &before.value, expires_at_ms, context),
            None => {
                self.remove_visible(key, context.now_ms);
            }
        }
        Ok(Reply::Integer(1))
    }

    /// The value, empty if a read at this time sees none.
    pub(super) fn value(&self, key: &[u8], now_ms: u64) -> Vec<u8> {
        self.get(key, now_ms).map_or(Vec::new(), |version| version.value.to_vec())
    }

    /// Gives a key a value and an expiry (0 for never).
    pub(super) fn set(&mut self, key: &[u8], value: &[u8], expires_at_ms: u64, context: Context) {
        let value = Bytes::copy_from_slice(value);
        self.entries.insert(key.to_vec(), Versioned { value, revision: context.revision, expires_at_ms });
    }

    /// Gives a key a value that was computed from its present one: the expiry stays. Answers with the length.
    pub(super) fn replace(&mut self, key: &[u8], value: Vec<u8>, context: Context) -> Result<Reply, CommandError> {
        if value.len() > context.max_value_len {
            return Err(CommandError::ValueTooLong { len: value.len() as u64, max: context.max_value_len });
        }
        let expires_at_ms = self.get(key, context.now_ms).map_or(0, |version| version.expires_at_ms);
        self.set(key, &value, expires_at_ms, context);
        Ok(Reply::Integer(value.len() as i64))
    }

    /// An error if the condition does not hold.
    pub(super) fn require(
        &self,
        key: &[u8],
        condition: Option<&Condition>,
        context: Context,
    ) -> Result<(), CommandError> {
        let before = self.get(key, context.now_ms);
        let holds = match condition {
            None => true,
            Some(Condition::ValueIs(value)) => before.is_some_and(|before| before.value == value),
            Some(Condition::RevisionIs(revision)) => before.is_some_and(|before| before.revision == *revision),
        };
        if holds {
            Ok(())
        } else {
            Err(CommandError::ConditionFailed { revision: before.map(|before| before.revision) })
        }
    }

    /// Removes a key that reads see; answers with how many that were.
    pub(super) fn remove_visible(&mut self, key: &[u8], now_ms: u64) -> i64 {
        if self.get(key, now_ms).is_none() {
            return 0;
        }
        self.entries.remove(key);
        1
    }

    /// Removes a key that is there but expired; answers with how many that were.
    pub(super) fn remove_expired(&mut self, key: &[u8], now_ms: u64) -> i64 {
        if self.get(key, now_ms).is_some() {
            return 0;
        }
        i64::from(self.entries.remove(key).is_some())
    }
}

/// The time at which a key is to expire: `Some(0)` for never, `None` if that time has passed.
fn expires_at(expiry: Expiry, before: Option<&Versioned>, context: Context) -> Result<Option<u64>, CommandError> {
    let at_ms = match expiry {
        Expiry::Never => return Ok(Some(0)),
        Expiry::Keep => return Ok(Some(before.map_or(0, |before| before.expires_at_ms))),
        Expiry::AtMs(at_ms) => i128::from(at_ms),
        Expiry::InMs(in_ms) => i128::from(context.now_ms) + i128::from(in_ms),
    };
    if at_ms > i128::from(i64::MAX) {
        return Err(CommandError::InvalidExpiry);
    }
    Ok(if at_ms > i128::from(context.now_ms) { u64::try_from(at_ms).ok() } else { None })
}

/// A decimal integer of 64 bits: digits without a leading zero, perhaps a minus before them; zero has none.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let well_formed = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !well_formed || digits.len() > 19 {
        return None;
    }
    let magnitude = digits.iter().fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    i64::try_from(if digits.len() < text.len() { -magnitude } else { magnitude }).ok()
}
