//! What tests of the engine and of everything above it share: a model of the commands' meaning,
//! a state in memory, and strategies that make commands.
//!
//! ```text
//! strategies::history  ->  steps  ->  Model             -> reply, entries
//!                                 \->  what is tested   -> reply, entries   -> equal?
//! ```
//!
//! [`model`] is the specification that one reads: it mutates a map and knows nothing of
//! [`evaluate`](mod@crate::evaluate). [`state`] applies evaluate's effects to a map. Replies are compared with
//! [`model::agree`], which holds a scan to its guarantee and everything else to equality.

pub mod model;
pub mod state;
pub mod strategies;
