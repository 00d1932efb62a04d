//! Why a request is refused before it becomes a command.

use crate::resp::Arguments;
use skink_replication::paxos::ReplicaId;
use thiserror::Error;

/// A request that no command comes of. Its text is the reply, code included; the connection goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// There is no such command.
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    UnknownCommand {
        /// The start of its name.
        name: String,
        /// The start of its arguments, each in quotes with a blank behind it.
        arguments: String,
    },
    /// The command has no such subcommand.
    #[error("ERR unknown subcommand '{subcommand}'. Try {command} HELP.")]
    UnknownSubcommand {
        /// The start of what came for one.
        subcommand: String,
        /// The command's name, in upper case.
        command: String,
    },
    /// Too few arguments, too many, or not in pairs.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(&'static str),
    /// Options that don't exist or don't go together.
    #[error("ERR syntax error")]
    Syntax,
    /// An option that does not exist, where Redis names it.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    /// Not an integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// An expiry of zero or less where that is an error, or one past the end of time.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpireTime(&'static str),
    /// `DECRBY` of the one number that has no negative.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// `SETRANGE` before a value's start.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// `SCAN` with a cursor that is no number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// `SELECT` with a number that no database can have.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    DatabaseOutOfRange,
    /// A subcommand that does not take so many arguments, where Redis says it in this way.
    #[error("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {command} HELP.")]
    SubcommandArity {
        /// The subcommand as it came.
        subcommand: &'static str,
        /// The command's name, in upper case.
        command: &'static str,
    },
    /// `EXPIRE` with `NX` and another rule.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxWithOthers,
    /// `EXPIRE` with `GT` and `LT`.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtWithLt,
    /// `EXPIRE` with `XX` and `LT`, which no command of the engine does.
    #[error("ERR XX and LT options at the same time are not supported")]
    ExpireXxWithLt,
    /// `DELETE` of several keys with a condition.
    #[error("ERR a condition needs exactly one key; delete keys that are named IFVALUE or IFREVISION with DEL")]
    ConditionOnManyKeys,
    /// `HELLO` with a version that is no number.
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolVersionNotAnInteger,
    /// `HELLO` with a version other than 2 and 3.
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocolVersion,
    /// `HELLO` with an option that does not exist or lacks its values.
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    /// A client's name with other than visible characters.
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    InvalidClientName,
    /// `CLIENT SETINFO` of something else than name and version.
    #[error("ERR Unrecognized option '{0}'")]
    UnknownClientAttribute(String),
    /// `CLIENT SETINFO` with other than visible characters.
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    InvalidClientAttribute(&'static str),
    /// `SLOWLOG GET` of a negative number other than -1.
    #[error("ERR count should be greater than or equal to -1")]
    SlowLogCount,
    /// `REPLICA` with a number that no replica has.
    #[error("ERR a replica's number is from 1 to {max}", max = ReplicaId::MAX)]
    ReplicaNumber,
    /// `REPLICA ADD` with something that is no address.
    #[error("ERR the address of a replica is HOST:PORT, with a port from 1 to 65535")]
    ReplicaAddress,
    /// `WAIT` with a timeout that is no number.
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    /// `WAIT` with a timeout below zero.
    #[error("ERR timeout is negative")]
    NegativeTimeout,
}

/// So much of what a client sent is repeated to it, as in Redis.
const MAX_QUOTED_LEN: usize = 128;

impl RequestError {
    pub(super) fn unknown_command(arguments: &Arguments) -> RequestError {
        let mut quoted = String::new();
        for argument in arguments.iter().skip(1) {
            if quoted.len() >= MAX_QUOTED_LEN {
                break;
            }
            quoted.push('\'');
            quoted.push_str(&start_of(argument, MAX_QUOTED_LEN.saturating_sub(quoted.len() - 1)));
            quoted.push_str("' ");
        }
        let name = arguments.first().map_or_else(String::new, |name| quote(name));
        RequestError::UnknownCommand { name, arguments: quoted }
    }
}

/// The start of what a client sent, to be repeated in an error.
pub(super) fn quote(argument: &[u8]) -> String {
    start_of(argument, MAX_QUOTED_LEN)
}

fn start_of(argument: &[u8], max: usize) -> String {
    let start = argument.get(..max).unwrap_or(argument);
    // Errors are one line of text; what is not text is shown by a sign.
    String::from_utf8_lossy(start).replace(|c: char| c.is_control(), " ")
}
