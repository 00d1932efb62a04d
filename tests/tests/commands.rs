//! Every command, by a client that people use, in both versions of the protocol; what holds between commands of one
//! connection and of several.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

#[path = "commands/catalog.rs"]
mod catalog;
#[path = "commands/expiry.rs"]
mod expiry;
#[path = "commands/order.rs"]
mod order;
#[path = "commands/statements.rs"]
mod statements;
#[path = "commands/transactions.rs"]
mod transactions;
#[path = "commands/values.rs"]
mod values;

use redis::{Connection, Value};

/// Sends a line's words as a command and shows its reply.
fn say(connection: &mut Connection, line: &str) -> String {
    send(connection, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

/// Sends a command and shows its reply.
fn send(connection: &mut Connection, words: &[&[u8]]) -> String {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    match command.query::<Value>(connection) {
        Ok(value) => shown(&value),
        Err(error) => shown_error(&error),
    }
}

fn shown_error(error: &redis::RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("-{code} {detail}"),
        _ => panic!("the connection broke: {error}"),
    }
}

/// A reply as short text: `+status`, `:integer`, `"string"`, `nil`, `[array]`, `{map}`, `-ERROR text`.
fn shown(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(shown).collect::<Vec<_>>().join(" ");
    match value {
        Value::Nil => "nil".to_string(),
        Value::Int(number) => format!(":{number}"),
        Value::BulkString(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::SimpleString(text) => format!("+{text}"),
        Value::Okay => "+OK".to_string(),
        Value::Array(values) | Value::Set(values) => format!("[{}]", list(values)),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{} {}", shown(key), shown(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::ServerError(error) => format!("-{} {}", error.code(), error.details().unwrap_or_default()),
        other => format!("{other:?}"),
    }
}

/// Says each line and checks its reply. A reply that ends in `...` is the start of one; `...` alone is any but an error.
fn check(connection: &mut Connection, dialogue: &[(&str, &str)]) {
    for (line, expected) in dialogue {
        let reply = say(connection, line);
        let is_right = match expected.strip_suffix("...") {
            Some("") => !reply.starts_with('-'),
            Some(start) => reply.starts_with(start),
            None => reply == *expected,
        };
        assert!(is_right, "{line}: {reply}, not {expected}");
    }
}
