//! What the log holds.

use super::configuration::ReplicaId;
use crate::header::{BatchId, Content, Header};
use omnipaxos::storage::{Entry as ObjectEntry, NoSnapshot};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A header. Copies share it.
    Header(#[serde(with = "shared")] Arc<Header>),
    /// Everything before it was decided without the replica that comes back with this incarnation (rule 14).
    Barrier(Barrier),
}

/// The end of what a replica's lost disk may have voted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// The replica.
    pub replica: ReplicaId,
    /// Its new incarnation.
    pub incarnation: u64,
}

impl Entry {
    /// The id of the payload that the entry needs.
    pub fn payload(&self) -> Option<BatchId> {
        match self {
            Entry::Header(header) => match header.content {
                Content::Commands { .. } => Some(header.id),
                Content::CheckpointMarker => None,
            },
            Entry::Barrier(_) => None,
        }
    }

    /// Length of that payload, in bytes.
    pub fn payload_len(&self) -> u64 {
        match self {
            Entry::Header(header) => match header.content {
                Content::Commands { payload_len, .. } => u64::from(payload_len),
                Content::CheckpointMarker => 0,
            },
            Entry::Barrier(_) => 0,
        }
    }
}

/// What the object sees at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// An entry.
    Entry(Entry),
    /// The log is kept from this length on only. One stands for all positions below.
    Gap(usize),
}

impl ObjectEntry for Slot {
    type Snapshot = NoSnapshot;
}

/// A shared header is encoded as the header.
mod shared {
    use crate::header::Header;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(header: &Arc<Header>, serializer: S) -> Result<S::Ok, S::Error> {
        header.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Arc<Header>, D::Error> {
        Header::deserialize(deserializer).map(Arc::new)
    }
}
