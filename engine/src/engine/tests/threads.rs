//! Commands, maintenance and pins on several threads.

use super::{context, options, put};
use crate::command::{Command, Range, RangeQuery, Reply};
use crate::engine::Engine;
use crate::env::Environment;
use crate::position::Instance;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when it goes, also when that is as a test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls `work` until `commands` has returned.
pub(super) fn meanwhile(commands: impl FnOnce(), work: impl Fn() + Send + Sync) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                work();
            }
        });
        let _done = Done(&is_done);
        commands();
    });
}

#[test]
fn a_flush_and_a_compaction_never_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let commands = || {
        for round in 0..12 {
            // Half of each file is dead soon, so that there is always something to compact.
            for number in 0..400 {
                put(&engine, round * 1000 + number + 1, &format!("k{:02}", number % 20), vec![1; 10_000]);
            }
            assert_eq!(engine.execute(&Command::Flush, context(round * 1000 + 999)).unwrap(), Reply::Done);
        }
    };
    meanwhile(commands, || {
        engine.maintain(&|_| ()).unwrap();
    });
    assert_eq!(engine.key_count(), 0);
}

#[test]
fn letting_go_of_a_pin_takes_nothing_from_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let engine = Arc::new(engine);
    let read = |number: u64| {
        let pinned = engine.pin(Instance::new(number).unwrap(), 1_000);
        engine.execute(&Command::Flush, context(number)).unwrap();
        put(&engine, number + 1, "k", "v");
        let query = Command::ReadRange(RangeQuery::new(Range::all(), 10));
        let Reply::Entries { entries, .. } = pinned.read(&query).unwrap() else { panic!() };
        assert!(entries.len() <= 1);
    };
    let commands = || (1..2000).for_each(|number| read(number * 10));
    meanwhile(commands, || drop(engine.pin(Instance::ZERO, 1_000)));
}
