//! Who is told that nothing of a request has happened can rely on that: it never happens.

use crate::batches::{Batches, Fate};
use crate::reference::Reference;

pub fn check(batches: &Batches, reference: &Reference) -> Result<(), String> {
    let refused = batches.iter().filter(|(_, batch)| batch.fate == Fate::Refused);
    match refused.filter_map(|(number, _)| Some((number, reference.executed(number)?))).next() {
        Some((number, executed)) => {
            Err(format!("REFUSED: batch {number} was refused, and executed at {}", executed.instance))
        }
        None => Ok(()),
    }
}
