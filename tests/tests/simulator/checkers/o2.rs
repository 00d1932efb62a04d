//! O2: what a peer will rely on is on the sender's disk when it leaves, and stays there.

use crate::disk_log::DiskLog;
use skink_engine::position::LogPosition;
use skink_replication::paxos::{Ballot, Message};

/// A message leaves.
pub fn check_sent(message: &Message, log: &DiskLog) -> Result<(), String> {
    match message {
        Message::Prepare { ballot, .. } | Message::Promise { ballot, .. } | Message::AcceptSync { ballot, .. }
            if log.raised() < *ballot =>
        {
            return Err(format!("O2: {ballot} is promised, on disk is {}", log.promise));
        }
        Message::Accepted { ballot, accepted } => {
            // What was accepted in a lower round may have been overwritten by now.
            let is_there = log.last() >= *accepted || log.floor() >= *accepted || log.accepted_round > *ballot;
            if log.accepted_round < *ballot || !is_there {
                return Err(format!("O2: {accepted} is accepted in {ballot}, on disk is {}", log.last()));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A start finds what had been durable: a promise, and a log up to a position.
pub fn check_kept((promise, end): (Ballot, LogPosition), log: &DiskLog) -> Result<(), String> {
    if log.raised() < promise {
        return Err(format!("O2: {promise} was promised, a start finds {}", log.raised()));
    }
    if log.end() < end {
        return Err(format!("O2: the log was durable up to {end}, a start finds it up to {}", log.end()));
    }
    Ok(())
}
