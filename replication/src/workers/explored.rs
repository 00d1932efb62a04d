//! The hand-over under explored orders of events: its file is compiled a second time here, with a lock and a condition
//! variable that hand the turn to another thread wherever one could get it. A thread that is not woken though there is work
//! for it shows as a deadlock.

use super::{Batch, Done, Work, learn_cost};

mod sync {
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// Stands still: what is tried again must go the same way.
    pub(super) fn now_ns() -> u64 {
        0
    }
}

#[allow(clippy::duplicate_mod, reason = "with other primitives: that is what this module is for")]
#[path = "hub.rs"]
mod hub;

use crate::batch::LocalCommand;
use crate::executor::Executor;
use crate::scheduler::{Footprints, Kind, build};
use hub::Hub;
use shuttle::sync::{Condvar, Mutex};
use skink_engine::command::{Command, Put, PutMode, Reply};
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::position::{Instance, Revision};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Orders that are tried of each case.
const ITERATIONS: usize = 400;

/// A map whose writes answer with the revision before: what another order would change.
#[derive(Default)]
struct Map {
    values: Mutex<HashMap<Vec<u8>, Revision>>,
    is_full: AtomicBool,
    panics: bool,
}

impl Executor for Map {
    fn execute(&self, command: &Command, revision: Revision, _time_ms: u64) -> Result<Reply, Fault> {
        shuttle::thread::yield_now();
        let Command::Put(put) = command else { return Ok(Reply::Done) };
        if &put.value[..] == b"large" && self.is_full.load(Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(Fault::Full { action: "writing", path: "map".into(), source });
        }
        if self.panics && &put.value[..] == b"large" {
            // A panic that is not printed.
            std::panic::resume_unwind(Box::new("out of bounds"));
        }
        let previous = self.values.lock().unwrap().insert(put.key.to_vec(), revision);
        Ok(Reply::Written(previous.unwrap_or(Revision::ZERO)))
    }
}

fn put(key: &'static str, value: &'static str) -> Command {
    Command::Put(Put::new(PutMode::Upsert, key, value))
}

/// What the pool's owner waits by.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.has_rung.lock().unwrap() = true;
        self.rings.notify_all();
    }

    fn wait(&self) {
        let mut has_rung = self.has_rung.lock().unwrap();
        while !std::mem::take(&mut *has_rung) {
            has_rung = self.rings.wait(has_rung).unwrap();
        }
    }
}

struct Case {
    hub: Arc<Hub>,
    bell: Arc<Bell>,
    threads: Vec<shuttle::thread::JoinHandle<()>>,
    batches: u64,
}

impl Case {
    fn start(kind: Kind, workers: usize, map: &Arc<Map>) -> Case {
        let bell = Arc::new(Bell::default());
        let rings = Arc::clone(&bell);
        let executor: Arc<dyn Executor + Send + Sync> = Arc::<Map>::clone(map);
        let hub = Arc::new(Hub::new(build(kind, workers), workers, executor, Box::new(move || rings.ring())));
        let threads = (0..workers).map(|worker| {
            let hub = Arc::clone(&hub);
            shuttle::thread::spawn(move || hub.work(worker))
        });
        let threads = threads.collect();
        Case { hub, bell, threads, batches: 0 }
    }

    fn submit(&mut self, commands: &[Command]) {
        self.batches += 1;
        let instance = Instance::new(self.batches).unwrap();
        let local = |command: &Command| LocalCommand { command: command.clone(), is_ordered: true };
        let work = Work { instance, time_ms: 0, commands: commands.iter().map(local).collect() };
        let footprints = Footprints::of(commands, |key| KeyHash::of(key, 1));
        self.hub.submit(Batch::new(work, Vec::new()), &footprints, None);
    }

    /// Waits until all is done; `before` is called each time before it waits.
    fn drain(&self, before: impl Fn()) -> Result<Vec<Done>, Fault> {
        let mut done = Vec::new();
        loop {
            self.hub.drain_completed(&mut done)?;
            if done.len() as u64 == self.batches {
                return Ok(done);
            }
            before();
            self.bell.wait();
        }
    }

    fn stop(self) {
        self.hub.close();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Four batches: writes of one key in all of them, and others between.
fn submit_some(case: &mut Case) {
    case.submit(&[put("a", ""), put("b", "")]);
    case.submit(&[put("c", ""), put("a", "large"), put("d", "")]);
    case.submit(&[put("a", "")]);
    case.submit(&[put("b", ""), Command::Count, put("a", "")]);
}

/// What that answers, one by one.
fn expected() -> Vec<Vec<Reply>> {
    let at = |instance, index| Reply::Written(Instance::new(instance).unwrap().revision(index));
    let none = || Reply::Written(Revision::ZERO);
    vec![vec![none(), none()], vec![none(), at(1, 0), none()], vec![at(2, 1)], vec![at(1, 1), Reply::Done, at(3, 0)]]
}

fn check(done: Vec<Done>) {
    let instances: Vec<u64> = done.iter().map(|done| done.instance.get()).collect();
    assert_eq!(instances, [1, 2, 3, 4]);
    assert_eq!(done.into_iter().map(|done| done.replies).collect::<Vec<_>>(), expected());
}

fn explore(case: impl Fn(Kind, usize) + Send + Sync + Copy + 'static) {
    for kind in [Kind::Table, Kind::Bitmap { bits: 64 }, Kind::Graph, Kind::Sequential] {
        for workers in [2, 3] {
            shuttle::check_random(move || case(kind, workers), ITERATIONS);
            shuttle::check_pct(move || case(kind, workers), ITERATIONS, 3);
        }
    }
}

#[test]
fn batches_are_done_in_their_order_with_their_replies() {
    explore(|kind, workers| {
        let map = Arc::new(Map::default());
        let mut case = Case::start(kind, workers, &map);
        submit_some(&mut case);
        check(case.drain(|| ()).unwrap());
        assert!(case.hub.is_idle());
        case.stop();
    });
}

#[test]
fn what_met_a_full_disk_is_tried_again_and_then_the_rest_comes() {
    explore(|kind, workers| {
        let map = Arc::new(Map { is_full: AtomicBool::new(true), ..Map::default() });
        let mut case = Case::start(kind, workers, &map);
        submit_some(&mut case);
        let done = case.drain(|| {
            if case.hub.stalled().is_some() {
                map.is_full.store(false, Ordering::SeqCst);
                case.hub.retry();
            }
        });
        check(done.unwrap());
        assert!(!map.is_full.load(Ordering::SeqCst), "it did stall");
        case.stop();
    });
}

#[test]
fn a_panic_stops_all_with_a_message() {
    explore(|kind, workers| {
        let map = Arc::new(Map { panics: true, ..Map::default() });
        let mut case = Case::start(kind, workers, &map);
        submit_some(&mut case);
        let Err(fault) = case.drain(|| ()) else { panic!("it is not done") };
        assert!(fault.to_string().contains("a worker panicked") && fault.to_string().contains("out of bounds"));
        assert!(case.hub.drain_completed(&mut Vec::new()).is_err(), "it stays stopped");
        // Workers end by themselves.
        case.threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn it_can_be_stopped_at_any_time() {
    explore(|kind, workers| {
        let map = Arc::new(Map::default());
        let mut case = Case::start(kind, workers, &map);
        submit_some(&mut case);
        case.stop();
    });
}
