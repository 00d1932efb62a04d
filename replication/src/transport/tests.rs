//! Transports over loopback, all driven by the thread of the test.

mod cluster;
mod sessions;
