//! Histories executed by the engine on a simulated disk and by the model: the same replies, the same state, with
//! maintenance, checkpoints, crashes and pinned cuts in between.

use crate::command::{Command, Range, RangeQuery, Reply};
use crate::engine::{Engine, EngineOptions, PinnedCut};
use crate::env::Environment;
use crate::env::sim::{SimDisk, environment};
use crate::evaluate::Context;
use crate::log::LogWriter;
use crate::position::{Instance, LogPosition};
use crate::segment::{Content, Totals, compact, content_digest, record_len};
use crate::testing::model::{Model, agree};
use crate::testing::state::scan_all;
use crate::testing::strategies::{MAX_VALUE_LEN, Step, history};
use crate::verify::verify;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::proptest;
use proptest::test_runner::Config;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Maintain,
    Compact,
    Cut,
    Checkpoint,
    Reopen,
    Pin,
    Unpin,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        20 => Just(Between::Nothing),
        2 => Just(Between::Maintain),
        2 => Just(Between::Compact),
        2 => Just(Between::Cut),
        2 => Just(Between::Checkpoint),
        1 => Just(Between::Reopen),
        2 => Just(Between::Pin),
        1 => Just(Between::Unpin),
    ]
}

struct World {
    environment: Environment,
    disk: SimDisk,
    engine: Arc<Engine>,
    writer: LogWriter,
    model: Model,
    done: Vec<Step>,
    cut: Option<(crate::engine::Cut, usize, Model)>,
    /// How many steps the newest checkpoint has.
    checkpointed: usize,
    pins: Vec<(PinnedCut, Model, u64)>,
}

fn open(environment: &Environment) -> (Arc<Engine>, LogWriter, Instance) {
    let options =
        EngineOptions { segments: 3, log_file_len: 128 << 10, max_value_len: 4096, ..EngineOptions::default() };
    let (engine, opened) = Engine::open(environment.clone(), Path::new("/data"), options).unwrap();
    (Arc::new(engine), opened.writer, opened.manifest.instance)
}

/// The revisions of a history count commands; as instances they have room for it.
pub(super) fn instance(done: usize) -> Instance {
    Instance::new(done as u64).unwrap()
}

impl World {
    fn new() -> World {
        let (environment, disk, _) = environment(3, 4 << 20);
        let (engine, writer, _) = open(&environment);
        let (model, done, pins) = (Model::new(), Vec::new(), Vec::new());
        World { environment, disk, engine, writer, model, done, cut: None, checkpointed: 0, pins }
    }

    fn now_ms(&self) -> u64 {
        self.done.last().map_or(0, |step| step.context.now_ms)
    }

    fn step(&mut self, step: Step) {
        let expected = self.model.execute(&step.command, step.context);
        let reply = self.engine.execute(&step.command, step.context).unwrap();
        assert!(agree(&expected, &reply), "{:?}\nexpected {expected:?}\nbut got {reply:?}", step.command);
        self.done.push(step);
    }

    fn between(&mut self, what: Between) {
        match what {
            Between::Nothing => {}
            Between::Maintain => {
                while self.engine.maintain(&|_| ()).unwrap() {}
                self.engine.refresh_images(0).unwrap();
            }
            Between::Compact => self.compact(),
            Between::Cut => {
                let end = self.writer.end();
                let cut = self.engine.cut(instance(self.done.len()), self.now_ms(), end, Vec::new(), Vec::new());
                self.cut = Some((cut, self.done.len(), self.model.clone()));
            }
            Between::Checkpoint => self.checkpoint(),
            Between::Reopen => self.reopen(),
            Between::Pin => {
                let pin = self.engine.pin(instance(self.done.len()), self.now_ms());
                self.pins.push((pin, self.model.clone(), self.now_ms()));
            }
            Between::Unpin => {
                if !self.pins.is_empty() {
                    self.pins.remove(self.done.len() % self.pins.len());
                }
            }
        }
        self.check_pins();
    }

    /// Compacts every segment, worth it or not.
    fn compact(&self) {
        for segment in &self.engine.segments {
            let generation = self.engine.new_generation();
            let is_pinned = || !self.pins.is_empty();
            if let Some(old) = compact(segment, generation, &self.engine.layout, &is_pinned, &|_| ()).unwrap() {
                self.engine.garbage.lock().push(self.engine.place.segment_path(segment.id(), old.generation), 0);
            }
        }
    }

