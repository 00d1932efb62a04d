//! Nodes on simulated disks, in one thread: nothing happens but what a test lets happen.

mod cluster;
mod members;
mod reads;
