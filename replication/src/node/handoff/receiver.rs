//! The receiving end: what comes is checked, and put in place.

use super::message::Versions;
use super::{END, Node};
use crate::paxos::ReplicaId;
use bytes::Bytes;
use skink_engine::command::MAX_KEY_LEN;
use skink_engine::engine::Version;
use skink_engine::error::Fault;
use skink_engine::key::{KeyHash, SegmentId};
use skink_engine::position::Instance;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

impl Node {
    /// Puts versions in place; `None` where they are not what they should be, or there is no room for them.
    fn adopt(
        &mut self,
        from: ReplicaId,
        versions: &Versions,
        is_right: impl Fn(KeyHash) -> bool,
    ) -> Result<Option<HashMap<KeyHash, u64>>, Fault> {
        let max_value_len = self.engine.format().shape.max_value_len as usize;
        let mut came: HashMap<KeyHash, u64> = HashMap::new();
        let floor = self.handoffs.open().map_or(Instance::ZERO, |open| open.floor);
        for version in versions.iter() {
            let is_sound = |version: &Version<'_>| {
                let lengths = version.key.len() <= MAX_KEY_LEN && version.value.len() <= max_value_len;
                lengths && version.revision.instance() <= floor && is_right(self.engine.hash(version.key))
            };
            let Some(version) = version.filter(is_sound) else {
                self.distrust(from);
                return Ok(None);
            };
            match self.engine.adopt(&version) {
                Err(fault) if fault.is_transient() => {
                    self.execution.note_room(Some(&fault.to_string()));
                    return Ok(None);
                }
                result => result?,
            }
            *came.entry(self.engine.hash(version.key)).or_default() += 1;
        }
        self.execution.note_room(None);
        let count: u64 = came.values().sum();
        if let Some(report) = &mut self.handoffs.report {
            report.versions += count;
            report.bytes += versions.len() as u64;
        }
        Ok(Some(came))
    }

    /// What a donor says can't be.
    fn distrust(&mut self, donor: ReplicaId) {
        tracing::error!(%donor, "a replica hands over what nobody asked for: another one is asked");
        if let Some(open) = self.handoffs.open() {
            open.donor = None;
        }
    }

    /// Keys that somebody waits for.
    pub(super) fn take_keys(
        &mut self,
        from: ReplicaId,
        instance: Instance,
        hashes: &[u64],
        versions: &Versions,
    ) -> Result<(), Fault> {
        let now = self.now;
        let Some(open) = self.handoffs.of(from, instance) else { return Ok(()) };
        open.heard = now;
        let hashes: HashSet<KeyHash> = hashes.iter().map(|hash| KeyHash::from_raw(*hash)).collect();
        // One that was asked for twice is here when the second answer comes.
        if hashes.iter().any(|hash| !open.asked.contains_key(hash) && !open.has(*hash)) {
            self.distrust(from);
            return Ok(());
        }
        if self.adopt(from, versions, |hash| hashes.contains(&hash))?.is_none() {
            return Ok(());
        }
        // Keys of a hash that the donor does not have.
        let mut given: HashSet<&[u8]> = HashSet::new();
        given.extend(versions.iter().flatten().map(|version| version.key));
        for hash in &hashes {
            let mut gone = self.engine.keys_with(*hash, instance)?;
            gone.retain(|key| !given.contains(key.as_ref()));
            if !self.disown(&gone, instance)? {
                return Ok(());
            }
        }
        let Some(open) = self.handoffs.of(from, instance) else { return Ok(()) };
        for hash in &hashes {
            open.asked.remove(hash);
        }
        let count = hashes.len() as u64;
        open.pulled.extend(hashes);
        if let Some(report) = &mut self.handoffs.report {
            report.pulled_keys += count;
        }
        self.is_stirred = true;
        Ok(())
    }

    /// A part of a segment.
    pub(super) fn take_range(
        &mut self,
        from: ReplicaId,
        instance: Instance,
        segment: SegmentId,
        digests: Range<u64>,
        kept: &[u64],
        versions: &Versions,
    ) -> Result<(), Fault> {
        let now = self.now;
        let Some(open) = self.handoffs.of(from, instance) else { return Ok(()) };
        open.heard = now;
        let is_next = open.segments.get(segment.index()) == Some(&digests.start) && digests.end > digests.start;
        if !is_next || digests.end > END {
            return Ok(());
        }
        let count = self.engine.segment_count() as u16;
        let is_in = |hash: KeyHash| hash.segment(count) == segment && digests.contains(&u64::from(hash.digest()));
        let Some(came) = self.adopt(from, versions, is_in)? else { return Ok(()) };
        let mut known: HashMap<KeyHash, u64> = came;
        for hash in kept {
            *known.entry(KeyHash::from_raw(*hash)).or_default() += 1;
        }
        let Some(open) = self.handoffs.of(from, instance) else { return Ok(()) };
        let mut gone = Vec::new();
        let mut doubtful: HashSet<KeyHash> = HashSet::new();
        self.engine.keys_between(segment, digests.clone(), instance, &mut |hash, key| match known.get_mut(&hash) {
            // One that was written over is not visited: this is another one of its hash.
            _ if open.overwritten.contains_key(&hash) && !open.pulled.contains(&hash) => drop(doubtful.insert(hash)),
            Some(left) if *left > 0 => *left -= 1,
            Some(_) => drop(doubtful.insert(hash)),
            None => gone.push(Bytes::copy_from_slice(key)),
        })?;
        // More keys of a hash here than there: only names tell which. They are asked for, and this part again.
        if !doubtful.is_empty() {
            for hash in doubtful {
                let _ = self.is_handed_over(hash);
            }
            return Ok(());
        }
        if !self.disown(&gone, instance)? {
            return Ok(());
        }
        let Some(open) = self.handoffs.of(from, instance) else { return Ok(()) };
        if let Some(next) = open.segments.get_mut(segment.index()) {
            *next = digests.end;
        }
        open.on_the_way.remove(&segment.0);
        if digests.end >= END
            && let Some(report) = &mut self.handoffs.report
        {
            report.segments.0 += 1;
        }
        self.is_stirred = true;
        Ok(())
    }

    /// Removes keys that the cut does not have; whether there was room.
    fn disown(&mut self, keys: &[Bytes], instance: Instance) -> Result<bool, Fault> {
        match self.engine.disown(keys, instance.revision(u16::MAX)) {
            Err(fault) if fault.is_transient() => {
                self.execution.note_room(Some(&fault.to_string()));
                Ok(false)
            }
            result => {
                result?;
                Ok(true)
            }
        }
    }
}
