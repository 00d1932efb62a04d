//! The replies to `COMMAND` and `HELP`, from the table.

use super::arguments::ArgumentReader;
use super::table::{self, CommandSpec, Flags};
use super::{CommandQuery, ConnectionRequest, Request, RequestError};
use crate::resp::Frame;
use bytes::Bytes;

/// The answer to `COMMAND` and its subcommands.
pub fn reply(query: &CommandQuery) -> Frame {
    match query {
        CommandQuery::All => Frame::Array(table::all().map(info).collect()),
        CommandQuery::Count => Frame::Integer(i64::try_from(table::all().count()).unwrap_or(i64::MAX)),
        CommandQuery::List => Frame::Array(table::all().map(|spec| Frame::bulk(spec.name)).collect()),
        CommandQuery::Info(names) if names.is_empty() => reply(&CommandQuery::All),
        CommandQuery::Info(names) => {
            Frame::Array(names.iter().map(|name| named(name).map_or(Frame::Null, info)).collect())
        }
        CommandQuery::Docs(names) if names.is_empty() => Frame::Map(table::all().map(docs).collect()),
        // Names that are not there have no entry, as in Redis.
        CommandQuery::Docs(names) => Frame::Map(names.iter().filter_map(|name| named(name)).map(docs).collect()),
    }
}

/// The answer to `HELP` of a command with subcommands.
pub fn help(spec: &CommandSpec) -> Frame {
    let name = spec.name.to_ascii_uppercase();
    let mut lines = vec![Frame::simple(format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"))];
    for subcommand in spec.subcommands {
        lines.push(Frame::simple(own_name(subcommand).to_ascii_uppercase()));
        lines.push(Frame::simple(format!("    {}", subcommand.summary)));
    }
    Frame::Array(lines)
}

/// The request that a container's `help` subcommand is.
pub(super) fn help_request(reader: ArgumentReader) -> Result<Request, RequestError> {
    let (container, _) = reader.spec().name.split_once('|').unwrap_or((reader.spec().name, ""));
    // The table holds a subcommand only below its container.
    let container = table::lookup(container.as_bytes()).ok_or_else(|| reader.wrong_arity())?;
    Ok(Request::Connection(ConnectionRequest::Help(container)))
}

/// A command by name, a subcommand by `command|subcommand`.
fn named(name: &Bytes) -> Option<&'static CommandSpec> {
    match memchr::memchr(b'|', name) {
        None => table::lookup(name),
        Some(bar) => {
            let container = table::lookup(&name[..bar])?;
            container.subcommands.iter().find(|subcommand| name.eq_ignore_ascii_case(subcommand.name.as_bytes()))
        }
    }
}

fn own_name(spec: &CommandSpec) -> &'static str {
    spec.name.rsplit('|').next().unwrap_or(spec.name)
}

/// Redis 7's ten elements; hints and key specifications are empty.
fn info(spec: &'static CommandSpec) -> Frame {
    let statuses = |names: Vec<String>| Frame::Set(names.into_iter().map(Frame::simple).collect());
    Frame::Array(vec![
        Frame::bulk(spec.name),
        Frame::Integer(i64::from(spec.arity)),
        statuses(spec.flags.names().map(str::to_string).collect()),
        Frame::Integer(spec.keys.first),
        Frame::Integer(spec.keys.last),
        Frame::Integer(spec.keys.step),
        statuses(categories(spec)),
        Frame::Array(Vec::new()),
        Frame::Array(Vec::new()),
        Frame::Array(spec.subcommands.iter().map(info).collect()),
    ])
}

/// Redis' categories of access: they follow from flags and group.
fn categories(spec: &CommandSpec) -> Vec<String> {
    let of_flags = [
        (Flags::READ_ONLY, "@read"),
        (Flags::WRITE, "@write"),
        (Flags::ADMIN, "@admin"),
        (Flags::ADMIN, "@dangerous"),
        (Flags::FAST, "@fast"),
    ];
    let mut categories: Vec<String> = of_flags
        .into_iter()
        .filter(|(flag, _)| spec.flags.has(*flag))
        .map(|(_, category)| category.to_string())
        .collect();
    if !spec.flags.has(Flags::FAST) {
        categories.push("@slow".to_string());
    }
    match spec.group {
        "server" => {}
        "generic" => categories.push("@keyspace".to_string()),
        "transactions" => categories.push("@transaction".to_string()),
        group => categories.push(format!("@{group}")),
    }
    categories
}

/// The version that all of the present commands came with.
const FIRST_VERSION: &str = "0.1.0";

fn docs(spec: &'static CommandSpec) -> (Frame, Frame) {
    let mut entries = vec![
        (Frame::bulk("summary"), Frame::bulk(spec.summary)),
        (Frame::bulk("since"), Frame::bulk(FIRST_VERSION)),
        (Frame::bulk("group"), Frame::bulk(spec.group)),
    ];
    if !spec.subcommands.is_empty() {
        entries.push((Frame::bulk("subcommands"), Frame::Map(spec.subcommands.iter().map(docs).collect())));
    }
    (Frame::bulk(spec.name), Frame::Map(entries))
}
