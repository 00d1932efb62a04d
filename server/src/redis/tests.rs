//! Tests over all families: what requests become, and what replies look like.

mod replies;
mod requests;
mod table;

use crate::resp::Arguments;
use bytes::Bytes;

/// The words of a line, as arguments.
fn arguments(line: &str) -> Arguments {
    line.split(' ').filter(|word| !word.is_empty()).map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}
