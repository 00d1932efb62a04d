//! What a replica says of its recovery while it goes on.

use super::ClusterError;
use crate::resp::{Client, Reply};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What it said.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When, since its process began.
    pub at: Duration,
    /// Old batches that are not executed, and not handed over either.
    pub left_batches: u64,
}

/// Follows it until it is up to date; then the last step is when it was.
pub(super) fn follow(address: SocketAddr, begin: Instant, limit: Duration) -> Result<Vec<Step>, ClusterError> {
    let mut client = Client::connect(address, limit)?;
    let mut steps = Vec::new();
    while begin.elapsed() < limit {
        let text = match client.request(&[b"INFO", b"recovery"])? {
            Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            _ => return Err(io::Error::other("INFO has no section of the recovery").into()),
        };
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name: &str| field(name).and_then(|value| value.trim().parse::<u64>().ok());
        if let (Some("up to date"), Some(ms)) =
            (field("recovery_state").map(str::trim), number("recovery_up_to_date_ms"))
        {
            steps.push(Step { at: Duration::from_millis(ms), left_batches: 0 });
            return Ok(steps);
        }
        // Before it knows of a leader it does not know what it missed.
        if field("recovery_state").map(str::trim) == Some("catching up")
            && let Some(left_batches) = number("recovery_left_batches")
        {
            steps.push(Step { at: begin.elapsed(), left_batches });
        }
        thread::sleep(LOOK);
    }
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}
