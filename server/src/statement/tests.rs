//! The statement language by examples, by its error texts, and by what holds of every text.

mod errors;
mod properties;
mod statements;

use super::{Limits, Statement, parse};

/// The one statement of a text that is right.
fn one(text: impl AsRef<[u8]>) -> Statement {
    match parse(text.as_ref(), Limits::default()) {
        Ok(mut statements) if statements.len() == 1 => statements.remove(0),
        other => panic!("{:?}: {other:?}", text.as_ref().escape_ascii().to_string()),
    }
}
