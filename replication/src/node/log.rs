//! A node's log: payloads and ordering frames, and where the frames of cycles are.
//!
//! A frame that does not fit a full disk waits, and everything after it: the order has counted on it. Until it is
//! written the node takes part in nothing.

use crate::header::BatchId;
use crate::paxos::{CycleNumber, Needed, OrderingFrame};
use skink_engine::error::Fault;
use skink_engine::log::{FrameKind, LogWriter};
use skink_engine::position::LogPosition;
use std::collections::VecDeque;

/// The log of a node.
pub(super) struct NodeLog {
    writer: LogWriter,
    /// Starts of the writes that hold the frames of cycles, since the start of the process.
    cycles: VecDeque<(CycleNumber, LogPosition)>,
    /// Starts of writes, ascending.
    writes: VecDeque<LogPosition>,
    /// What was written before this process started is not before this.
    floor: LogPosition,
    /// The last cycle of the process before, or the last one whose frame was appended.
    appended: CycleNumber,
    durable: CycleNumber,
    /// The disk had no room for a payload.
    refused_payload: bool,
    /// Frames that wait for room on the disk.
    blocked: VecDeque<(CycleNumber, Vec<u8>)>,
    /// Bytes of ordering frames since the last marker.
    frame_bytes: u64,
    writes_done: u64,
    /// Ticks since the last write; `None` if a seal stands behind it.
    unsealed: Option<u64>,
}

/// Ticks without a write after which the log is sealed.
const IDLE: u64 = 5;

impl NodeLog {
    /// Goes on where a start found the end: what is before lies at `floor` or behind it.
    pub(super) fn new(writer: LogWriter, floor: LogPosition, last: CycleNumber) -> NodeLog {
        NodeLog {
            writer,
            cycles: VecDeque::new(),
            writes: VecDeque::new(),
            floor,
            appended: last,
            durable: last,
            refused_payload: false,
            blocked: VecDeque::new(),
            frame_bytes: 0,
            writes_done: 0,
            unsealed: None,
        }
    }

    /// Appends a payload; `None` if the disk is full.
    pub(super) fn append_payload(&mut self, _: BatchId, bytes: &[u8]) -> Result<Option<LogPosition>, Fault> {
        if self.is_blocked() {
            return Ok(None);
        }
        match self.writer.append(FrameKind::Payload, &[bytes]) {
            Ok(position) => {
                self.note_write();
                self.refused_payload = false;
                Ok(Some(position))
            }
            Err(fault) if fault.is_transient() => {
                self.refused_payload = true;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Appends a cycle's frame, now or when there is room.
    pub(super) fn append_frame(&mut self, cycle: CycleNumber, frame: &OrderingFrame) -> Result<(), Fault> {
        self.blocked.push_back((cycle, frame.encode()));
        self.append_blocked()
    }

    /// Tries again what waits for room.
    pub(super) fn append_blocked(&mut self) -> Result<(), Fault> {
        while let Some((cycle, bytes)) = self.blocked.front() {
            match self.writer.append(FrameKind::Ordering, &[bytes]) {
                Err(fault) if fault.is_transient() => return Ok(()),
                result => result?,
            };
            let (cycle, len) = (*cycle, bytes.len() as u64);
            self.blocked.pop_front();
            self.note_write();
            self.cycles.push_back((cycle, self.writer.write_start()));
            self.appended = cycle;
            self.frame_bytes += len;
        }
        Ok(())
    }

    fn note_write(&mut self) {
        let start = self.writer.write_start();
        if self.writes.back() != Some(&start) {
            self.writes.push_back(start);
        }
    }

    /// Whether the disk had no room for the last payload.
    pub(super) fn has_refused_payload(&self) -> bool {
        self.refused_payload
    }

    /// There is room again, as far as anybody knows.
    pub(super) fn forget_refusal(&mut self) {
        self.refused_payload = false;
    }

    /// Whether frames wait for room on the disk.
    pub(super) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether what lies at this position can be read: what has only gathered is not in the file yet.
    pub(super) fn is_written(&self, position: LogPosition) -> bool {
        position < self.writer.durable()
    }

    /// Whether something is to be written.
    pub(super) fn has_work(&self) -> bool {
        self.appended > self.durable
    }

    /// Writes what has gathered. Answers with the cycle that is durable now, if that is another one.
    pub(super) fn write(&mut self) -> Result<Option<CycleNumber>, Fault> {
        if !self.has_work() {
            return Ok(None);
        }
        self.writer.flush()?;
        self.durable = self.appended;
        self.writes_done += 1;
        self.unsealed = Some(0);
        Ok(Some(self.durable))
    }

    /// Where a scan must start to meet all of this.
    pub(super) fn start_of(&self, needed: Needed) -> LogPosition {
        let frame = match self.cycles.binary_search_by_key(&needed.cycle, |(cycle, _)| *cycle) {
            Ok(at) => self.cycles[at].1,
            // Of the process before.
            Err(_) => self.floor,
        };
        let payload = needed.payload.map(|position| self.write_of(position));
        payload.map_or(frame, |payload| payload.min(frame))
    }

    fn write_of(&self, position: LogPosition) -> LogPosition {
        let after = self.writes.partition_point(|start| *start <= position);
        after.checked_sub(1).map_or(self.floor, |at| self.writes[at])
    }

    /// What is before this position is gone.
    pub(super) fn dropped(&mut self, start: LogPosition) {
        self.floor = self.floor.max(start);
        while self.writes.len() > 1 && self.writes.front().is_some_and(|write| *write < start) {
            self.writes.pop_front();
        }
        while self.cycles.len() > 1 && self.cycles.front().is_some_and(|(_, write)| *write < start) {
            self.cycles.pop_front();
        }
    }

    pub(super) fn end(&self) -> LogPosition {
        self.writer.end()
    }

    pub(super) fn next_file(&self) -> LogPosition {
        self.writer.next_file()
    }

    /// Bytes of ordering frames since this was last asked to forget them.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    pub(super) fn forget_frame_bytes(&mut self) {
        self.frame_bytes = 0;
    }

    /// Log writes since the start.
    pub(super) fn writes_done(&self) -> u64 {
        self.writes_done
    }

    /// Time passes. A log that has nothing to write is sealed, so that damage of what is before can't be taken for a torn
    /// write.
    pub(super) fn tick(&mut self) -> Result<(), Fault> {
        self.append_blocked()?;
        self.unsealed = self.unsealed.map(|ticks| ticks + 1);
        if self.unsealed < Some(IDLE) || self.is_blocked() || self.has_work() {
            return Ok(());
        }
        match self.writer.seal() {
            Err(fault) if fault.is_transient() => return Ok(()),
            result => result?,
        };
        self.unsealed = None;
        Ok(())
    }
}
