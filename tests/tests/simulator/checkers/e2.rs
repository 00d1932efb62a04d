//! E2: execution is deterministic. A replica that executes again what it had executed comes to the same state.

use skink_engine::position::Instance;

pub fn check_again(at: usize, instance: Instance, before: &[u64], now: &[u64]) -> Result<(), String> {
    if before == now {
        return Ok(());
    }
    Err(format!("E2: {at} executes {instance} again, and its segments are {now:x?} in place of {before:x?}"))
}
