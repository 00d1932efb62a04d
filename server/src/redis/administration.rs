//! The server: `INFO`, `CONFIG`, `COMMAND`, checkpoints and the like.

use super::arguments::{ArgumentReader, is_keyword};
use super::table::{CommandSpec, Flags, KeyPositions};
use super::{CommandQuery, ConnectionRequest, Request, RequestError, catalog};
use crate::resp::parse_integer;

const ANY_TIME: Flags = Flags::LOADING;
const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING);
const NONE: KeyPositions = KeyPositions::NONE;
const GROUP: &str = "server";

pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("command", -1, ANY_TIME, NONE, GROUP, "Describes the commands.", |_| {
        Ok(Request::Connection(ConnectionRequest::Command(CommandQuery::All)))
    })
    .with_subcommands(&[
        CommandSpec::new("command|count", 2, ANY_TIME, NONE, GROUP, "Returns the number of commands.", |_| {
            Ok(Request::Connection(ConnectionRequest::Command(CommandQuery::Count)))
        }),
        CommandSpec::new("command|list", 2, ANY_TIME, NONE, GROUP, "Returns the commands' names.", |_| {
            Ok(Request::Connection(ConnectionRequest::Command(CommandQuery::List)))
        }),
        CommandSpec::new("command|info", -2, ANY_TIME, NONE, GROUP, "Describes commands to programs.", |reader| {
            Ok(Request::Connection(ConnectionRequest::Command(CommandQuery::Info(reader.all()))))
        }),
        CommandSpec::new("command|docs", -2, ANY_TIME, NONE, GROUP, "Describes commands to people.", |reader| {
            Ok(Request::Connection(ConnectionRequest::Command(CommandQuery::Docs(reader.all()))))
        }),
        CommandSpec::new("command|help", 2, ANY_TIME, NONE, GROUP, "Lists the subcommands.", catalog::help_request),
    ]),
    CommandSpec::new("config", -2, ADMIN, NONE, GROUP, "The configuration.", catalog::help_request).with_subcommands(
        &[
            CommandSpec::new("config|get", -3, ADMIN, NONE, GROUP, "Returns settings.", |reader| {
                Ok(Request::Connection(ConnectionRequest::ConfigGet(reader.all())))
            }),
            CommandSpec::new("config|help", 2, ANY_TIME, NONE, GROUP, "Lists the subcommands.", catalog::help_request),
        ],
    ),
    CommandSpec::new("info", -1, ANY_TIME, NONE, GROUP, "Tells how the server is.", |reader| {
        Ok(Request::Connection(ConnectionRequest::Info(reader.all())))
    }),
    CommandSpec::new("time", 1, ANY_TIME.and(Flags::FAST), NONE, GROUP, "Returns the server's time.", |_| {
        Ok(Request::Connection(ConnectionRequest::Time))
    }),
    CommandSpec::new("checkpoint", 1, ADMIN, NONE, GROUP, "Takes a checkpoint and waits until it is durable.", |_| {
        Ok(Request::Connection(ConnectionRequest::Checkpoint))
    }),
    CommandSpec::new("save", 1, ADMIN, NONE, GROUP, "Takes a checkpoint; as CHECKPOINT.", |_| {
        Ok(Request::Connection(ConnectionRequest::Checkpoint))
    }),
    CommandSpec::new("bgsave", -1, ADMIN, NONE, GROUP, "Begins a checkpoint.", bgsave),
    CommandSpec::new("lastsave", 1, ADMIN.and(Flags::FAST), NONE, GROUP, "Returns the last checkpoint's time.", |_| {
        Ok(Request::Connection(ConnectionRequest::LastSave))
    }),
    CommandSpec::new("wait", 3, Flags::NONE, NONE, "generic", "Waits until replicas have what was written.", wait),
    CommandSpec::new("slowlog", -2, ADMIN, NONE, GROUP, "The log of slow commands.", catalog::help_request)
        .with_subcommands(&[
            CommandSpec::new("slowlog|get", -2, ADMIN, NONE, GROUP, "Returns the log's latest entries.", slowlog_get),
            CommandSpec::new("slowlog|len", 2, ADMIN, NONE, GROUP, "Returns the number of entries.", |_| {
                Ok(Request::Connection(ConnectionRequest::SlowLogLen))
            }),
            CommandSpec::new("slowlog|reset", 2, ADMIN, NONE, GROUP, "Empties the log.", |_| {
                Ok(Request::Connection(ConnectionRequest::SlowLogReset))
            }),
            CommandSpec::new("slowlog|help", 2, ANY_TIME, NONE, GROUP, "Lists the subcommands.", catalog::help_request),
        ]),
    CommandSpec::new("latency", -2, ADMIN, NONE, GROUP, "Spikes of latency.", catalog::help_request).with_subcommands(
        &[
            CommandSpec::new("latency|latest", 2, ADMIN, NONE, GROUP, "Returns the latest spikes.", |_| {
                Ok(Request::Connection(ConnectionRequest::LatencyLatest))
            }),
            CommandSpec::new("latency|reset", -2, ADMIN, NONE, GROUP, "Forgets the spikes.", |_| {
                Ok(Request::Connection(ConnectionRequest::LatencyReset))
            }),
            CommandSpec::new("latency|help", 2, ANY_TIME, NONE, GROUP, "Lists the subcommands.", catalog::help_request),
        ],
    ),
];

fn bgsave(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    match reader.next() {
        Some(option) if !is_keyword(&option, "SCHEDULE") => Err(RequestError::Syntax),
        _ => reader.end().map(|()| Request::Connection(ConnectionRequest::BackgroundSave)),
    }
}

fn wait(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    let replicas = reader.integer()?;
    let timeout = parse_integer(&reader.required()?).ok_or(RequestError::TimeoutNotAnInteger)?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| RequestError::NegativeTimeout)?;
    Ok(Request::Connection(ConnectionRequest::Wait { replicas, timeout_ms }))
}

/// `SLOWLOG GET` without a number returns so many entries, as in Redis.
const DEFAULT_SLOW_LOG_ENTRIES: usize = 10;

fn slowlog_get(mut reader: ArgumentReader) -> Result<Request, RequestError> {
    if reader.len() > 1 {
        return Err(RequestError::SubcommandArity { subcommand: "GET", command: "SLOWLOG" });
    }
    let count = match reader.len() {
        0 => Some(DEFAULT_SLOW_LOG_ENTRIES),
        _ => match reader.integer().map_err(|_| RequestError::SlowLogCount)? {
            -1 => None,
            count => Some(usize::try_from(count).map_err(|_| RequestError::SlowLogCount)?),
        },
    };
    Ok(Request::Connection(ConnectionRequest::SlowLogGet(count)))
}
