//! Executing commands: lock what a command touches, evaluate it, make room, apply its effects.

use super::Engine;
use super::view::Locked;
use crate::command::{Command, Footprint, Reply};
use crate::error::Fault;
use crate::evaluate::{Context, Effect, Effects, Stored, evaluate};
use crate::key::SegmentId;
use crate::position::Revision;
use crate::segment::{Content, Installed, record_len};
use smallvec::SmallVec;

impl Engine {
    /// Executes a command: wholly, or, where it answers with a fault, not at all.
    ///
    /// Commands that touch the same keys must be executed in the order of their revisions (E1); others may run at
    /// the same time.
    ///
    /// # Errors
    /// A full disk: try again when there is room. Damage or a failed disk: the state must not be used further for
    /// writes.
    pub fn execute(&self, command: &Command, context: Context) -> Result<Reply, Fault> {
        if matches!(command, Command::Count) {
            return Ok(Reply::Integer(i64::try_from(self.key_count()).unwrap_or(i64::MAX)));
        }
        let mut locked = self.lock_for(command)?;
        let outcome = evaluate(command, &locked, context)?;
        if !outcome.effects.is_empty() {
            self.apply(&mut locked, &outcome.effects, context.revision)?;
        }
        Ok(outcome.reply)
    }

    /// Reads one key without copying: `f` gets its version as of `now_ms`.
    ///
    /// # Errors
    /// Damage, or a failed disk.
    #[inline]
    pub fn read<T>(&self, key: &[u8], now_ms: u64, f: impl FnOnce(Option<Stored<'_>>) -> T) -> Result<T, Fault> {
        let hash = self.hash(key);
        let guard = self.lock_segment(hash.segment(self.place.segments).index())?;
        let stored = guard.installed().stored(hash, key)?;
        Ok(f(stored.filter(|stored| stored.is_visible_at(now_ms))))
    }

    fn lock_for(&self, command: &Command) -> Result<Locked<'_>, Fault> {
        let mut needed: SmallVec<[SegmentId; 4]> = SmallVec::new();
        let mut last = None;
        let footprint = command.footprint(&mut |key, _| {
            let hash = self.hash(key);
            last = Some(hash);
            needed.push(hash.segment(self.place.segments));
        });
        let mut guards = SmallVec::new();
        match footprint {
            Footprint::Keys => {
                needed.sort_unstable();
                needed.dedup();
                if let (&[id], Some(hash)) = (needed.as_slice(), last) {
                    let guard = self.lock_segment(id.index())?;
                    guard.installed().prefetch(hash);
                    guards.push(guard);
                } else {
                    for id in needed {
                        guards.push(self.lock_segment(id.index())?);
                    }
                }
            }
            Footprint::Everything => {
                for index in 0..self.segments.len() {
                    let mut guard = self.lock_segment(index)?;
                    guard.installed_mut().sort()?;
                    guards.push(guard);
                }
            }
        }
        Ok(Locked { guards, seed: self.place.seed, segments: self.place.segments })
    }

    fn apply(&self, locked: &mut Locked<'_>, effects: &Effects, revision: Revision) -> Result<(), Fault> {
        let effect_len = |effect: &Effect| match effect {
            Effect::Put { key, value, .. } => record_len(key.len(), value.len()),
            Effect::Delete { key } => record_len(key.len(), 0),
            Effect::Flush => 0,
        };
        let mut rest = &effects[..];
        // The one fault that can happen is met before anything changes.
        match effects.as_slice() {
            [Effect::Flush, after @ ..] => {
                self.flush(locked, after.iter().map(effect_len).sum())?;
                rest = after;
            }
            [one @ (Effect::Put { key, .. } | Effect::Delete { key })] => {
                let hash = locked.hash(key);
                locked.guard_mut(hash).installed_mut().reserve(effect_len(one))?;
            }
            many => {
                // Per segment the sum: reserving is not cumulative.
                let mut sums = vec![0_u64; locked.guards.len()];
                for effect in many {
                    let (Effect::Put { key, .. } | Effect::Delete { key }) = effect else { continue };
                    let id = locked.guard(locked.hash(key)).id();
                    if let Ok(position) = locked.guards.binary_search_by_key(&id, |guard| guard.id()) {
                        sums[position] += effect_len(effect);
                    }
                }
                for (guard, sum) in locked.guards.iter_mut().zip(sums).filter(|(_, sum)| *sum > 0) {
                    guard.installed_mut().reserve(sum)?;
                }
            }
        }
        for effect in rest {
            let (key, content) = match effect {
                Effect::Put { key, value, expires_at_ms } => {
                    (key, Content { value: Some(value), revision, expires_at_ms: *expires_at_ms })
                }
                Effect::Delete { key } => (key, Content { value: None, revision, expires_at_ms: 0 }),
                Effect::Flush => unreachable!("a flush comes first"),
            };
            let hash = locked.hash(key);
            locked.guard_mut(hash).append(hash, key, &content)?;
        }
        Ok(())
    }

    /// Empties every segment: each goes on with a new generation, whose file is made by its first write.
    fn flush(&self, locked: &mut Locked<'_>, room_for_rest: u64) -> Result<(), Fault> {
        let no_cut = self.layout.lock();
        let mut new: Vec<Installed> = Vec::with_capacity(locked.guards.len());
        for guard in &locked.guards {
            let mut installed = Installed::empty(&self.place, guard.id(), self.new_generation());
            // What follows in the same transaction must not fail either.
            let room = if room_for_rest > 0 { installed.reserve(room_for_rest) } else { Ok(()) };
            new.push(installed);
            if let Err(fault) = room {
                // Files of a refused flush would make a full disk fuller.
                for begun in &new {
                    let path = self.place.segment_path(begun.id(), begun.generation());
                    crate::files::remove_gently(self.environment.disk.as_ref(), &path)?;
                }
                return Err(fault);
            }
        }
        let is_pinned = self.pins.load(std::sync::atomic::Ordering::Acquire) > 0;
        let mut replaced = Vec::with_capacity(locked.guards.len());
        for (guard, new) in locked.guards.iter_mut().zip(new) {
            let (old, length) = (guard.installed().generation(), guard.installed().length());
            replaced.push(guard.replace(new, is_pinned));
            if length > 0 {
                self.garbage.lock().push(self.place.segment_path(guard.id(), old), length);
            }
        }
        drop(no_cut);
        Ok(())
    }
}
