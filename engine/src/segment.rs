//! Segments: one part of the state each, by hash of the key.
//!
//! A segment is one file of [records](record), of which what a cut names never changes, and an index over it. What
//! belongs to one generation of the file stands in [`installed::Installed`]; a [`Segment`] adds the lock, the
//! counters that a cut reads without the lock, and the way from *waiting* (its file lies there, nothing was read) to
//! *installed*.
//!
//! ```text
//! waiting --install: map, check, index the tail--> installed --compact, flush--> the next generation
//!    ^------------ a donor's checkpoint takes the place of the state ------'
//! ```

mod check;
mod compaction;
mod delta;
mod file;
mod image;
mod install;
mod installed;
mod record;
mod refresh;
mod walk;

#[cfg(test)]
mod tests;

/// What a version adds to its segment's digest.
#[cfg(test)]
pub(crate) fn content_digest(key: &[u8], content: &Content<'_>, key_hash: u64) -> u64 {
    record::Head::new(key, content, 0).content_digest(key_hash)
}

pub(crate) use check::{check_image_file, check_segment_file, too_short};
pub(crate) use compaction::{Replaced, compact};
pub(crate) use file::SegmentFile;
#[cfg(feature = "testing")]
pub(crate) use image::Image;
pub(crate) use install::Place;
pub(crate) use installed::Installed;
pub(crate) use record::{Content, Kind, Record, record_len};
pub(crate) use refresh::refresh;

use crate::error::Fault;
use crate::key::{Generation, KeyHash, SegmentId};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What a segment holds, as its records say (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Keys, tombstones left out.
    pub live_records: u64,
    /// Bytes of their records with padding.
    pub live_bytes: u64,
    /// Keys that have an expiry.
    pub expiring_records: u64,
    /// Sum over live records of what identifies their content, in any order; equal on all replicas.
    pub digest: u64,
}

impl Totals {
    /// What one version adds.
    #[inline]
    fn of(head: &record::Head, hash: KeyHash) -> Totals {
        match head.kind {
            Kind::Tombstone => Totals::default(),
            Kind::Put => Totals {
                live_records: 1,
                live_bytes: head.record_len.into(),
                expiring_records: u64::from(head.expires_at_ms != 0),
                digest: head.content_digest(hash.get()),
            },
        }
    }

    /// One version goes, another one comes.
    #[inline]
    fn replace(&mut self, old: &Totals, new: &Totals) {
        self.live_records = self.live_records - old.live_records + new.live_records;
        self.live_bytes = self.live_bytes - old.live_bytes + new.live_bytes;
        self.expiring_records = self.expiring_records - old.expiring_records + new.expiring_records;
        self.digest = self.digest.wrapping_sub(old.digest).wrapping_add(new.digest);
    }
}

/// One segment's part of a cut: a generation of its file, a length of it, and what is in that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SegmentCut {
    /// The file.
    pub generation: Generation,
    /// Its length; 0 where there is no file as nothing was ever written.
    pub length: u64,
    /// What is in it.
    pub totals: Totals,
}

/// What the lock protects.
struct State {
    phase: Phase,
    /// Earlier generations that a pinned cut still reads.
    retired: Vec<Installed>,
}

enum Phase {
    Waiting(SegmentCut),
    Installed(Box<Installed>),
}

/// One segment.
pub(crate) struct Segment {
    id: SegmentId,
    // What a cut reads when no command is in flight, without the lock.
    generation: AtomicU32,
    length: AtomicU64,
    live_records: AtomicU64,
    live_bytes: AtomicU64,
    expiring_records: AtomicU64,
    digest: AtomicU64,
    /// Bytes of the present generation below never change: a cut names them (S1).
    frozen: AtomicU64,
    is_installed: AtomicBool,
    state: Mutex<State>,
}

impl Segment {
    /// A segment that waits to be installed at this cut.
    pub fn waiting(id: SegmentId, cut: SegmentCut) -> Segment {
        let segment = Segment {
            id,
            generation: AtomicU32::default(),
            length: AtomicU64::default(),
            live_records: AtomicU64::default(),
            live_bytes: AtomicU64::default(),
            expiring_records: AtomicU64::default(),
            digest: AtomicU64::default(),
            frozen: AtomicU64::new(cut.length),
            is_installed: AtomicBool::default(),
            state: Mutex::new(State { phase: Phase::Waiting(cut), retired: Vec::new() }),
        };
        segment.publish(&cut);
        segment
    }

    fn publish(&self, cut: &SegmentCut) {
        self.generation.store(cut.generation.0, Ordering::Release);
        self.length.store(cut.length, Ordering::Release);
        self.live_records.store(cut.totals.live_records, Ordering::Release);
        self.live_bytes.store(cut.totals.live_bytes, Ordering::Release);
        self.expiring_records.store(cut.totals.expiring_records, Ordering::Release);
        self.digest.store(cut.totals.digest, Ordering::Release);
    }

    /// Its number.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Where it stands. Exact as a whole when no command is in flight.
    pub fn cut(&self) -> SegmentCut {
        SegmentCut {
            generation: Generation(self.generation.load(Ordering::Acquire)),
            length: self.length.load(Ordering::Acquire),
            totals: Totals {
                live_records: self.live_records.load(Ordering::Acquire),
                live_bytes: self.live_bytes.load(Ordering::Acquire),
                expiring_records: self.expiring_records.load(Ordering::Acquire),
                digest: self.digest.load(Ordering::Acquire),
            },
        }
    }

