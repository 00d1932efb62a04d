//! Batches of this replica's own clients, on their way through the order.
//!
//! ```text
//! submit -> payload to all, header to the leader -> ... delivered -> executed -> answered
//!             ^-- again, under the same id: another leader, another session, or no answer for a while
//! ```
//!
//! A batch stays here until it was executed, also when its client was told that it took too long: a gap in the
//! sequence would hold up all later ones (O3).

use crate::batch::{LocalBatch, LocalCommand};
use crate::header::{BatchId, Header};
use crate::replica::BatchReply;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A batch that was not executed yet.
pub(super) struct Outstanding {
    pub(super) header: Arc<Header>,
    pub(super) payload: Bytes,
    pub(super) commands: Vec<LocalCommand>,
    /// Who gets the answer; nobody any more, or never.
    pub(super) reply: Option<BatchReply>,
    submitted: u64,
    proposed: u64,
    /// It has its place in the order.
    is_decided: bool,
}

/// Who has waited too long for a batch.
#[derive(Default)]
pub(super) struct Late {
    /// The batch has its place in the order, and will be executed here.
    pub(super) decided: Vec<BatchReply>,
    /// Nobody knows.
    pub(super) unknown: Vec<BatchReply>,
}

/// The batches of this replica's proxies.
pub(super) struct OwnBatches {
    /// Number of this start of the process; `None` while it can't be known which ones were used.
    incarnation: Option<u64>,
    sequences: HashMap<u32, u64>,
    outstanding: BTreeMap<BatchId, Outstanding>,
}

impl OwnBatches {
    pub(super) fn new(incarnation: Option<u64>) -> OwnBatches {
        OwnBatches { incarnation, sequences: HashMap::new(), outstanding: BTreeMap::new() }
    }

    pub(super) fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    pub(super) fn set_incarnation(&mut self, incarnation: u64) {
        assert!(self.outstanding.is_empty(), "batches have ids of one incarnation");
        self.incarnation = Some(incarnation);
    }

    /// When the one came that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.outstanding.values().map(|outstanding| outstanding.submitted).min()
    }

    /// Takes a batch in; answers with its id.
    pub(super) fn add(
        &mut self,
        proxy: u32,
        batch: LocalBatch,
        reply: Option<BatchReply>,
        now: u64,
    ) -> Option<BatchId> {
        let incarnation = self.incarnation?;
        let sequence = self.sequences.entry(proxy).or_default();
        *sequence += 1;
        let id = BatchId { proxy, incarnation, sequence: *sequence };
        let LocalBatch { time_ms, commands, content, payload, .. } = batch;
        let header = Arc::new(Header { id, time_ms, content });
        let outstanding =
            Outstanding { header, payload, commands, reply, submitted: now, proposed: now, is_decided: false };
        self.outstanding.insert(id, outstanding);
        Some(id)
    }

    pub(super) fn get(&self, id: &BatchId) -> Option<&Outstanding> {
        self.outstanding.get(id)
    }

    /// It is executed now.
    pub(super) fn take(&mut self, id: &BatchId) -> Option<Outstanding> {
        self.outstanding.remove(id)
    }

    pub(super) fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// All of them, those of a proxy in their sequence; they count as proposed now.
    pub(super) fn propose_all(&mut self, now: u64) -> Vec<(Arc<Header>, Bytes)> {
        self.outstanding
            .values_mut()
            .map(|outstanding| {
                outstanding.proposed = now;
                (Arc::clone(&outstanding.header), outstanding.payload.clone())
            })
            .collect()
    }

    /// Whether something was proposed that long ago, and is not answered.
    pub(super) fn is_repeat_due(&self, now: u64, ticks: u64) -> bool {
        self.outstanding.values().any(|outstanding| now.saturating_sub(outstanding.proposed) >= ticks)
    }

    /// It has its place in the order.
    pub(super) fn decided(&mut self, id: &BatchId) {
        if let Some(outstanding) = self.outstanding.get_mut(id) {
            outstanding.is_decided = true;
        }
    }

    /// Those who have waited so long: they are told, and their batches go on.
    pub(super) fn expired(&mut self, now: u64, ticks: u64) -> Late {
        let mut late = Late::default();
        for outstanding in self.outstanding.values_mut().filter(|it| now.saturating_sub(it.submitted) >= ticks) {
            let told = if outstanding.is_decided { &mut late.decided } else { &mut late.unknown };
            told.extend(outstanding.reply.take());
        }
        late
    }

    /// Nobody proposes them any more; those who wait are to be told.
    pub(super) fn give_up(&mut self) -> Vec<BatchReply> {
        std::mem::take(&mut self.outstanding).into_values().filter_map(|outstanding| outstanding.reply).collect()
    }

    /// Batches up to this sequence were executed elsewhere: nobody here knows what came of them.
    pub(super) fn executed_elsewhere(&mut self, is_executed: impl Fn(&BatchId) -> bool) -> Vec<BatchReply> {
        let gone: Vec<BatchId> = self.outstanding.keys().filter(|id| is_executed(id)).copied().collect();
        gone.iter().filter_map(|id| self.outstanding.remove(id)?.reply).collect()
    }
}
