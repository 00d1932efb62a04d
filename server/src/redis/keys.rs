//! Keys whatever their values: `DEL`, `EXISTS`, `SCAN`, `FLUSHALL` and the like.

use super::arguments::{ArgumentReader, is_keyword};
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{Request, RequestError, Shape};
use crate::resp::parse_integer;
use bytes::Bytes;
use skink_engine::command::{Command, MAX_RANGE_LIMIT, Pattern, Range, RangeQuery};

const READ: Flags = Flags::READ_ONLY;
const FAST_READ: Flags = READ.and(Flags::FAST);
const ALL: KeyPositions = KeyPositions::ALL;
const NONE: KeyPositions = KeyPositions::NONE;

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("del", -2, Flags::WRITE, ALL, "generic", "Deletes keys.", del),
    CommandSpec::new("unlink", -2, Flags::WRITE.and(Flags::FAST), ALL, "generic", "Deletes keys; as DEL.", del),
    CommandSpec::new("exists", -2, FAST_READ, ALL, "generic", "Counts how many of the keys exist.", exists),
    CommandSpec::new("touch", -2, FAST_READ, ALL, "generic", "Counts how many of the keys exist; as EXISTS.", exists),
    CommandSpec::new("scan", -2, READ, NONE, "generic", "Walks the keys, some with each call.", scan),
    CommandSpec::new("keys", 2, READ, NONE, "generic", "Returns the keys that match a pattern.", keys),
    CommandSpec::new(
        "type",
        2,
        FAST_READ,
        KeyPositions::FIRST,
        "generic",
        "Tells the type of a key's value: string, or none.",
        key_type,
    ),
    CommandSpec::new("dbsize", 1, FAST_READ, NONE, "server", "Returns the number of keys.", dbsize),
    CommandSpec::new("flushall", -1, Flags::WRITE, NONE, "server", "Deletes all keys.", flush),
    CommandSpec::new("flushdb", -1, Flags::WRITE, NONE, "server", "Deletes all keys; as FLUSHALL.", flush),
];

fn del(reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(delete(reader.all()), Shape::Integer))
}

/// Deletes keys; one alone by the simpler command.
pub(super) fn delete(mut keys: Vec<Bytes>) -> Command {
    match keys.len() {
        1 => Command::Delete { key: keys.swap_remove(0), condition: None },
        _ => Command::DeleteMany { keys },
    }
}

fn exists(reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::Exists { keys: reader.all() }, Shape::Integer))
}

fn key_type(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    // Values are strings: whether there is a time to live to tell is all that is to know.
    Ok(Request::execute(Command::TimeToLive { key: reader.required()? }, Shape::Type))
}

/// `SCAN` without `COUNT` looks at so many keys, as in Redis.
const DEFAULT_SCAN_COUNT: u32 = 10;

fn scan(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let cursor = std::str::from_utf8(&reader.required()?)
        .ok()
        .filter(|cursor| cursor.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|cursor| cursor.parse().ok())
        .ok_or(RequestError::InvalidCursor)?;
    let (mut limit, mut pattern, mut shape) = (DEFAULT_SCAN_COUNT, None, Shape::Scan);
    while let Some(option) = reader.next() {
        let value = reader.required()?;
        if is_keyword(&option, "MATCH") {
            pattern = glob(value);
        } else if is_keyword(&option, "COUNT") {
            let count = parse_integer(&value).ok_or(RequestError::NotAnInteger)?;
            if count < 1 {
                return Err(RequestError::Syntax);
            }
            limit = u32::try_from(count).map_or(MAX_RANGE_LIMIT, |count| count.min(MAX_RANGE_LIMIT));
        } else if is_keyword(&option, "TYPE") {
            shape = if is_keyword(&value, "STRING") { Shape::Scan } else { Shape::ScanOfNone };
        } else {
            return Err(RequestError::Syntax);
        }
    }
    Ok(Request::execute(Command::Scan { cursor, limit, pattern }, shape))
}

fn keys(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let pattern = glob(reader.required()?);
    let query = RangeQuery { range: Range::all(), pattern, limit: MAX_RANGE_LIMIT, with_values: false };
    Ok(Request::execute(Command::ReadRange(query), Shape::Keys))
}

/// A pattern; none for the one that matches everything, which clients send often.
fn glob(text: Bytes) -> Option<Pattern> {
    (text != "*").then_some(Pattern::Glob(text))
}

fn dbsize(_: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::Count, Shape::Integer))
}

fn flush(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    match reader.next() {
        Some(option) if !is_keyword(&option, "ASYNC") && !is_keyword(&option, "SYNC") => Err(RequestError::Syntax),
        _ => reader.end().map(|()| Request::execute(Command::Flush, Shape::Status)),
    }
}
