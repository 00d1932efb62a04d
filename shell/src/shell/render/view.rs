//! What a reply to a statement means, by the statement that it answers.
//!
//! A reply whose form is not the expected one (a newer server) is shown as it came, never dropped.

use super::cell::Cell;
use super::redis;
use crate::client::Reply;
use skink_server::statement::{Statement, StatementKind};

/// What is shown of one statement.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// Rows and columns.
    Grid(Grid),
    /// That something was done.
    Message(String),
    /// That something failed.
    Error(String),
}

/// Rows and columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grid {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Whether people want to know how many rows there are.
    pub counted: bool,
}

impl Grid {
    fn one(column: &str, cell: Cell) -> View {
        View::Grid(Grid { columns: vec![column.to_string()], rows: vec![vec![cell]], counted: false })
    }
}

/// What to show of a reply to these statements; they are empty where the shell does not understand the text.
pub fn views(statements: &[Statement], reply: &Reply) -> Vec<View> {
    match (statements, reply) {
        ([Statement::Command { kind: StatementKind::Transaction(kinds), .. }], Reply::Array(replies))
            if kinds.len() == replies.len() =>
        {
            kinds.iter().zip(replies).map(|(kind, reply)| view(Some(kind), reply)).collect()
        }
        ([Statement::Command { kind, .. }], reply) => vec![view(Some(kind), reply)],
        ([Statement::Show(_)], Reply::Array(rows)) if let Some(grid) = shown_grid(rows) => vec![View::Grid(grid)],
        ([Statement::Explain(_)], Reply::Array(lines)) if let Some(lines) = texts(lines) => {
            vec![View::Message(super::cell::harmless(&lines.join("\n")))]
        }
        (_, reply) => vec![view(None, reply)],
    }
}

fn view(kind: Option<&StatementKind>, reply: &Reply) -> View {
    match (kind, reply) {
        (_, Reply::Error(text)) => View::Error(text.clone()),
        (_, Reply::Status(text)) => View::Message(text.clone()),
        (Some(StatementKind::Read | StatementKind::ReadMany | StatementKind::ReadWhere), Reply::Array(rows))
            if rows.iter().all(|row| record(row).is_some()) =>
        {
            View::Grid(records(rows))
        }
        (Some(StatementKind::Create | StatementKind::Update | StatementKind::Upsert), Reply::Integer(number)) => {
            Grid::one("revision", Cell::Integer(*number))
        }
        (Some(StatementKind::Delete), Reply::Integer(number)) => Grid::one("deleted", Cell::Integer(*number)),
        (Some(StatementKind::Count), Reply::Integer(number)) => Grid::one("count", Cell::Integer(*number)),
        (Some(_), Reply::Integer(number)) => Grid::one("value", Cell::Integer(*number)),
        (_, Reply::Map(pairs)) => View::Grid(pairs_grid(pairs)),
        (_, Reply::Array(rows)) if !rows.is_empty() && rows.iter().all(|row| matches!(row, Reply::Map(_))) => {
            View::Grid(maps_grid(rows))
        }
        (_, Reply::Bulk(text) | Reply::Verbatim(text)) => {
            let text = String::from_utf8_lossy(text);
            View::Message(super::cell::harmless(text.trim_end()))
        }
        (_, reply) => View::Message(redis::tree(reply).trim_end().to_string()),
    }
}

fn records(rows: &[Reply]) -> Grid {
    let columns = ["key", "value", "revision", "expires in"].map(str::to_string).to_vec();
    Grid { columns, rows: rows.iter().filter_map(record).collect(), counted: true }
}

/// A record's cells, if this is key, value, revision and expiry.
fn record(reply: &Reply) -> Option<Vec<Cell>> {
    let Reply::Array(fields) = reply else { return None };
    let [key @ Reply::Bulk(_), value @ Reply::Bulk(_), revision @ Reply::Integer(_), expiry] = fields.as_slice() else {
        return None;
    };
    let expiry = match expiry {
        Reply::Integer(at_ms) => Cell::Expires(Some(*at_ms)),
        Reply::Null => Cell::Expires(None),
        _ => return None,
    };
    Some(vec![cell(key), cell(value), cell(revision), expiry])
}

/// Rows of texts, the columns' names first.
fn shown_grid(rows: &[Reply]) -> Option<Grid> {
    let (names, rows) = rows.split_first()?;
    let Reply::Array(names) = names else { return None };
    let columns = texts(names)?;
    let row = |row: &Reply| match row {
        Reply::Array(cells) if cells.len() == columns.len() => Some(cells.iter().map(cell).collect()),
        _ => None,
    };
    let rows: Option<Vec<Vec<Cell>>> = rows.iter().map(row).collect();
    // How many settings there are is of no interest, how many segments is.
    let counted = columns != ["name", "value"];
    Some(Grid { rows: rows?, counted, columns })
}

