//! A bound on how deep decoded commands nest: a hostile payload of nested transactions must not exhaust the stack.

use super::Command;
use serde::{Deserialize, Deserializer, de::Error};
use std::cell::Cell;

thread_local! {
    /// Whether a transaction's commands are being decoded.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Clears the mark however decoding ends.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// Decodes a transaction's commands; a transaction among them is an error.
pub(super) fn flat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Command>, D::Error> {
    if INSIDE.replace(true) {
        return Err(D::Error::custom("a transaction holds a transaction"));
    }
    let inside = Inside;
    let commands = Vec::deserialize(deserializer);
    drop(inside);
    commands
}

#[cfg(test)]
mod tests {
    use crate::command::{Command, Transaction};

    fn transaction(commands: Vec<Command>) -> Command {
        Command::Transaction(Transaction { preconditions: Vec::new(), commands, all_or_nothing: true })
    }

    #[test]
    fn one_level_is_decoded_and_deep_nesting_is_an_error() {
        let flat = transaction(vec![Command::Count, Command::Flush]);
        for _ in 0..2 {
            assert_eq!(postcard::from_bytes(&postcard::to_stdvec(&flat).unwrap()), Ok(flat.clone()));
            let nested = postcard::to_stdvec(&transaction(vec![flat.clone()])).unwrap();
            assert!(postcard::from_bytes::<Command>(&nested).is_err());
        }
        // A transaction whose first command is a transaction, a million times over.
        let head = postcard::to_stdvec(&transaction(Vec::new())).unwrap();
        let deep: Vec<u8> = [head[0], 0, 1].repeat(1_000_000);
        assert!(postcard::from_bytes::<Command>(&deep).is_err());
    }
}
