//! A closed-loop load generator: each connection sends a batch of requests, waits for all their replies and
//! sends the next batch, at once or, with a rate, when its turn has come. With a rate a batch counts from its turn, so
//! that a server that stands still does not make its own latencies fewer.
//!
//! Client and server share the machine's few cores, so a request must cost the generator little: one thread (or
//! few) over epoll, one write a batch, one clock reading a batch and one a read. All requests of a batch count
//! from the moment it was sent, as in redis-benchmark.
//!
//! ```text
//!  run ── worker thread ──┬── connection: idle → batch sent → all replies in → next batch … → finished
//!      ── worker thread … └── connection
//! ```
//!
//! A run ends by count, by time or when it is told to stop; batches under way are waited for, so every request that
//! was sent is either answered and counted or makes the run fail. Where servers are killed meanwhile, a connection
//! that is lost can end the run instead, or go on at the next server: see [`OnLoss`]. Only loopback addresses are
//! accepted: this tool saturates whatever it is pointed at.

mod connection;
#[cfg(feature = "etcd")]
pub mod etcd;
mod timeline;
mod worker;

pub use timeline::Timeline;

use crate::histogram::Latencies;
use crate::resp::Malformed;
use crate::workload::{Pick, Workload};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why a run produced no result.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The address isn't this machine's own.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// Neither count nor duration bounds the run, or there is nothing to send with.
    #[error("a run needs a bound (count or duration), an address, connections and a pipeline depth of at least one")]
    Unbounded,
    /// The connection failed or was closed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server sent something else than replies.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server refused a request.
    #[error("the server refused a request: {0}")]
    Refused(String),
    /// The server answered a read with another value than was written.
    #[error("wrong value for key number {0}")]
    WrongValue(u64),
    /// A reply of a kind the request doesn't have.
    #[error("unexpected reply: {0}")]
    Unexpected(String),
    /// No reply for a long time.
    #[error("no reply within {0:?}")]
    Stalled(Duration),
}

/// Which keys are touched, in which order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keys {
    /// Every key once, in the order of their numbers; bounds the run by itself.
    EachOnce,
    /// Drawn at random.
    Random(Pick),
}

/// Whether writes count when the server answers them, or when Redis says (`WAIT 1`) that a replica has them, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// An answered write counts.
    Never,
    /// Behind each write.
    AfterEach,
    /// Behind the last write of a batch.
    AfterBatch,
}

/// What a connection that failed, was closed or was refused does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// The run fails.
    Fail,
    /// The run ends, unless it was a refusal: for a server that is killed meanwhile.
    End,
    /// The client goes on at the next address after a pause of milliseconds, with another request; what was under
    /// way counts neither as answered nor as failure. A refusal that says it won't last is taken like that as well.
    Retry,
}

/// What to send, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the servers listen; connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// Connections, spread over the threads.
    pub connections: usize,
    /// Requests of a batch.
    pub pipeline: usize,
    /// Worker threads.
    pub threads: usize,
    /// Share of requests that read, 0 to 1; the others write.
    pub read_share: f64,
    /// Which keys.
    pub keys: Keys,
    /// Ends the run after this many requests.
    pub count: Option<u64>,
    /// Ends the run after this time.
    pub duration: Option<Duration>,
    /// Counts as failure after this time without any reply.
    pub patience: Duration,
    /// What counts as written.
    pub wait: Wait,
    /// What comes of a lost connection.
    pub on_loss: OnLoss,
    /// With [`OnLoss::Retry`]: a batch without all its replies after this time is given up, and its client goes on as if
    /// the connection were lost.
    pub give_up_after: Option<Duration>,
    /// Number of the first version that is written.
    pub first_version: u64,
    /// Requests a second of all connections together; without, as many as there can be.
    pub rate: Option<f64>,
}

