//! What a client can do wrong below the level of commands.

use thiserror::Error;

/// The client does not speak the protocol, or went past a limit; the connection cannot go on.
///
/// Its text is that of the reply, code included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The number after `*` is none, or too large.
    #[error("ERR Protocol error: invalid multibulk length")]
    InvalidCount,
    /// The number after `$` is none, or too large.
    #[error("ERR Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument begins with another byte than `$`.
    #[error("ERR Protocol error: expected '$', got '{}'", .0.escape_ascii())]
    ExpectedBulk(u8),
    /// An argument is longer than it claimed.
    #[error("ERR Protocol error: expected CRLF after a bulk string")]
    UnterminatedBulk,
    /// All arguments together are too long.
    #[error("ERR Protocol error: too big request, at most {max} bytes are allowed")]
    RequestTooLong {
        /// The limit.
        max: usize,
    },
    /// A line does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// A quote has no end, or something follows its end.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// It is an HTTP client that speaks.
    #[error("ERR Protocol error: this is no HTTP server (possible cross protocol scripting)")]
    CrossProtocol,
}
