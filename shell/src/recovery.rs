//! How a replica comes back, as it tells itself: the rows of `SHOW RECOVERY`, put into words.

use crate::client::{Client, ClientError, Reply};
use crate::numbers::{milliseconds, thousands};
use crate::shell::harmless;
use std::collections::BTreeMap;

/// The states of a replica that has not yet executed all that it had missed.
const ON_ITS_WAY: [&str; 2] = ["connecting", "catching up"];

/// What a replica tells of its start. Rows that it does not have are left out, so that servers of other versions can tell, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    rows: BTreeMap<String, String>,
}

/// Asks a server how its start went; `None` if it tells nothing.
///
/// # Errors
/// The server can't be talked to.
pub fn ask(client: &mut Client) -> Result<Option<Recovery>, ClientError> {
    Ok(Recovery::of(&client.request(&[b"STATEMENT", b"SHOW RECOVERY"])?))
}

impl Recovery {
    /// The rows of an answer: a name and a value each.
    fn of(reply: &Reply) -> Option<Recovery> {
        let Reply::Array(rows) = reply else { return None };
        let text = |cell: &Reply| match cell {
            Reply::Bulk(bytes) => Some(harmless(&String::from_utf8_lossy(bytes)).replace('\n', " ")),
            _ => None,
        };
        let row = |row: &Reply| match row {
            Reply::Array(cells) => Some((text(cells.first()?)?, text(cells.get(1)?)?)),
            _ => None,
        };
        let rows: BTreeMap<String, String> = rows.iter().filter_map(row).collect();
        rows.contains_key("state").then_some(Recovery { rows })
    }

    fn text(&self, name: &str) -> &str {
        self.rows.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        ON_ITS_WAY.contains(&self.text("state"))
    }

    /// How far it is, in a line.
    pub fn progress(&self) -> String {
        let mut parts = vec![match self.handed() {
            Some(handed) => handed,
            None => format!(
                "{} of {} old batches left, {} of {} segments installed",
                thousands(self.number("left_batches").unwrap_or_default()),
                thousands(self.number("old_batches").unwrap_or_default()),
                self.text("segments_installed"),
                self.text("segments"),
            ),
        }];
        if let Some(left) = self.number("time_left_ms") {
            parts.push(format!("{} left", milliseconds(left)));
        }
        let parked: u64 = ["parked_reads", "parked_batches"].iter().filter_map(|name| self.number(name)).sum();
        parts.push(format!("{} wait", thousands(parked)));
        parts.push(self.requests());
        format!("{} by {}: {}", self.text("state"), self.text("mode"), parts.join(", "))
    }

    /// How it went, in a line.
    pub fn summary(&self) -> String {
        let how = self.handed().unwrap_or_else(|| {
            format!("{} old batches executed", thousands(self.number("old_batches").unwrap_or_default()))
        });
        format!("by {}: {how}, {}", self.text("mode"), self.requests())
    }

    fn handed(&self) -> Option<String> {
        let donor = self.number("handoff_from")?;
        Some(format!(
            "{} of {} segments from replica {donor}, {} keys ({} MiB), {} of them first as somebody waited",
            self.text("handoff_segments"),
            self.text("segments"),
            thousands(self.number("handoff_versions")?),
            self.number("handoff_bytes")? >> 20,
            thousands(self.number("handoff_pulled_keys")?),
        ))
    }

    fn requests(&self) -> String {
        format!(
            "{} reads and {} writes answered before older ones, the longest waited {}",
            thousands(self.number("early_reads").unwrap_or_default()),
            thousands(self.number("early_commands").unwrap_or_default()),
            milliseconds(self.number("longest_wait_ms").unwrap_or_default()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Recovery;
    use crate::client::Reply;

    fn recovery(rows: &[(&str, &str)]) -> Option<Recovery> {
        let cell = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        Recovery::of(&Reply::Array(
            rows.iter().map(|(name, value)| Reply::Array(vec![cell(name), cell(value)])).collect(),
        ))
    }

    #[test]
    fn a_replica_that_executes_says_how_much_is_left() {
        let recovery = recovery(&[
            ("state", "catching up"),
            ("mode", "on-demand"),
            ("old_batches", "20000"),
            ("left_batches", "1200"),
            ("time_left_ms", "2100"),
            ("parked_reads", "2"),
            ("parked_batches", "1"),
            ("early_reads", "1234"),
            ("early_commands", "5"),
            ("longest_wait_ms", "40"),
            ("segments_installed", "17"),
            ("segments", "256"),
            ("handoff_from", ""),
        ])
        .unwrap();
        assert!(recovery.goes_on());
        assert_eq!(
            recovery.progress(),
            "catching up by on-demand: 1,200 of 20,000 old batches left, 17 of 256 segments installed, 2.1 s left, 3 wait, \
             1,234 reads and 5 writes answered before older ones, the longest waited 40 ms"
        );
    }

    #[test]
    fn one_that_was_handed_the_state_says_by_whom() {
        let recovery = recovery(&[
            ("state", "up to date"),
            ("mode", "handoff"),
            ("segments", "256"),
            ("handoff_from", "1"),
            ("handoff_segments", "256"),
            ("handoff_versions", "43210"),
            ("handoff_bytes", "52428800"),
            ("handoff_pulled_keys", "12"),
        ])
        .unwrap();
        assert!(!recovery.goes_on());
        assert_eq!(
            recovery.summary(),
            "by handoff: 256 of 256 segments from replica 1, 43,210 keys (50 MiB), 12 of them first as somebody waited, \
             0 reads and 0 writes answered before older ones, the longest waited 0 ms"
        );
    }

    #[test]
    fn what_is_no_report_is_none() {
        assert_eq!(recovery(&[("mode", "handoff")]), None);
        assert_eq!(Recovery::of(&Reply::Null), None);
        assert_eq!(Recovery::of(&Reply::Array(vec![Reply::Integer(3), Reply::Array(vec![])])), None);
    }
}
