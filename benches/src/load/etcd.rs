//! The same closed loop towards etcd, over gRPC: a future for each client, all on one thread, as gRPC has its own
//! connections and makes its own bytes.
//!
//! A batch is one put, or one transaction of several, or one read. Clients share connections, some to each: HTTP/2
//! is made for that, and it costs etcd less than a connection for every client.

use super::{Control, Keys, Load, LoadError, OnLoss, Outcome};
use crate::etcd::{EtcdClient, EtcdError};
use crate::workload::{Picker, Random, Workload};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Clients of a connection. Beside one for each client this is 1.5 to 2.2 times the throughput of updates, beside 64 it
/// makes no clear difference.
const CLIENTS_A_CONNECTION: usize = 8;
/// How long a client that was refused waits before it goes on.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

impl From<EtcdError> for LoadError {
    fn from(error: EtcdError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What all clients of a run share; none borrows it while it waits.
struct Shared<'a> {
    load: &'a Load,
    workload: &'a Workload,
    control: &'a Control,
    picker: Picker,
    reads: Random,
    remaining: Option<u64>,
    next_version: u64,
    version_step: u64,
    outcome: Outcome,
    deadline: Option<Instant>,
    last_reply: Instant,
    is_over: bool,
}

/// What a client asks next.
enum Batch {
    /// Numbers and versions.
    Writes(Vec<(u64, u64)>),
    /// A number.
    Read(u64),
}

/// Runs `load` until its end or until `control` stops it. Its threads and its `wait` mean nothing here: one thread has
/// time to spare beside etcd, and a put is answered when a majority has it.
pub fn run_until(load: &Load, workload: &Workload, control: &Control) -> Result<Outcome, LoadError> {
    load.check()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(load, workload, control))
}

async fn drive(load: &Load, workload: &Workload, control: &Control) -> Result<Outcome, LoadError> {
    // No server goes without a connection where there are enough clients.
    let servers = load.addresses.len();
    let connections = load.connections.div_ceil(CLIENTS_A_CONNECTION).max(servers.min(load.connections));
    let mut clients = Vec::new();
    for index in 0..connections {
        clients.push(EtcdClient::connect(load.addresses[index % servers], load.patience).await?);
    }
    let start = Instant::now();
    let shared = RefCell::new(Shared::new(load, workload, control, start));
    let loops = (0..load.connections).map(|index| closed_loop(&shared, &clients, index % connections));
    let mut running: FuturesUnordered<_> = loops.collect();
    let mut failure = None;
    while let Some(result) = running.next().await {
        if let Err(error) = result {
            // The others end with what they have under way.
            shared.borrow_mut().is_over = true;
            failure = failure.or(Some(error));
        }
    }
    drop(running);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let mut shared = shared.into_inner();
    shared.outcome.elapsed = shared.last_reply.saturating_duration_since(start);
    Ok(shared.outcome)
}

