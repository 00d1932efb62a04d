//! Tests over all families: what requests become, what replies look like, and that the two fit together.

mod meaning;
mod replies;
mod requests;
mod table;

use crate::resp::Arguments;
use bytes::Bytes;

/// The words of a line, as arguments.
fn arguments(line: &str) -> Arguments {
    line.split(' ').filter(|word| !word.is_empty()).map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}
