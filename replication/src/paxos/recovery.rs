//! The ordering state after a start: from the frames that the log has, and the newest checkpoint.
//!
//! The log may have lost its old files. Those that are left hold every entry above the checkpoint, as
//! [`Needed`](super::Needed) says which ones must stay.
//!
//! ```text
//! skipped: before the checkpoint's configuration | its frames, up to a stop sign | frames of the next one | ...
//! ```
//!
//! Frames of a configuration are written when everything before it was executed. So where there are some, all that the
//! log has of the configuration before is decided, its stop sign included (rule 15).

use super::configuration::{Ballot, Configuration};
use super::durability::CycleNumber;
use super::entry::Entry;
use super::event::{Delivered, DeliveredContent};
use super::frame::OrderingFrame;
use super::rules::{Rule, Rules};
use super::state::DurableState;
use super::succession::incarnations_after;
use skink_engine::position::{Instance, LogPosition};
use thiserror::Error;

/// What a checkpoint's manifest says to the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// The last instance that is in it.
    pub instance: Instance,
    /// The promise of the replica that took it, at its cut.
    pub promise: Ballot,
}

/// Why a state can't be put together. The log is damaged.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecoveryError {
    /// A frame of a configuration that isn't this one.
    #[error("a frame of configuration {found} follows one of {expected}, which does not end with it")]
    Configuration {
        /// That of the frame.
        found: u32,
        /// That of the log.
        expected: u32,
    },
    /// A frame that can't follow those before it.
    #[error("entries after {after} follow a log that ends at {end}")]
    Gap {
        /// Where the frame's entries start.
        after: Instance,
        /// Where the log ends.
        end: Instance,
    },
    /// R2: the log must cover every instance after the checkpoint.
    #[error("the log starts after {start}, the newest checkpoint is at {checkpoint}")]
    Uncovered {
        /// Before the first entry.
        start: Instance,
        /// The checkpoint.
        checkpoint: Instance,
    },
    /// An instance that no log of this configuration has.
    #[error("instance {0} is none of this configuration")]
    Impossible(Instance),
}

/// The state of a configuration, as far as its frames were read.
#[derive(Debug)]
struct Recovered {
    state: DurableState,
    /// Length of the log before its first entry; `None` before a frame with entries.
    start: Option<usize>,
}

/// Puts the state together, frame by frame.
#[derive(Debug)]
pub struct Recovery {
    /// The configuration that the checkpoint is of.
    first: u32,
    /// Configurations that are over.
    ended: Vec<Recovered>,
    state: DurableState,
    start: Option<usize>,
    rules: Rules,
}

impl Recovery {
    /// Of a log without frames, with a checkpoint of this configuration.
    pub fn new(configuration: Configuration, rules: Rules) -> Recovery {
        let first = configuration.id();
        Recovery { first, ended: Vec::new(), state: DurableState::empty(configuration), start: None, rules }
    }

    fn len_at(&self, instance: Instance) -> Result<usize, RecoveryError> {
        self.state.configuration.len_at(instance).ok_or(RecoveryError::Impossible(instance))
    }

    /// The next frame. Answers with the number that its cycle has from now on.
    ///
    /// # Errors
    /// It can't be the next frame.
    pub fn replay(&mut self, frame: OrderingFrame) -> Result<CycleNumber, RecoveryError> {
        if frame.configuration < self.first {
            return Ok(self.state.last_cycle);
        }
        if frame.configuration != self.state.configuration.id() {
            self.succeed(frame.configuration)?;
        }
        let base = self.len_at(frame.base)?;
        let decided = self.len_at(frame.decided)?;
        let cycle = self.state.last_cycle.next();
        if let Some(suffix) = frame.suffix {
            let after = self.len_at(suffix.after)?;
            let start = self.start.unwrap_or(after);
            let end = start + self.state.entries.len();
            if after > end && after != base {
                let end = self.state.configuration.instance(end);
                return Err(RecoveryError::Gap { after: suffix.after, end });
            }
            if after > end || after < start {
                // A checkpoint took the place of the log, or the frames that held what is before are gone.
                self.state.entries.clear();
                self.start = Some(after);
            } else {
                self.state.entries.truncate(after - start);
                self.start = Some(start);
            }
            self.state.entries.extend(suffix.entries.into_iter().map(|entry| (entry, cycle)));
        }
        let state = &mut self.state;
        (state.base, state.decided, state.last_cycle) = (base, decided, cycle);
        (state.promise, state.accepted_round) = (frame.promise, frame.accepted_round);
        state.stop_sign = frame.stop_sign;
        state.incarnations = frame.incarnations.into_iter().collect();
        state.payloads.extend(frame.payloads);
        Ok(cycle)
    }

