//! The order of a single replica: durable means decided.
//!
//! A cycle is what one log write holds: the payloads, then one ordering frame with their headers.

use super::{Decided, Order};
use crate::header::Header;
use serde::{Deserialize, Serialize};
use skink_engine::error::Fault;
use skink_engine::log::{FrameKind, LogWriter, MAX_FRAME_OVERHEAD};
use skink_engine::position::{Instance, LogPosition};

/// Body of an ordering frame, in postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Instance of the first entry; the others follow without gaps.
    pub first: Instance,
    /// Headers, and where their payloads' frames are in the log.
    pub entries: Vec<(Header, LogPosition)>,
}

/// Bytes that an entry takes in an ordering frame besides its digests, at most.
const ENTRY_OVERHEAD: usize = 128;
/// Bytes that a digest takes there, at most.
const DIGEST_LEN: usize = 6;

/// The order of a single replica.
pub struct SingleOrder {
    writer: LogWriter,
    next: Instance,
    cycle: Vec<(Header, LogPosition)>,
    /// Upper bound of the cycle's encoded length.
    cycle_len: usize,
    cycle_start: LogPosition,
    decided: Vec<Decided>,
    is_sealed: bool,
}

impl SingleOrder {
    /// Goes on after the last instance that is in the log or the checkpoint.
    pub fn new(writer: LogWriter, last: Instance) -> SingleOrder {
        SingleOrder {
            cycle_start: writer.end(),
            writer,
            next: last.next(),
            cycle: Vec::new(),
            cycle_len: 0,
            decided: Vec::new(),
            is_sealed: false,
        }
    }

    fn entry_len(header: &Header) -> usize {
        let digests = match &header.content {
            crate::header::Content::Commands { digests: crate::header::Digests::Keys(keys), .. } => keys.len(),
            _ => 0,
        };
        ENTRY_OVERHEAD + digests * DIGEST_LEN
    }

    fn finish_cycle(&mut self) -> Result<(), Fault> {
        if self.cycle.is_empty() {
            return Ok(());
        }
        let cycle = Cycle { first: self.next, entries: std::mem::take(&mut self.cycle) };
        self.cycle_len = 0;
        let body = match postcard::to_stdvec(&cycle) {
            Ok(body) => body,
            Err(error) => unreachable!("headers can be encoded: {error}"),
        };
        // Room for it was reserved with its entries.
        self.writer.append(FrameKind::Ordering, &[&body])?;
        self.writer.flush()?;
        for (header, payload) in cycle.entries {
            self.decided.push(Decided { instance: self.next, header, payload, cycle_start: self.cycle_start });
            self.next = self.next.next();
        }
        self.cycle_start = self.writer.end();
        self.is_sealed = false;
        Ok(())
    }
}

impl Order for SingleOrder {
    fn propose(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let entry_len = Self::entry_len(&header);
        let needed = payload.len() + self.cycle_len + entry_len + 2 * MAX_FRAME_OVERHEAD;
        if !self.writer.fits(needed as u64) {
            // Payloads and the ordering frame that names them stay in one file, so that they are dropped together.
            self.finish_cycle()?;
            self.writer.reserve((payload.len() + entry_len + 2 * MAX_FRAME_OVERHEAD) as u64)?;
        }
        if self.cycle.is_empty() {
            self.cycle_start = self.writer.end();
        }
        let position = match header.content {
            crate::header::Content::Commands { .. } => self.writer.append(FrameKind::Payload, &[payload])?,
            crate::header::Content::CheckpointMarker => LogPosition::ZERO,
        };
        self.cycle.push((header, position));
        self.cycle_len += entry_len;
        Ok(())
    }

    fn decide(&mut self) -> Result<Vec<Decided>, Fault> {
        self.finish_cycle()?;
        Ok(std::mem::take(&mut self.decided))
    }

    fn idle(&mut self) -> Result<(), Fault> {
        if self.is_sealed {
            return Ok(());
        }
        self.is_sealed = true;
        self.writer.seal().map(|_| ())
    }

    fn log_end(&self) -> LogPosition {
        self.writer.end()
    }

    fn next_log_file(&self) -> LogPosition {
        self.writer.next_file()
    }
}
