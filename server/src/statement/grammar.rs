//! The grammar: statements out of tokens, looking one token ahead and never nesting.

use super::error::Failure;
use super::token::{Token, Tokens, shown};
use super::where_clause;
use super::{Located, ShowTopic, Statement, StatementKind};
use bytes::Bytes;
use skink_engine::command::{Command, Condition, Expiry, MAX_KEY_LEN, MAX_KEYS_PER_COMMAND, Put, PutMode, RangeQuery};
use skink_engine::position::Revision;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// All statements up to the text's end.
pub(super) fn statements(tokens: &mut Tokens<'_>) -> Result<Vec<Located>, Failure> {
    let mut statements = Vec::new();
    loop {
        let (token, offset) = tokens.peek()?;
        match token {
            Token::End => return Ok(statements),
            // Nothing between two semicolons is no statement.
            Token::Symbol(";") => {
                tokens.require_symbol(";")?;
                continue;
            }
            _ => {}
        }
        let max = tokens.limits().max_statements;
        if statements.len() == max {
            return Err(Failure::new(offset, format!("a text has at most {max} statements")));
        }
        statements.push(Located { offset, statement: statement(tokens)? });
        if !tokens.symbol(";")? {
            tokens.require("the end", |token| (*token == Token::End).then_some(()))?;
        }
    }
}

fn statement(tokens: &mut Tokens<'_>) -> Result<Statement, Failure> {
    if let Some(command) = command(tokens)? {
        return Ok(command);
    }
    for (keyword, statement) in [
        ("BEGIN", Statement::Begin),
        ("COMMIT", Statement::Commit),
        ("ROLLBACK", Statement::Rollback),
        ("CHECKPOINT", Statement::Checkpoint),
    ] {
        if tokens.keyword(keyword)? {
            return Ok(statement);
        }
    }
    if tokens.keyword("EXPLAIN")? {
        match command(tokens)? {
            Some(command) => Ok(Statement::Explain(Box::new(command))),
            None => Err(tokens.unexpected()),
        }
    } else if tokens.keyword("SHOW")? {
        for topic in ShowTopic::ALL {
            if tokens.keyword(topic.keyword())? {
                return Ok(Statement::Show(topic));
            }
        }
        Err(tokens.unexpected())
    } else if tokens.keyword("BACKUP")? {
        tokens.require_keyword("TO")?;
        let (folder, offset) = tokens.text("a folder in single quotes", "folder", MAX_FOLDER_LEN)?;
        if folder.is_empty() || folder.contains(&0) {
            return Err(Failure::new(offset, "a folder's name is not empty and has no zero byte"));
        }
        Ok(Statement::Backup { folder: PathBuf::from(OsStr::from_bytes(&folder)) })
    } else {
        Err(tokens.unexpected())
    }
}

/// Longest folder; that of a path in Linux.
const MAX_FOLDER_LEN: usize = 4095;

/// A statement that is a command on keys, if one comes next.
fn command(tokens: &mut Tokens<'_>) -> Result<Option<Statement>, Failure> {
    let (command, kind) = if tokens.keyword("CREATE")? {
        (put(tokens, PutMode::Create)?, StatementKind::Create)
    } else if tokens.keyword("READ")? {
        return read(tokens).map(Some);
    } else if tokens.keyword("COUNT")? {
        let command = if tokens.keyword("WHERE")? {
            Command::CountRange(RangeQuery { with_values: false, ..where_clause::conditions(tokens)? })
        } else {
            Command::Count
        };
        (command, StatementKind::Count)
    } else if tokens.keyword("UPDATE")? {
        (put(tokens, PutMode::Update)?, StatementKind::Update)
    } else if tokens.keyword("UPSERT")? {
        (put(tokens, PutMode::Upsert)?, StatementKind::Upsert)
    } else if tokens.keyword("DELETE")? {
        (delete(tokens)?, StatementKind::Delete)
    } else if tokens.keyword("INCREMENT")? {
        (increment(tokens)?, StatementKind::Increment)
    } else {
        return Ok(None);
    };
    Ok(Some(Statement::Command { command, kind, is_stale: false }))
}

fn put(tokens: &mut Tokens<'_>, mode: PutMode) -> Result<Command, Failure> {
    let key = key(tokens)?;
    tokens.require_symbol("=")?;
    let mut put = Put::new(mode, key, value(tokens)?);
    let mut expiry = None;
    loop {
        if expiry.is_none() && tokens.keyword("EXPIRE")? {
            expiry = Some(self::expiry(tokens)?);
        } else if mode != PutMode::Create && put.condition.is_none() && tokens.keyword("IF")? {
            put.condition = Some(condition(tokens)?);
        } else {
            break;
        }
    }
    let unless_given = if mode == PutMode::Create { Expiry::Never } else { Expiry::Keep };
    put.expiry = expiry.unwrap_or(unless_given);
    Ok(Command::Put(put))
}

