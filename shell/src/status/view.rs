//! How the status looks: a table for people, a line for each replica for programs and logs.

use super::Look;
use crate::replicas::ReplicaRow;
use crate::table::{self, Column};
use std::fmt::Write;

const COLUMNS: [Column; 8] = [
    Column::Right("replica"),
    Column::Left("role"),
    Column::Right("decided"),
    Column::Right("executed"),
    Column::Right("durable"),
    Column::Right("checkpoint"),
    Column::Right("lag"),
    Column::Left("state"),
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
    let recovery = look
        .recovery
        .as_ref()
        .map_or_else(String::new, |recovery| format!("{} is {}\n", look.address, recovery.progress()));
    format!("{}{recovery}{}\n", table::table(COLUMNS, look.replicas.iter().map(cells)), summary(look))
}

/// A line for each replica, `name=value` after its number.
pub(super) fn lines(look: &Look) -> String {
    let mut text = String::new();
    for row in &look.replicas {
        let fields = cells(row).into_iter().zip(COLUMNS).map(|(text, column)| {
            // A blank separates fields.
            format!("{}={}", column.name(), text.replace(' ', "-"))
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

#[cfg(test)]
mod tests {
    use super::{lines, table};
    use crate::replicas::tests::replica;
    use crate::status::Look;

    fn look() -> Look {
        let mut behind = replica(3, "follower", "catching up", 1200);
        (behind.executed, behind.lag) = (900, 334);
        let replicas = vec![replica(1, "follower", "serving", 1234), replica(2, "leader", "serving", 1234), behind];
        Look { address: "127.0.0.1:7379".to_string(), replicas, recovery: None }
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
}
