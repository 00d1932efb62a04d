//! E1: the outcome is that of executing all commands one by one, in the order of their revisions. The model does so.

use crate::reference::Reference;
use skink_engine::command::Reply;
use skink_engine::testing::model::agree;

pub fn check_replies(reference: &Reference, batch: u64, replies: &[Reply]) -> Result<(), String> {
    let Some(executed) = reference.executed(batch) else {
        return Err(format!("E1: batch {batch} is answered and was not executed"));
    };
    let expected = &executed.replies;
    let is_right =
        expected.len() == replies.len() && expected.iter().zip(replies).all(|(one, other)| agree(one, other));
    if is_right {
        return Ok(());
    }
    Err(format!("E1: batch {batch} at {} is answered with {replies:?}, not {expected:?}", executed.instance))
}
