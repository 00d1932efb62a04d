//! O2: what a peer will rely on is on the sender's disk when it leaves.

use crate::disk::Disk;
use skink_replication::paxos::Message;

pub fn check_sent(message: &Message, disk: &Disk) -> Result<(), String> {
    let log = &disk.log;
    let covered = disk.checkpoint.map(|checkpoint| checkpoint.instance);
    match message {
        Message::Prepare { ballot, .. } | Message::Promise { ballot, .. } | Message::AcceptSync { ballot, .. } => {
            let raised = disk.checkpoint.map_or(log.promise, |checkpoint| checkpoint.promise.max(log.promise));
            if raised < *ballot {
                return Err(format!("O2: {ballot} is promised, on disk is {}", log.promise));
            }
        }
        Message::Accepted { ballot, accepted } => {
            // What was accepted in a lower round may have been overwritten by now.
            let is_there = log.end() >= *accepted || covered >= Some(*accepted) || log.accepted_round > *ballot;
            if log.accepted_round < *ballot || !is_there {
                return Err(format!("O2: {accepted} is accepted in {ballot}, on disk is {}", log.end()));
            }
        }
        _ => {}
    }
    Ok(())
}
