//! The giving end: a cut is pinned for a replica that comes back, and read as it asks.
//!
//! What somebody there waits for is answered at once. Of segments, one part is read in a cycle, so that this replica's own
//! clients wait no longer than for a batch.

use super::message::{Handoff, SortedVersions, VersionsWriter};
use super::{Channel, Node};
use crate::paxos::ReplicaId;
use skink_engine::engine::PinnedCut;
use skink_engine::error::Fault;
use skink_engine::key::{KeyHash, SegmentId};
use skink_engine::position::Instance;
use std::collections::{BTreeMap, VecDeque};

/// Ticks without a question after which a cut is let go.
const PATIENCE: u64 = 500;
/// Ticks in which a donor that has something left to execute may get to the end of it.
const WISH_TICKS: u64 = 15;
/// Keys that one part of a segment has, at least and at most, about.
const KEYS: std::ops::RangeInclusive<u64> = 16..=2048;
/// Hashes that one question may have.
const MAX_HASHES: usize = 4096;
/// Answers up to this length don't wait behind parts of segments.
const SMALL_ANSWER: usize = 128 << 10;
/// Parts that may be asked for at a time.
const MAX_PARTS: usize = 64;

/// A part of a segment that was asked for.
struct Part {
    base: Instance,
    segment: u16,
    from: u32,
}

/// A cut that is held for a peer.
struct Given {
    cut: PinnedCut,
    parts: VecDeque<Part>,
    heard: u64,
}

/// Who asks for a cut: what it has executed, the lowest that is any good, and how far its log goes.
pub(super) struct Wish {
    pub(super) executed: Instance,
    pub(super) at_least: Instance,
    pub(super) log_end: Instance,
    pub(super) since: u64,
}

/// What is given to others.
#[derive(Default)]
pub(in crate::node) struct Donor {
    /// Bytes of parts that may be given before the next tick; below zero, what was given beyond that.
    room: i64,
    given: BTreeMap<ReplicaId, Given>,
    wishes: BTreeMap<ReplicaId, Wish>,
}

impl Donor {
    pub(super) fn asked(&mut self, peer: ReplicaId, wish: Wish) {
        self.given.remove(&peer);
        self.wishes.insert(peer, wish);
    }

    pub(super) fn pulled(
        &mut self,
        peer: ReplicaId,
        instance: Instance,
        base: Instance,
        segment: u16,
        from: u32,
        now: u64,
    ) {
        if let Some(given) = self.given.get_mut(&peer).filter(|given| given.cut.instance() == instance) {
            given.heard = now;
            let is_new = !given.parts.iter().any(|part| (part.segment, part.from) == (segment, from));
            if is_new && given.parts.len() < MAX_PARTS {
                given.parts.push_back(Part { base, segment, from });
            }
        }
    }

    pub(super) fn done(&mut self, peer: ReplicaId, instance: Instance) {
        if self.given.get(&peer).is_some_and(|given| given.cut.instance() == instance) {
            tracing::info!(%peer, "the state is handed over to a replica");
            self.given.remove(&peer);
        }
    }

    pub(super) fn let_go(&mut self, peer: ReplicaId) {
        self.given.remove(&peer);
        self.wishes.remove(&peer);
    }

    /// So much was given. What is longer than some ticks give counts as those.
    fn take(&mut self, bytes: usize, per_tick: usize) {
        self.room = (self.room - bytes as i64).max(-4 * per_tick as i64);
    }

    pub(super) fn tick(&mut self, now: u64, bytes: usize) {
        self.room = (self.room + bytes as i64).min(bytes as i64);
        self.given.retain(|_, given| now.saturating_sub(given.heard) < PATIENCE);
        self.wishes.retain(|_, wish| now.saturating_sub(wish.since) < PATIENCE);
    }
}

impl Node {
    /// Whether the state is all here (R4).
    fn may_give(&self) -> bool {
        !self.handoffs.is_open() && !self.transfers.is_receiving() && !self.lacks_start() && !self.protocol.is_silent()
    }

    /// Whether what is executed here is as new as it gets, and the state that of an instance: at most moments it is.
    fn can_give(&self, at_least: Instance) -> bool {
        self.execution.is_in_order()
            && self.execution.delivered.len() < self.options.early_lag
            && self.executed() >= at_least
    }

