//! Skink's own commands: `CREATE`, `READ`, `UPDATE`, `DELETE`, and `STATEMENT`.
//!
//! They differ from Redis' commands in that a write whose key is there, or is not there, is an error, and in
//! that writes can depend on the present value or revision.

use super::arguments::{ArgumentReader, TimeForm, is_keyword};
use super::keys::delete;
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{ConnectionRequest, Request, RequestError, Shape};
use skink_engine::command::{Command, Condition, Expiry, Put, PutMode};
use skink_engine::position::Revision;

const WRITE: Flags = Flags::WRITE.and(Flags::DENY_OOM);

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new(
        "create",
        -3,
        WRITE,
        KeyPositions::FIRST,
        "generic",
        "Creates a key; an error if it exists.",
        create,
    ),
    CommandSpec::new(
        "read",
        -2,
        Flags::READ_ONLY.and(Flags::FAST),
        KeyPositions::ALL,
        "generic",
        "Returns the value of a key, or the values of keys.",
        read,
    ),
    CommandSpec::new(
        "update",
        -3,
        WRITE,
        KeyPositions::FIRST,
        "generic",
        "Changes the value of a key; an error if it does not exist or a condition does not hold.",
        update,
    ),
    CommandSpec::new(
        "delete",
        -2,
        Flags::WRITE,
        KeyPositions::ALL,
        "generic",
        "Deletes keys, or one key if a condition holds.",
        delete_records,
    ),
    CommandSpec::new(
        "statement",
        -2,
        // Whether a full disk refuses it depends on the statement.
        Flags::WRITE,
        KeyPositions::NONE,
        "generic",
        "Runs a statement of the shell's language.",
        statement,
    ),
];

fn create(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let mut put = Put::new(PutMode::Create, reader.required()?, reader.required()?);
    if let Some(option) = reader.next() {
        let form = TimeForm::of_option(&option).ok_or(RequestError::Syntax)?;
        put.expiry = reader.positive_expiry(form)?;
    }
    reader.end()?;
    Ok(Request::execute(Command::Put(put), Shape::Status))
}

fn read(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(match reader.len() {
        1 => Request::execute(Command::Read { key: reader.required()? }, Shape::Value),
        _ => Request::execute(Command::ReadMany { keys: reader.all() }, Shape::Values),
    })
}

fn update(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let mut put = Put::new(PutMode::Update, reader.required()?, reader.required()?);
    put.expiry = Expiry::Keep;
    while let Some(option) = reader.next() {
        if let Some(form) = TimeForm::of_option(&option)
            && put.expiry == Expiry::Keep
        {
            put.expiry = reader.positive_expiry(form)?;
        } else if is_condition(&option) && put.condition.is_none() {
            put.condition = Some(condition(&option, &mut reader)?);
        } else {
            return Err(RequestError::Syntax);
        }
    }
    Ok(Request::execute(Command::Put(put), Shape::Status))
}

fn delete_records(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    // A condition taken for two keys would delete what it was to protect. So a key behind the first one that
    // has a condition's name is an error, where it does not start a condition on the first.
    if reader.len() == 3 && reader.peek(1).is_some_and(|option| is_condition(option)) {
        let (key, option) = (reader.required()?, reader.required()?);
        let condition = Some(condition(&option, &mut reader)?);
        return Ok(Request::execute(Command::Delete { key, condition }, Shape::Integer));
    }
    let keys = reader.all();
    if keys.iter().skip(1).any(|key| is_condition(key)) {
        return Err(RequestError::ConditionOnManyKeys);
    }
    Ok(Request::execute(delete(keys), Shape::Integer))
}

fn is_condition(option: &[u8]) -> bool {
    is_keyword(option, "IFVALUE") || is_keyword(option, "IFREVISION")
}

fn condition(option: &[u8], reader: &mut ArgumentReader) -> Result<Condition, RequestError> {
    if is_keyword(option, "IFVALUE") {
        return Ok(Condition::ValueIs(reader.required()?));
    }
    let revision = u64::try_from(reader.integer()?).map_err(|_| RequestError::NotAnInteger)?;
    Ok(Condition::RevisionIs(Revision::from_raw(revision)))
}

fn statement(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let rows = reader.len() == 2 && reader.peek(0).is_some_and(|option| is_keyword(option, "ROWS"));
    if rows {
        reader.next();
    }
    let text = reader.required()?;
    reader.end()?;
    Ok(Request::Connection(ConnectionRequest::Statement { text, rows }))
}
