//! Checkpoints: markers in the order, cuts at them, and digests that must be the same everywhere (S3).
//!
//! ```text
//! leader: much log, or much time --> marker --> every replica cuts there --> a checkpoint in the background
//!                                                      '--> digest --> all: does a majority have another one? stop
//! ```
//!
//! A checkpoint lets the log before it go, as far as the order allows. Its manifest says what the order needs to know
//! of it ([`OrderingFacts`](super::OrderingFacts)).

use super::message::{PeerMessage, StateDigest};
use super::{Channel, Node, OWN_PROXY, Output};
use crate::batch::LocalBatch;
use crate::header::{BatchId, Content};
use crate::paxos::{Event, ReplicaId};
use crate::replica::CheckpointReply;
use bytes::Bytes;
use skink_engine::engine::CheckpointInfo;
use skink_engine::error::Fault;
use skink_engine::position::{Instance, LogPosition};
use std::collections::BTreeMap;

/// Digests that are kept to be compared.
const MAX_DIGESTS: usize = 16;
/// Ordering frames that one log file must be able to hold, of a follower that lacks all of the kept log: an eighth of
/// a file calls for a checkpoint, and with half of one the leader takes no more.
const FRAMES_DUE: u64 = 8;
const FRAMES_FULL: u64 = 2;

/// What is known of checkpoints.
pub(super) struct Checkpoints {
    /// Markers of this replica that are on their way, and who waits for them.
    markers: BTreeMap<BatchId, Vec<CheckpointReply>>,
    /// Who waits for the next one.
    wanted: Vec<CheckpointReply>,
    /// Cuts that are being made durable.
    under_way: usize,
    /// The last cut.
    last: Instance,
    log_position: LogPosition,
    /// Tick of the last cut.
    taken: u64,
    own: BTreeMap<Instance, u64>,
    peers: BTreeMap<Instance, BTreeMap<ReplicaId, u64>>,
    has_news: bool,
}

impl Checkpoints {
    pub(super) fn new(last: Instance, log_position: LogPosition) -> Checkpoints {
        Checkpoints {
            markers: BTreeMap::new(),
            wanted: Vec::new(),
            under_way: 0,
            last,
            log_position,
            taken: 0,
            own: BTreeMap::new(),
            peers: BTreeMap::new(),
            has_news: false,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way > 0
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_under_way() || !self.wanted.is_empty() || !self.markers.is_empty()
    }

    /// A checkpoint from elsewhere took the place of the state.
    pub(super) fn installed(&mut self, instance: Instance, log_position: LogPosition) {
        (self.last, self.log_position) = (instance, log_position);
    }

    /// Markers that are over, and that this replica did not execute: a checkpoint took their place. Whoever waits for one gets
    /// the next.
    pub(super) fn want_again(&mut self, is_over: impl Fn(&BatchId) -> bool) {
        let over = self.markers.extract_if(.., |marker, _| is_over(marker));
        self.wanted.extend(over.flat_map(|(_, waiting)| waiting));
    }

    /// There will be none: those who wait are told why.
    pub(super) fn refuse(&mut self, why: &str) {
        let waiting = std::mem::take(&mut self.markers).into_values().flatten();
        for reply in waiting.chain(std::mem::take(&mut self.wanted)) {
            reply(Err(why.into()));
        }
    }

    /// A peer's digest.
    pub(super) fn peer_digest(&mut self, peer: ReplicaId, digest: StateDigest) {
        self.peers.entry(digest.instance).or_default().insert(peer, digest.digest);
        while self.peers.len() > MAX_DIGESTS {
            self.peers.pop_first();
        }
        self.has_news = true;
    }

    fn own_digest(&mut self, digest: StateDigest) {
        self.own.insert(digest.instance, digest.digest);
        while self.own.len() > MAX_DIGESTS {
            self.own.pop_first();
        }
        self.has_news = true;
    }
}

impl Node {
    /// Asks for a checkpoint of all replicas; the answer comes when the one here is durable.
    pub fn checkpoint(&mut self, reply: CheckpointReply) {
        match self.refusal() {
            Some(refusal) => reply(Err(refusal.to_string())),
            None => self.checkpoints.wanted.push(reply),
        }
        self.is_stirred = true;
        self.propose_marker();
    }

    pub(super) fn tick_checkpoints(&mut self) {
        let state = &self.checkpoints;
        let log_bytes = self.log.end().since(state.log_position);
        let is_old = self.now.saturating_sub(state.taken) >= self.options.ticks(self.options.checkpoint_interval);
        let is_long = log_bytes >= self.options.checkpoint_log_bytes || self.frames_reach(FRAMES_DUE);
        let has_news = self.executed() > state.last;
        if self.leads() && has_news && (is_old || is_long) && state.wanted.is_empty() && state.markers.is_empty() {
            self.checkpoints.wanted.push(Box::new(|_| ()));
        }
        self.propose_marker();
    }

    fn frames_reach(&self, part: u64) -> bool {
        self.log.frame_bytes() >= self.engine.format().log_file_len / part
    }

    /// Whether the kept log is so long that no more may come before there is a checkpoint.
    pub(super) fn has_long_log(&self) -> bool {
        self.frames_reach(FRAMES_FULL) && self.executed() > self.checkpoints.last
    }