    /// The next configuration begins.
    fn succeed(&mut self, found: u32) -> Result<(), RecoveryError> {
        let state = &self.state;
        let error = RecoveryError::Configuration { found, expected: state.configuration.id() };
        let stop_sign = state.stop_sign.as_ref().filter(|stop_sign| stop_sign.configuration == found);
        let at = state.configuration.instance(self.start.unwrap_or(state.base) + state.entries.len() + 1);
        let next = stop_sign.and_then(|stop_sign| Configuration::after(stop_sign, at)).ok_or(error)?;
        let incarnations = incarnations_after(state.incarnations.clone(), &state.configuration, &next);
        let next = DurableState::successor(next, None, incarnations, state.last_cycle);
        let state = std::mem::replace(&mut self.state, next);
        self.ended.push(Recovered { state, start: self.start.take() });
        Ok(())
    }

    /// The state, with the newest checkpoint and what is left of the log.
    ///
    /// # Errors
    /// R2: the log doesn't cover what is after the checkpoint.
    pub fn finish(
        self,
        checkpoint: Option<CheckpointFacts>,
        log_start: LogPosition,
    ) -> Result<DurableState, RecoveryError> {
        let Recovery { ended, state, start, rules, .. } = self;
        let mut checkpoint = checkpoint;
        let mut earlier = Vec::new();
        for ended in ended {
            let mut state = ended.finish(checkpoint.take(), log_start, rules)?;
            // Everything is decided (rule 15).
            state.decided = state.base + state.entries.len() + 1;
            earlier.extend(state.into_delivered());
        }
        let state = Recovered { state, start }.finish(checkpoint, log_start, rules)?;
        Ok(DurableState { earlier, ..state })
    }
}

impl Recovered {
    fn len_at(&self, instance: Instance) -> Result<usize, RecoveryError> {
        self.state.configuration.len_at(instance).ok_or(RecoveryError::Impossible(instance))
    }

    fn finish(
        self,
        checkpoint: Option<CheckpointFacts>,
        log_start: LogPosition,
        rules: Rules,
    ) -> Result<DurableState, RecoveryError> {
        let first = self.state.configuration.start();
        // A replica that was added has a checkpoint from before its configuration, an empty one, until it gets another.
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.instance >= first);
        let checkpoint = checkpoint.unwrap_or(CheckpointFacts { instance: first, promise: Ballot::NONE });
        let below = self.len_at(checkpoint.instance)?;
        let Recovered { mut state, start } = self;
        let start = start.unwrap_or(below);
        let lowest = start.max(state.base);
        if lowest > below {
            let start = state.configuration.instance(lowest);
            return Err(RecoveryError::Uncovered { start, checkpoint: checkpoint.instance });
        }
        let end = start + state.entries.len();
        // What the log itself knows to be decided may stay below the checkpoint, for replicas that are a little behind.
        // Where a donor's checkpoint is ahead of that, the entries below may be those of a leader that lost.
        let base = if state.decided >= below { lowest } else { below };
        if end < base {
            // The checkpoint was installed, and the frame that says so did not become durable.
            state.entries.clear();
            state.stop_sign = None;
        } else {
            state.entries.drain(..base - start);
        }
        state.base = base;
        state.decided = state.decided.max(below);
        if rules.hold(Rule::RaisePromise) {
            state.promise = state.promise.max(checkpoint.promise);
        }
        state.payloads.retain(|_, position| *position >= log_start);
        state.checkpoint = below;
        let end = state.base + state.entries.len() + usize::from(state.stop_sign.is_some());
        if state.decided > end {
            return Err(RecoveryError::Impossible(state.configuration.instance(state.decided)));
        }
        Ok(state)
    }
}

impl DurableState {
    /// The entries above the checkpoint, and the stop sign, all of them decided.
    fn into_delivered(self) -> Vec<Delivered> {
        let DurableState { configuration, base, decided, checkpoint, stop_sign, entries, payloads, last_cycle, .. } =
            self;
        let instance = |at: usize| configuration.instance(base + at + 1);
        let content = |entry: Entry| match entry {
            Entry::Barrier(barrier) => DeliveredContent::Barrier(barrier),
            Entry::Header(header) => DeliveredContent::Header { payload: payloads.get(&header.id).copied(), header },
        };
        let entries = entries.into_iter().enumerate().map(|(at, (entry, cycle))| Delivered {
            instance: instance(at),
            cycle,
            content: content(entry),
        });
        let end = stop_sign.map(|stop_sign| Delivered {
            instance: configuration.instance(decided),
            cycle: last_cycle,
            content: DeliveredContent::StopSign(stop_sign),
        });
        let above = configuration.instance(checkpoint);
        entries.chain(end).filter(|delivered| delivered.instance > above).collect()
    }
}