    /// Pins cuts for those who ask, and reads parts for those who have one.
    pub(in crate::node) fn give(&mut self) -> Result<(), Fault> {
        let wishes = std::mem::take(&mut self.handoffs.donor.wishes);
        for (peer, wish) in wishes {
            let executed = self.executed();
            let missing = executed.get().saturating_sub(wish.executed.get());
            let is_again = wish.at_least > Instance::ZERO;
            // Across a change of the members there is more to do than to take versions.
            let is_of_one_configuration = self.configuration().start() <= wish.executed;
            if !self.may_give() || !is_of_one_configuration {
                self.hand(peer, Channel::Control, Handoff::Refused);
                continue;
            }
            if missing < self.options.handoff.lag as u64 && !is_again {
                self.hand(peer, Channel::Control, Handoff::Little);
                continue;
            }
            if !self.can_give(wish.at_least) {
                let waiting = self.execution.delivered.len();
                if self.now.saturating_sub(wish.since) < WISH_TICKS {
                    self.handoffs.donor.wishes.insert(peer, wish);
                } else {
                    tracing::info!(%peer, missing, waiting, "there is too much to execute here to hand over the state");
                    self.hand(peer, Channel::Control, Handoff::Refused);
                }
                continue;
            }
            let cut = self.engine.pin(executed, self.time_ms());
            tracing::info!(%peer, instance = %executed, missing, "the state is handed over to a replica that comes back");
            self.handoffs.donor.given.insert(peer, Given { cut, parts: VecDeque::new(), heard: self.now });
            let jump = self.jump_for(peer, wish.log_end).map(Box::new);
            self.hand(peer, Channel::Control, Handoff::Pinned { instance: executed, jump });
        }
        let peers: Vec<ReplicaId> = self.handoffs.donor.given.keys().copied().collect();
        for peer in peers {
            self.give_part(peer)?;
        }
        Ok(())
    }

    /// Whether somebody waits for a part of a segment.
    pub(in crate::node) fn gives(&self) -> bool {
        let donor = &self.handoffs.donor;
        donor.room > 0 && donor.given.values().any(|given| !given.parts.is_empty())
    }

    fn give_part(&mut self, peer: ReplicaId) -> Result<(), Fault> {
        let part_bytes = self.options.handoff.part as u64;
        let segments = self.engine.segment_count();
        if self.handoffs.donor.room <= 0 {
            return Ok(());
        }
        let Some(given) = self.handoffs.donor.given.get_mut(&peer) else { return Ok(()) };
        let Some(Part { base, segment, from }) = given.parts.pop_front() else { return Ok(()) };
        if usize::from(segment) >= segments {
            return Ok(());
        }
        let id = SegmentId(segment);
        let mean = given.cut.mean_version_len(id).max(1);
        let limit = (part_bytes / mean).clamp(*KEYS.start(), *KEYS.end()) as usize;
        let instance = given.cut.instance();
        let (mut kept, mut versions) = (Vec::new(), SortedVersions::default());
        let (mut to, mut seen) = (u64::from(from), 0);
        // Of what the other one has, only hashes are given: a part has more keys then.
        while let Some(start) = u32::try_from(to).ok().filter(|_| versions.len() < self.options.handoff.part) {
            let read = given.cut.versions(id, start, limit, &mut |hash, version| {
                if version.revision.instance() <= base {
                    kept.push(hash);
                } else {
                    versions.add(hash.digest(), &version);
                }
            });
            match read {
                Ok(next) => to = next,
                // Another state took the place of the one that it is of.
                Err(Fault::Refused(_)) => {
                    self.handoffs.donor.given.remove(&peer);
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
            seen += limit;
            if seen >= *KEYS.end() as usize {
                break;
            }
        }
        let to = versions.bound(from, to, self.options.handoff.part);
        kept.retain(|hash| u64::from(hash.digest()) < to);
        let kept: Vec<u64> = kept.into_iter().map(KeyHash::get).collect();
        let versions = versions.finish(to);
        let given = versions.len() + kept.len() * size_of::<u64>();
        self.handoffs.donor.take(given, self.options.handoff.per_tick);
        self.hand(peer, Channel::Payload, Handoff::Range { instance, segment, from, to, kept, versions });
        Ok(())
    }

    /// Versions of keys that somebody waits for.
    pub(super) fn give_keys(&mut self, peer: ReplicaId, instance: Instance, hashes: Vec<u64>) -> Result<(), Fault> {
        let now = self.now;
        let given = self.handoffs.donor.given.get_mut(&peer);
        let Some(given) = given.filter(|given| given.cut.instance() == instance && hashes.len() <= MAX_HASHES) else {
            return Ok(());
        };
        given.heard = now;
        let mut versions = VersionsWriter::default();
        for hash in &hashes {
            match given.cut.versions_with(KeyHash::from_raw(*hash), &mut |_, version| versions.add(&version)) {
                Err(Fault::Refused(_)) => {
                    self.handoffs.donor.given.remove(&peer);
                    return Ok(());
                }
                result => result?,
            }
        }
        let versions = versions.finish();
        let channel = if versions.len() <= SMALL_ANSWER { Channel::Control } else { Channel::Payload };
        self.hand(peer, channel, Handoff::Keys { instance, hashes, versions });
        Ok(())
    }
}
