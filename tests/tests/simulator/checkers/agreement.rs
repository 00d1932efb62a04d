//! Agreement: what is decided at an instance is the same for all.

use skink_engine::position::Instance;
use skink_replication::paxos::Entry;

pub fn check_same(instance: Instance, chosen: &Entry, entry: &Entry) -> Result<(), String> {
    if chosen == entry {
        return Ok(());
    }
    Err(format!("AGREEMENT: {instance} is {entry:?} here, {chosen:?} was chosen"))
}