fn read(tokens: &mut Tokens<'_>) -> Result<Statement, Failure> {
    let is_stale = tokens.keyword("STALE")?;
    if tokens.keyword("WHERE")? {
        let mut query = where_clause::conditions(tokens)?;
        query.limit = where_clause::limit(tokens)?;
        return Ok(Statement::Command { command: Command::ReadRange(query), kind: StatementKind::ReadWhere, is_stale });
    }
    let (key, keys) = keys(tokens)?;
    let (command, kind) = if keys.is_empty() {
        (Command::Read { key }, StatementKind::Read)
    } else {
        (Command::ReadMany { keys: [vec![key], keys].concat() }, StatementKind::ReadMany)
    };
    Ok(Statement::Command { command, kind, is_stale })
}

fn delete(tokens: &mut Tokens<'_>) -> Result<Command, Failure> {
    let (key, keys) = keys(tokens)?;
    if !keys.is_empty() {
        if tokens.is_at("IF")? {
            let (_, offset) = tokens.peek()?;
            return Err(Failure::new(offset, "IF stands with one key only")
                .hint("delete each key with a condition of its own, between BEGIN and COMMIT"));
        }
        return Ok(Command::DeleteMany { keys: [vec![key], keys].concat() });
    }
    let condition = if tokens.keyword("IF")? { Some(condition(tokens)?) } else { None };
    Ok(Command::Delete { key, condition })
}

fn increment(tokens: &mut Tokens<'_>) -> Result<Command, Failure> {
    let key = key(tokens)?;
    if !tokens.keyword("BY")? {
        return Ok(Command::Increment { key, by: 1 });
    }
    let (number, offset) = tokens.number("a number")?;
    let by = number
        .parse()
        .map_err(|_| Failure::new(offset, format!("{} is not a 64-bit integer", shown(number.as_bytes()))))?;
    Ok(Command::Increment { key, by })
}

/// What follows `IF`.
fn condition(tokens: &mut Tokens<'_>) -> Result<Condition, Failure> {
    if tokens.keyword("VALUE")? {
        tokens.require_symbol("=")?;
        Ok(Condition::ValueIs(value(tokens)?))
    } else if tokens.keyword("REVISION")? {
        tokens.require_symbol("=")?;
        let (number, offset) = tokens.number("a number")?;
        let revision = number
            .parse()
            .map_err(|_| Failure::new(offset, format!("{} is not a revision", shown(number.as_bytes()))))?;
        Ok(Condition::RevisionIs(Revision::from_raw(revision)))
    } else {
        Err(tokens.unexpected())
    }
}

/// What follows `EXPIRE`.
fn expiry(tokens: &mut Tokens<'_>) -> Result<Expiry, Failure> {
    if tokens.keyword("NEVER")? {
        return Ok(Expiry::Never);
    }
    let (text, offset) = tokens.number("a duration such as 60s")?;
    let found = shown(text.as_bytes());
    let failure = |message: &str| Failure::new(offset, format!("{found} {message}"));
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit_ms: i64 = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => {
            return Err(failure("has no unit").hint(format!("write {found}s for seconds; units are ms, s, m, h and d")));
        }
        _ => return Err(failure("is not a duration").hint("write 500ms, 60s, 5m, 2h or 7d")),
    };
    let in_ms = number.parse().ok().and_then(|number: i64| number.checked_mul(unit_ms));
    match in_ms {
        None => Err(failure("is too long a duration")),
        Some(0) => Err(failure("is no time at all").hint("the shortest duration is 1ms; DELETE removes a key at once")),
        Some(in_ms) => Ok(Expiry::InMs(in_ms)),
    }
}

/// A first key, and those that follow it after commas.
fn keys(tokens: &mut Tokens<'_>) -> Result<(Bytes, Vec<Bytes>), Failure> {
    let first = key(tokens)?;
    let mut more = Vec::new();
    while tokens.symbol(",")? {
        let (_, offset) = tokens.peek()?;
        more.push(key(tokens)?);
        if more.len() >= MAX_KEYS_PER_COMMAND {
            return Err(Failure::new(offset, format!("a statement names at most {MAX_KEYS_PER_COMMAND} keys")));
        }
    }
    Ok((first, more))
}

fn key(tokens: &mut Tokens<'_>) -> Result<Bytes, Failure> {
    Ok(tokens.text("a key in single quotes", "key", MAX_KEY_LEN)?.0)
}

fn value(tokens: &mut Tokens<'_>) -> Result<Bytes, Failure> {
    let max_len = tokens.limits().max_value_len;
    Ok(tokens.text("a value in single quotes", "value", max_len)?.0)
}