/// The texts, if all of these are.
fn texts(replies: &[Reply]) -> Option<Vec<String>> {
    let text = |reply: &Reply| match reply {
        Reply::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    replies.iter().map(text).collect()
}

/// Name and value a row.
fn pairs_grid(pairs: &[(Reply, Reply)]) -> Grid {
    let rows = pairs.iter().map(|(name, value)| vec![cell(name), cell(value)]).collect();
    Grid { columns: vec!["name".to_string(), "value".to_string()], rows, counted: false }
}

/// A map a row; its columns are all names, in the order in which they come.
fn maps_grid(maps: &[Reply]) -> Grid {
    let mut columns: Vec<String> = Vec::new();
    for map in maps {
        let Reply::Map(pairs) = map else { continue };
        for (name, _) in pairs {
            let name = cell(name).to_text(None, 0);
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
    let value_of = |map: &Reply, column: &String| {
        match map {
            Reply::Map(pairs) => pairs.iter().find(|(name, _)| cell(name).to_text(None, 0) == *column),
            _ => None,
        }
        .map_or(Cell::Null, |(_, value)| cell(value))
    };
    let rows = maps.iter().map(|map| columns.iter().map(|column| value_of(map, column)).collect()).collect();
    Grid { columns, rows, counted: true }
}

fn cell(reply: &Reply) -> Cell {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => Cell::Bytes(bytes.clone()),
        Reply::Status(text) | Reply::Error(text) | Reply::BigNumber(text) => Cell::Text(text.clone()),
        Reply::Integer(number) => Cell::Integer(*number),
        Reply::Boolean(value) => Cell::Text(value.to_string()),
        Reply::Double(number) => Cell::Text(number.to_string()),
        Reply::Null => Cell::Null,
        Reply::Array(_) | Reply::Set(_) | Reply::Map(_) | Reply::Push(_) => {
            Cell::Text(redis::tree(reply).trim_end().replace('\n', ", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Grid, View, views};
    use crate::client::Reply;
    use skink_server::statement::{Limits, parse_script};

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    fn row(key: &str, expiry: Reply) -> Reply {
        Reply::Array(vec![bulk(key), bulk("v"), Reply::Integer(7), expiry])
    }

    fn views_of(text: &str, reply: &Reply) -> Vec<View> {
        views(&parse_script(text.as_bytes(), Limits::default()).unwrap_or_default(), reply)
    }

    #[test]
    fn reads_are_rows() {
        let reply = Reply::Array(vec![row("a", Reply::Null), row("b", Reply::Integer(99))]);
        let [View::Grid(grid)] = &views_of("READ 'a', 'b'", &reply)[..] else { panic!("no grid") };
        assert_eq!(grid.columns, ["key", "value", "revision", "expires in"]);
        assert_eq!(grid.rows[1][0], Cell::Bytes(b"b".to_vec()));
        assert_eq!([&grid.rows[0][3], &grid.rows[1][3]], [&Cell::Expires(None), &Cell::Expires(Some(99))]);
    }

    #[test]
    fn numbers_are_named_by_their_statement() {
        for (text, name) in [("COUNT", "count"), ("DELETE 'a'", "deleted"), ("INCREMENT 'a'", "value")] {
            assert_eq!(views_of(text, &Reply::Integer(3)), [Grid::one(name, Cell::Integer(3))]);
        }
    }

    #[test]
    fn transactions_have_a_view_for_each_statement() {
        let reply = Reply::Array(vec![Reply::Status("OK".to_string()), Reply::Integer(1)]);
        let expected = [View::Message("OK".to_string()), Grid::one("deleted", Cell::Integer(1))];
        assert_eq!(views_of("BEGIN; CREATE 'a' = 'b'; DELETE 'c'; COMMIT", &reply), expected);
    }

    #[test]
    fn replies_of_another_form_are_shown_all_the_same() {
        let odd = Reply::Array(vec![Reply::Integer(1), bulk("x")]);
        for text in ["READ 'a'", "FROBNICATE", "BEGIN; READ 'a'; COMMIT"] {
            assert_eq!(views_of(text, &odd), [View::Message("1) (integer) 1\n2) \"x\"".to_string())], "{text}");
        }
    }

    #[test]
    fn what_show_shows_has_its_columns_names_in_front() {
        let row = |cells: [&str; 2]| Reply::Array(cells.map(bulk).to_vec());
        let reply = Reply::Array(vec![row(["replica", "state"]), row(["1", "serving"])]);
        let [View::Grid(grid)] = &views_of("SHOW REPLICAS", &reply)[..] else { panic!("no grid") };
        assert_eq!((grid.columns.join(" "), grid.rows.len(), grid.counted), ("replica state".to_string(), 1, true));
        let [View::Grid(grid)] = &views_of("SHOW CONFIG", &Reply::Array(vec![row(["name", "value"])]))[..] else {
            panic!("no grid")
        };
        assert_eq!((grid.rows.len(), grid.counted), (0, false));
        let ragged = Reply::Array(vec![row(["replica", "state"]), Reply::Array(vec![bulk("1")])]);
        assert!(matches!(&views_of("SHOW REPLICAS", &ragged)[..], [View::Message(_)]));
    }

    #[test]
    fn explanations_are_lines() {
        let reply = Reply::Array(vec![bulk("write 'a'"), bulk("ordered")]);
        assert_eq!(views_of("EXPLAIN DELETE 'a'", &reply), [View::Message("write 'a'\nordered".to_string())]);
    }

    #[test]
    fn maps_are_tables() {
        let name = |text: &str| Reply::Status(text.to_string());
        let first = Reply::Map(vec![(name("id"), Reply::Integer(1)), (name("state"), bulk("up"))]);
        let second = Reply::Map(vec![(name("id"), Reply::Integer(2)), (name("lag"), Reply::Integer(5))]);
        let [View::Grid(grid)] = &views_of("SHOW REPLICAS", &Reply::Array(vec![first.clone(), second]))[..] else {
            panic!("no grid")
        };
        assert_eq!(grid.columns, ["id", "state", "lag"]);
        assert_eq!(grid.rows[1], [Cell::Integer(2), Cell::Null, Cell::Integer(5)]);
        let [View::Grid(grid)] = &views_of("SHOW STATUS", &first)[..] else { panic!("no grid") };
        assert_eq!(grid.rows.len(), 2);
    }
}
