//! The order: headers go in, decided headers come out, each at its instance, without gaps.
//!
//! An order does its own logging: what it has decided is durable here (O1, O2). It runs in its caller's thread.

mod single;

pub use single::{Cycle, SingleOrder};

use crate::header::Header;
use skink_engine::error::Fault;
use skink_engine::position::{Instance, LogPosition};

/// A header at its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Its place.
    pub instance: Instance,
    /// The header.
    pub header: Header,
    /// Where in this replica's log its payload is; of no meaning for markers.
    pub payload: LogPosition,
    /// Start of the log write that holds the decision: a replay from there meets all that comes after it.
    pub cycle_start: LogPosition,
}

/// Decides in which order headers are delivered.
pub trait Order: Send {
    /// Proposes a header with its payload.
    ///
    /// # Errors
    /// A full disk: nothing was proposed, and others can be. Other faults: stop.
    fn propose(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault>;

    /// Brings proposals to a decision and answers with what was decided since the last call, in order.
    ///
    /// # Errors
    /// Faults of the disk: stop.
    fn decide(&mut self) -> Result<Vec<Decided>, Fault>;

    /// Called once when there has been nothing to do for a moment.
    ///
    /// # Errors
    /// Faults of the disk: stop, unless it is a full one.
    fn idle(&mut self) -> Result<(), Fault>;

    /// Everything that was decided is in the log below this position.
    fn log_end(&self) -> LogPosition;

    /// Start of the log file that will be needed next.
    fn next_log_file(&self) -> LogPosition;
}
