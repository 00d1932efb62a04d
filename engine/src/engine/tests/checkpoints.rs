//! Checkpoints on a simulated disk, interrupted everywhere.

use super::{context, get, put};
use crate::command::Command;
use crate::engine::{Engine, EngineOptions};
use crate::env::Environment;
use crate::env::sim::{Faults, SimDisk, environment};
use crate::position::Instance;
use crate::verify::verify;
use std::path::Path;

fn options() -> EngineOptions {
    EngineOptions { segments: 2, log_file_len: 128 << 10, max_value_len: 1000, ..EngineOptions::default() }
}

fn root() -> &'static Path {
    Path::new("/data")
}

fn checkpoint(environment: &Environment, instance: u64) -> bool {
    let Ok((engine, opened)) = Engine::open(environment.clone(), root(), options()) else { return false };
    let cut = engine.cut(Instance::new(instance).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new());
    engine.checkpoint(&cut, true).is_ok()
}

/// Cuts the power in every change that `work` makes; `work` says whether it came to an end.
fn cut_everywhere(before: impl Fn(&Environment), work: impl Fn(&Environment) -> bool, after: impl Fn(&Environment)) {
    for seed in 0..8 {
        let mut changes = 0;
        loop {
            let (environment, disk, _): (_, SimDisk, _) = environment(seed, 4 << 20);
            before(&environment);
            disk.set_faults(Faults { changes_until_power_cut: Some(changes), ..Faults::default() });
            let is_done = work(&environment);
            disk.power_cut();
            after(&environment);
            if is_done {
                break;
            }
            changes += 1;
        }
    }
}

#[test]
fn replacing_the_only_checkpoint_never_leaves_none() {
    // Nothing was ordered before the stop: the checkpoint has the instance of the one that is there.
    cut_everywhere(
        |environment| drop(Engine::open(environment.clone(), root(), options()).unwrap()),
        |environment| checkpoint(environment, 0),
        |environment| {
            let (engine, opened) = Engine::open(environment.clone(), root(), options()).unwrap();
            assert_eq!((opened.manifest.instance, engine.key_count()), (Instance::ZERO, 0));
        },
    );
}

#[test]
fn a_checkpoint_that_is_dropped_is_dropped_as_a_whole() {
    cut_everywhere(
        |environment| {
            let (engine, opened) = Engine::open(environment.clone(), root(), options()).unwrap();
            for instance in 1..3 {
                put(&engine, instance, &format!("k{instance}"), "v");
                put(&engine, instance, "both", format!("{instance}"));
                engine.refresh_images(0).unwrap();
                let cut =
                    engine.cut(Instance::new(instance).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new());
                engine.checkpoint(&cut, true).unwrap();
            }
        },
        |environment| checkpoint(environment, 3),
        |environment| {
            let report = verify(environment, root()).unwrap();
            assert!(report.is_clean() && !report.checkpoints.is_empty(), "{:?}", report.damage);
            let (engine, _) = Engine::open(environment.clone(), root(), options()).unwrap();
            assert_eq!((get(&engine, "k1"), get(&engine, "both")), (Some(b"v".to_vec()), Some(b"2".to_vec())));
            assert!(environment.disk.list(&root().join("checkpoints")).unwrap().len() <= 3);
        },
    );
}

#[test]
fn a_cut_that_waits_for_its_checkpoint_keeps_its_files() {
    let (environment, _, _) = environment(1, 4 << 20);
    let (engine, opened) = Engine::open(environment.clone(), root(), options()).unwrap();
    let cut =
        |instance| engine.cut(Instance::new(instance).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new());
    let flush = |instance| engine.execute(&Command::Flush, context(instance)).unwrap();
    put(&engine, 1, "a", "1");
    let first = cut(1);
    flush(2);
    put(&engine, 3, "b", "2");
    // The second one is taken, and its files are replaced, while the first is still being made durable.
    let second = cut(3);
    flush(4);
    engine.checkpoint(&first, false).unwrap();
    engine.checkpoint(&second, false).unwrap();
    assert!(verify(&environment, root()).unwrap().is_clean());
    // Nothing needs what both flushes replaced any more.
    engine.checkpoint(&cut(5), false).unwrap();
    assert_eq!(environment.disk.list(&root().join("segments")).unwrap(), Vec::<String>::new());
}
