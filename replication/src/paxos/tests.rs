//! Tests of the rules, each on a small cluster whose messages and log writes are moved by hand.

mod checkpoints;
mod cluster;
mod encoding;
mod gates;
mod liveness;
mod membership;
mod sessions;
