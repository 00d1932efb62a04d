//! The connection itself: `HELLO`, `AUTH`, `PING`, `CLIENT` and the like.

use super::arguments::{ArgumentReader, is_keyword};
use super::error::quote;
use super::request::{ClientAttribute, Credentials, Hello, Password};
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{ConnectionRequest, Request, RequestError, catalog};
use crate::resp::{ProtocolVersion, parse_integer};
use bytes::Bytes;

const ANY_TIME: Flags = Flags::FAST.and(Flags::LOADING);
const BEFORE_AUTH: Flags = ANY_TIME.and(Flags::NO_AUTH);
const BEFORE_AUTH_AT_ONCE: Flags = BEFORE_AUTH.and(Flags::NOT_QUEUED);
const NONE: KeyPositions = KeyPositions::NONE;
const GROUP: &str = "connection";

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("ping", -1, ANY_TIME, NONE, GROUP, "Answers, to show that the server does.", ping),
    CommandSpec::new("echo", 2, ANY_TIME, NONE, GROUP, "Returns its argument.", echo),
    CommandSpec::new(
        "hello",
        -1,
        BEFORE_AUTH,
        NONE,
        GROUP,
        "Agrees on the protocol's version and authenticates.",
        hello,
    ),
    CommandSpec::new("auth", -2, BEFORE_AUTH, NONE, GROUP, "Authenticates the connection.", auth),
    CommandSpec::new("select", 2, ANY_TIME, NONE, GROUP, "Chooses the database; there is only 0.", select),
    CommandSpec::new("quit", -1, BEFORE_AUTH_AT_ONCE, NONE, GROUP, "Closes the connection.", |_| {
        Ok(Request::Connection(ConnectionRequest::Quit))
    }),
    CommandSpec::new("reset", 1, BEFORE_AUTH_AT_ONCE, NONE, GROUP, "Makes the connection as new.", |_| {
        Ok(Request::Connection(ConnectionRequest::Reset))
    }),
    CommandSpec::new("readonly", 1, ANY_TIME, NONE, "cluster", "Has no meaning here; is accepted.", accept),
    CommandSpec::new("readwrite", 1, ANY_TIME, NONE, "cluster", "Has no meaning here; is accepted.", accept),
    CommandSpec::new(
        "client",
        -2,
        ANY_TIME,
        NONE,
        GROUP,
        "What the server knows of this client.",
        catalog::help_request,
    )
    .with_subcommands(&[
        CommandSpec::new("client|id", 2, ANY_TIME, NONE, GROUP, "Returns the connection's number.", |_| {
            Ok(Request::Connection(ConnectionRequest::ClientId))
        }),
        CommandSpec::new("client|getname", 2, ANY_TIME, NONE, GROUP, "Returns the connection's name.", |_| {
            Ok(Request::Connection(ConnectionRequest::ClientGetName))
        }),
        CommandSpec::new("client|setname", 3, ANY_TIME, NONE, GROUP, "Names the connection.", client_setname),
        CommandSpec::new("client|setinfo", 4, ANY_TIME, NONE, GROUP, "Tells of the client's library.", client_setinfo),
        CommandSpec::new(
            "client|no-evict",
            3,
            ANY_TIME,
            NONE,
            GROUP,
            "Has no meaning here; is accepted.",
            accept_switch,
        ),
        CommandSpec::new(
            "client|no-touch",
            3,
            ANY_TIME,
            NONE,
            GROUP,
            "Has no meaning here; is accepted.",
            accept_switch,
        ),
        CommandSpec::new(
            "client|stale-reads",
            3,
            ANY_TIME,
            NONE,
            GROUP,
            "Sets whether reads may be answered from this replica's state, which may be behind.",
            client_stale_reads,
        ),
        CommandSpec::new("client|help", 2, ANY_TIME, NONE, GROUP, "Lists the subcommands.", catalog::help_request),
    ]),
];

fn ping(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let argument = reader.next();
    reader.end().map_err(|_| reader.wrong_arity())?;
    Ok(Request::Connection(ConnectionRequest::Ping(argument)))
}

fn echo(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::Connection(ConnectionRequest::Echo(reader.required()?)))
}

fn hello(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let mut hello = Hello::default();
    if let Some(version) = reader.next() {
        hello.version = Some(match parse_integer(&version).ok_or(RequestError::ProtocolVersionNotAnInteger)? {
            2 => ProtocolVersion::Resp2,
            3 => ProtocolVersion::Resp3,
            _ => return Err(RequestError::UnsupportedProtocolVersion),
        });
    }
    while let Some(option) = reader.next() {
        if is_keyword(&option, "AUTH") && reader.len() >= 2 {
            let (user, password) = (reader.required()?, Password::new(reader.required()?));
            let credentials = hello.auth.insert(Credentials { user: Some(user), password });
            // As in Redis, that is the answer, whatever comes behind it.
            if !credentials.are_accepted() {
                break;
            }
        } else if is_keyword(&option, "SETNAME") && reader.len() >= 1 {
            hello.name = Some(visible(reader.required()?).ok_or(RequestError::InvalidClientName)?);
        } else {
            return Err(RequestError::HelloOption(quote(&option)));
        }
    }
    Ok(Request::Connection(ConnectionRequest::Hello(hello)))
}

fn auth(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let first = reader.required()?;
    let credentials = match reader.next() {
        None => Credentials { user: None, password: Password::new(first) },
        Some(password) => Credentials { user: Some(first), password: Password::new(password) },
    };
    reader.end()?;
    Ok(Request::Connection(ConnectionRequest::Auth(credentials)))
}

fn select(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let number = reader.integer()?;
    let number = i32::try_from(number).map_err(|_| RequestError::DatabaseOutOfRange)?;
    Ok(Request::Connection(ConnectionRequest::Select(number)))
}

fn client_setname(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let name = visible(reader.required()?).ok_or(RequestError::InvalidClientName)?;
    Ok(Request::Connection(ConnectionRequest::ClientSetName(name)))
}

fn client_setinfo(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let option = reader.required()?;
    let (attribute, name) = if is_keyword(&option, "LIB-NAME") {
        (ClientAttribute::LibraryName, "lib-name")
    } else if is_keyword(&option, "LIB-VER") {
        (ClientAttribute::LibraryVersion, "lib-ver")
    } else {
        return Err(RequestError::UnknownClientAttribute(quote(&option)));
    };
    let value = visible(reader.required()?).ok_or(RequestError::InvalidClientAttribute(name))?;
    Ok(Request::Connection(ConnectionRequest::ClientSetInfo { attribute, value }))
}

/// The text if all of it is visible ASCII: it stands in lists of clients, one a line, its fields apart by blanks.
fn visible(text: Bytes) -> Option<Bytes> {
    text.iter().all(u8::is_ascii_graphic).then_some(text)
}

fn accept(_: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::Connection(ConnectionRequest::Accepted))
}

fn accept_switch(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    switch(&mut reader)?;
    accept(reader)
}

fn client_stale_reads(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::Connection(ConnectionRequest::ClientStaleReads(switch(&mut reader)?)))
}

/// `ON` or `OFF`.
fn switch(reader: &mut ArgumentReader) -> Result<bool, RequestError> {
    match reader.required()? {
        switch if is_keyword(&switch, "ON") => Ok(true),
        switch if is_keyword(&switch, "OFF") => Ok(false),
        _ => Err(RequestError::Syntax),
    }
}
