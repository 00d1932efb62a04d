//! Reading back: every key that was written, against what its client knows.

use super::ledger::{Ledger, Loss};
use super::{DemoError, TIMEOUTS, interrupted};
use crate::client::{Client, Reply};
use std::sync::atomic::AtomicUsize;

/// Keys of one request.
const KEYS_PER_REQUEST: usize = 64;
/// Lost keys that are named.
const EXAMPLES: usize = 5;

/// How keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// As any client reads.
    Linearizable,
    /// From what this replica has by itself.
    Stale,
}

/// What a check found that is no loss.
#[derive(Debug, Default)]
pub struct Checked {
    /// Keys that were read.
    pub keys: usize,
    /// Of them, those that hold a write whose answer had not arrived.
    pub unanswered_but_done: usize,
}

/// Reads every key that was written, from one client for each ledger.
///
/// # Errors
/// A key does not hold what it must, or the server fails.
pub fn check(address: &str, ledgers: &mut [Ledger], reads: Reads, signal: &AtomicUsize) -> Result<Checked, DemoError> {
    let outcomes: Vec<Result<(Checked, Vec<Loss>), DemoError>> = std::thread::scope(|scope| {
        let clients: Vec<_> = ledgers
            .iter_mut()
            .map(|ledger| scope.spawn(move || check_ledger(address, ledger, reads, signal)))
            .collect();
        clients.into_iter().map(|client| client.join().map_err(|_| DemoError::Panicked)?).collect()
    });
    let (mut checked, mut lost) = (Checked::default(), Vec::new());
    for outcome in outcomes {
        let (part, losses) = outcome?;
        checked.keys += part.keys;
        checked.unanswered_but_done += part.unanswered_but_done;
        lost.extend(losses);
    }
    if lost.is_empty() {
        return Ok(checked);
    }
    let examples: Vec<String> = lost.iter().take(EXAMPLES).map(Loss::to_string).collect();
    Err(DemoError::Lost { checked: checked.keys, count: lost.len(), examples: examples.join("; ") })
}

fn check_ledger(
    address: &str,
    ledger: &mut Ledger,
    reads: Reads,
    signal: &AtomicUsize,
) -> Result<(Checked, Vec<Loss>), DemoError> {
    let mut client = Client::connect(address, TIMEOUTS)?;
    if reads == Reads::Stale {
        match client.request(&[b"CLIENT", b"STALE-READS", b"ON"])? {
            Reply::Status(status) if status == "OK" => {}
            reply => return Err(DemoError::Unexpected { request: "CLIENT STALE-READS", reply: format!("{reply:?}") }),
        }
    }
    let (mut checked, mut lost) = (Checked::default(), Vec::new());
    for indices in ledger.written().chunks(KEYS_PER_REQUEST) {
        interrupted(signal)?;
        for (index, held) in indices.iter().zip(held(&mut client, ledger, indices)?) {
            checked.keys += 1;
            match ledger.judge(*index, held.as_deref()) {
                Ok(number) => checked.unanswered_but_done += usize::from(ledger.settle(*index, number)),
                Err(loss) => lost.push(loss),
            }
        }
    }
    Ok((checked, lost))
}

/// What the server holds for these keys.
fn held(client: &mut Client, ledger: &Ledger, indices: &[usize]) -> Result<Vec<Option<Vec<u8>>>, DemoError> {
    let names: Vec<String> = indices.iter().map(|index| ledger.key_name(*index)).collect();
    let mut request: Vec<&[u8]> = vec![b"MGET"];
    request.extend(names.iter().map(String::as_bytes));
    let unexpected = |reply: &Reply| DemoError::Unexpected { request: "MGET", reply: format!("{reply:?}") };
    let values = match client.request(&request)? {
        Reply::Array(values) if values.len() == indices.len() => values,
        reply => return Err(unexpected(&reply)),
    };
    values
        .into_iter()
        .map(|value| match value {
            Reply::Bulk(value) => Ok(Some(value)),
            Reply::Null => Ok(None),
            other => Err(unexpected(&other)),
        })
        .collect()
}
