//! Hand-off: a replica that comes back gets what has changed from another one, and executes none of what it missed.
//!
//! ```text
//! comes back, has executed up to C: asks --> donor pins a cut at F, which it has executed
//!   somebody waits for a key ------ PullKeys --> its version at F   --> what is after F on that key is executed, answered
//!   all segments, some at a time -- PullRange -> what changed in C..F
//!   all of them are here: the state is that at F, and execution goes on behind it
//! ```
//!
//! The instance of the cut is the split point (`floor`): what is up to it comes with versions, what is behind it is
//! executed. A key that is here as of the cut, or newer, is handed over. Versions come with their revisions, and one never
//! takes the place of a newer one: what was executed ahead on a key stays. Until all is handed over the state is that of no
//! instance: nothing is executed in order, there is no cut (R3), and nothing is given to others (R4).
//!
//! Where the donor goes, another one is asked for a later cut, and everything is looked at again. Nothing of this is durable: a
//! replica that stops meanwhile goes on from its checkpoint.

mod donor;
mod finish;
mod jump;
mod keys;
mod meanwhile;
pub mod message;
mod options;
mod receiver;

use super::message::PeerMessage;
use super::{Channel, Node};
use crate::paxos::ReplicaId;
use donor::{Donor, Wish};
use jump::HeldSessions;
pub use jump::Jump;
use message::Handoff;
pub use options::HandoffOptions;
use skink_engine::error::Fault;
use skink_engine::key::{KeyHash, SegmentId};
use skink_engine::position::Instance;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Ticks in which a donor must answer before it goes on without one.
const ANSWER_TICKS: u64 = 20;
/// Ticks between two times that a replica that is behind asks for a donor.
const ASK_AGAIN_TICKS: u64 = 20;
/// Ticks after which something that did not come is asked for again.
const RETRY_TICKS: u64 = 50;
/// Ticks without anything from a donor after which another one is asked.
const PATIENCE: u64 = 200;
/// Ticks before the first answer in which only that is asked for which somebody waits for.
const FIRST_TICKS: u64 = 5;
/// Segments of which something is on its way at a time.
const WINDOW: usize = 4;
/// Keys that one message asks for.
const MAX_KEYS: usize = 64;
/// How often a donor is asked for in place of a whole checkpoint before that one comes.
const MAX_GAPS: u32 = 2;
/// Past the last digest.
const END: u64 = 1 << 32;

/// What is handed over, at both ends.
#[derive(Default)]
pub(super) struct Handoffs {
    receiving: Receiving,
    pub(super) donor: Donor,
    /// Tick of the last question for a donor.
    asked: Option<u64>,
    /// How often one was asked for.
    tries: usize,
    /// How often one was asked for in place of a checkpoint, since the last jump.
    gaps: u32,
    /// Batches that wait for execution from which on another one is worth it: what is left after one is soon executed.
    worth: usize,
    /// A cut that a donor holds, and to which this replica is about to jump.
    jump: Option<(ReplicaId, Jump)>,
    held: HeldSessions,
    /// The last jump that was made: unless a checkpoint has it, its state may be in memory alone.
    jumped: Instance,
    /// Tick at which what was handed over is to be made durable.
    cut_due: Option<u64>,
    /// The last one that was taken part in.
    report: Option<HandoffReport>,
}

/// What this replica gets.
#[derive(Default)]
enum Receiving {
    /// Nothing.
    #[default]
    Nothing,
    /// A donor is asked for.
    Asking { peer: ReplicaId, since: u64, why: Why },
    /// A donor has a cut.
    Open(Box<Open>),
}

/// Why a donor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It has just started, and the order has not been shown any session yet.
    Start,
    /// The others' logs don't reach back so far, or its disk is empty.
    Gap,
    /// It has much to execute.
    Behind,
}

/// A hand-off that goes on.
struct Open {
    /// Who gives; `None` while another one is looked for.
    donor: Option<ReplicaId>,
    /// What was executed here when it began.
    base: Instance,
    /// The cut.
    floor: Instance,
    /// By segment: the digest before which all is here.
    segments: Vec<u64>,
    /// Segments of which something is on its way, and since when.
    on_the_way: BTreeMap<u16, u64>,
    /// Keys that are here ahead of their segments.
    pulled: HashSet<KeyHash>,
    /// Hashes of keys that were written over before they came, and by which instance.
    overwritten: HashMap<KeyHash, Instance>,
    /// The first batch behind the cut of which nothing was tried to be executed.
    next: Instance,
    /// Keys that are on their way, and since when.
    asked: HashMap<KeyHash, u64>,
    /// Keys that somebody waits for, to be asked for.
    wanted: Vec<KeyHash>,
    /// Tick at which it began.
    opened: u64,
    /// Tick of the last message of the donor.
    heard: u64,
}

