//! The statement language: what admins write, turned into commands.
//!
//! ```text
//! CREATE 'user:1' = 'Ann' [EXPIRE 60s];                     durations: 500ms 60s 5m 2h 7d
//! READ 'user:1' [, 'user:2' ...];
//! READ WHERE <keys> [LIMIT 10];                             in key order
//! READ STALE ..;                                            at once, from this replica's state, which may be behind
//! COUNT [WHERE <keys>];
//! UPDATE 'user:1' = 'Bob' [EXPIRE 60s | EXPIRE NEVER] [IF VALUE = 'Ann' | IF REVISION = 42];
//! UPSERT 'user:1' = 'Bob' [EXPIRE ..] [IF ..];
//! DELETE 'user:1' [, 'user:2' ...];   DELETE 'user:1' [IF ..];
//! INCREMENT 'visits' [BY -5];
//! BEGIN; ... ; COMMIT;                                      all or nothing; or ROLLBACK
//! EXPLAIN <one of the above>;
//! SHOW STATUS | REPLICAS | SEGMENTS | CHECKPOINTS | RECOVERY | CONFIG;
//! CHECKPOINT;   BACKUP TO '<folder>';
//!
//! <keys>:  KEY LIKE 'user:%'   KEY = 'a'   KEY < <= > >= 'a'   KEY BETWEEN 'a' AND 'b'   joined by AND
//! ```
//!
//! Keywords are case-insensitive; strings are in single quotes, with `''` for a quote, or hexadecimal as `X'00ff'`;
//! `--` starts a comment. The text is bytes, not UTF-8: a string may hold any. UPDATE and UPSERT keep a key's expiry
//! unless they give one.
//!
//! ```text
//! text -> token (lexer, winnow) -> grammar (one token ahead, no nesting) -> statements -> group -> transactions
//! ```

mod error;
mod grammar;
mod group;
mod hint;
mod literal;
mod print;
mod token;
mod where_clause;

#[cfg(test)]
mod tests;

pub use error::StatementError;
pub use group::{GroupError, GroupProblem, group};
pub use literal::{Literal, is_printable};

use error::Failure;
use skink_engine::command::{Command, DEFAULT_MAX_VALUE_LEN};
use std::path::PathBuf;
use token::Tokens;

/// How much a text may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text, in bytes.
    pub max_text_len: usize,
    /// Most statements in a text.
    pub max_statements: usize,
    /// Longest value, in bytes.
    pub max_value_len: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_text_len: 32 << 20, max_statements: 65_536, max_value_len: DEFAULT_MAX_VALUE_LEN }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A command on keys.
    Command {
        /// The command.
        command: Command,
        /// Which statement it was, which says how its reply is shown.
        kind: StatementKind,
        /// Whether a read may be answered from what this replica has, though others may have newer: `READ STALE`.
        is_stale: bool,
    },
    /// `BEGIN`: the statements up to `COMMIT` are one transaction.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`: nothing since `BEGIN` happens.
    Rollback,
    /// `EXPLAIN`, of a [`Statement::Command`] always.
    Explain(Box<Statement>),
    /// `SHOW`.
    Show(ShowTopic),
    /// `CHECKPOINT`.
    Checkpoint,
    /// `BACKUP TO`.
    Backup {
        /// Where to; neither empty nor with a zero byte in it.
        folder: PathBuf,
    },
}

/// Which statement a command was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// `CREATE`: answered with a revision.
    Create,
    /// `READ` of one key: with a value or nothing.
    Read,
    /// `READ` of several keys: with values or nothings, in the keys' order.
    ReadMany,
    /// `READ WHERE`: with entries.
    ReadWhere,
    /// `COUNT`, with or without `WHERE`: with a number.
    Count,
    /// `UPDATE`: with a revision.
    Update,
    /// `UPSERT`: with a revision.
    Upsert,
    /// `DELETE`: with the number of keys that there were.
    Delete,
    /// `INCREMENT`: with the sum.
    Increment,
    /// `BEGIN` to `COMMIT`: with a reply for each.
    Transaction(Vec<StatementKind>),
}

/// What `SHOW` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowTopic {
    /// This replica, at a glance.
    Status,
    /// All replicas.
    Replicas,
    /// The segments of this replica.
    Segments,
    /// The checkpoints that are kept.
    Checkpoints,
    /// How a recovery goes on.
    Recovery,
    /// The configuration in force.
    Config,
}

impl ShowTopic {
    /// All topics.
    pub const ALL: [ShowTopic; 6] = [
        ShowTopic::Status,
        ShowTopic::Replicas,
        ShowTopic::Segments,
        ShowTopic::Checkpoints,
        ShowTopic::Recovery,
        ShowTopic::Config,
    ];

    /// Its keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            ShowTopic::Status => "STATUS",
            ShowTopic::Replicas => "REPLICAS",
            ShowTopic::Segments => "SEGMENTS",
            ShowTopic::Checkpoints => "CHECKPOINTS",
            ShowTopic::Recovery => "RECOVERY",
            ShowTopic::Config => "CONFIG",
        }
    }
}

/// Parses statements, separated by `;`. [`Statement::Begin`] and [`Statement::Commit`] stay as they are: see [`group`](fn@group).
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &[u8], limits: Limits) -> Result<Vec<Statement>, StatementError> {
    let located = located(text, limits).map_err(|failure| failure.into_error(text))?;
    Ok(located.into_iter().map(|located| located.statement).collect())
}

/// Parses a whole text, in which every `BEGIN` has its `COMMIT` or `ROLLBACK`: [`parse`] and [`group`](fn@group) in one.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse_script(text: &[u8], limits: Limits) -> Result<Vec<Statement>, StatementError> {
    let located = located(text, limits).map_err(|failure| failure.into_error(text))?;
    let (offsets, statements): (Vec<usize>, Vec<Statement>) =
        located.into_iter().map(|located| (located.offset, located.statement)).unzip();
    group(statements).map_err(|error| {
        let offset = offsets.get(error.index).copied().unwrap_or(text.len());
        Failure::new(offset, error.problem.to_string()).into_error(text)
    })
}

/// A statement and where it starts.
struct Located {
    offset: usize,
    statement: Statement,
}

fn located(text: &[u8], limits: Limits) -> Result<Vec<Located>, Failure> {
    if text.len() > limits.max_text_len {
        let message = format!("the text has {} bytes; at most {} are allowed", text.len(), limits.max_text_len);
        return Err(Failure::new(0, message));
    }
    grammar::statements(&mut Tokens::new(text, limits))
}
