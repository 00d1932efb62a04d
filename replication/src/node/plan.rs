//! What is delivered and not executed yet, and which of it touches which keys: the last-toucher table over headers alone,
//! as the dependency log of the paper (section V.A).
//!
//! ```text
//! touchers: digest --> last batch --link of that digest--> the one before --> ... --> all that is before is executed
//! ```
//!
//! It tells a read, or a new command, which old commands it must wait for, and which of them to execute first. A batch
//! counts as long as it is not executed, so entries release by themselves as execution goes on. Nothing is entered
//! before somebody asks while this replica is behind: where it keeps up, the table costs nothing.

use super::output::Touches as ReadTouches;
use super::part::{LocalReads, Part};
use crate::header::{Content, Digests, Header};
use crate::identity::Verdict;
use crate::paxos::{Delivered, DeliveredContent};
use crate::replay::Progress;
use hashbrown::HashMap;
use skink_engine::command::Reply;
use skink_engine::position::{Instance, LogPosition};
use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Digests are hashes already.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, digest: u32) {
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 = (self.0 ^ u64::from(digest)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Entries that are kept from one time behind to the next.
const KEPT_ENTRIES: usize = 1 << 16;

/// Checkpoints that are passed over for what is executed ahead, beside those among the batches that were there when it
/// began: a replica that never quite catches up must take one, as its log grows.
const MAX_PASSED_MARKERS: u32 = 4;

/// What a batch touches.
enum Touches {
    /// Nothing: it is skipped, or no batch of commands.
    Nothing,
    /// Its keys; for each, how many instances before it the last one is that touches it, too: 0 for none.
    Keys(Box<[u32]>),
    /// Everything, or what comes after it must wait for it.
    Everything,
}

/// A batch that is not executed, or only in part.
pub(super) struct Planned {
    /// Its time, monotonic, in milliseconds since 1970.
    pub(super) time_ms: u64,
    touches: Touches,
    header: Option<Arc<Header>>,
    /// Its keys, where they are more than those in its header, ascending.
    keys: Option<Box<[u32]>>,
    /// Where its payload was when it was delivered.
    pub(super) payload: Option<LogPosition>,
    /// What of it is executed already; `None`: nothing.
    pub(super) part: Option<Box<Part>>,
}

impl Planned {
    fn of(delivered: &Delivered, local: LocalReads, ahead: &mut Progress) -> Planned {
        let nothing =
            |touches, time_ms| Planned { time_ms, touches, header: None, keys: None, payload: None, part: None };
        let DeliveredContent::Header { header, payload } = &delivered.content else {
            ahead.pass(delivered.instance);
            let is_end = matches!(delivered.content, DeliveredContent::StopSign(_));
            return nothing(if is_end { Touches::Everything } else { Touches::Nothing }, ahead.time_ms);
        };
        let (time_ms, verdict) = ahead.deliver(delivered.instance, header);
        let touches = match &header.content {
            Content::Commands { digests, .. } if verdict == Verdict::Execute => match (digests, &local) {
                (Digests::Everything, _) | (_, LocalReads::Many) => Touches::Everything,
                (Digests::Keys(_), LocalReads::Keys(keys)) => Touches::Keys(vec![0; keys.len()].into()),
                (Digests::Keys(keys), LocalReads::None) => Touches::Keys(vec![0; keys.len()].into()),
            },
            Content::Commands { .. } | Content::CheckpointMarker => return nothing(Touches::Nothing, time_ms),
        };
        let keys = if let LocalReads::Keys(keys) = local { Some(keys) } else { None };
        Planned { time_ms, touches, header: Some(Arc::clone(header)), keys, payload: *payload, part: None }
    }

    /// Its header, if it is a batch of commands that are to be executed.
    pub(super) fn header(&self) -> Option<&Arc<Header>> {
        self.header.as_ref()
    }

    /// Whether nothing that touches the key is left in it.
    fn is_settled(&self, digest: u32) -> bool {
        self.part.as_ref().is_some_and(|part| part.is_settled(digest))
    }

    /// Its place among the batches that touch a key, if it does.
    fn link(&self, digest: u32) -> Option<u32> {
        let Touches::Keys(links) = &self.touches else { return None };
        let at = match &self.keys {
            Some(keys) => keys.binary_search(&digest).ok()?,
            None => keys_of(self.header.as_ref()?)?.binary_search_by_key(&digest, |key| key.digest).ok()?,
        };
        links.get(at).copied()
    }

    /// Its key of a number.
    fn key(&self, number: usize) -> Option<u32> {
        match (&self.keys, &self.header) {
            (Some(keys), _) => keys.get(number).copied(),
            (None, Some(header)) => keys_of(header)?.get(number).map(|key| key.digest),
            (None, None) => None,
        }
    }
}

fn keys_of(header: &Header) -> Option<&[crate::header::KeyDigest]> {
    match &header.content {
        Content::Commands { digests: Digests::Keys(keys), .. } => Some(keys),
        _ => None,
    }
}

/// The batches that are delivered and not executed.
#[derive(Default)]
pub(super) struct Plan {
    batches: VecDeque<Planned>,
    /// Where delivery stands behind them; `None` if there are none.
    ahead: Option<Progress>,
    /// The last batch that touches a key, as its distance from `base`.
    touchers: HashMap<u32, u32, BuildHasherDefault<DigestHasher>>,
    base: u64,
    /// Those that touch everything, ascending.
    everything: VecDeque<Instance>,
    /// What was delivered when the plan began, and the markers since.
    backlog: Instance,
    markers: u32,
    /// Nothing waits for what is up to here: it is handed over.
    floor: Instance,
    /// The last instance of which something was executed before all that is before it.
    last_early: Instance,
}

impl Plan {
    /// The last batch that is entered: the next one that must be is after it.
    pub(super) fn entered(&self) -> Option<Instance> {
        self.ahead.as_ref().map(|ahead| ahead.instance)
    }

    /// Begins behind what is executed; `backlog` is the last instance that is delivered now.
    pub(super) fn begin(&mut self, executed: &Progress, backlog: Instance) {
        self.clear();
        self.base = executed.instance.get();
        self.backlog = backlog;
        self.ahead = Some(executed.clone());
    }

    /// What is up to an instance is handed over, and nothing waits for it; zero for none.
    pub(super) fn set_floor(&mut self, floor: Instance) {
        self.floor = floor;
    }

    /// Enters the next batch, with what its local reads touch.
    pub(super) fn enter(&mut self, delivered: &Delivered, local: LocalReads, executed: Instance) {
        let Some(mut ahead) = self.ahead.take() else { return };
        let instance = delivered.instance;
        let mut planned = Planned::of(delivered, local, &mut ahead);
        if instance <= self.floor {
            planned.touches = Touches::Nothing;
        }
        if delivered.is_marker() && instance > self.backlog {
            self.markers += 1;
            if self.markers > MAX_PASSED_MARKERS {
                planned.touches = Touches::Everything;
            }
        }
        if matches!(planned.touches, Touches::Everything) {
            self.everything.push_back(instance);
        } else if let Touches::Keys(mut links) = std::mem::replace(&mut planned.touches, Touches::Nothing) {
            self.make_room(links.len(), executed);
            let own = u32::try_from(instance.get() - self.base).unwrap_or(u32::MAX);
            for (number, link) in links.iter_mut().enumerate() {
                let before = planned.key(number).and_then(|digest| self.touchers.insert(digest, own));
                *link = before.map_or(0, |before| own - before);
            }
            planned.touches = Touches::Keys(links);
        }
        self.batches.push_back(planned);
        self.ahead = Some(ahead);
    }

    /// What nobody waits for any more leaves the table before the table grows.
    fn make_room(&mut self, keys: usize, executed: Instance) {
        if self.touchers.len() + keys <= self.touchers.capacity() {
            return;
        }
        let live = u32::try_from(executed.get().saturating_sub(self.base)).unwrap_or(u32::MAX);
        self.touchers.retain(|_, toucher| *toucher > live);
        // Half of it is to be free, so that this is rare.
        self.touchers.reserve(keys.max(self.touchers.len()));
    }

    /// Everything up to here is executed.
    pub(super) fn release(&mut self, executed: Instance) {
        let Some(entered) = self.entered() else { return };
        if executed >= entered {
            return self.clear();
        }
        while self.first() <= executed {
            self.batches.pop_front();
        }
        while self.everything.front().is_some_and(|first| *first <= executed) {
            self.everything.pop_front();
        }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.everything.clear();
        self.touchers.clear();
        if self.touchers.capacity() > KEPT_ENTRIES {
            self.touchers.shrink_to(KEPT_ENTRIES);
        }
        self.ahead = None;
        self.markers = 0;
        self.last_early = Instance::ZERO;
    }

    /// The first one that is not executed.
    fn first(&self) -> Instance {
        let entered = self.entered().unwrap_or(Instance::ZERO).get();
        Instance::new(entered + 1 - self.batches.len() as u64).unwrap_or(Instance::ZERO)
    }

    fn at(&self, instance: Instance) -> Option<usize> {
        usize::try_from(instance.get().checked_sub(self.first().get())?).ok()
    }

    pub(super) fn get(&self, instance: Instance) -> Option<&Planned> {
        self.batches.get(self.at(instance)?)
    }

    pub(super) fn get_mut(&mut self, instance: Instance) -> Option<&mut Planned> {
        let at = self.at(instance)?;
        self.batches.get_mut(at)
    }

    /// Whether all of a batch was executed ahead.
    pub(super) fn is_executed(&self, instance: Instance) -> bool {
        self.get(instance).and_then(|planned| planned.part.as_ref()).is_some_and(|part| part.is_whole())
    }

    /// The last instance of which something was executed early; at or below what is executed, nothing is.
    pub(super) fn last_early(&self) -> Instance {
        self.last_early
    }

    pub(super) fn executed_early(&mut self, instance: Instance) {
        self.last_early = self.last_early.max(instance);
    }

    /// The batch before this one that touches a key and is not executed.
    fn before(&self, instance: Instance, digest: u32) -> Option<Instance> {
        let link = self.get(instance)?.link(digest)?;
        let before = Instance::new(instance.get().checked_sub(u64::from(link))?)?;
        (link > 0 && before > self.floor && self.at(before).is_some()).then_some(before)
    }

    /// The last batch up to an instance that touches a key and is not executed.
    fn toucher(&self, digest: u32, upto: Instance) -> Option<Instance> {
        let mut toucher = Instance::new(self.base + u64::from(*self.touchers.get(&digest)?))?;
        self.at(toucher)?;
        while toucher > upto {
            toucher = self.before(toucher, digest)?;
        }
        (toucher > self.floor).then_some(toucher)
    }

    /// The last batch up to an instance of which something that touches a key is not executed. What is before it on that
    /// key may be executed or not; what is after it is.
    pub(super) fn unsettled(&self, digest: u32, upto: Instance) -> Option<Instance> {
        self.toucher(digest, upto).filter(|toucher| !self.get(*toucher).is_some_and(|it| it.is_settled(digest)))
    }

    /// The batches up to an instance, latest first, of which something that touches a key is not executed.
    pub(super) fn chain(&self, digest: u32, upto: Instance) -> impl Iterator<Item = Instance> {
        let first = self.unsettled(digest, upto);
        std::iter::successors(first, move |instance| self.unsettled_before(*instance, digest))
    }

    /// The same, before a batch that touches it.
    pub(super) fn unsettled_before(&self, instance: Instance, digest: u32) -> Option<Instance> {
        let before = self.before(instance, digest)?;
        (!self.get(before)?.is_settled(digest)).then_some(before)
    }

    /// The first instance, up to one, that everything after it must wait for.
    pub(super) fn barrier(&self, upto: Instance) -> Option<Instance> {
        self.everything.iter().rev().find(|instance| **instance <= upto).copied().filter(|last| *last > self.floor)
    }

    /// The instance up to which batches must be executed before a read of these keys may be answered (R1), where it must
    /// see what is decided up to `upto`; `None` if it waits for nothing. All batches up to there are executed or entered
    /// (R2).
    pub(super) fn ready_at(&self, touches: &ReadTouches, upto: Instance) -> Option<Instance> {
        if upto < self.first() {
            return None;
        }
        let ReadTouches::Keys(keys) = touches else { return Some(upto) };
        let touchers = keys.iter().filter_map(|key| self.unsettled(key.digest(), upto));
        touchers.chain(self.barrier(upto)).max()
    }

    /// The replies of a batch that somebody here waits for, once all of it is executed.
    pub(super) fn take_replies(&mut self, instance: Instance) -> Option<Vec<Reply>> {
        self.get_mut(instance)?.part.as_mut()?.take_replies()
    }
}

#[cfg(test)]
pub(super) mod tests;
