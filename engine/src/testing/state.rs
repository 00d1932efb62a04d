//! A state in memory: the simplest [`View`] that effects can be applied to.

use crate::command::{Command, Pattern, Range, Reply, Versioned};
use crate::evaluate::{Context, Effect, Outcome, Stored, View, Walk, evaluate};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::convert::Infallible;
use xxhash_rust::xxh3::xxh3_64;

/// Keys and their versions in a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapState {
    entries: BTreeMap<Vec<u8>, Versioned>,
}

impl MapState {
    /// The empty state.
    pub fn new() -> MapState {
        MapState::default()
    }

    /// All keys with their versions, those that have expired included.
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Versioned> {
        &self.entries
    }

    /// What a command would do.
    pub fn evaluate(&self, command: &Command, context: Context) -> Outcome {
        match evaluate(command, self, context) {
            Ok(outcome) => outcome,
            Err(never) => match never {},
        }
    }

    /// Applies an effect of a command.
    ///
    /// # Panics
    /// If a key is deleted that does not exist: effects must not do that.
    pub fn apply(&mut self, effect: Effect, context: Context) {
        match effect {
            Effect::Put { key, value, expires_at_ms } => {
                self.entries.insert(key.to_vec(), Versioned { value, revision: context.revision, expires_at_ms });
            }
            Effect::Delete { key } => {
                assert!(self.entries.remove(key.as_ref()).is_some(), "deleted a key that does not exist: {key:?}");
            }
            Effect::Flush => self.entries.clear(),
        }
    }

    /// Executes a command.
    pub fn execute(&mut self, command: &Command, context: Context) -> Reply {
        let outcome = self.evaluate(command, context);
        for effect in outcome.effects {
            self.apply(effect, context);
        }
        outcome.reply
    }
}

fn stored(version: &Versioned) -> Stored<'_> {
    Stored { value: &version.value, revision: version.revision, expires_at_ms: version.expires_at_ms }
}

impl View for MapState {
    type Error = Infallible;

    fn stored(&self, key: &[u8]) -> Result<Option<Stored<'_>>, Infallible> {
        Ok(self.entries.get(key).map(stored))
    }

    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), Infallible> {
        for (key, version) in self.entries.iter().filter(|(key, _)| range.contains(key)) {
            if visit(key, stored(version)) == Walk::Stop {
                break;
            }
        }
        Ok(())
    }

    /// In the order of the keys' hashes; a cursor is the hash of the key to go on with. That order does not change
    /// when keys come and go, which is what the guarantee of a scan needs.
    fn scan(&self, cursor: u64, limit: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, Infallible> {
        let mut hashed: Vec<(u64, &Vec<u8>, &Versioned)> =
            self.entries.iter().map(|(key, version)| (xxh3_64(key), key, version)).collect();
        hashed.sort_by_key(|(hash, ..)| *hash);
        let from = hashed.partition_point(|(hash, ..)| *hash < cursor);
        let mut last = None;
        for (visited, (hash, key, version)) in hashed[from..].iter().enumerate() {
            // Keys of one hash stay together: the cursor could not tell them apart.
            if visited >= limit && last != Some(hash) {
                return Ok(*hash);
            }
            visit(key, stored(version));
            last = Some(hash);
        }
        Ok(0)
    }

    fn count(&self) -> Result<u64, Infallible> {
        Ok(self.entries.len() as u64)
    }
}

/// The keys of a whole scan of `limit` keys a step, from cursor 0 to cursor 0; what `execute` does besides is its own affair.
///
/// # Panics
/// If a step is answered with anything but keys, or the scan has not ended after 10,000 steps.
pub fn scan_all(limit: u32, pattern: Option<Pattern>, mut execute: impl FnMut(&Command) -> Reply) -> Vec<Bytes> {
    let (mut all, mut next) = (Vec::new(), 0);
    for _ in 0..10_000 {
        let reply = execute(&Command::Scan { cursor: next, limit, pattern: pattern.clone() });
        let Reply::Scanned { keys, cursor } = reply else {
            panic!("a scan is answered with keys, not {reply:?}");
        };
        all.extend(keys);
        if cursor == 0 {
            return all;
        }
        next = cursor;
    }
    panic!("the scan does not end");
}
