//! The write-ahead log: typed frames, durable in the order in which they were appended.
//!
//! ```text
//! append, append, ... -> one buffer -> flush: one durable write -> durable position
//! ```
//!
//! Files have a fixed length, are preallocated, zeroed and used again; a position counts bytes over all of
//! them. Every flush is one *write* that starts at a block boundary and never touches a block of an earlier
//! one. It starts only when all before it is durable, so at most the last write of a log can be torn; whatever
//! is wrong before a later write is damage, and is reported, never cut off.
//!
//! After a failed write the log is poisoned: nothing is known of what the disk holds, so nothing is tried again.

mod file;
mod frame;
mod outline;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use file::{LogFiles, LogOptions};
#[cfg(feature = "testing")]
pub(crate) use frame::{FrameHead, HEAD_LEN};
pub use frame::{FrameKind, MAX_FRAME_OVERHEAD};
pub use outline::Outline;
pub use reader::{BodyReader, Frame, LogScan, damaged, scan, scan_with};
pub use writer::LogWriter;
