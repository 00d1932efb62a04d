//! When keys expire: `EXPIRE`, `TTL` and the like.

use super::arguments::{ArgumentReader, TimeForm, integer, is_keyword};
use super::error::quote;
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{Request, RequestError, Shape};
use skink_engine::command::{Command, Expiry, ExpiryRule};

const READ: Flags = Flags::READ_ONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const KEY: KeyPositions = KeyPositions::FIRST;

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("ttl", 2, READ, KEY, "generic", "Returns the seconds that a key has left.", |reader| {
        time_to_live(reader, Shape::TtlSeconds)
    }),
    CommandSpec::new("pttl", 2, READ, KEY, "generic", "Returns the milliseconds that a key has left.", |reader| {
        time_to_live(reader, Shape::TtlMs)
    }),
    CommandSpec::new(
        "expiretime",
        2,
        READ,
        KEY,
        "generic",
        "Returns when a key expires, in seconds since 1970.",
        |reader| time_to_live(reader, Shape::ExpireTimeSeconds),
    ),
    CommandSpec::new(
        "pexpiretime",
        2,
        READ,
        KEY,
        "generic",
        "Returns when a key expires, in milliseconds since 1970.",
        |reader| time_to_live(reader, Shape::ExpireTimeMs),
    ),
    CommandSpec::new("expire", -3, WRITE, KEY, "generic", "Lets a key expire in so many seconds.", |reader| {
        expire(reader, TimeForm::InSeconds)
    }),
    CommandSpec::new("pexpire", -3, WRITE, KEY, "generic", "Lets a key expire in so many milliseconds.", |reader| {
        expire(reader, TimeForm::InMs)
    }),
    CommandSpec::new(
        "expireat",
        -3,
        WRITE,
        KEY,
        "generic",
        "Lets a key expire at a time in seconds since 1970.",
        |reader| expire(reader, TimeForm::AtSeconds),
    ),
    CommandSpec::new(
        "pexpireat",
        -3,
        WRITE,
        KEY,
        "generic",
        "Lets a key expire at a time in milliseconds since 1970.",
        |reader| expire(reader, TimeForm::AtMs),
    ),
    CommandSpec::new("persist", 2, WRITE, KEY, "generic", "Takes a key's expiry away.", persist),
];

fn time_to_live(mut reader: ArgumentReader, shape: Shape) -> Result<Request, RequestError> {
    Ok(Request::execute(Command::TimeToLive { key: reader.required()? }, shape))
}

fn persist(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let key = reader.required()?;
    Ok(Request::execute(Command::SetExpiry { key, expiry: Expiry::Never, rule: ExpiryRule::Always }, Shape::Integer))
}

fn expire(mut reader: ArgumentReader, form: TimeForm) -> Result<Request, RequestError> {
    let key = reader.required()?;
    let number = reader.required()?;
    let (mut if_none, mut if_some, mut if_later, mut if_earlier) = (false, false, false, false);
    while let Some(option) = reader.next() {
        let rule = [("NX", &mut if_none), ("XX", &mut if_some), ("GT", &mut if_later), ("LT", &mut if_earlier)]
            .into_iter()
            .find(|(keyword, _)| is_keyword(&option, keyword));
        match rule {
            Some((_, rule)) => *rule = true,
            None => return Err(RequestError::UnsupportedOption(quote(&option))),
        }
    }
    let rule = match (if_none, if_some, if_later, if_earlier) {
        (true, false, false, false) => ExpiryRule::IfNone,
        (true, ..) => return Err(RequestError::ExpireNxWithOthers),
        (_, _, true, true) => return Err(RequestError::ExpireGtWithLt),
        // A key that never expires does not get an earlier expiry by GT, so that XX adds nothing to it.
        (_, _, true, _) => ExpiryRule::IfLater,
        (_, true, _, true) => return Err(RequestError::ExpireXxWithLt),
        (_, _, _, true) => ExpiryRule::IfEarlier,
        (_, true, ..) => ExpiryRule::IfSome,
        (false, false, false, false) => ExpiryRule::Always,
    };
    // Zero and less are times that have passed: they delete the key.
    let expiry = form.expiry(integer(&number)?).ok_or_else(|| reader.invalid_expire_time())?;
    Ok(Request::execute(Command::SetExpiry { key, expiry, rule }, Shape::Integer))
}
