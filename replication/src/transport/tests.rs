//! Transports over loopback, all driven by the thread of the test.

mod breaks;
mod cluster;
mod refusals;
mod sessions;
mod strangers;
mod tap;
mod turns;
