//! The ordering state after a start: from the frames that the log has, and the newest checkpoint.
//!
//! The log may have lost its old files. Those that are left hold every entry above the checkpoint, as
//! [`Needed`](super::Needed) says which ones must stay.

use super::configuration::{Ballot, Configuration};
use super::durability::CycleNumber;
use super::frame::OrderingFrame;
use super::rules::{Rule, Rules};
use super::state::DurableState;
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
    #[error("a frame of configuration {found} in the log of configuration {expected}")]
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

/// Puts the state together, frame by frame.
#[derive(Debug)]
pub struct Recovery {
    state: DurableState,
    /// Length of the log before its first entry; `None` before a frame with entries.
    start: Option<usize>,
    rules: Rules,
}

impl Recovery {
    /// Of a log without frames.
    pub fn new(configuration: Configuration, rules: Rules) -> Recovery {
        Recovery { state: DurableState::empty(configuration), start: None, rules }
    }

    fn len_at(&self, instance: Instance) -> Result<usize, RecoveryError> {
        self.state.configuration.len_at(instance).ok_or(RecoveryError::Impossible(instance))
    }

    /// The next frame. Answers with the number that its cycle has from now on.
    ///
    /// # Errors
    /// It can't be the next frame.
    pub fn replay(&mut self, frame: OrderingFrame) -> Result<CycleNumber, RecoveryError> {
        let expected = self.state.configuration.id();
        if frame.configuration != expected {
            return Err(RecoveryError::Configuration { found: frame.configuration, expected });
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

    /// The state, with the newest checkpoint and what is left of the log.
    ///
    /// # Errors
    /// R2: the log doesn't cover what is after the checkpoint.
    pub fn finish(
        self,
        checkpoint: Option<CheckpointFacts>,
        log_start: LogPosition,
    ) -> Result<DurableState, RecoveryError> {
        let first = self.state.configuration.start();
        let checkpoint = checkpoint.unwrap_or(CheckpointFacts { instance: first, promise: Ballot::NONE });
        let below = self.len_at(checkpoint.instance)?;
        let Recovery { mut state, start, rules } = self;
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
