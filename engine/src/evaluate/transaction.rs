//! Transactions: commands evaluated one after the other over a view that shows what the earlier ones did.

use super::{Context, Effect, Effects, Evaluation, Outcome, Stored, View, Walk, evaluate_single, oversized_value};
use crate::command::{CommandError, Range, Reply, Transaction};
use crate::position::Revision;
use bytes::Bytes;
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Evaluates a transaction: all of its effects together, or none.
pub(super) fn evaluate<V: View>(transaction: &Transaction, view: &V, context: Context) -> Result<Outcome, V::Error> {
    for precondition in &transaction.preconditions {
        let revision = Evaluation { view, context }.visible(&precondition.key)?.map(|stored| stored.revision);
        if revision != precondition.revision {
            return Ok(Outcome::read(Reply::Aborted));
        }
    }
    let mut overlay = Overlay::new(view, context.revision);
    let mut replies = Vec::with_capacity(transaction.commands.len());
    let mut replies_len = 0;
    for (index, command) in transaction.commands.iter().enumerate() {
        let outcome = match oversized_value(command, context) {
            Some(error) => Outcome::fail(error),
            None => evaluate_single(command, &overlay, context)?,
        };
        match outcome.reply {
            Reply::Failed(error) if transaction.all_or_nothing => {
                return Ok(Outcome::read(Reply::RolledBack { index, error }));
            }
            reply => {
                // Neither mode lets the other commands stand: without its replies nobody knows what a transaction did.
                replies_len += reply.values_len();
                let max = context.max_reply_len();
                if replies_len > max {
                    return Ok(Outcome::fail(CommandError::ReplyTooLong { max }));
                }
                replies.push(reply);
            }
        }
        overlay.apply(outcome.effects)?;
    }
    Ok(Outcome { reply: Reply::Transaction(replies), effects: overlay.into_effects()? })
}

/// What the transaction has done to a key so far.
enum Change {
    Put { value: Bytes, expires_at_ms: u64 },
    Delete,
}

/// A view with a transaction's changes over it.
struct Overlay<'v, V> {
    base: &'v V,
    revision: Revision,
    flushed: bool,
    changes: BTreeMap<Bytes, Change>,
    /// Keys that the changes add to those of the base, or of nothing after a flush. The base is not counted before
    /// somebody asks: a transaction of single keys sees no more of it than these.
    added: i64,
}

impl<'v, V: View> Overlay<'v, V> {
    fn new(base: &'v V, revision: Revision) -> Self {
        Overlay { base, revision, flushed: false, changes: BTreeMap::new(), added: 0 }
    }

    fn apply(&mut self, effects: Effects) -> Result<(), V::Error> {
        for effect in effects {
            match effect {
                Effect::Put { key, value, expires_at_ms } => {
                    self.recount(&key, true)?;
                    self.changes.insert(key, Change::Put { value, expires_at_ms });
                }
                Effect::Delete { key } => {
                    self.recount(&key, false)?;
                    self.changes.insert(key, Change::Delete);
                }
                Effect::Flush => {
                    self.flushed = true;
                    self.changes.clear();
                    self.added = 0;
                }
            }
        }
        Ok(())
    }

    fn recount(&mut self, key: &[u8], will_exist: bool) -> Result<(), V::Error> {
        let exists = self.stored(key)?.is_some();
        self.added += i64::from(will_exist) - i64::from(exists);
        Ok(())
    }

    /// One effect per key, in key order; what the transaction created and deleted again has none.
    fn into_effects(self) -> Result<Effects, V::Error> {
        let mut effects: Effects = if self.flushed { smallvec![Effect::Flush] } else { smallvec![] };
        for (key, change) in self.changes {
            match change {
                Change::Put { value, expires_at_ms } => effects.push(Effect::Put { key, value, expires_at_ms }),
                // After a flush there is nothing to delete; without one, the key may have been made by this transaction.
                Change::Delete if self.flushed => {}
                Change::Delete => {
                    if self.base.stored(&key)?.is_some() {
                        effects.push(Effect::Delete { key });
                    }
                }
            }
        }
        Ok(effects)
    }

    fn shown<'c>(&self, change: &'c Change) -> Option<Stored<'c>> {
        match change {
            Change::Put { value, expires_at_ms } => {
                Some(Stored { value, revision: self.revision, expires_at_ms: *expires_at_ms })
            }
            Change::Delete => None,
        }
    }
}

impl<V: View> View for Overlay<'_, V> {
    type Error = V::Error;

    fn stored(&self, key: &[u8]) -> Result<Option<Stored<'_>>, V::Error> {
        match self.changes.get(key) {
            Some(change) => Ok(self.shown(change)),
            None if self.flushed => Ok(None),
            None => self.base.stored(key),
        }
    }

    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), V::Error> {
        let bounds = (range.start.as_ref(), range.end.as_ref());
        // A BTreeMap panics on a start after the end.
        let empty = match bounds {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
                start >= end
            }
            _ => false,
        };
        if empty {
            return Ok(());
        }
        let mut changes = self.changes.range::<Bytes, _>(bounds).peekable();
        let mut stopped = false;
        if !self.flushed {
            self.base.walk(range, &mut |key, stored| {
                while let Some((changed, change)) = changes.next_if(|(changed, _)| changed.as_ref() < key) {
                    if let Some(stored) = self.shown(change)
                        && visit(changed, stored) == Walk::Stop
                    {
                        stopped = true;
                        return Walk::Stop;
                    }
                }
                let walk = match changes.next_if(|(changed, _)| changed.as_ref() == key) {
                    None => visit(key, stored),
                    Some((_, change)) => self.shown(change).map_or(Walk::On, |stored| visit(key, stored)),
                };
                stopped = walk == Walk::Stop;
                walk
            })?;
        }
        for (changed, change) in changes {
            if stopped {
                break;
            }
            if let Some(stored) = self.shown(change) {
                stopped = visit(changed, stored) == Walk::Stop;
            }
        }
        Ok(())
    }

    fn scan(&self, cursor: u64, limit: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, V::Error> {
        // Keys that the transaction made come with the first step. Those that it overwrote come where the base has
        // them: a scan that began before the transaction has not seen them yet.
        if cursor == 0 {
            for (key, change) in &self.changes {
                if let Some(stored) = self.shown(change)
                    && (self.flushed || self.base.stored(key)?.is_none())
                {
                    visit(key, stored);
                }
            }
        }
        if self.flushed {
            return Ok(0);
        }
        self.base.scan(cursor, limit, &mut |key, stored| match self.changes.get(key) {
            None => visit(key, stored),
            Some(change) => {
                if let Some(stored) = self.shown(change) {
                    visit(key, stored);
                }
            }
        })
    }

    fn count(&self) -> Result<u64, V::Error> {
        let base = if self.flushed { 0 } else { self.base.count()? };
        Ok(base.saturating_add_signed(self.added))
    }
}
