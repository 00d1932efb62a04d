//! The order of several replicas, by Paxos: the protocol side, without IO, clock, threads or randomness.
//!
//! ```text
//! events -> Protocol -> effects        Protocol = gates and sessions around an object of the crate omnipaxos
//! ```
//!
//! What goes through Paxos are headers; payloads travel apart, and a header counts as accepted where its payload is
//! (O1). The rules, why they are needed and where they are kept, are in `docs/ordering.md`.

mod admission;
mod change;
mod checkpoints;
mod configuration;
mod departure;
mod durability;
mod entry;
mod event;
mod fetch;
mod frame;
mod liveness;
mod message;
mod object;
mod proposals;
mod protocol;
mod read_index;
mod reads;
mod receive;
mod recovery;
mod rules;
mod seeding;
mod send;
mod sessions;
mod state;
mod storage;
mod succession;

#[cfg(test)]
mod tests;

pub use change::{ChangeError, MembershipChange};
pub use checkpoints::Needed;
pub use configuration::{Ballot, Configuration, MAX_ADDRESS_LEN, ReplicaId};
pub use departure::Gate;
pub use durability::CycleNumber;
pub use entry::{Barrier, Entry};
pub use event::{Delivered, DeliveredContent, Effect, Event, Leadership, Refusal};
pub use frame::{FrameError, OrderingFrame, StopSign, Suffix};
pub use liveness::Ticks;
pub use message::{Envelope, Heartbeat, MAX_LEN, Message, MessageError, Request, Sequence, Sign, Sync, VERSION};
pub use protocol::{Options, Protocol, Start};
pub use read_index::ReadId;
pub use recovery::{CheckpointFacts, Recovery, RecoveryError};
pub use rules::{Rule, Rules};
pub use sessions::SessionNumber;
pub use state::DurableState;
