//! What a client can ask for.

use super::CommandSpec;
use super::Shape;
use crate::resp::{Frame, ProtocolVersion};
use bytes::Bytes;
use skink_engine::command::Command;
use skink_replication::paxos::MembershipChange;
use std::fmt;

/// A request that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A command on the state, and how its reply is encoded.
    Execute {
        /// The command.
        command: Command,
        /// For [`encode_reply`](super::encode_reply).
        shape: Shape,
    },
    /// Something about the connection or the server.
    Connection(ConnectionRequest),
}

impl Request {
    pub(super) fn execute(command: Command, shape: Shape) -> Request {
        Request::Execute { command, shape }
    }
}

/// What the connection answers without the state, or knows how to.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionRequest {
    /// `PING`: `PONG` as a status, or the argument as a string.
    Ping(Option<Bytes>),
    /// `ECHO`: the argument as a string.
    Echo(Bytes),
    /// `HELLO`.
    Hello(Hello),
    /// `AUTH`.
    Auth(Credentials),
    /// `SELECT`: only database 0 exists; others are `ERR DB index is out of range`.
    Select(i32),
    /// `QUIT`: answer with OK and close.
    Quit,
    /// `RESET`: as a new connection, protocol version included; answer with the status `RESET`.
    Reset,
    /// A hint that has no meaning here (`READONLY`, `READWRITE`, `CLIENT NO-EVICT`, `CLIENT NO-TOUCH`): answer with OK.
    Accepted,
    /// `CLIENT SETINFO`.
    ClientSetInfo {
        /// What of the client's library.
        attribute: ClientAttribute,
        /// Its value.
        value: Bytes,
    },
    /// `CLIENT SETNAME`; an empty name removes it.
    ClientSetName(Bytes),
    /// `CLIENT GETNAME`.
    ClientGetName,
    /// `CLIENT ID`.
    ClientId,
    /// `CLIENT STALE-READS`: whether this connection's reads may be answered from what this replica has.
    ClientStaleReads(bool),
    /// `COMMAND`: [`catalog::reply`](super::catalog::reply) answers it.
    Command(CommandQuery),
    /// `HELP` of this command: [`catalog::help`](super::catalog::help) answers it.
    Help(&'static CommandSpec),
    /// `CONFIG GET` of settings that match one of these globs: a map.
    ConfigGet(Vec<Bytes>),
    /// `INFO` with these sections; none stands for the default ones.
    Info(Vec<Bytes>),
    /// `MULTI`.
    Multi,
    /// `EXEC`.
    Exec,
    /// `DISCARD`.
    Discard,
    /// `WATCH` these keys.
    Watch(Vec<Bytes>),
    /// `UNWATCH`.
    Unwatch,
    /// `STATEMENT`.
    Statement {
        /// The statement's text.
        text: Bytes,
        /// Whether the client wants rows with revision and expiry ([`Shape::Rows`]).
        rows: bool,
    },
    /// `CHECKPOINT` or `SAVE`: take one now, answer with OK when it is durable.
    Checkpoint,
    /// `REPLICA ADD` or `REPLICA REMOVE`: answer with OK when the change is in force here.
    ChangeMembers(MembershipChange),
    /// `BGSAVE`: begin a checkpoint, answer with the status `Background saving started`.
    BackgroundSave,
    /// `LASTSAVE`: the time of the last checkpoint in seconds since 1970.
    LastSave,
    /// `WAIT`: for so many replicas, for so many milliseconds (0 for no limit); answers how many there were.
    Wait {
        /// How many replicas.
        replicas: i64,
        /// How long.
        timeout_ms: u64,
    },
    /// `TIME`: seconds and microseconds, as an array of two strings.
    Time,
    /// `SLOWLOG GET` of so many entries (all with `None`).
    SlowLogGet(Option<usize>),
    /// `SLOWLOG LEN`.
    SlowLogLen,
    /// `SLOWLOG RESET`.
    SlowLogReset,
    /// `LATENCY LATEST`.
    LatencyLatest,
    /// `LATENCY RESET`: an integer, how many events were reset.
    LatencyReset,
}

impl ConnectionRequest {
    /// The answer where it is the same at any time and for every client, and nothing is done besides.
    pub fn fixed_answer(&self) -> Option<Frame> {
        Some(match self {
            ConnectionRequest::Ping(None) => Frame::simple("PONG"),
            ConnectionRequest::Ping(Some(text)) | ConnectionRequest::Echo(text) => Frame::bulk(text.clone()),
            ConnectionRequest::Auth(credentials) if credentials.are_accepted() => Frame::OK,
            ConnectionRequest::Auth(Credentials { user: Some(_), .. }) => Frame::error(WRONG_PASSWORD),
            ConnectionRequest::Auth(Credentials { user: None, .. }) => Frame::error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ),
            ConnectionRequest::Select(0) | ConnectionRequest::Accepted => Frame::OK,
            ConnectionRequest::Select(_) => Frame::error("ERR DB index is out of range"),
            ConnectionRequest::ClientSetInfo { .. } | ConnectionRequest::SlowLogReset => Frame::OK,
            ConnectionRequest::SlowLogGet(_) | ConnectionRequest::LatencyLatest => Frame::Array(Vec::new()),
            ConnectionRequest::SlowLogLen | ConnectionRequest::LatencyReset => Frame::Integer(0),
            _ => return None,
        })
    }
}

/// The answer to a user that does not exist.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// The arguments of `HELLO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The version to speak from now on; without one, it stays.
    pub version: Option<ProtocolVersion>,
    /// `AUTH`.
    pub auth: Option<Credentials>,
    /// `SETNAME`.
    pub name: Option<Bytes>,
}

/// Who a client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user; `None` for `AUTH` with a password alone, which means `default`.
    pub user: Option<Bytes>,
    /// The password.
    pub password: Password,
}

impl Credentials {
    /// Whether they are those of a user that there is. As in Redis without passwords, that is `default`, with any password.
    pub fn are_accepted(&self) -> bool {
        self.user.as_deref() == Some(b"default")
    }
}

/// A password, which no log line shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Bytes);

impl Password {
    /// This password.
    pub fn new(password: Bytes) -> Password {
        Password(password)
    }

    /// What the client sent, for comparing it.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a client tells of its library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAttribute {
    /// `LIB-NAME`.
    LibraryName,
    /// `LIB-VER`.
    LibraryVersion,
}

/// What a client asks of the commands that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandQuery {
    /// `COMMAND`: all of them, as [`CommandQuery::Info`].
    All,
    /// `COMMAND COUNT`.
    Count,
    /// `COMMAND LIST`.
    List,
    /// `COMMAND INFO` of these, or of all if there are none.
    Info(Vec<Bytes>),
    /// `COMMAND DOCS` of these, or of all if there are none.
    Docs(Vec<Bytes>),
}
