//! `STATEMENT`: the statement language over the Redis protocol.
//!
//! A text with one statement is answered with its result, one with several with an array of results. Results look
//! as those of the commands of the same name; with `ROWS`, reads give rows of key, value, revision and expiry.

use super::Connection;
use crate::information;
use crate::redis::{ConnectionRequest, Request, Shape};
use crate::statement::{self, Limits, ShowTopic, Statement, StatementKind};
use bytes::Bytes;
use skink_engine::command::Command;

impl Connection {
    pub(super) fn begin_statement(&mut self, text: Bytes, rows: bool) {
        let limits = Limits {
            max_value_len: self.context.server.replica.engine().format().shape.max_value_len as usize,
            ..Limits::default()
        };
        let mut statements = match statement::parse_script(&text, limits) {
            Ok(statements) => statements,
            // The caret below the line is for people; an error of the protocol is one line.
            Err(error) => return self.reply(|writer| writer.error(format!("SYNTAX {}", one_line(&error.to_string())))),
        };
        if statements.len() != 1 {
            let all_on_keys = statements.iter().all(|statement| matches!(statement, Statement::Command { .. }));
            if !all_on_keys {
                return self.reply(|writer| {
                    writer.error("ERR several statements in one text must all be on keys; send this one by itself");
                });
            }
            let ranges = |statement: &Statement| matches!(statement, Statement::Command { command, .. } if is_over_ranges(command));
            if statements.iter().any(ranges) {
                return self.reply(|writer| {
                    writer.error("ERR READ WHERE and COUNT must be sent in a text of their own");
                });
            }
            let stale = |statement: &Statement| matches!(statement, Statement::Command { is_stale: true, .. });
            if statements.iter().any(stale) {
                return self.reply(|writer| writer.error("ERR READ STALE must be sent in a text of its own"));
            }
            // A statement at a time can wait for the replica to serve: all of them wait here, or not at all.
            if !self.is_serving(|| Request::Connection(ConnectionRequest::Statement { text, rows })) {
                return;
            }
            let count = statements.len();
            self.reply(|writer| writer.array(count));
            // They begin one after the other, as if each came by itself: replies that gather hold up the next one.
            self.script = statements
                .into_iter()
                .filter_map(|statement| match statement {
                    Statement::Command { command, kind, .. } => {
                        let shape = shape_of(&kind, &command, rows);
                        Some((command, shape))
                    }
                    _ => None,
                })
                .collect();
            return;
        }
        if let Some(statement) = statements.pop() {
            // Replies of statements that are not commands on keys come at once: keep them behind what waits.
            self.begin_one_held(statement, text, rows);
        }
    }

    fn begin_one_held(&mut self, statement: Statement, text: Bytes, rows: bool) {
        let request = || Request::Connection(ConnectionRequest::Statement { text, rows });
        let can_begin = match &statement {
            Statement::Command { command, is_stale, .. } => {
                !*is_stale && !is_over_ranges(command) || self.is_drained(request)
            }
            // How a replica stands is of most interest while it can't be used yet.
            Statement::Show(_) if self.waiting.is_empty() => true,
            _ => self.is_drained(request),
        };
        if !can_begin {
            return;
        }
        self.begin_one(statement, rows);
    }

    fn begin_one(&mut self, statement: Statement, rows: bool) {
        match statement {
            Statement::Command { command, kind, is_stale } => {
                let shape = shape_of(&kind, &command, rows);
                self.session.is_statement_stale = is_stale;
                self.begin_command(command, shape);
                self.session.is_statement_stale = false;
            }
            Statement::Checkpoint => self.begin(Request::Connection(ConnectionRequest::Checkpoint)),
            Statement::Explain(inner) => self.explain(&inner),
            Statement::Show(topic) => self.show(topic),
            Statement::Backup { folder } => self.begin_backup(folder),
            Statement::Rollback => self.reply(|writer| writer.simple("ROLLBACK")),
            Statement::Begin | Statement::Commit => {
                self.reply(|writer| writer.error("ERR BEGIN and COMMIT belong in one text"));
            }
        }
    }

    fn explain(&mut self, statement: &Statement) {
        let Statement::Command { command, is_stale, .. } = statement else {
            return self.reply(|writer| writer.error("ERR only statements on keys can be explained"));
        };
        let reads_stale = *is_stale || self.session.reads_stale();
        let lines = information::explain(&self.context.server, command, reads_stale);
        self.reply(|writer| {
            writer.array(lines.len());
            lines.iter().for_each(|line| writer.bulk(line.as_bytes()));
        });
    }

    fn show(&mut self, topic: ShowTopic) {
        let table = information::show(&self.context.server, topic);
        self.reply(|writer| {
            writer.array(table.len());
            for row in &table {
                writer.array(row.len());
                row.iter().for_each(|cell| writer.bulk(cell.as_bytes()));
            }
        });
    }

    fn begin_backup(&mut self, folder: std::path::PathBuf) {
        self.operation = Some(super::operation::backup(&self.context.server.replica, folder));
    }
}

fn is_over_ranges(command: &Command) -> bool {
    matches!(command, Command::ReadRange(_) | Command::CountRange(_))
}

/// One line of a text of several, the interesting one first.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn shape_of(kind: &StatementKind, command: &Command, rows: bool) -> Shape {
    match (kind, command) {
        (StatementKind::Read, Command::Read { key }) if rows => Shape::RowsOf(vec![key.clone()]),
        (StatementKind::ReadMany, Command::ReadMany { keys }) if rows => Shape::RowsOf(keys.clone()),
        (StatementKind::Read, _) => Shape::Value,
        (StatementKind::ReadMany, _) => Shape::Values,
        (StatementKind::ReadWhere, _) => {
            if rows {
                Shape::Rows
            } else {
                Shape::Entries
            }
        }
        (StatementKind::Create | StatementKind::Update | StatementKind::Upsert, _) => Shape::Status,
        (StatementKind::Count | StatementKind::Delete | StatementKind::Increment, _) => Shape::Integer,
        (StatementKind::Transaction(kinds), Command::Transaction(transaction)) => Shape::Transaction(
            kinds.iter().zip(&transaction.commands).map(|(kind, command)| shape_of(kind, command, rows)).collect(),
        ),
        (StatementKind::Transaction(_), _) => Shape::Transaction(Vec::new()),
    }
}
