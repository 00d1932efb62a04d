//! O1: a durable log has no accepted header without its payload, unless the header was decided by then, or is in the
//! checkpoint from which a start reads the log.

use skink_engine::log::{Frame, FrameKind};
use skink_engine::position::Instance;
use skink_replication::header::BatchId;
use skink_replication::paxos::OrderingFrame;

pub fn check_frame(
    frame: &OrderingFrame,
    checkpoint: Instance,
    has_payload: impl Fn(&BatchId) -> bool,
) -> Result<(), String> {
    let Some(suffix) = &frame.suffix else { return Ok(()) };
    let mut instance = suffix.after;
    for entry in &suffix.entries {
        instance = instance.next();
        if instance > frame.decided.max(checkpoint) && !entry.payload().is_none_or(|id| has_payload(&id)) {
            return Err(format!("O1: {instance} is accepted without its payload"));
        }
    }
    Ok(())
}

/// What a frame says to be a payload is one.
pub fn check_payloads(frame: &OrderingFrame, frames: &[Frame]) -> Result<(), String> {
    let first = frames.first().map(|frame| frame.position);
    for (id, position) in &frame.payloads {
        let is_here = frames.iter().any(|it| it.position == *position && it.kind == FrameKind::Payload);
        // What is before may have been read earlier.
        if Some(*position) >= first && !is_here {
            return Err(format!("O1: the payload of {id:?} is not at {position}"));
        }
    }
    Ok(())
}
