//! E3: what a state already reflects is not executed again and not answered again; execution never goes back, and a batch is
//! answered once, by the process that executed it.

use crate::batches::Batch;
use skink_engine::position::Instance;

/// A batch's proxy hears of it.
pub fn check_told(number: u64, batch: &Batch) -> Result<(), String> {
    if batch.is_told {
        return Err(format!("E3: batch {number} is answered twice"));
    }
    Ok(())
}

/// It is answered with replies, at a replica whose state came as a whole up to an instance, and that has
/// executed something up to another.
pub fn check_executed(instance: Instance, came_with: Instance, last: Instance) -> Result<(), String> {
    if came_with < instance && instance <= last {
        return Ok(());
    }
    Err(format!("E3: {instance} is answered by who executed what is after {came_with} up to {last}"))
}

/// A replica goes on.
pub fn check_forward(at: usize, before: Instance, now: Instance) -> Result<(), String> {
    if before <= now {
        return Ok(());
    }
    Err(format!("E3: {at} had executed {before}, and is at {now}"))
}