/// How far a hand-off is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoffReport {
    /// The last donor.
    pub donor: ReplicaId,
    /// The last instance of its cut.
    pub instance: Instance,
    /// Segments that are here, and all of them.
    pub segments: (u64, u64),
    /// Keys that came since somebody waited for them.
    pub pulled_keys: u64,
    /// Versions that came.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// It is over.
    pub is_done: bool,
}

impl Open {
    fn new(donor: Option<ReplicaId>, base: Instance, floor: Instance, segments: usize, now: u64) -> Open {
        Open {
            donor,
            base,
            floor,
            segments: vec![0; segments],
            on_the_way: BTreeMap::new(),
            pulled: HashSet::new(),
            overwritten: HashMap::new(),
            next: floor.next(),
            asked: HashMap::new(),
            wanted: Vec::new(),
            opened: now,
            heard: now,
        }
    }

    fn has(&self, hash: KeyHash) -> bool {
        let segment = hash.segment(self.segments.len() as u16).index();
        let is_covered = self.segments.get(segment).is_some_and(|next| *next > u64::from(hash.digest()));
        is_covered || self.pulled.contains(&hash)
    }

    fn is_whole(&self) -> bool {
        self.segments.iter().all(|next| *next >= END)
    }
}

impl Handoffs {
    /// The cut that is being handed over to this replica.
    fn open(&mut self) -> Option<&mut Open> {
        match &mut self.receiving {
            Receiving::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Whether nothing may be proposed or executed before a donor has answered: it must come behind the cut.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.receiving, Receiving::Asking { .. })
    }

    /// The same, and the order knows no session yet.
    pub(super) fn is_asking_first(&self) -> bool {
        matches!(self.receiving, Receiving::Asking { why: Why::Start, .. })
    }

    /// What was executed here when the hand-off began that is open.
    pub(super) fn base(&self) -> Option<Instance> {
        if let Receiving::Open(open) = &self.receiving { Some(open.base) } else { None }
    }

    /// What a checkpoint must have before what is in the order is durable here.
    pub(super) fn jumped(&self) -> Instance {
        self.jumped
    }

    /// Whether it is time to make durable what was handed over, if the last cut doesn't have it; once.
    pub(super) fn is_cut_due(&mut self, now: u64, last: Instance) -> bool {
        self.cut_due.take_if(|due| now >= *due).is_some() && last < self.report.map_or(Instance::ZERO, |it| it.instance)
    }

    #[cfg(test)]
    pub(super) fn held_sessions(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.receiving, Receiving::Open(_))
    }

    fn of(&mut self, donor: ReplicaId, instance: Instance) -> Option<&mut Open> {
        self.open().filter(|open| open.donor == Some(donor) && open.floor == instance)
    }
}

impl Node {
    /// Whether it is worth it to look for a donor.
    fn wants_donor(&self) -> bool {
        self.options.recovery.hands_over()
            && matches!(self.handoffs.receiving, Receiving::Nothing)
            && !self.lacks_start()
            && !self.protocol.is_silent()
            && !self.transfers.is_receiving()
            && self.execution.is_in_order()
    }

    /// Whether nobody was asked yet since the start, and somebody will be.
    pub(super) fn looks_for_first_donor(&self) -> bool {
        self.handoffs.asked.is_none() && self.wants_donor()
    }

    /// A session is open: at a start, its peer may be a donor.
    pub(super) fn look_for_donor_at(&mut self, peer: ReplicaId) {
        let has_just_started = self.execution.batches == 0;
        let lacks_donor = self.handoffs.open().is_some_and(|open| open.donor.is_none());
        if has_just_started && self.handoffs.asked.is_none() && (lacks_donor || self.wants_donor()) {
            // Its clients' batches can't be in anybody's log yet.
            self.ask_donor(peer, Why::Start);
        }
    }

    /// Asks for a donor where a whole checkpoint would be asked for; whether that was so.
    pub(super) fn asks_donor_instead(&mut self, peer: ReplicaId) -> bool {
        let is_asking = self.handoffs.is_asking();
        if is_asking || !self.wants_donor() || self.handoffs.gaps >= MAX_GAPS {
            return is_asking;
        }
        self.handoffs.gaps += 1;
        self.ask_donor(peer, Why::Gap);
        true
    }

    fn ask_donor(&mut self, peer: ReplicaId, why: Why) {
        self.handoffs.asked = Some(self.now);
        self.handoffs.tries += 1;
        let (executed, at_least) = match &self.handoffs.receiving {
            Receiving::Open(open) => (open.base, open.floor),
            _ => (self.executed(), Instance::ZERO),
        };
        if !self.handoffs.is_open() {
            self.handoffs.receiving = Receiving::Asking { peer, since: self.now, why };
        }
        let log_end = self.protocol.accepted();
        self.hand(peer, Channel::Control, Handoff::Ask { executed, at_least, log_end });
    }

