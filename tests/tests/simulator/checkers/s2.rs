//! S2: a segment is exactly at its stated instance: it reflects every command up to it, and none after.

use crate::reference::{Reference, version_digest};
use skink_engine::command::{Command, Range, RangeQuery, Reply};
use skink_engine::engine::Engine;
use skink_engine::error::Fault;
use skink_engine::evaluate::Context;
use skink_engine::position::Instance;

/// What the state adds up to, key by key.
fn digest(engine: &Engine) -> Result<Result<u64, String>, Fault> {
    // At time 0 nothing has expired.
    let context = Context { revision: Instance::ZERO.revision(0), now_ms: 0, max_value_len: 1 << 20 };
    let reply = engine.execute(&Command::ReadRange(RangeQuery::new(Range::all(), u32::MAX)), context)?;
    let Reply::Entries { entries, next: None } = reply else { return Ok(Err(format!("S2: {reply:?}"))) };
    let sum = entries.iter().fold(0_u64, |sum, entry| sum.wrapping_add(version_digest(&entry.key, &entry.version)));
    Ok(Ok(sum))
}

/// A replica that has executed everything up to an instance.
pub fn check(
    at: usize,
    engine: &Engine,
    instance: Instance,
    reference: &Reference,
) -> Result<Result<(), String>, Fault> {
    let found = match digest(engine)? {
        Ok(found) => found,
        Err(what) => return Ok(Err(what)),
    };
    let expected = reference.digest(instance);
    if expected == Some(found) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("S2: {at} is at {instance}, and its state is {found:016x} in place of {expected:016x?}")))
}
