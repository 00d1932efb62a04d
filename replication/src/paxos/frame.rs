//! Ordering frames: what a cycle changed, in the write-ahead log (rule 2).
//!
//! A byte for the version, 1, then postcard's encoding of [`OrderingFrame`]. Every frame says the small state whole, so
//! that the last one counts and old log files can go; entries are said once.

use super::configuration::{Ballot, ReplicaId};
use super::entry::Entry;
use crate::header::BatchId;
use serde::{Deserialize, Serialize};
use skink_engine::position::{Instance, LogPosition};
use thiserror::Error;

const VERSION: u8 = 1;

/// The end of a configuration's log: its successor (rule 15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSign {
    /// The next configuration's id.
    pub configuration: u32,
    /// Its members.
    pub members: Vec<ReplicaId>,
    /// How to reach members that were added, as `HOST:PORT`, where a replica was not told otherwise.
    pub addresses: Vec<(ReplicaId, String)>,
}

/// Entries that take the place of all after an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suffix {
    /// The instance before the first one. What the log had after it no longer counts.
    pub after: Instance,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What a cycle changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderingFrame {
    /// The configuration.
    pub configuration: u32,
    /// The last instance that was dropped below a checkpoint.
    pub base: Instance,
    /// The last decided instance.
    pub decided: Instance,
    /// The promise.
    pub promise: Ballot,
    /// The round of the accepted entries.
    pub accepted_round: Ballot,
    /// The accepted stop sign.
    pub stop_sign: Option<StopSign>,
    /// What is known of the members' disks, ascending (rule 14).
    pub incarnations: Vec<(ReplicaId, u64)>,
    /// The accepted entries, if they changed.
    pub suffix: Option<Suffix>,
    /// Payloads that the log got, and where.
    pub payloads: Vec<(BatchId, LogPosition)>,
}

/// Why a frame can't be decoded.
#[derive(Debug, Error)]
#[error("an ordering frame can't be decoded: {0}")]
pub struct FrameError(String);

impl OrderingFrame {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match postcard::to_extend(self, vec![VERSION]) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("frames can be encoded: {error}"),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<OrderingFrame, FrameError> {
        match bytes.split_first() {
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((frame, [])) => Ok(frame),
                Ok((_, rest)) => Err(FrameError(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(FrameError(error.to_string())),
            },
            Some((version, _)) => Err(FrameError(format!("its version is {version}"))),
            None => Err(FrameError("it is empty".into())),
        }
    }
}