    /// Where it stands, to be named by a cut: what lies below never changes from now on (S1). No command may be in
    /// flight, and no other generation be put in place.
    pub fn freeze(&self) -> SegmentCut {
        let cut = self.cut();
        self.frozen.store(cut.length, Ordering::Release);
        cut
    }

    /// Whether commands can be executed on it at once.
    pub fn is_installed(&self) -> bool {
        // Without the lock, which whoever installs it holds all the time.
        self.is_installed.load(Ordering::Acquire)
    }

    /// Locks it, installing it first where it waits.
    ///
    /// # Errors
    /// Those of installing it: the segment stays waiting.
    #[inline]
    pub fn lock(&self, place: &Place) -> Result<Guard<'_>, Fault> {
        let mut state = self.state.lock();
        if let Phase::Waiting(cut) = &state.phase {
            let installed = install::install(place, self.id, cut)?;
            state.phase = Phase::Installed(Box::new(installed));
            self.is_installed.store(true, Ordering::Release);
        }
        Ok(Guard { segment: self, state, is_changed: false })
    }

    /// Locks it only if it is installed: what waits has nothing to compact, to refresh or to verify in memory.
    pub fn lock_installed(&self) -> Option<Guard<'_>> {
        let state = self.state.lock();
        // Not `then_some`: a guard of a waiting segment must not even be made.
        matches!(state.phase, Phase::Installed(_)).then(|| Guard { segment: self, state, is_changed: false })
    }

    /// Locks it as it is, to put another state in its place.
    pub fn hold(&self) -> Held<'_> {
        Held { segment: self, state: self.state.lock() }
    }

    /// Lets go of earlier generations if there is no pinned cut, which `is_pinned` tells. Asked under the lock: what a
    /// newer pin needs was put aside under it.
    pub fn drop_retired(&self, is_pinned: impl FnOnce() -> bool) {
        let mut state = self.state.lock();
        if is_pinned() {
            return;
        }
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        drop(retired);
    }
}

/// A locked segment, waiting or installed.
pub(crate) struct Held<'s> {
    segment: &'s Segment,
    state: MutexGuard<'s, State>,
}

impl Held<'_> {
    /// The segment's number.
    pub fn id(&self) -> SegmentId {
        self.segment.id
    }

    /// Where it stands.
    pub fn cut(&self) -> SegmentCut {
        self.segment.cut()
    }

    /// Lets it wait at another cut. Keeps the old generation readable where a cut is pinned, else gives it back, to be
    /// dropped when no lock is held.
    pub fn wait_at(&mut self, cut: SegmentCut, keep_old: bool) -> Option<Box<Installed>> {
        let old = std::mem::replace(&mut self.state.phase, Phase::Waiting(cut));
        self.segment.is_installed.store(false, Ordering::Release);
        self.segment.publish(&cut);
        // A checkpoint names all of it.
        self.segment.frozen.store(cut.length, Ordering::Release);
        match old {
            Phase::Installed(old) if keep_old => {
                self.state.retired.push(*old);
                None
            }
            Phase::Installed(old) => Some(old),
            Phase::Waiting(_) => None,
        }
    }
}

/// A locked, installed segment. Its counters are published when it is let go.
pub(crate) struct Guard<'s> {
    segment: &'s Segment,
    state: MutexGuard<'s, State>,
    /// Whether somebody could have changed what the counters say.
    is_changed: bool,
}

impl Guard<'_> {
    /// The segment's number.
    pub fn id(&self) -> SegmentId {
        self.segment.id
    }

    /// The present generation.
    #[inline]
    pub fn installed(&self) -> &Installed {
        match &self.state.phase {
            Phase::Installed(installed) => installed,
            Phase::Waiting(_) => unreachable!("a guard is of an installed segment"),
        }
    }

    /// The present generation, to change.
    #[inline]
    pub fn installed_mut(&mut self) -> &mut Installed {
        self.is_changed = true;
        match &mut self.state.phase {
            Phase::Installed(installed) => installed,
            Phase::Waiting(_) => unreachable!("a guard is of an installed segment"),
        }
    }

    /// Writes a version, for which room was [reserved](Installed::reserve).
    ///
    /// # Errors
    /// Only damage of the version that it replaces.
    #[inline]
    pub fn append(&mut self, hash: KeyHash, key: &[u8], content: &Content<'_>) -> Result<(), Fault> {
        let frozen = self.segment.frozen.load(Ordering::Acquire);
        self.installed_mut().append(hash, key, content, frozen)
    }

    /// The generation with this number, if it is the present one or pinned.
    pub fn generation_mut(&mut self, generation: Generation) -> Option<&mut Installed> {
        if self.installed().generation() == generation {
            return Some(self.installed_mut());
        }
        self.state.retired.iter_mut().find(|retired| retired.generation() == generation)
    }

    /// Puts another generation, or another index of the present one, in place; keeps the old one readable where a cut is pinned, else gives it back, to be
    /// dropped when no lock is held.
    pub fn replace(&mut self, new: Installed, keep_old: bool) -> Option<Installed> {
        let old = std::mem::replace(self.installed_mut(), new);
        if self.installed().generation() != old.generation() {
            // No cut names a new generation yet.
            self.segment.frozen.store(0, Ordering::Release);
        }
        if keep_old {
            self.state.retired.push(old);
            return None;
        }
        Some(old)
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_changed {
            self.segment.publish(&self.installed().cut());
        }
    }
}
