//! Nodes on simulated disks, in one thread: nothing happens but what a test lets happen.

mod cluster;
mod handoff;
mod members;
mod reads;
