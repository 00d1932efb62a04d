//! Whole values: `GET`, `SET` and their variants.

use super::arguments::{ArgumentReader, TimeForm, is_keyword};
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{Request, RequestError, Shape};
use bytes::Bytes;
use skink_engine::command::{Command, Expiry, ExpiryRule, Put, PutMode, Transaction, Unmet};

const READ: Flags = Flags::READ_ONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENY_OOM);
const FAST_WRITE: Flags = WRITE.and(Flags::FAST);

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("get", 2, READ, KeyPositions::FIRST, "string", "Returns the value of a key.", get),
    CommandSpec::new(
        "set",
        -3,
        WRITE,
        KeyPositions::FIRST,
        "string",
        "Sets the value of a key, whether it exists or not, or only if it does or does not.",
        set,
    ),
    CommandSpec::new(
        "setnx",
        3,
        FAST_WRITE,
        KeyPositions::FIRST,
        "string",
        "Sets the value of a key that does not exist.",
        setnx,
    ),
    CommandSpec::new(
        "setex",
        4,
        WRITE,
        KeyPositions::FIRST,
        "string",
        "Sets the value of a key and its time to live in seconds.",
        |reader| set_with_expiry(reader, TimeForm::InSeconds),
    ),
    CommandSpec::new(
        "psetex",
        4,
        WRITE,
        KeyPositions::FIRST,
        "string",
        "Sets the value of a key and its time to live in milliseconds.",
        |reader| set_with_expiry(reader, TimeForm::InMs),
    ),
    CommandSpec::new(
        "getset",
        3,
        FAST_WRITE,
        KeyPositions::FIRST,
        "string",
        "Sets the value of a key and returns the one before.",
        getset,
    ),
    CommandSpec::new(
        "getdel",
        2,
        Flags::WRITE.and(Flags::FAST),
        KeyPositions::FIRST,
        "string",
        "Returns the value of a key and deletes the key.",
        getdel,
    ),
    CommandSpec::new(
        "getex",
        -2,
        Flags::WRITE.and(Flags::FAST),
        KeyPositions::FIRST,
        "string",
        "Returns the value of a key and changes the key's expiry.",
        getex,
    ),
    CommandSpec::new("mget", -2, READ, KeyPositions::ALL, "string", "Returns the values of keys.", mget),
    CommandSpec::new("mset", -3, WRITE, KeyPositions::PAIRS, "string", "Sets the values of keys.", |reader| {
        put_many(reader, false, Shape::Status)
    }),
    CommandSpec::new(
        "msetnx",
        -3,
        WRITE,
        KeyPositions::PAIRS,
        "string",
        "Sets the values of keys if none of them exists.",
        |reader| put_many(reader, true, Shape::Integer),
    ),
];

fn get(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::Read { key: reader.required()? }, Shape::Value))
}

fn mget(reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::ReadMany { keys: reader.all() }, Shape::Values))
}

/// A put as Redis has it: what is not met is answered with nil.
fn upsert(key: Bytes, value: Bytes) -> Put {
    Put { unmet: Unmet::Missing, ..Put::new(PutMode::Upsert, key, value) }
}

fn set(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let mut put = upsert(reader.required()?, reader.required()?);
    let mut expiry = ExpiryOption::default();
    while let Some(option) = reader.next() {
        if is_keyword(&option, "NX") && put.mode != PutMode::Update {
            put.mode = PutMode::Create;
        } else if is_keyword(&option, "XX") && put.mode != PutMode::Create {
            put.mode = PutMode::Update;
        } else if is_keyword(&option, "GET") {
            put.return_previous = true;
        } else if is_keyword(&option, "KEEPTTL") {
            expiry.set(ExpiryOption::Other)?;
        } else {
            expiry.set_time(&option, &mut reader)?;
        }
    }
    put.expiry = expiry.value(&reader, Expiry::Keep)?.unwrap_or(Expiry::Never);
    let shape = if put.return_previous { Shape::Value } else { Shape::Status };
    Ok(Request::execute(Command::Put(put), shape))
}

fn setnx(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let put = upsert(reader.required()?, reader.required()?);
    Ok(Request::execute(Command::Put(Put { mode: PutMode::Create, ..put }), Shape::Flag))
}

fn set_with_expiry(mut reader: ArgumentReader, form: TimeForm) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let expiry = reader.positive_expiry(form)?;
    let put = upsert(key, reader.required()?);
    Ok(Request::execute(Command::Put(Put { expiry, ..put }), Shape::Status))
}

fn getset(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let put = upsert(reader.required()?, reader.required()?);
    Ok(Request::execute(Command::Put(Put { return_previous: true, ..put }), Shape::Value))
}

fn getdel(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    Ok(read_then(key.clone(), Command::Delete { key, condition: None }))
}

fn getex(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let mut expiry = ExpiryOption::default();
    while let Some(option) = reader.next() {
        if is_keyword(&option, "PERSIST") {
            expiry.set(ExpiryOption::Other)?;
        } else {
            expiry.set_time(&option, &mut reader)?;
        }
    }
    Ok(match expiry.value(&reader, Expiry::Never)? {
        None => Request::execute(Command::Read { key }, Shape::Value),
        Some(expiry) => read_then(key.clone(), Command::SetExpiry { key, expiry, rule: ExpiryRule::Always }),
    })
}

/// What options say of an expiry. As in Redis, an option may come again, then the last one counts; others may not come
/// beside it; and numbers are looked at when all options are known to be some.
#[derive(Default)]
enum ExpiryOption {
    /// Nothing.
    #[default]
    None,
    /// The command's option that is no time.
    Other,
    /// A time.
    Time(TimeForm, Bytes),
}

impl ExpiryOption {
    fn set(&mut self, to: ExpiryOption) -> Result<(), RequestError> {
        let goes_together = match (&*self, &to) {
            (ExpiryOption::None, _) | (ExpiryOption::Other, ExpiryOption::Other) => true,
            (ExpiryOption::Time(form, _), ExpiryOption::Time(again, _)) => form == again,
            _ => false,
        };
        if !goes_together {
            return Err(RequestError::Syntax);
        }
        *self = to;
        Ok(())
    }

    fn set_time(&mut self, option: &[u8], reader: &mut ArgumentReader) -> Result<(), RequestError> {
        let form = TimeForm::of_option(option).ok_or(RequestError::Syntax)?;
        let number = reader.required()?;
        self.set(ExpiryOption::Time(form, number))
    }

    fn value(&self, reader: &ArgumentReader, other: Expiry) -> Result<Option<Expiry>, RequestError> {
        match self {
            ExpiryOption::None => Ok(None),
            ExpiryOption::Other => Ok(Some(other)),
            ExpiryOption::Time(form, number) => reader.positive_expiry_of(*form, number).map(Some),
        }
    }
}

/// Reads a key, then does something to it, as one; answers with what was read.
fn read_then(key: Bytes, then: Command) -> Request {
    let commands = vec![Command::Read { key }, then];
    let shape = Shape::Pick { index: 0, of: commands.len(), shape: Box::new(Shape::Value) };
    let transaction = Transaction { preconditions: Vec::new(), commands, all_or_nothing: false };
    Request::execute(Command::Transaction(transaction), shape)
}

fn put_many(mut reader: ArgumentReader, only_if_none_exists: bool, shape: Shape) -> Result<Request, RequestError> {
    let mut entries = Vec::with_capacity(reader.len() / 2);
    while let Some(key) = reader.next() {
        entries.push((key, reader.next().ok_or_else(|| reader.wrong_arity())?));
    }
    Ok(Request::execute(Command::PutMany { entries, only_if_none_exists }, shape))
}
