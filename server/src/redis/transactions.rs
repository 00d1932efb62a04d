//! Several commands as one: `MULTI`, `EXEC`, `WATCH`, and the command that comes of them.

use super::arguments::ArgumentReader;
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{ConnectionRequest, Request, RequestError, Shape};
use skink_engine::command::{Command, Precondition, Transaction};

const FLAGS: Flags = Flags::NOT_QUEUED.and(Flags::FAST).and(Flags::LOADING);
const NONE: KeyPositions = KeyPositions::NONE;

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("multi", 1, FLAGS, NONE, "transactions", "Starts a transaction.", |_| {
        Ok(Request::Connection(ConnectionRequest::Multi))
    }),
    CommandSpec::new("exec", 1, FLAGS, NONE, "transactions", "Executes the commands of a transaction.", |_| {
        Ok(Request::Connection(ConnectionRequest::Exec))
    }),
    CommandSpec::new("discard", 1, FLAGS, NONE, "transactions", "Drops the commands of a transaction.", |_| {
        Ok(Request::Connection(ConnectionRequest::Discard))
    }),
    CommandSpec::new(
        "watch",
        -2,
        FLAGS,
        KeyPositions::ALL,
        "transactions",
        "Lets the next transaction do nothing if one of the keys changes before.",
        watch,
    ),
    CommandSpec::new("unwatch", 1, Flags::FAST, NONE, "transactions", "Forgets the keys of WATCH.", |_| {
        Ok(Request::Connection(ConnectionRequest::Unwatch))
    }),
];

fn watch(reader: ArgumentReader) -> Result<Request, RequestError> {
    Ok(Request::Connection(ConnectionRequest::Watch(reader.all())))
}

/// One command of several, and the shape of its reply.
///
/// With `all_or_nothing`, the first command that fails undoes the others (a statement's `BEGIN … COMMIT`); without,
/// they stand (`EXEC`). What has no command is answered by its shape alone. Commands that are transactions themselves since they stand for one of Redis'
/// (`GETDEL`) are taken apart: the engine knows no transactions in transactions.
pub fn transaction(
    commands: Vec<(Option<Command>, Shape)>,
    preconditions: Vec<Precondition>,
    all_or_nothing: bool,
) -> (Command, Shape) {
    let (mut flat, mut shapes) = (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
    for (command, shape) in commands {
        match (command, &shape) {
            (Some(Command::Transaction(inner)), Shape::Pick { .. }) => flat.extend(inner.commands),
            (Some(command), _) => flat.push(command),
            (None, _) => {}
        }
        shapes.push(shape);
    }
    let transaction = Transaction { preconditions, commands: flat, all_or_nothing };
    (Command::Transaction(transaction), Shape::Transaction(shapes))
}