impl Load {
    /// Uniform updates, one request at a time on one connection and one thread, without bound yet.
    pub fn updates(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            connections: 1,
            pipeline: 1,
            threads: 1,
            read_share: 0.0,
            keys: Keys::Random(Pick::Uniform),
            count: None,
            duration: None,
            patience: Duration::from_secs(60),
            wait: Wait::Never,
            on_loss: OnLoss::Fail,
            give_up_after: None,
            first_version: 1,
            rate: None,
        }
    }

    /// Writes every key once, quickly.
    pub fn fill(address: SocketAddr) -> Self {
        Self { connections: 16, pipeline: 64, keys: Keys::EachOnce, first_version: 0, ..Self::updates(address) }
    }

    /// With its connections spread over these servers.
    pub fn over(self, addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, ..self }
    }

    /// With this many connections.
    pub fn connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// With this many requests a batch.
    pub fn pipeline(self, pipeline: usize) -> Self {
        Self { pipeline, ..self }
    }

    /// With this share of reads.
    pub fn read_share(self, read_share: f64) -> Self {
        Self { read_share, ..self }
    }

    /// With versions from here on; distinguishes several runs against one server.
    pub fn first_version(self, first_version: u64) -> Self {
        Self { first_version, ..self }
    }

    /// Bounded by time.
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// With so many requests a second, of all connections together.
    pub fn rate(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// Time between two turns of a connection.
    fn interval(&self) -> Option<Duration> {
        let batches = |rate: f64| rate / (self.pipeline * self.connections) as f64;
        self.rate.map(|rate| Duration::from_secs_f64(1.0 / batches(rate.max(1.0))))
    }

    /// Bounded by count.
    pub fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Bounded, with something to send with, and pointed at this machine.
    fn check(&self) -> Result<(), LoadError> {
        if let Some(foreign) = self.addresses.iter().find(|address| !address.ip().is_loopback()) {
            return Err(LoadError::NotLoopback(*foreign));
        }
        let is_bounded = self.count.is_some() || self.duration.is_some() || self.keys == Keys::EachOnce;
        let is_empty = self.connections == 0 || self.pipeline == 0 || self.threads == 0 || self.addresses.is_empty();
        if is_bounded && !is_empty { Ok(()) } else { Err(LoadError::Unbounded) }
    }
}

/// What others see of a run, and say to it, while it goes on.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Control {
    /// Ends the run: no more batches are sent.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Requests that were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn add_answered(&self, requests: u64) {
        self.answered.fetch_add(requests, Ordering::Relaxed);
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// When the run began; [`Timeline`] counts from here.
    pub start: Instant,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// Requests that were answered.
    pub requests: u64,
    /// Reads among them that found no value.
    pub missing: u64,
    /// Latency of every answered request.
    pub latencies: Latencies,
    /// Counts and longest latencies by time of the reply.
    pub timeline: Timeline,
    /// Connections that were lost or refused; more than one only with [`OnLoss::Retry`].
    pub lost: u64,
    /// What came, one after the other, if the load has a rate: when since the start, after which time, how many replies.
    pub samples: Vec<(Duration, Duration, u64)>,
}

impl Outcome {
    fn new(start: Instant) -> Self {
        Self {
            start,
            elapsed: Duration::ZERO,
            requests: 0,
            missing: 0,
            latencies: Latencies::new(),
            timeline: Timeline::default(),
            lost: 0,
            samples: Vec::new(),
        }
    }

    /// A quantile of latencies of replies that came within a window, of a load with a rate.
    pub fn quantile(&self, window: std::ops::Range<Duration>, share: f64) -> Duration {
        let mut within: Vec<(Duration, u64)> =
            self.samples.iter().filter(|(at, ..)| window.contains(at)).map(|(_, latency, n)| (*latency, *n)).collect();
        within.sort_unstable();
        let mut left = (within.iter().map(|(_, replies)| replies).sum::<u64>() as f64 * share) as u64;
        let found = within.iter().find(|(_, replies)| {
            let is_it = left < *replies;
            left = left.saturating_sub(*replies);
            is_it
        });
        found.or(within.last()).map_or(Duration::ZERO, |(latency, _)| *latency)
    }

    /// Adds the replies of a batch that was sent at `sent` and came at `now`.
    fn record(&mut self, sent: Instant, now: Instant, replies: u64, missing: u64) {
        let latency = now.saturating_duration_since(sent);
        self.requests += replies;
        self.missing += missing;
        self.latencies.record(latency, replies);
        self.timeline.record(now.saturating_duration_since(self.start), latency, replies);
    }

    /// Answered requests a second.
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs `load` to its end.
pub fn run(load: &Load, workload: &Workload) -> Result<Outcome, LoadError> {
    run_until(load, workload, &Control::default())
}

/// Runs `load` until its end or until `control` stops it.
pub fn run_until(load: &Load, workload: &Workload, control: &Control) -> Result<Outcome, LoadError> {
    load.check()?;
    let threads = load.threads.min(load.connections);
    let workers = (0..threads)
        .map(|index| worker::Worker::connect(load, workload, index, threads))
        .collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(move || worker.run(start, control))).collect();
        running.into_iter().map(|thread| thread.join().expect("a load worker panicked")).collect()
    });
    let mut whole = Outcome::new(start);
    for outcome in outcomes {
        let outcome = outcome?;
        whole.elapsed = whole.elapsed.max(outcome.elapsed);
        whole.requests += outcome.requests;
        whole.missing += outcome.missing;
        whole.latencies.merge(&outcome.latencies);
        whole.timeline.merge(&outcome.timeline);
        whole.lost += outcome.lost;
        whole.samples.extend(outcome.samples);
    }
    Ok(whole)
}
