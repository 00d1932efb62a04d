//! Parts of values, and values that are numbers: `INCR`, `APPEND`, `GETRANGE` and the like.

use super::arguments::ArgumentReader;
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{Request, RequestError, Shape};
use skink_engine::command::Command;

const READ: Flags = Flags::READ_ONLY;
const WRITE: Flags = Flags::WRITE.and(Flags::DENY_OOM);
const FAST_WRITE: Flags = WRITE.and(Flags::FAST);
const KEY: KeyPositions = KeyPositions::FIRST;

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("incr", 2, FAST_WRITE, KEY, "string", "Adds one to a number.", |reader| increment(reader, 1)),
    CommandSpec::new("decr", 2, FAST_WRITE, KEY, "string", "Subtracts one from a number.", |reader| {
        increment(reader, -1)
    }),
    CommandSpec::new("incrby", 3, FAST_WRITE, KEY, "string", "Adds to a number.", incrby),
    CommandSpec::new("decrby", 3, FAST_WRITE, KEY, "string", "Subtracts from a number.", decrby),
    CommandSpec::new("append", 3, FAST_WRITE, KEY, "string", "Appends to a value.", append),
    CommandSpec::new(
        "strlen",
        2,
        READ.and(Flags::FAST),
        KEY,
        "string",
        "Returns the length of a value in bytes.",
        strlen,
    ),
    CommandSpec::new("getrange", 4, READ, KEY, "string", "Returns part of a value.", getrange),
    CommandSpec::new("substr", 4, READ, KEY, "string", "Returns part of a value; as GETRANGE.", getrange),
    CommandSpec::new("setrange", 4, WRITE, KEY, "string", "Overwrites part of a value.", setrange),
];

fn increment(mut reader: ArgumentReader, by: i64) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::Increment { key: reader.required()?, by }, Shape::Integer))
}

fn incrby(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let by = reader.integer()?;
    Ok(Request::execute(Command::Increment { key, by }, Shape::Integer))
}

fn decrby(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let by = reader.integer()?.checked_neg().ok_or(RequestError::DecrementOverflow)?;
    Ok(Request::execute(Command::Increment { key, by }, Shape::Integer))
}

fn append(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let (key, bytes) = (reader.required()?, reader.required()?);
    Ok(Request::execute(Command::Append { key, bytes }, Shape::Integer))
}

fn strlen(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::Length { key: reader.required()? }, Shape::Integer))
}

fn getrange(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let (start, end) = (reader.integer()?, reader.integer()?);
    Ok(Request::execute(Command::ReadPart { key, start, end }, Shape::Bytes))
}

fn setrange(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let offset = u64::try_from(reader.integer()?).map_err(|_| RequestError::OffsetOutOfRange)?;
    let bytes = reader.required()?;
    Ok(Request::execute(Command::WritePart { key, offset, bytes }, Shape::Integer))
}
