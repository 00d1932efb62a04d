//! The storage engine of Skink.

pub mod command;
pub mod evaluate;
pub mod position;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
