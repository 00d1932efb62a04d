//! Replication: how commands become batches, get an order, and are executed in it.
//!
//! ```text
//! commands -> batch (header, payload) -> Order -> decided header -> execution -> Engine -> replies
//! ```
//!
//! A write takes the same way with one replica as with several: what differs is the [`order::Order`]. Nothing
//! here knows of clients or their protocols.

pub mod batch;
mod compression;
pub mod crew;
pub mod executor;
pub mod formation;
pub mod header;
pub mod identity;
pub mod inspect;
mod log_preparation;
pub mod node;
pub mod order;
pub mod paxos;
pub mod recovery;
pub mod replica;
pub mod scheduler;

pub mod status;
pub mod transport;
pub mod workers;

mod background;
mod replay;
