//! How the status looks: a table for people, a line for each replica for programs and logs.

use super::Look;
use crate::replicas::ReplicaRow;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use std::fmt::Write;

/// The columns, and whether they are numbers.
const COLUMNS: [(&str, bool); 8] = [
    ("replica", true),
    ("role", false),
    ("decided", true),
    ("executed", true),
    ("durable", true),
    ("checkpoint", true),
    ("lag", true),
    ("state", false),
];

fn cells(row: &ReplicaRow) -> [String; 8] {
    [
        row.replica.to_string(),
        row.role.clone(),
        row.decided.to_string(),
        row.executed.to_string(),
        row.durable.to_string(),
        row.checkpoint.to_string(),
        row.lag.to_string(),
        row.state.clone(),
    ]
}

/// A table with a line about all replicas below it.
pub(super) fn table(look: &Look) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(COLUMNS.map(|(name, _)| name));
    for row in &look.replicas {
        table.add_row(cells(row).into_iter().zip(COLUMNS).map(|(text, (_, is_number))| {
            let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    format!("{table}\n{}\n", summary(look))
}

/// A line for each replica, `name=value` after its number.
pub(super) fn lines(look: &Look) -> String {
    let mut text = String::new();
    for row in &look.replicas {
        let fields = cells(row).into_iter().zip(COLUMNS).map(|(text, (name, _))| {
            // A blank separates fields.
            format!("{name}={}", text.replace(' ', "-"))
        });
        let _ = writeln!(text, "{}", fields.collect::<Vec<String>>().join(" "));
    }
    text
}

fn summary(look: &Look) -> String {
    let (serving, all) = (look.replicas.iter().filter(|row| row.is_serving()).count(), look.replicas.len());
    let replicas = if all == 1 { "replica" } else { "replicas" };
    let verb = if serving == 1 { "serves" } else { "serve" };
    format!("{serving} of {all} {replicas} {verb}, says {}", look.address)
}

/// What removes so many lines above the cursor from a terminal.
pub(super) fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r\x1b[J") }
}

#[cfg(test)]
mod tests {
    use super::{erase, lines, table};
    use crate::replicas::tests::replica;
    use crate::status::Look;

    fn look() -> Look {
        let mut behind = replica(3, "follower", "catching up", 1200);
        (behind.executed, behind.lag) = (900, 334);
        let replicas = vec![replica(1, "follower", "serving", 1234), replica(2, "leader", "serving", 1234), behind];
        Look { address: "127.0.0.1:7379".to_string(), replicas }
    }

    #[test]
    fn a_table_has_a_row_for_each_replica() {
        let expected = "\
┌─────────┬──────────┬─────────┬──────────┬─────────┬────────────┬─────┬─────────────┐
│ replica ┆ role     ┆ decided ┆ executed ┆ durable ┆ checkpoint ┆ lag ┆ state       │
╞═════════╪══════════╪═════════╪══════════╪═════════╪════════════╪═════╪═════════════╡
│       1 ┆ follower ┆    1234 ┆     1234 ┆    1234 ┆          0 ┆   0 ┆ serving     │
│       2 ┆ leader   ┆    1234 ┆     1234 ┆    1234 ┆          0 ┆   0 ┆ serving     │
│       3 ┆ follower ┆    1200 ┆      900 ┆    1200 ┆          0 ┆ 334 ┆ catching up │
└─────────┴──────────┴─────────┴──────────┴─────────┴────────────┴─────┴─────────────┘
2 of 3 replicas serve, says 127.0.0.1:7379
";
        assert_eq!(table(&look()), expected);
        let single = Look { replicas: vec![replica(1, "single", "serving", 0)], ..look() };
        assert!(table(&single).ends_with("\n1 of 1 replica serves, says 127.0.0.1:7379\n"));
    }

    #[test]
    fn lines_have_a_field_between_blanks() {
        let text = lines(&look());
        let last = text.lines().last().unwrap();
        let expected =
            "replica=3 role=follower decided=1200 executed=900 durable=1200 checkpoint=0 lag=334 state=catching-up";
        assert_eq!((text.lines().count(), last), (3, expected));
    }

    #[test]
    fn only_what_was_shown_is_erased() {
        assert_eq!((erase(0).as_str(), erase(8).as_str()), ("", "\x1b[8A\r\x1b[J"));
    }
}
