//! The pool with real threads, held to execution one by one.

use super::{Done, Options, Pool, Work};
use crate::batch::LocalCommand;
use crate::executor::{self, Executor, execute_in_order};
use crate::scheduler::Kind;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_engine::command::{Command, Put, PutMode, Reply, Transaction};
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::position::{Instance, Revision};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Long enough for whatever a test waits for, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
const KINDS: [Kind; 4] = [Kind::Table, Kind::Bitmap { bits: 512 }, Kind::Graph, Kind::Sequential];

/// A map of revisions. Writes answer with the revision before, reads with the present one, what is over everything with a sum
/// of all.
#[derive(Default)]
struct Map {
    parts: [Mutex<BTreeMap<Vec<u8>, Revision>>; 8],
    is_full: AtomicBool,
    executed: AtomicUsize,
}

impl Map {
    fn part(&self, key: &[u8]) -> &Mutex<BTreeMap<Vec<u8>, Revision>> {
        &self.parts[key.iter().map(|byte| usize::from(*byte)).sum::<usize>() % self.parts.len()]
    }

    fn single(&self, command: &Command, revision: Revision) -> Reply {
        match command {
            Command::Put(put) => {
                let previous = self.part(&put.key).lock().insert(put.key.to_vec(), revision);
                Reply::Written(previous.unwrap_or(Revision::ZERO))
            }
            Command::Read { key } => {
                Reply::Written(self.part(key).lock().get(&key[..]).copied().unwrap_or(Revision::ZERO))
            }
            Command::Flush => {
                let sum = |part: &Mutex<BTreeMap<Vec<u8>, Revision>>| -> u64 {
                    std::mem::take(&mut *part.lock()).values().map(|revision| revision.get()).sum()
                };
                Reply::Integer(self.parts.iter().map(sum).sum::<u64>() as i64)
            }
            _ => Reply::Done,
        }
    }
}

impl Executor for Map {
    fn execute(&self, command: &Command, revision: Revision, _time_ms: u64) -> Result<Reply, Fault> {
        if !command.is_read_only() && self.is_full.load(Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(Fault::Full { action: "writing", path: "map".into(), source });
        }
        self.executed.fetch_add(1, Ordering::SeqCst);
        Ok(match command {
            Command::Transaction(transaction) => {
                Reply::Transaction(transaction.commands.iter().map(|command| self.single(command, revision)).collect())
            }
            Command::Sweep { keys } if keys.is_empty() => std::panic::resume_unwind(Box::new("a bug".to_owned())),
            single => self.single(single, revision),
        })
    }
}

fn put(key: u32) -> Command {
    Command::Put(Put::new(PutMode::Upsert, format!("key {key}"), ""))
}

fn single_command(random: &mut StdRng) -> Command {
    let key = if random.random_bool(0.3) { random.random_range(0..4) } else { random.random_range(0..10_000) };
    if random.random_bool(0.5) { put(key) } else { Command::Read { key: format!("key {key}").into() } }
}

fn command(random: &mut StdRng) -> LocalCommand {
    let command = match random.random_range(0..100) {
        0 => Command::Flush,
        1..10 => {
            let commands = (0..random.random_range(0..10)).map(|_| single_command(random)).collect();
            Command::Transaction(Transaction { preconditions: Vec::new(), commands, all_or_nothing: true })
        }
        _ => single_command(random),
    };
    let is_ordered = !command.is_read_only() || random.random_bool(0.5);
    LocalCommand { command, is_ordered }
}

fn work(instance: u64, commands: Vec<LocalCommand>) -> Work {
    Work { instance: Instance::new(instance).unwrap(), time_ms: 0, commands }
}

fn hash(key: &[u8]) -> KeyHash {
    KeyHash::of(key, 1)
}

fn ordered(commands: impl IntoIterator<Item = Command>) -> Vec<LocalCommand> {
    commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect()
}

struct Bench {
    pool: Pool,
    map: Arc<Map>,
    rings: Arc<AtomicUsize>,
}

fn start(workers: usize, scheduler: Kind, inline_below_ns: u64) -> Bench {
    let (map, rings) = (Arc::new(Map::default()), Arc::new(AtomicUsize::new(0)));
    let (executor, ringing) = (Arc::clone(&map), Arc::clone(&rings));
    let options = Options { workers, scheduler, pin: workers == 2, inline_below_ns };
    let notify = move || {
        ringing.fetch_add(1, Ordering::SeqCst);
    };
    Bench { pool: Pool::start(&options, executor, notify).unwrap(), map, rings }
}

impl Bench {
    fn submit(&mut self, instance: u64, commands: Vec<LocalCommand>) {
        self.pool.submit(work(instance, commands), hash);
    }

