//! Three replicas as real processes: killed, paused, cut off, with disks that are lost, full or damaged, and clients at
//! all of them that remember what they were told.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

mod client;
mod commands;
mod configuration;
mod counter;
mod cuts;
mod damage;
mod disks;
mod full;
mod hostile;
mod kills;
mod libraries;
mod load;
mod majority;
mod pauses;
mod recovery;
mod schedulers;

/// Few and small files.
const SMALL: &[&str] =
    &["--segments", "8", "--log-file-mb", "2", "--max-value-mb", "1", "--checkpoint-seconds", "3600"];
