//! Loads an engine within this process and measures its reads and updates.

use crate::histogram::Latencies;
use crate::peers::{Embedded, EngineError};
use crate::workload::{Pick, Picker, Workload};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Pairs that are loaded at once: 1 MiB of values of 1 KiB, large enough to make a commit cheap.
const LOAD_BATCH: u64 = 1024;
/// Operations between two looks at the clock, where operations aren't timed: the look costs a tenth of a read.
const OPERATIONS_PER_LOOK: u64 = 16;

/// A measurement failed.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A key that was written has no value, or another key's.
    #[error("key number {0} has no value or a wrong one")]
    WrongValue(u64),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads of existing keys.
    Read,
    /// Updates of existing keys.
    Update,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Completed operations of all threads.
    pub operations: u64,
    /// From the start to the end of the last operation.
    pub elapsed: Duration,
    /// Latencies, where they were asked for.
    pub latencies: Option<Latencies>,
}

impl Outcome {
    /// Operations a second.
    pub fn throughput(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }
}

/// How long and with what to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Reads or updates.
    pub operation: Operation,
    /// Threads, each in a closed loop.
    pub threads: u64,
    /// Time after which threads stop.
    pub duration: Duration,
    /// Whether to time each operation: for slow ones, since it costs two looks at the clock.
    pub timed: bool,
    /// Sets apart the key sequences and versions of several measurements on one engine; not zero.
    pub stretch: u64,
}

/// Writes every key once, as `version`, and makes it durable.
pub fn fill(engine: &dyn Embedded, workload: &Workload, version: u64) -> Result<(), EngineError> {
    let mut start = 0;
    while start < workload.keys() {
        let end = workload.keys().min(start + LOAD_BATCH);
        let pair = |number| {
            let mut value = Vec::with_capacity(workload.value_bytes());
            workload.append_value(number, version, &mut value);
            (workload.key(number), value)
        };
        engine.put_many(&(start..end).map(pair).collect::<Vec<_>>())?;
        start = end;
    }
    engine.flush()
}

/// Reads every key once, to fill caches, or as many as fit into `limit`.
pub fn warm_up(engine: &dyn Embedded, workload: &Workload, limit: Duration) -> Result<(), EmbeddedError> {
    let deadline = Instant::now() + limit;
    let mut value = Vec::new();
    for number in 0..workload.keys() {
        read(engine, workload, number, &mut value)?;
        if number % OPERATIONS_PER_LOOK == 0 && Instant::now() >= deadline {
            break;
        }
    }
    Ok(())
}

/// Reads a key and checks in full that it is the key's own and unaltered.
pub fn read_checked(engine: &dyn Embedded, workload: &Workload, number: u64) -> Result<u64, EmbeddedError> {
    let mut value = Vec::new();
    let found = engine.get(&workload.key(number), &mut value)?;
    let version = if found { workload.check_value(number, &value) } else { None };
    version.ok_or(EmbeddedError::WrongValue(number))
}

fn read(engine: &dyn Embedded, workload: &Workload, number: u64, value: &mut Vec<u8>) -> Result<(), EmbeddedError> {
    let found = engine.get(&workload.key(number), value)?;
    if !found || workload.check_header(number, value).is_none() {
        return Err(EmbeddedError::WrongValue(number));
    }
    Ok(())
}

/// Carries out `plan`.
pub fn run(engine: &dyn Embedded, workload: &Workload, plan: &Plan) -> Result<Outcome, EmbeddedError> {
    let start = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|index| scope.spawn(move || run_thread(engine, workload, plan, index, start)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a measuring thread panicked")).collect()
    });
    let mut whole = Outcome { operations: 0, elapsed: Duration::ZERO, latencies: plan.timed.then(Latencies::new) };
    for outcome in outcomes {
        let outcome = outcome?;
        whole.operations += outcome.operations;
        whole.elapsed = whole.elapsed.max(outcome.elapsed);
        if let (Some(whole), Some(part)) = (&mut whole.latencies, &outcome.latencies) {
            whole.merge(part);
        }
    }
    Ok(whole)
}

fn run_thread(
    engine: &dyn Embedded,
    workload: &Workload,
    plan: &Plan,
    index: u64,
    start: Instant,
) -> Result<Outcome, EmbeddedError> {
    let deadline = start + plan.duration;
    let mut picker = Picker::new(Pick::Uniform, workload, plan.stretch.wrapping_mul(1024) + index);
    let mut version = (plan.stretch << 40) + index;
    let mut value = Vec::with_capacity(workload.value_bytes());
    let mut latencies = plan.timed.then(Latencies::new);
    let mut operations = 0;
    let mut before = Instant::now();
    while let Some(number) = picker.next_number() {
        match plan.operation {
            Operation::Read => read(engine, workload, number, &mut value)?,
            Operation::Update => {
                value.clear();
                workload.append_value(number, version, &mut value);
                version += plan.threads;
                engine.put(&workload.key(number), &value)?;
            }
        }
        operations += 1;
        if let Some(latencies) = &mut latencies {
            let now = Instant::now();
            latencies.record(now - before, 1);
            before = now;
        } else if operations % OPERATIONS_PER_LOOK == 0 {
            before = Instant::now();
        } else {
            continue;
        }
        if before >= deadline {
            break;
        }
    }
    Ok(Outcome { operations, elapsed: start.elapsed(), latencies })
}
