//! Statements as text: what parses to the same statement again.

use super::{Literal, Statement};
use bytes::Bytes;
use skink_engine::command::{
    Command, Condition, Expiry, MAX_RANGE_LIMIT, Pattern, Put, PutMode, RangeQuery, Transaction, Unmet,
};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;

impl Statement {
    /// The statement's text, without a semicolon at its end; `None` if its command is one that the language has no
    /// words for, such as an append.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Statement::Command { command, is_stale: false, .. } => command_text(command)?,
            Statement::Command { command, is_stale: true, .. } => {
                format!("READ STALE{}", command_text(command)?.strip_prefix("READ")?)
            }
            Statement::Begin => "BEGIN".to_string(),
            Statement::Commit => "COMMIT".to_string(),
            Statement::Rollback => "ROLLBACK".to_string(),
            Statement::Explain(statement) => format!("EXPLAIN {}", statement.to_text()?),
            Statement::Show(topic) => format!("SHOW {}", topic.keyword()),
            Statement::Checkpoint => "CHECKPOINT".to_string(),
            Statement::Backup { folder } => format!("BACKUP TO {}", Literal(folder.as_os_str().as_bytes())),
        })
    }
}

fn command_text(command: &Command) -> Option<String> {
    Some(match command {
        Command::Put(put) => put_text(put)?,
        Command::Read { key } => format!("READ {}", Literal(key)),
        Command::ReadMany { keys } if keys.len() > 1 => format!("READ {}", list(keys)),
        Command::ReadRange(query) if query.with_values => {
            let limit = match query.limit {
                MAX_RANGE_LIMIT => String::new(),
                limit => format!(" LIMIT {limit}"),
            };
            format!("READ WHERE {}{limit}", conditions(query)?)
        }
        Command::Count => "COUNT".to_string(),
        Command::CountRange(query) => format!("COUNT WHERE {}", conditions(query)?),
        Command::Delete { key, condition } => format!("DELETE {}{}", Literal(key), condition_text(condition.as_ref())),
        Command::DeleteMany { keys } if keys.len() > 1 => format!("DELETE {}", list(keys)),
        Command::Increment { key, by: 1 } => format!("INCREMENT {}", Literal(key)),
        Command::Increment { key, by } => format!("INCREMENT {} BY {by}", Literal(key)),
        Command::Transaction(Transaction { preconditions, commands, all_or_nothing: true })
            if preconditions.is_empty() =>
        {
            let mut text = "BEGIN; ".to_string();
            for command in commands {
                text += &command_text(command)?;
                text += "; ";
            }
            text + "COMMIT"
        }
        _ => return None,
    })
}

fn put_text(put: &Put) -> Option<String> {
    if put.return_previous || put.unmet != Unmet::Fail {
        return None;
    }
    let (keyword, unless_given) = match put.mode {
        PutMode::Create => ("CREATE", Expiry::Never),
        PutMode::Update => ("UPDATE", Expiry::Keep),
        PutMode::Upsert => ("UPSERT", Expiry::Keep),
    };
    if put.mode == PutMode::Create && put.condition.is_some() {
        return None;
    }
    let expiry = match put.expiry {
        expiry if expiry == unless_given => String::new(),
        Expiry::Never => " EXPIRE NEVER".to_string(),
        Expiry::InMs(in_ms) if in_ms > 0 => format!(" EXPIRE {}", duration(in_ms)),
        _ => return None,
    };
    let condition = condition_text(put.condition.as_ref());
    Some(format!("{keyword} {} = {}{expiry}{condition}", Literal(&put.key), Literal(&put.value)))
}

/// In the longest unit that gives a whole number.
fn duration(in_ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit_ms, _)| in_ms % unit_ms == 0) {
        Some((unit_ms, unit)) => format!("{}{unit}", in_ms / unit_ms),
        None => format!("{in_ms}ms"),
    }
}

fn condition_text(condition: Option<&Condition>) -> String {
    match condition {
        None => String::new(),
        Some(Condition::ValueIs(value)) => format!(" IF VALUE = {}", Literal(value)),
        Some(Condition::RevisionIs(revision)) => format!(" IF REVISION = {revision}"),
    }
}

/// `None` for all keys, which no condition says.
fn conditions(query: &RangeQuery) -> Option<String> {
    let mut conditions = Vec::new();
    match &query.pattern {
        None => {}
        Some(Pattern::Like(pattern)) => conditions.push(format!("KEY LIKE {}", Literal(pattern))),
        Some(Pattern::Glob(_)) => return None,
    }
    match (&query.range.start, &query.range.end) {
        (Bound::Included(start), Bound::Included(end)) if start == end => {
            conditions.push(format!("KEY = {}", Literal(start)));
        }
        (Bound::Included(start), Bound::Included(end)) => {
            conditions.push(format!("KEY BETWEEN {} AND {}", Literal(start), Literal(end)));
        }
        (start, end) => {
            match start {
                Bound::Included(start) => conditions.push(format!("KEY >= {}", Literal(start))),
                Bound::Excluded(start) => conditions.push(format!("KEY > {}", Literal(start))),
                Bound::Unbounded => {}
            }
            match end {
                Bound::Included(end) => conditions.push(format!("KEY <= {}", Literal(end))),
                Bound::Excluded(end) => conditions.push(format!("KEY < {}", Literal(end))),
                Bound::Unbounded => {}
            }
        }
    }
    (!conditions.is_empty()).then(|| conditions.join(" AND "))
}

fn list(keys: &[Bytes]) -> String {
    keys.iter().map(|key| Literal(key).to_string()).collect::<Vec<String>>().join(", ")
}
