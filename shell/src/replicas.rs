//! How the replicas of a cluster stand, as one of them tells: the rows of `SHOW REPLICAS`.
//!
//! Columns are found by their names, so that a newer server may tell more.

use crate::client::{Client, ClientError, Reply};
use crate::shell::harmless;
use thiserror::Error;

/// The state of a replica that can be used and is up to date.
const SERVING: &str = "serving";
/// The role of a replica that gives commands their places.
const LEADER: &str = "leader";

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    /// Its number.
    pub replica: u64,
    /// What it does in the order.
    pub role: String,
    /// Whether it can be used.
    pub state: String,
    /// The last instance that it knows to be decided.
    pub decided: u64,
    /// The last instance that it has executed.
    pub executed: u64,
    /// The last instance that is in its durable log.
    pub durable: u64,
    /// Its last durable checkpoint.
    pub checkpoint: u64,
    /// How many decided instances it has still to execute.
    pub lag: u64,
}

impl ReplicaRow {
    /// Whether it can be used and is up to date.
    pub fn is_serving(&self) -> bool {
        self.state == SERVING
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        self.role == LEADER
    }
}

/// Why it is not known how replicas stand.
#[derive(Debug, Error)]
pub enum ReplicasError {
    /// The server can't be talked to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not want to tell.
    #[error("the server answered SHOW REPLICAS with: {0}")]
    Refused(String),
    /// It tells something else.
    #[error("the server's answer to SHOW REPLICAS has no {0}; is it of another version?")]
    Garbled(&'static str),
}

/// Asks a server how the replicas stand.
///
/// # Errors
/// It does not tell.
pub fn ask(client: &mut Client) -> Result<Vec<ReplicaRow>, ReplicasError> {
    match client.request(&[b"STATEMENT", b"SHOW REPLICAS"])? {
        Reply::Error(text) => Err(ReplicasError::Refused(harmless(&text))),
        reply => rows(&reply),
    }
}

/// The rows of an answer.
fn rows(reply: &Reply) -> Result<Vec<ReplicaRow>, ReplicasError> {
    let Reply::Array(rows) = reply else { return Err(ReplicasError::Garbled("rows")) };
    let mut rows = rows.iter().map(cells);
    let names = rows.next().flatten().ok_or(ReplicasError::Garbled("names of columns"))?;
    let column = |name: &'static str| names.iter().position(|found| found == name).ok_or(ReplicasError::Garbled(name));
    let (replica, role, state) = (column("replica")?, column("role")?, column("state")?);
    let (decided, executed, durable) = (column("decided")?, column("executed")?, column("durable")?);
    let (checkpoint, lag) = (column("checkpoint")?, column("lag")?);
    let row = |cells: Option<Vec<String>>| {
        let cells = cells.ok_or(ReplicasError::Garbled("texts in its rows"))?;
        let text = |at: usize| cells.get(at).cloned().ok_or(ReplicasError::Garbled("cell for each column"));
        let number = |at: usize| text(at)?.parse().map_err(|_| ReplicasError::Garbled("number where one should be"));
        Ok(ReplicaRow {
            replica: number(replica)?,
            role: text(role)?,
            state: text(state)?,
            decided: number(decided)?,
            executed: number(executed)?,
            durable: number(durable)?,
            checkpoint: number(checkpoint)?,
            lag: number(lag)?,
        })
    };
    rows.map(row).collect()
}

/// The texts of a row; they may come from anywhere and go to a terminal.
fn cells(row: &Reply) -> Option<Vec<String>> {
    let Reply::Array(cells) = row else { return None };
    let text = |cell: &Reply| match cell {
        Reply::Bulk(bytes) => Some(harmless(&String::from_utf8_lossy(bytes)).replace('\n', " ")),
        _ => None,
    };
    cells.iter().map(text).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{ReplicaRow, ReplicasError, rows};
    use crate::client::Reply;

    /// A replica that has nothing to catch up with.
    pub(crate) fn replica(replica: u64, role: &str, state: &str, decided: u64) -> ReplicaRow {
        ReplicaRow {
            replica,
            role: role.to_string(),
            state: state.to_string(),
            decided,
            executed: decided,
            durable: decided,
            checkpoint: 0,
            lag: 0,
        }
    }

    fn table(lines: &[&str]) -> Reply {
        let cell = |text: &str| Reply::Bulk(text.replace('_', " ").into_bytes());
        Reply::Array(lines.iter().map(|line| Reply::Array(line.split(' ').map(cell).collect())).collect())
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let reply = table(&[
            "state replica role new decided executed durable checkpoint lag",
            "serving 1 leader x 9 8 7 6 1",
            "catching_up 2 follower y 5 4 3 2 5",
        ]);
        let rows = rows(&reply).unwrap();
        assert_eq!((rows[0].replica, rows[0].is_leader(), rows[0].is_serving()), (1, true, true));
        assert_eq!((rows[1].state.as_str(), rows[1].is_leader(), rows[1].is_serving()), ("catching up", false, false));
        assert_eq!((rows[1].decided, rows[1].executed, rows[1].durable), (5, 4, 3));
        assert_eq!((rows[1].checkpoint, rows[1].lag), (2, 5));
    }

    #[test]
    fn what_is_no_table_of_replicas_is_an_error() {
        let names = "replica role state decided executed durable checkpoint lag";
        for (reply, missing) in [
            (Reply::Null, "rows"),
            (Reply::Array(vec![]), "names of columns"),
            (Reply::Array(vec![Reply::Integer(1)]), "names of columns"),
            (table(&["replica role state executed checkpoint"]), "decided"),
            (table(&[names, "1 leader serving 1 1 1 1"]), "cell for each column"),
            (table(&[names, "one leader serving 1 1 1 1 1"]), "number where one should be"),
            (Reply::Array(vec![Reply::Array(vec![Reply::Bulk(b"replica".to_vec())]), Reply::Null]), "role"),
        ] {
            let found = rows(&reply);
            assert!(matches!(found, Err(ReplicasError::Garbled(what)) if what == missing), "{reply:?}: {found:?}");
        }
    }

    #[test]
    fn what_could_move_a_cursor_is_replaced() {
        let names = "replica role state decided executed durable checkpoint lag";
        let rows = rows(&table(&[names, "1 \u{1b}[2J a\nb 1 1 1 1 1"])).unwrap();
        assert_eq!((rows[0].role.as_str(), rows[0].state.as_str()), ("\u{fffd}[2J", "a b"));
    }
}
