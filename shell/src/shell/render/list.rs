//! Results for programs: a row a line, or JSON. Nothing is cut.

use super::cell::json_string;
use super::view::View;
use std::io::{self, Write};

/// The columns' names, then a row a line, with `|` between the columns.
pub fn write_list(view: &View, now_ms: u64, out: &mut dyn Write) -> io::Result<()> {
    match view {
        View::Message(text) => writeln!(out, "{text}"),
        // Errors go where errors go.
        View::Error(_) => Ok(()),
        View::Grid(grid) => {
            writeln!(out, "{}", grid.columns.join("|"))?;
            for row in &grid.rows {
                let row: Vec<String> = row.iter().map(|cell| cell.to_text(None, now_ms)).collect();
                writeln!(out, "{}", row.join("|"))?;
            }
            Ok(())
        }
    }
}

/// An array of objects in one line; of a message, an object.
pub fn write_json(view: &View, out: &mut dyn Write) -> io::Result<()> {
    match view {
        View::Message(text) => writeln!(out, "{{\"result\":{}}}", json_string(text)),
        View::Error(text) => writeln!(out, "{{\"error\":{}}}", json_string(text)),
        View::Grid(grid) => {
            let names: Vec<String> = grid.columns.iter().map(|column| json_string(&json_name(column))).collect();
            out.write_all(b"[")?;
            for (number, row) in grid.rows.iter().enumerate() {
                out.write_all(if number == 0 { b"{" } else { b",{" })?;
                for (column, (name, cell)) in names.iter().zip(row).enumerate() {
                    let comma = if column == 0 { "" } else { "," };
                    write!(out, "{comma}{name}:{}", cell.to_json())?;
                }
                out.write_all(b"}")?;
            }
            out.write_all(b"]\n")
        }
    }
}

/// Programs get the time at which a key expires, not how long that is from now.
fn json_name(column: &str) -> String {
    match column {
        "expires in" => "expires_at_ms".to_string(),
        other => other.replace(' ', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::{write_json, write_list};
    use crate::shell::render::cell::Cell;
    use crate::shell::render::view::{Grid, View};

    fn grid() -> View {
        let columns = ["key", "value", "revision", "expires in"].map(str::to_string).to_vec();
        let row = |key: &str, value: &[u8], expires| {
            vec![Cell::Bytes(key.into()), Cell::Bytes(value.to_vec()), Cell::Integer(7), Cell::Expires(expires)]
        };
        View::Grid(Grid {
            columns,
            rows: vec![row("a", b"say \"hi\"", None), row("b", b"\xff", Some(61_000))],
            counted: true,
        })
    }

    #[test]
    fn a_list_is_a_row_a_line() {
        let mut out = Vec::new();
        write_list(&grid(), 0, &mut out).unwrap();
        let expected = "key|value|revision|expires in\na|say \"hi\"|7|never\nb|X'ff'|7|1m 1s\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_is_an_array_of_objects() {
        let mut out = Vec::new();
        write_json(&grid(), &mut out).unwrap();
        write_json(&View::Message("OK".to_string()), &mut out).unwrap();
        let expected = concat!(
            r#"[{"key":"a","value":"say \"hi\"","revision":7,"expires_at_ms":null},"#,
            r#"{"key":"b","value":{"hex":"ff"},"revision":7,"expires_at_ms":61000}]"#,
            "\n{\"result\":\"OK\"}\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