    fn drain_all(&mut self) -> Result<Vec<Done>, Fault> {
        let mut done = Vec::new();
        let end = Instant::now() + PATIENCE;
        while self.pool.in_flight() > 0 {
            self.pool.drain_completed(&mut done)?;
            assert!(Instant::now() < end, "{} batches are not done", self.pool.in_flight());
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(done)
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Bench) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

#[test]
fn threads_give_what_one_by_one_gives() {
    for (seed, kind) in (0_u64..).zip(KINDS) {
        for (workers, inline_below_ns) in [(0, 0), (1, 0), (2, 0), (2, 2_000), (4, 0), (4, u64::MAX)] {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut bench, model) = (start(workers, kind, inline_below_ns), Map::default());
            let (mut done, mut expected) = (Vec::new(), Vec::new());
            for batch in 1..=400 {
                let commands: Vec<_> = (0..random.random_range(0..60)).map(|_| command(&mut random)).collect();
                // Not every instance is a batch of commands.
                let work = work(batch * 3, commands);
                let view = executor::Work { instance: work.instance, time_ms: work.time_ms, commands: &work.commands };
                let mut replies = Vec::new();
                execute_in_order(&view, &model, &mut replies).unwrap();
                expected.push((work.instance, replies));
                bench.pool.submit(work, hash);
                if random.random_bool(0.2) {
                    bench.pool.drain_completed(&mut done).unwrap();
                }
            }
            done.extend(bench.drain_all().unwrap());
            let done: Vec<_> = done.into_iter().map(|done| (done.instance, done.replies)).collect();
            assert_eq!(done, expected, "{kind}, {workers} workers");
            for (part, other) in bench.map.parts.iter().zip(&model.parts) {
                assert_eq!(*part.lock(), *other.lock());
            }
            assert!(bench.pool.is_idle());
        }
    }
}

#[test]
fn the_owner_is_called_once_until_it_drains() {
    let mut bench = start(2, Kind::Table, 0);
    for instance in 1..=50 {
        bench.submit(instance, ordered([put(1), put(2)]));
    }
    bench.wait("all is executed", |bench| bench.pool.is_idle());
    bench.wait("the owner is called", |bench| bench.rings.load(Ordering::SeqCst) > 0);
    assert_eq!((bench.rings.load(Ordering::SeqCst), bench.pool.in_flight()), (1, 50));
    assert_eq!(bench.drain_all().unwrap().len(), 50);
}

#[test]
fn a_full_disk_holds_up_writes_until_it_is_tried_again() {
    for (workers, inline_below_ns) in [(0, 0), (1, 0), (2, 0), (2, u64::MAX)] {
        for kind in KINDS {
            let mut bench = start(workers, kind, inline_below_ns);
            bench.map.is_full.store(true, Ordering::SeqCst);
            let read = || Command::Read { key: "key 9".into() };
            bench.submit(1, ordered([read(), put(1), put(2)]));
            bench.submit(2, ordered([read(), put(1)]));
            bench.wait("it stalls", |bench| bench.pool.stalled().is_some_and(|text| text.contains("disk is full")));
            bench.pool.retry();
            bench.wait("it stalls again", |bench| bench.pool.stalled().is_some());
            let mut done = Vec::new();
            bench.pool.drain_completed(&mut done).unwrap();
            assert!(done.is_empty() && !bench.pool.is_idle());
            bench.map.is_full.store(false, Ordering::SeqCst);
            // What stalled in the meantime is tried again as well.
            let end = Instant::now() + PATIENCE;
            while !bench.pool.is_idle() && Instant::now() < end {
                bench.pool.retry();
                std::thread::sleep(Duration::from_millis(1));
            }
            let done = bench.drain_all().unwrap();
            let at = |instance, index| Reply::Written(Instance::new(instance).unwrap().revision(index));
            let none = || Reply::Written(Revision::ZERO);
            assert_eq!(done[0].replies, [none(), none(), none()]);
            assert_eq!(done[1].replies, [none(), at(1, 1)], "{kind}, {workers} workers");
            assert_eq!(bench.map.executed.load(Ordering::SeqCst), 5, "each is executed once");
            assert_eq!(bench.pool.stalled(), None);
        }
    }
}

#[test]
fn a_panic_stops_the_pool_and_what_was_done_before_is_given_out() {
    let mut bench = start(2, Kind::Table, 0);
    bench.submit(1, ordered([put(1)]));
    bench.wait("the first one is executed", |bench| bench.pool.is_idle());
    bench.submit(2, ordered([put(1), Command::Sweep { keys: Vec::new() }]));
    bench.wait("the owner is called", |bench| bench.rings.load(Ordering::SeqCst) > 0);
    let mut done = Vec::new();
    let end = Instant::now() + PATIENCE;
    let fault = loop {
        match bench.pool.drain_completed(&mut done) {
            Err(fault) => break fault.to_string(),
            Ok(()) => assert!(Instant::now() < end, "the panic is reported"),
        }
    };
    assert_eq!(fault, "a worker panicked, so that execution stops: a bug; this is a bug, please report it");
    assert_eq!(done.len(), 1);
    bench.submit(3, ordered([put(1)]));
    let fault = bench.pool.drain_completed(&mut done).unwrap_err().to_string();
    assert_eq!((fault.as_str(), done.len()), ("execution has stopped at an earlier fault", 1));
}

#[test]
fn dropping_a_pool_waits_for_what_it_is_at_and_for_nothing_else() {
    for kind in KINDS {
        let mut bench = start(3, kind, 0);
        for instance in 1..=200 {
            bench.submit(instance, ordered((0..20).map(|key| put(key % 7))));
        }
        drop(bench.pool);
        let executed = bench.map.executed.load(Ordering::SeqCst);
        assert!(executed <= 4_000);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(bench.map.executed.load(Ordering::SeqCst), executed, "nobody works any more");
    }
}
