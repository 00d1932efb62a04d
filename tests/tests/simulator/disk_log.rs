//! What the durable log of a machine says, as the checkers see it: read from the disk, not asked from the node.

use crate::checkers::o1;
use skink_engine::error::Fault;
use skink_engine::log::{Frame, FrameKind, LogFiles, LogScan, scan};
use skink_engine::position::{Instance, LogPosition};
use skink_replication::header::BatchId;
use skink_replication::paxos::{Ballot, Entry, OrderingFrame};
use std::collections::BTreeMap;

/// The ordering state that is durable.
#[derive(Debug, Default)]
pub struct DiskLog {
    pub promise: Ballot,
    pub accepted_round: Ballot,
    pub decided: Instance,
    pub entries: BTreeMap<Instance, Entry>,
    /// Where each payload is.
    payloads: BTreeMap<BatchId, LogPosition>,
    /// What is before is gone.
    start: LogPosition,
    /// Where the next write goes.
    end: LogPosition,
    /// The newest checkpoint, and the promise in its manifest.
    pub checkpoint: Instance,
    pub checkpoint_promise: Ballot,
    /// Up to here the log does not count: what was missed is being handed over, or was. And the promise that came with that.
    pub jumped: Instance,
    pub jump_promise: Ballot,
}

impl DiskLog {
    /// What a start finds, from the newest checkpoint's position on.
    pub fn read(&mut self, scan: &LogScan, start: LogPosition, checkpoint: Instance) -> Result<(), String> {
        *self = DiskLog { start, end: scan.end, checkpoint, ..DiskLog::default() };
        self.apply(&scan.frames)
    }

    /// Reads what was written since.
    pub fn go_on(&mut self, files: &LogFiles) -> Result<Result<(), String>, Fault> {
        let found = scan(files, self.end, false)?;
        self.end = found.end;
        Ok(self.apply(&found.frames))
    }

    /// Old files may be gone.
    pub fn dropped(&mut self, start: LogPosition) {
        self.start = self.start.max(start);
        let start = self.start;
        self.payloads.retain(|_, position| *position >= start);
    }

    fn apply(&mut self, frames: &[Frame]) -> Result<(), String> {
        for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Ordering) {
            let frame = OrderingFrame::decode(&frame.body).map_err(|error| format!("FRAME {error}"))?;
            o1::check_payloads(&frame, frames)?;
            for (id, position) in &frame.payloads {
                self.payloads.insert(*id, *position);
            }
            o1::check_frame(&frame, self.checkpoint, |id| self.payload(id).is_some())?;
            (self.promise, self.accepted_round, self.decided) = (frame.promise, frame.accepted_round, frame.decided);
            // What was left out takes along what was there of it.
            self.entries.retain(|instance, _| frame.base <= self.checkpoint || *instance > frame.base);
            let Some(suffix) = frame.suffix else { continue };
            self.entries.retain(|instance, _| *instance <= suffix.after);
            let mut instance = suffix.after;
            for entry in suffix.entries {
                instance = instance.next();
                self.entries.insert(instance, entry);
            }
        }
        Ok(())
    }

    pub fn payload(&self, id: &BatchId) -> Option<LogPosition> {
        self.payloads.get(id).copied()
    }

    /// Whether what was decided at an instance is on this disk: in the log with its payload, or in the checkpoint.
    pub fn holds(&self, instance: Instance, entry: &Entry) -> bool {
        let is_complete = entry.payload().is_none_or(|id| self.payload(&id).is_some());
        self.checkpoint >= instance || is_complete && self.entries.get(&instance) == Some(entry)
    }

    /// What is up to here is not expected in the log.
    pub fn floor(&self) -> Instance {
        self.checkpoint.max(self.jumped)
    }

    /// The last entry that is there.
    pub fn last(&self) -> Instance {
        self.entries.last_key_value().map_or(Instance::ZERO, |(instance, _)| *instance)
    }

    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// What was promised, or learned to be promised with a checkpoint.
    pub fn raised(&self) -> Ballot {
        self.promise.max(self.checkpoint_promise).max(self.jump_promise)
    }
}