    fn hand(&mut self, peer: ReplicaId, channel: Channel, handoff: Handoff) {
        self.send(peer, channel, &PeerMessage::Handoff(handoff));
    }

    /// Another peer each time.
    fn next_donor(&self) -> Option<ReplicaId> {
        let peers: Vec<ReplicaId> = self.sessions.keys().copied().collect();
        peers.get(self.handoffs.tries % peers.len().max(1)).copied()
    }

    pub(super) fn tick_handoffs(&mut self) {
        let now = self.now;
        self.handoffs.donor.tick(now, self.options.handoff.per_tick);
        self.cut_handed_over();
        match &mut self.handoffs.receiving {
            Receiving::Nothing => {
                let is_due = self.handoffs.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_AGAIN_TICKS);
                let (waiting, lag) = (self.execution.delivered.len(), self.options.handoff.lag);
                if waiting < lag {
                    self.handoffs.worth = lag;
                }
                if is_due
                    && waiting >= self.handoffs.worth.max(lag)
                    && self.batches.len() == 0
                    && self.wants_donor()
                    && let Some(peer) = self.next_donor()
                {
                    self.ask_donor(peer, Why::Behind);
                }
            }
            Receiving::Asking { since, .. } => {
                if now.saturating_sub(*since) >= ANSWER_TICKS {
                    self.go_on_without_donor();
                }
            }
            Receiving::Open(open) => {
                open.on_the_way.retain(|_, since| now.saturating_sub(*since) < RETRY_TICKS);
                for (hash, since) in &mut open.asked {
                    if now.saturating_sub(*since) >= RETRY_TICKS && !open.pulled.contains(hash) {
                        *since = now;
                        open.wanted.push(*hash);
                    }
                }
                if let Some(donor) = open.donor.filter(|_| now.saturating_sub(open.heard) >= PATIENCE) {
                    tracing::warn!(%donor, "the replica that hands over its state says nothing more: another one is asked");
                    open.donor = None;
                }
                let is_due = self.handoffs.asked.is_none_or(|asked| now.saturating_sub(asked) >= RETRY_TICKS);
                if open.donor.is_none()
                    && is_due
                    && let Some(peer) = self.next_donor()
                {
                    self.ask_donor(peer, Why::Behind);
                }
            }
        }
    }

    /// What was held back goes on.
    fn go_on_without_donor(&mut self) {
        self.handoffs.receiving = Receiving::Nothing;
        if let Some((donor, jump)) = self.handoffs.jump.take() {
            self.hand(donor, Channel::Control, Handoff::Done { instance: jump.instance });
        }
        self.meet_held();
        self.propose_all();
        self.is_stirred = true;
    }

    /// A peer is gone.
    pub(super) fn handoff_session_ended(&mut self, peer: ReplicaId) {
        self.handoffs.donor.let_go(peer);
        match &mut self.handoffs.receiving {
            Receiving::Asking { peer: asked, .. } if *asked == peer => {
                self.handoffs.asked = None;
                self.go_on_without_donor();
            }
            Receiving::Open(open) if open.donor == Some(peer) => {
                tracing::warn!(donor = %peer, "the replica that hands over its state is gone: another one is asked");
                open.donor = None;
                self.handoffs.asked = None;
            }
            _ => {}
        }
    }

    pub(super) fn handoff_arrived(&mut self, from: ReplicaId, handoff: Handoff) -> Result<(), Fault> {
        match handoff {
            Handoff::Ask { executed, at_least, log_end } => {
                let wish = Wish { executed, at_least, log_end, since: self.now };
                self.handoffs.donor.asked(from, wish);
            }
            Handoff::PullKeys { instance, hashes } => self.give_keys(from, instance, hashes)?,
            Handoff::PullRange { instance, base, segment, from: digest } => {
                self.handoffs.donor.pulled(from, instance, base, segment, digest, self.now);
            }
            Handoff::Done { instance } => self.handoffs.donor.done(from, instance),
            Handoff::Pinned { instance, jump } => self.pinned(from, instance, jump),
            Handoff::Refused => match self.handoffs.receiving {
                Receiving::Asking { peer, why, .. } if peer == from => match self.next_donor() {
                    // At a start, each is asked once.
                    Some(next) if self.handoffs.tries < self.sessions.len() => self.ask_donor(next, why),
                    _ => self.go_on_without_donor(),
                },
                _ => {}
            },
            Handoff::Little => match self.handoffs.receiving {
                Receiving::Asking { peer, .. } if peer == from => self.go_on_without_donor(),
                _ => {}
            },
            Handoff::Keys { instance, hashes, versions } => self.take_keys(from, instance, &hashes, &versions)?,
            Handoff::Range { instance, segment, from: start, to, kept, versions } => {
                self.take_range(from, instance, SegmentId(segment), u64::from(start)..to, &kept, &versions)?;
            }
        }
        Ok(())
    }

    /// A peer has a cut for this replica.
    fn pinned(&mut self, from: ReplicaId, instance: Instance, jump: Option<Box<Jump>>) {
        let now = self.now;
        let base = self.executed();
        let is_of_use = match &mut self.handoffs.receiving {
            Receiving::Asking { peer, .. } => {
                *peer == from && instance > base && !self.execution.is_within_a_batch() && !self.lacks_start()
            }
            Receiving::Open(open) => open.donor.is_none() && instance >= open.floor,
            Receiving::Nothing => false,
        };
        if !is_of_use {
            return self.hand(from, Channel::Control, Handoff::Done { instance });
        }
        let why = if let Receiving::Asking { why, .. } = self.handoffs.receiving { why } else { Why::Behind };
        if let Some(jump) = jump.filter(|jump| jump.instance == instance && why != Why::Behind) {
            self.handoffs.jump = Some((from, *jump));
            self.is_stirred = true;
            return;
        }
        if why == Why::Gap {
            // The headers up to the cut would never come.
            self.hand(from, Channel::Control, Handoff::Done { instance });
            return self.go_on_without_donor();
        }
        let base = self.handoffs.open().map_or(base, |open| open.base);
        let segments = self.engine.segment_count();
        let mut open = Open::new(Some(from), base, instance, segments, now);
        let before = self.handoffs.open();
        let wanted: Vec<KeyHash> = before.as_ref().map_or_else(Vec::new, |open| open.asked.keys().copied().collect());
        open.overwritten = before.map(|open| std::mem::take(&mut open.overwritten)).unwrap_or_default();
        // The others are in the cut, as all keys are.
        open.overwritten.retain(|_, by| *by > instance);
        open.asked = wanted.iter().map(|hash| (*hash, now)).collect();
        open.wanted = wanted;
        tracing::info!(donor = %from, %instance, %base, "another replica hands over its state");
        self.open_handoff(open);
        // What they are for comes with versions.
        self.protocol.skip_payloads(instance);
        self.meet_held();
        self.propose_all();
    }

    /// From now on the state is handed over.
    fn open_handoff(&mut self, open: Open) {
        if let Some(donor) = open.donor {
            let before = self.handoffs.report.filter(|report| !report.is_done);
            self.handoffs.report = Some(HandoffReport {
                donor,
                instance: open.floor,
                segments: (0, open.segments.len() as u64),
                pulled_keys: before.map_or(0, |report| report.pulled_keys),
                versions: before.map_or(0, |report| report.versions),
                bytes: before.map_or(0, |report| report.bytes),
                is_done: false,
            });
        }
        self.engine.keep_tombstones(true);
        self.execution.set_floor(Some(open.floor));
        self.handoffs.receiving = Receiving::Open(Box::new(open));
        self.is_stirred = true;
    }

    /// Asks for what somebody waits for, and for some of the rest.
    pub(super) fn pull(&mut self) {
        let now = self.now;
        let has_answered = self.execution.has_answered;
        let Some(open) = self.handoffs.open() else { return };
        let Some(donor) = open.donor else { return };
        let (instance, base) = (open.floor, open.base);
        let mut asks = Vec::new();
        let mut wanted = std::mem::take(&mut open.wanted);
        wanted.retain(|hash| !open.has(*hash));
        // In the same order in every run: what is asked for again comes from a map.
        wanted.sort_unstable_by_key(|hash| hash.get());
        for hashes in wanted.chunks(MAX_KEYS) {
            let hashes = hashes.iter().map(|hash| hash.get()).collect();
            asks.push(Handoff::PullKeys { instance, hashes });
        }
        // What is first asked for would wait for what nobody asked for, here and at the donor.
        let window = if has_answered || now.saturating_sub(open.opened) >= FIRST_TICKS { WINDOW } else { 0 };
        for (number, next) in open.segments.iter().enumerate() {
            if open.on_the_way.len() >= window {
                break;
            }
            let segment = number as u16;
            if *next < END && !open.on_the_way.contains_key(&segment) {
                open.on_the_way.insert(segment, now);
                asks.push(Handoff::PullRange { instance, base, segment, from: *next as u32 });
            }
        }
        for ask in asks {
            self.hand(donor, Channel::Control, ask);
        }
    }

    /// How far the last hand-off to this replica is.
    pub fn handoff(&self) -> Option<HandoffReport> {
        self.handoffs.report
    }
}