/// One client, at first over connection `at`.
async fn closed_loop(shared: &RefCell<Shared<'_>>, clients: &[EtcdClient], mut at: usize) -> Result<(), LoadError> {
    let (workload, load) = (shared.borrow().workload, shared.borrow().load);
    let mut client = clients[at].clone();
    // With a rate, when this client's next turn is; a client that was kept from many turns leaves them out.
    let mut due = shared.borrow().outcome.start;
    loop {
        if let Some(interval) = load.interval() {
            tokio::time::sleep_until(due.into()).await;
            let now = Instant::now();
            due = due.max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now)) + interval;
        }
        let Some(batch) = shared.borrow_mut().next_batch() else { return Ok(()) };
        let sent = Instant::now();
        let requests = match &batch {
            Batch::Writes(writes) => writes.len() as u64,
            Batch::Read(_) => 1,
        };
        let limit = load.give_up_after.filter(|_| load.on_loss == OnLoss::Retry);
        let answer = timeout(limit.unwrap_or(load.patience), async {
            match &batch {
                Batch::Writes(writes) => client.write(workload, writes).await.map(|()| None),
                Batch::Read(number) => client.read(&workload.key(*number)).await.map(Some),
            }
        });
        let Ok(result) = answer.await else {
            if limit.is_none() {
                return Err(LoadError::Stalled(load.patience));
            }
            at = go_on(shared, clients.len(), at).await;
            client = clients[at].clone();
            continue;
        };
        match (result, batch) {
            (Ok(Some(Some(value))), Batch::Read(number)) => {
                workload.check_header(number, &value).ok_or(LoadError::WrongValue(number))?;
                shared.borrow_mut().answered(sent, requests, 0);
            }
            (Ok(Some(None)), _) => shared.borrow_mut().answered(sent, requests, 1),
            (Ok(_), _) => shared.borrow_mut().answered(sent, requests, 0),
            (Err(error), _) if load.on_loss == OnLoss::Fail || !error.is_passing() => return Err(error.into()),
            (Err(_), _) => {
                at = go_on(shared, clients.len(), at).await;
                client = clients[at].clone();
            }
        }
    }
}

/// Where a client goes on whose request came to nothing at connection `at`: at the next, which is another server's.
async fn go_on(shared: &RefCell<Shared<'_>>, connections: usize, at: usize) -> usize {
    shared.borrow_mut().lost();
    tokio::time::sleep(RETRY_PAUSE).await;
    (at + 1) % connections
}

impl<'a> Shared<'a> {
    fn new(load: &'a Load, workload: &'a Workload, control: &'a Control, start: Instant) -> Self {
        Self {
            load,
            workload,
            control,
            picker: match load.keys {
                Keys::EachOnce => Picker::Sequence(0..workload.keys()),
                Keys::Random(pick) => Picker::new(pick, workload, load.first_version.wrapping_mul(1024)),
            },
            reads: Random::new(0x7265_6164),
            remaining: load.count,
            next_version: load.first_version,
            version_step: u64::from(load.keys != Keys::EachOnce),
            outcome: Outcome::new(start),
            deadline: load.duration.map(|duration| start + duration),
            last_reply: start,
            is_over: false,
        }
    }

    /// None where the run is over.
    fn next_batch(&mut self) -> Option<Batch> {
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if self.is_over || is_late || self.control.is_stopped() {
            return None;
        }
        if self.load.read_share >= 1.0 || (self.load.read_share > 0.0 && self.reads.unit() < self.load.read_share) {
            return self.next_number().map(Batch::Read);
        }
        let mut writes: Vec<(u64, u64)> = Vec::with_capacity(self.load.pipeline);
        // A transaction must not have a key twice. Where there are few keys it stays shorter.
        for _ in 0..2 * self.load.pipeline {
            if writes.len() == self.load.pipeline {
                break;
            }
            let Some(number) = self.next_number() else { break };
            if writes.iter().all(|(other, _)| *other != number) {
                writes.push((number, self.next_version));
                self.next_version += self.version_step;
            } else if let Some(remaining) = &mut self.remaining {
                *remaining += 1;
            }
        }
        (!writes.is_empty()).then_some(Batch::Writes(writes))
    }

    fn next_number(&mut self) -> Option<u64> {
        if self.remaining == Some(0) {
            return None;
        }
        let number = self.picker.next_number()?;
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        Some(number)
    }

    fn answered(&mut self, sent: Instant, requests: u64, missing: u64) {
        let now = Instant::now();
        self.last_reply = now;
        self.control.add_answered(requests);
        self.outcome.record(sent, now, requests, missing);
        if self.load.rate.is_some() {
            self.outcome.samples.push((now - self.outcome.start, now - sent, requests));
        }
    }

    fn lost(&mut self) {
        self.outcome.lost += 1;
        // Checked before the next batch.
        self.is_over |= self.load.on_loss == OnLoss::End;
    }
}