    fn checkpoint(&mut self) {
        let Some((cut, done, model)) = self.cut.take() else { return };
        let info = self.engine.checkpoint(&cut, false).unwrap();
        self.checkpointed = done;
        let totals = self.totals(&model);
        let sum = totals.iter().fold(0_u64, |sum, totals| sum.wrapping_add(totals.digest));
        assert_eq!((info.digest, info.live_records), (sum, model.entries().len() as u64), "S3");
        assert_eq!(cut.segments.iter().map(|cut| cut.totals).collect::<Vec<_>>(), totals, "S3");
        let report = verify(&self.environment, Path::new("/data")).unwrap();
        assert!(report.is_clean(), "{:?}", report.damage);
    }

    /// What each segment holds, computed from the model.
    fn totals(&self, model: &Model) -> Vec<Totals> {
        let mut all = vec![Totals::default(); 3];
        for (key, version) in model.entries() {
            let hash = self.engine.hash(key);
            let content = Content {
                value: Some(&version.value),
                revision: version.revision,
                expires_at_ms: version.expires_at_ms,
            };
            let totals = &mut all[hash.segment(3).index()];
            totals.live_records += 1;
            totals.live_bytes += record_len(key.len(), version.value.len());
            totals.expiring_records += u64::from(version.expires_at_ms != 0);
            totals.digest = totals.digest.wrapping_add(content_digest(key, &content, hash.get()));
        }
        all
    }

    /// The process ends; the next one executes again what the checkpoint doesn't have.
    fn reopen(&mut self) {
        self.pins.clear();
        self.cut = None;
        self.disk.kill();
        let (engine, writer, at) = open(&self.environment);
        assert_eq!(at, instance(self.checkpointed));
        (self.engine, self.writer) = (engine, writer);
        for step in &self.done[self.checkpointed..] {
            self.engine.execute(&step.command, step.context).unwrap();
        }
        self.check_all();
    }

    fn check_all(&self) {
        let context = Context { revision: instance(0).revision(0), now_ms: 0, max_value_len: MAX_VALUE_LEN };
        check(&self.model, 0, |command| self.engine.execute(command, context).unwrap());
        assert_eq!(
            self.engine.segment_cuts().iter().map(|cut| cut.totals).collect::<Vec<_>>(),
            self.totals(&self.model)
        );
        for segment in 0..3 {
            self.engine.scrub(segment).unwrap();
        }
    }

    fn check_pins(&self) {
        for (pin, model, now_ms) in &self.pins {
            check(model, *now_ms, |command| pin.read(command).unwrap());
            for (key, _) in self.model.entries().iter().chain(model.entries()) {
                let found = pin.read_key(key, |stored| stored.map(|stored| stored.to_versioned())).unwrap();
                assert_eq!(found.as_ref(), model.get(key, *now_ms), "{key:?} at {:?}", pin.instance());
            }
        }
    }
}

/// Ranges, scans and counts give what the model has at this time.
pub(super) fn check(model: &Model, now_ms: u64, mut execute: impl FnMut(&Command) -> Reply) {
    let reply = execute(&Command::ReadRange(RangeQuery::new(Range::all(), u32::MAX)));
    let Reply::Entries { entries, next: None } = reply else { panic!("{reply:?}") };
    let found: Vec<_> = entries.iter().map(|entry| (entry.key.as_ref(), &entry.version)).collect();
    assert_eq!(found, model.visible(now_ms).collect::<Vec<_>>());
    let mut scanned = scan_all(2, None, &mut execute);
    scanned.sort();
    assert_eq!(scanned, model.visible(now_ms).map(|(key, _)| key).collect::<Vec<_>>());
    assert_eq!(execute(&Command::Count), Reply::Integer(model.entries().len() as i64));
}

proptest! {
    #![proptest_config(Config { cases: 250, ..Config::default() })]

    #[test]
    fn the_engine_does_what_the_model_says(steps in history(1..=80), between in vec(between(), 80)) {
        let mut world = World::new();
        for (step, between) in steps.into_iter().zip(between) {
            world.step(step);
            world.between(between);
        }
        world.check_all();
        world.between(Between::Cut);
        world.checkpoint();
        world.reopen();
        assert!(world.writer.end() > LogPosition::ZERO);
    }
}
