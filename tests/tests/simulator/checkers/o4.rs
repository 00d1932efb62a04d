//! O4: a replica whose disk was lost has no vote before a barrier for its new disk is decided.

use crate::machine::Machine;
use crate::plan::replica;
use skink_replication::paxos::{Barrier, Message};

pub fn check_sent(message: &Message, machine: &Machine, barriers: &[Barrier]) -> Result<(), String> {
    let is_vote = matches!(message, Message::Promise { .. } | Message::Accepted { .. } | Message::Prepare { .. });
    let barrier = Barrier { replica: replica(machine.index), incarnation: machine.incarnation };
    if machine.is_founder || !is_vote || barriers.contains(&barrier) {
        return Ok(());
    }
    Err(format!("O4: {} lost its disk, and says {message:?} without a barrier", machine.index))
}
