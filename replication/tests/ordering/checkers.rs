//! What must hold in every run, one checker a file. Each keeps its own books, from what goes to disks, over the
//! network and into execution; none asks the machine.

pub mod agreement;
pub mod durable_log;
pub mod promises;
pub mod reads;
