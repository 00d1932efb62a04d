//! The receive gate: which message may reach the object now (rules 4 to 6), and in which form.
//!
//! Everything here is a pure function of the message and of what the replica is and has.

use super::configuration::{Ballot, Configuration};
use super::message::{Message, Sync};
use super::rules::{Rule, Rules};
use super::state::LogState;
use crate::header::BatchId;
use skink_engine::position::Instance;

/// What the object is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) promise: Ballot,
    /// The promise is to its own ballot.
    pub(super) leads: bool,
    /// It is in the accept phase, as leader or as follower.
    pub(super) accepts: bool,
}

/// What a message is judged by.
pub(super) struct View<'s> {
    pub(super) role: Role,
    pub(super) state: &'s LogState,
    pub(super) configuration: &'s Configuration,
    pub(super) rules: Rules,
}

/// Whether a message may be handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    HandOver,
    /// Not before a checkpoint at or above this instance is installed (rule 4).
    NeedsCheckpoint(Instance),
    /// Not before these payloads are in the log (rule 6, O1).
    NeedsPayloads(Vec<(BatchId, Instance)>),
}

/// The form in which a message is handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// This one.
    Message(Message),
    /// It ends before what is decided here: the sender must start again (rule 5).
    TooShort,
    /// Nobody who follows the protocol sends this.
    Impossible(&'static str),
    /// All of the configuration is decided here: it has nothing new, and the object would count the stop sign twice.
    Over,
}

impl View<'_> {
    fn decided(&self) -> Instance {
        self.configuration.instance(self.state.decided())
    }

    fn accepted(&self) -> Instance {
        self.configuration.instance(self.state.len())
    }

    pub(super) fn judge(&self, message: &Message) -> Verdict {
        if let Some(at_least) = self.lacks(message) {
            return Verdict::NeedsCheckpoint(at_least);
        }
        let missing = self.missing(message);
        if missing.is_empty() { Verdict::HandOver } else { Verdict::NeedsPayloads(missing) }
    }

    /// The checkpoint that the replica needs first.
    fn lacks(&self, message: &Message) -> Option<Instance> {
        match message {
            Message::AcceptSync { ballot, sync, .. } => {
                let is_used = *ballot == self.role.promise && !self.role.accepts;
                let gap_end = sync.gap_end.filter(|gap_end| *gap_end > self.decided());
                gap_end.filter(|_| is_used && self.rules.hold(Rule::GapInSync))
            }
            Message::Promise { ballot, sync: Some(sync), .. } => {
                // With a majority without it, the object takes no notice of the sync in it.
                let is_released = self.role.accepts && self.rules.hold(Rule::ReleaseGap);
                let is_used = *ballot == self.role.promise && !is_released;
                sync.gap_end.filter(|_| is_used && self.rules.hold(Rule::GapInPromise))
            }
            _ => None,
        }
    }

    /// The payloads that must be in the log first. Entries that are decided need none: a majority has them.
    fn missing(&self, message: &Message) -> Vec<(BatchId, Instance)> {
        let Role { promise, leads, accepts } = self.role;
        let (entries, start, decided, ballot, rule, is_used) = match message {
            Message::AcceptDecide { ballot, decided, entries, .. } => {
                (entries, self.accepted(), decided, ballot, Rule::PayloadsBeforeAccept, accepts && !leads)
            }
            Message::AcceptSync { ballot, decided, sync, .. } => {
                (&sync.entries, sync.start(), decided, ballot, Rule::PayloadsBeforeSync, !accepts && !leads)
            }
            Message::Promise { ballot, decided, sync: Some(sync), .. } => {
                (&sync.entries, sync.start(), decided, ballot, Rule::PayloadsBeforePromise, !accepts && leads)
            }
            _ => return Vec::new(),
        };
        if !self.rules.hold(rule) || self.rules.hold(Rule::PassStale) && (*ballot != promise || !is_used) {
            return Vec::new();
        }
        let Some(start) = self.configuration.len_at(start) else { return Vec::new() };
        let known = self.decided().max(*decided);
        let at = |index| self.configuration.instance(start + index + 1);
        let after = entries.iter().enumerate().map(|(index, entry)| (entry, at(index)));
        after
            .filter(|(entry, instance)| *instance > known && !self.state.is_complete(entry))
            .filter_map(|(entry, instance)| Some((entry.payload()?, instance)))
            .collect()
    }

    /// The form in which a message that may be handed over is.
    pub(super) fn fit(&self, message: Message) -> Fit {
        let Role { promise, leads, accepts } = self.role;
        match message {
            Message::AcceptSync { ballot, sequence, decided, sync } if ballot == promise && !accepts && !leads => {
                self.fit_sync(sync, decided, |sync| Message::AcceptSync { ballot, sequence, decided, sync })
            }
            Message::Promise { ballot, accepted_round, decided, accepted, sync: Some(sync) } => {
                let sync = self.before_stop_sign(sync);
                let is_used = ballot == promise && leads && !accepts;
                let is_gap_passed = sync.gap_end.is_some() && !self.rules.hold(Rule::GapInPromise);
                if is_used && !is_gap_passed && !(self.decided()..=self.accepted()).contains(&sync.after) {
                    return Fit::Impossible("a promise whose entries start where the leader's log is decided or empty");
                }
                let sync = is_used.then_some(sync);
                Fit::Message(Message::Promise { ballot, accepted_round, decided, accepted, sync })
            }
            Message::Accepted { ballot, accepted } if ballot == promise && leads && accepted > self.accepted() => {
                Fit::Impossible("more accepted than the leader has")
            }
            message => Fit::Message(message),
        }
    }

    /// A sync may start behind a stop sign that is in both logs, and carries it even so: the object would count it twice.
    fn before_stop_sign(&self, mut sync: Sync) -> Sync {
        let is_behind = sync.gap_end.is_none() && sync.after == self.accepted() && sync.entries.is_empty();
        if is_behind && self.state.stop_sign().is_some() && sync.stop_sign.is_some() {
            sync.after = self.configuration.instance(self.state.entries_len());
        }
        sync
    }

    /// Rule 5: what is decided is never written again.
    fn fit_sync(&self, sync: Sync, decided: Instance, message: impl FnOnce(Sync) -> Message) -> Fit {
        if sync.gap_end.is_none() && sync.after > self.accepted() {
            return Fit::Impossible("a sync that starts beyond the log");
        }
        if self.state.stop_sign().is_some() && self.state.decided() == self.state.len() {
            return Fit::Over;
        }
        let mut sync = self.before_stop_sign(sync);
        let len = |instance| self.configuration.len_at(instance).unwrap_or_default();
        let end = len(sync.start()) + sync.entries.len() + usize::from(sync.stop_sign.is_some());
        if len(decided) > end {
            return Fit::Impossible("a sync that ends before what it says is decided");
        }
        let own = self.decided();
        let is_gap_over = sync.gap_end.is_some_and(|gap_end| gap_end <= own);
        if self.rules.hold(Rule::CutOverlap) && (sync.start() < own || is_gap_over) {
            let overlap = len(own) - len(sync.start());
            if overlap > sync.entries.len() {
                return Fit::TooShort;
            }
            sync.entries.drain(..overlap);
            sync.after = own;
            sync.gap_end = None;
        }
        Fit::Message(message(sync))
    }
}