    fn propose_marker(&mut self) {
        let state = &self.checkpoints;
        if state.wanted.is_empty() || state.is_under_way() || !state.markers.is_empty() || self.refusal().is_some() {
            return;
        }
        if !self.execution.is_in_order() {
            return;
        }
        let time_ms = self.engine.environment().clock.now_ms();
        let (content, payload) = (Content::CheckpointMarker, Bytes::new());
        let batch = LocalBatch { proxy: 0, time_ms, commands: Vec::new(), content, payload };
        if let Some(id) = self.add_batch(OWN_PROXY, batch, None) {
            let waiting = std::mem::take(&mut self.checkpoints.wanted);
            self.checkpoints.markers.insert(id, waiting);
        }
    }

    /// A marker is executed: the cut.
    pub(super) fn marker_passed(&mut self, instance: Instance, marker: &BatchId) {
        let replies = self.checkpoints.markers.remove(marker).unwrap_or_default();
        if !self.execution.is_in_order() {
            // R3: what was executed ahead is not part of the state here. The next marker is as good.
            tracing::info!(%instance, "no checkpoint here: the replica is catching up");
            self.checkpoints.wanted.extend(replies);
            return;
        }
        if instance >= self.configuration().start() {
            return self.cut(instance, replies);
        }
        // A start executes what is left of a configuration that is over: its end is where the next cut is.
        for reply in replies {
            reply(Err("the members have changed: ask again".into()));
        }
    }

    /// A cut at what was just executed, as all replicas make it there.
    pub(super) fn cut(&mut self, instance: Instance, replies: Vec<CheckpointReply>) {
        let cut = self.cut_here(instance);
        let digest = cut.segments.iter().fold(0_u64, |sum, segment| sum.wrapping_add(segment.totals.digest));
        let digest = StateDigest { instance, digest };
        self.checkpoints.own_digest(digest);
        let peers: Vec<ReplicaId> = self.sessions.keys().copied().collect();
        for peer in peers {
            self.send(peer, Channel::Control, &PeerMessage::Digest(digest));
        }
        self.outputs.push(Output::Checkpoint { cut, replies });
    }

    /// A cut of what was handed over, of this replica alone, so that the next start need not be handed it again.
    pub(super) fn cut_handed_over(&mut self) {
        let (instance, last) = (self.executed(), self.checkpoints.last);
        let is_here = self.execution.is_in_order() && instance >= self.configuration().start();
        if is_here && !self.checkpoints.is_under_way() && self.handoffs.is_cut_due(self.now, last) {
            let cut = self.cut_here(instance);
            self.outputs.push(Output::Checkpoint { cut, replies: Vec::new() });
        }
    }

    fn cut_here(&mut self, instance: Instance) -> skink_engine::engine::Cut {
        let log_position = self.log.start_of(self.protocol.needed_by(instance));
        self.protocol.handle(Event::Cut { log_position });
        let state = &mut self.checkpoints;
        state.under_way += 1;
        (state.last, state.taken, state.log_position) = (instance, self.now, self.log.end());
        self.log.forget_frame_bytes();
        let progress = &self.execution.progress;
        let facts = self.ordering_facts().encode();
        self.engine.cut(instance, progress.time_ms, log_position, progress.ids.to_manifest(), facts)
    }

    /// A cut of what is executed, for a stop in order: the next start has little to execute again. `None` in the middle
    /// of a batch that waits for room.
    pub fn last_cut(&mut self) -> Option<skink_engine::engine::Cut> {
        let instance = self.executed();
        let is_here = instance >= self.configuration().start();
        let is_needed = is_here && instance > self.checkpoints.last && self.execution.is_in_order();
        is_needed.then(|| self.cut_here(instance))
    }

    /// A checkpoint was made durable, or not.
    pub fn checkpoint_done(&mut self, info: Option<&CheckpointInfo>) {
        self.checkpoints.under_way = self.checkpoints.under_way.saturating_sub(1);
        if let Some(info) = info {
            self.protocol.handle(Event::CheckpointTaken { instance: info.instance });
            self.log_dropped();
        }
        self.is_stirred = true;
    }

    /// Old log files may be gone.
    pub(super) fn log_dropped(&mut self) {
        match self.engine.log_files().start() {
            Ok(before) => {
                self.log.dropped(before);
                self.members.forget_payloads(before);
                self.protocol.handle(Event::LogDropped { before });
            }
            // What is there is not forgotten.
            Err(fault) => tracing::warn!(%fault, "the log's files can't be listed"),
        }
    }

    /// S3: states are equal at the same instance. Where a majority has another one than this node, it stops.
    pub(super) fn compare_digests(&mut self) -> Result<(), Fault> {
        if !std::mem::take(&mut self.checkpoints.has_news) {
            return Ok(());
        }
        let majority = self.protocol.configuration().majority();
        for (instance, own) in &self.checkpoints.own {
            let Some(peers) = self.checkpoints.peers.get_mut(instance) else { continue };
            let mut votes: BTreeMap<u64, usize> = BTreeMap::from([(*own, 1)]);
            peers.values().for_each(|digest| *votes.entry(*digest).or_default() += 1);
            let Some((&right, _)) = votes.iter().find(|(_, count)| **count >= majority) else { continue };
            if right != *own {
                return Err(Fault::Refused(format!(
                    "this replica's state differs from that of a majority at instance {instance} ({own:016x}, theirs is \
                     {right:016x}): it stops so that it gives no wrong answers; start it with an empty data directory to \
                     get the state from the others, and keep this one to find out why"
                )));
            }
            peers.retain(|peer, digest| {
                if *digest != right {
                    tracing::error!(%peer, %instance, "S3: the replica's state differs from that of a majority");
                }
                *digest == right
            });
        }
        Ok(())
    }
}
