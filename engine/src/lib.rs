//! The storage engine of Skink: the state of one replica on one data directory.
//!
//! From the inside out: [`command`] says what can be asked and [`evaluate`] what it means; segment files hold
//! the state, [`log`] what is not in a checkpoint yet; [`engine`] puts them together on a data [`directory`].
//! Everything reaches the disk through [`env`](mod@env). Nothing here knows of networks, replicas or protocols.

pub mod catalog;
pub mod command;
pub mod directory;
pub mod engine;
pub mod env;
pub mod error;
pub mod evaluate;
mod files;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod key;
pub mod label;
pub mod log;
pub mod manifest;
mod page;
pub mod position;
mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod verify;

pub use segment::{SegmentCut, Totals};
