//! Transactions: the statements between `BEGIN` and `COMMIT` become one command.

use super::{Statement, StatementKind};
use skink_engine::command::{Command, Transaction};
use thiserror::Error;

/// Which statement does not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("statement {}: {problem}", .index + 1)]
pub struct GroupError {
    /// Its index among the statements.
    pub index: usize,
    /// Why.
    pub problem: GroupProblem,
}

/// Why statements don't make transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GroupProblem {
    /// `COMMIT` alone.
    #[error("COMMIT without a BEGIN before it")]
    CommitWithoutBegin,
    /// `ROLLBACK` alone.
    #[error("ROLLBACK without a BEGIN before it")]
    RollbackWithoutBegin,
    /// `BEGIN` alone.
    #[error("this BEGIN has no COMMIT or ROLLBACK after it")]
    BeginWithoutCommit,
    /// `BEGIN` after `BEGIN`.
    #[error("BEGIN inside a transaction; transactions don't nest")]
    BeginInsideTransaction,
    /// A statement that is no command, such as `SHOW`, in a transaction.
    #[error("only statements that read or write keys can stand between BEGIN and COMMIT")]
    NotACommand,
    /// A read that may be stale, in a transaction.
    #[error(
        "READ STALE can't stand between BEGIN and COMMIT: what a transaction reads is never stale; leave out STALE"
    )]
    StaleRead,
}

/// A transaction that has begun.
struct Begun {
    index: usize,
    commands: Vec<Command>,
    kinds: Vec<StatementKind>,
}

/// Turns `BEGIN; ...; COMMIT` into one all-or-nothing [`Command::Transaction`], and leaves other statements as they are.
///
/// What was rolled back is dropped; the [`Statement::Rollback`] stays, so that it can be answered.
///
/// # Errors
/// The first statement that is out of place; of a `BEGIN` that is never ended, the `BEGIN`.
pub fn group(statements: Vec<Statement>) -> Result<Vec<Statement>, GroupError> {
    let mut grouped = Vec::with_capacity(statements.len());
    let mut begun: Option<Begun> = None;
    for (index, statement) in statements.into_iter().enumerate() {
        let refuse = |problem| Err(GroupError { index, problem });
        begun = match (begun, statement) {
            (None, Statement::Begin) => Some(Begun { index, commands: Vec::new(), kinds: Vec::new() }),
            (None, Statement::Commit) => return refuse(GroupProblem::CommitWithoutBegin),
            (None, Statement::Rollback) => return refuse(GroupProblem::RollbackWithoutBegin),
            (None, statement) => {
                grouped.push(statement);
                None
            }
            (Some(_), Statement::Begin) => return refuse(GroupProblem::BeginInsideTransaction),
            (Some(_), Statement::Command { is_stale: true, .. }) => return refuse(GroupProblem::StaleRead),
            (Some(mut begun), Statement::Command { command, kind, is_stale: false }) => {
                begun.commands.push(command);
                begun.kinds.push(kind);
                Some(begun)
            }
            (Some(begun), Statement::Commit) => {
                let transaction =
                    Transaction { preconditions: Vec::new(), commands: begun.commands, all_or_nothing: true };
                grouped.push(Statement::Command {
                    command: Command::Transaction(transaction),
                    kind: StatementKind::Transaction(begun.kinds),
                    is_stale: false,
                });
                None
            }
            (Some(_), Statement::Rollback) => {
                grouped.push(Statement::Rollback);
                None
            }
            (Some(_), _) => return refuse(GroupProblem::NotACommand),
        };
    }
    match begun {
        Some(Begun { index, .. }) => Err(GroupError { index, problem: GroupProblem::BeginWithoutCommit }),
        None => Ok(grouped),
    }
}
