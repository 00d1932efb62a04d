//! Restoring backups on a simulated disk: the state of the cut, or nothing that can be opened.

mod damage;
mod interrupted;

use super::model::{check, instance};
use super::{get, options, put};
use crate::command::Command;
use crate::engine::{Engine, EngineOptions, RestoreInfo};
use crate::env::sim::{SimDisk, environment};
use crate::env::{Disk, Environment, Open};
use crate::evaluate::Context;
use crate::manifest::{Manifest, ProxyPosition};
use crate::position::Instance;
use crate::testing::model::{Model, agree};
use crate::testing::strategies::{MAX_VALUE_LEN, START_MS, Step, history};
use crate::verify::verify;
use proptest::proptest;
use proptest::test_runner::Config;
use std::path::Path;

const LOG_FILE_LEN: u64 = 128 << 10;
const PROXIES: [ProxyPosition; 1] = [ProxyPosition { proxy: 3, incarnation: 8, sequence: 21 }];

fn data() -> &'static Path {
    Path::new("/data")
}

fn backup() -> &'static Path {
    Path::new("/backups/today")
}

fn target() -> &'static Path {
    Path::new("/restored")
}

fn restore(environment: &Environment) -> Result<RestoreInfo, crate::engine::RestoreError> {
    Engine::restore(environment, backup(), target(), Some(LOG_FILE_LEN))
}

fn open(environment: &Environment, root: &Path) -> Result<Engine, crate::error::Fault> {
    let options =
        EngineOptions { segments: 3, log_file_len: LOG_FILE_LEN, max_value_len: 4096, ..EngineOptions::default() };
    Engine::open(environment.clone(), root, options).map(|(engine, _)| engine)
}

/// Copies a checkpoint's folder as any program would: whole files, the tails that don't count included.
fn copy_folder(disk: &SimDisk, from: &Path, to: &Path) {
    disk.create_folder(to).unwrap();
    for name in disk.list(from).unwrap() {
        let bytes = disk.read(&from.join(&name), u64::MAX).unwrap();
        let file = disk.open(&to.join(&name), Open::CreateNew).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    for folder in [to, Path::new("/backups"), Path::new("/")] {
        disk.sync_folder(folder).unwrap();
    }
}

/// A disk with a backup, in which there are records before and after its images, and the state that it holds.
fn with_backup(seed: u64) -> (Environment, SimDisk, Model) {
    let (environment, disk, _) = environment(seed, 1 << 20);
    let mut model = Model::new();
    let (engine, opened) = (
        open(&environment, data()).unwrap(),
        Manifest::read(&disk, &Manifest::folder(&data().join("checkpoints"), Instance::ZERO)).unwrap(),
    );
    let mut number = 0;
    let mut write = |keys: std::ops::Range<u32>, value: &str| {
        for key in keys {
            number += 1;
            let context = Context { revision: instance(number).revision(0), now_ms: 1_000, max_value_len: 4096 };
            let key = format!("key {key}");
            let command = match key.ends_with('7') {
                true => Command::Delete { key: key.into(), condition: None },
                false => Command::Put(crate::command::Put::new(
                    crate::command::PutMode::Upsert,
                    key,
                    format!("{value} {number}"),
                )),
            };
            let expected = model.execute(&command, context);
            assert!(agree(&expected, &engine.execute(&command, context).unwrap()));
        }
        number
    };
    write(0..30, "first");
    engine.refresh_images(0).unwrap();
    let done = write(20..40, "second");
    let cut = engine.cut(instance(done), 1_000, opened.log_position, PROXIES.to_vec(), Vec::new());
    engine.checkpoint(&cut, false).unwrap();
    copy_folder(&disk, &Manifest::folder(&data().join("checkpoints"), instance(done)), backup());
    (environment, disk, model)
}

/// What was restored is what the backup holds, and can be worked with.
fn assert_restored(environment: &Environment, model: &Model, label: &str) {
    let report = verify(environment, target()).unwrap();
    assert!(report.is_clean(), "{label}: {:?}", report.damage);
    let engine = open(environment, target()).unwrap();
    assert_eq!(engine.format().shape.segments, 3, "{label}");
    let context = Context { revision: instance(0).revision(0), now_ms: 0, max_value_len: 4096 };
    check(model, 0, |command| engine.execute(command, context).unwrap());
}

#[test]
fn a_restored_directory_is_one_of_its_own_at_the_cut_of_the_backup() {
    let (environment, disk, model) = with_backup(1);
    let original = open(&environment, data()).unwrap();
    let restored = restore(&environment).unwrap();
    assert_eq!((restored.instance, restored.segment_files), (instance(50), 3));
    assert_eq!(restored.live_records, model.entries().len() as u64);
    assert!(restored.bytes > 3 * 4096 && restored.damaged_images.is_empty());
    assert_restored(&environment, &model, "restored");

    let (engine, opened) = Engine::open(environment.clone(), target(), options()).unwrap();
    assert_eq!((opened.manifest.instance, opened.manifest.time_ms), (instance(50), 1_000));
    assert_eq!(opened.manifest.proxies, PROXIES, "ids that were executed stay known");
    assert!(opened.log.frames.is_empty() && opened.log.torn == 0 && opened.manifest.is_clean_stop);
    let (ours, theirs) = (engine.format().shape, original.format().shape);
    assert_eq!((ours.seed, ours.max_value_len), (theirs.seed, theirs.max_value_len));
    assert!(ours.cluster != theirs.cluster && engine.format().directory != original.format().directory);
    // It takes the backup's images along, and nothing that does not count.
    let names = disk.list(&Manifest::folder(&target().join("checkpoints"), instance(50))).unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".idx")).count(), 3, "{names:?}");
    put(&engine, 51, "new", "value");
    let cut = engine.cut(instance(51), 2_000, opened.writer.end(), Vec::new(), Vec::new());
    engine.checkpoint(&cut, true).unwrap();
    drop((engine, opened));
    let engine = open(&environment, target()).unwrap();
    assert_eq!(get(&engine, "new"), Some(b"value".to_vec()));
    assert_eq!(get(&original, "new"), None);
}

#[test]
fn a_backup_that_the_server_made_is_restored_too() {
    let folder = tempfile::tempdir().unwrap();
    let [root, copy, target] = ["data", "copy", "restored"].map(|name| folder.path().join(name));
    let environment = Environment::real();
    let (engine, opened) = Engine::open(environment.clone(), &root, options()).unwrap();
    // Longer than what is read at a time, and shorter.
    for number in 0..40 {
        put(&engine, number + 1, &format!("k{number}"), vec![number as u8; 60_000 + number as usize]);
    }
    engine.checkpoint(&engine.cut(instance(40), 1_000, opened.writer.end(), Vec::new(), Vec::new()), false).unwrap();
    let made = engine.backup(&copy).unwrap();
    let restored = Engine::restore(&environment, &copy, &target, None).unwrap();
    assert_eq!((restored.instance, restored.bytes), (made.instance, made.bytes));
    assert!(verify(&environment, &target).unwrap().is_clean());
    let (engine, _) = Engine::open(environment.clone(), &target, options()).unwrap();
    assert_eq!(engine.format().log_file_len, EngineOptions::default().log_file_len);
    for number in 0..40 {
        assert_eq!(get(&engine, &format!("k{number}")), Some(vec![number as u8; 60_000 + number as usize]));
    }
    let refusal = Engine::restore(&environment, &copy, &target, None).unwrap_err();
    assert!(refusal.to_string().contains("in use") && !refusal.is_half_restored, "{refusal}");
    drop(engine);
    let refusal = Engine::restore(&environment, &copy, &target, None).unwrap_err();
    assert!(refusal.to_string().contains("data directory already") && !refusal.is_half_restored, "{refusal}");
    assert!(Engine::open(environment, &target, options()).is_ok());
}

#[test]
fn log_files_hold_the_longest_value_of_the_backup() {
    use crate::engine::create::{check_log_file_len, fitting_log_file_len};
    assert_eq!(fitting_log_file_len(16 << 20), 64 << 20);
    for max_value_len in [0, 1, 16 << 20, 64 << 20, 512 << 20] {
        check_log_file_len(fitting_log_file_len(max_value_len), max_value_len).unwrap();
    }
    let (environment, disk, _) = with_backup(1);
    for (len, what) in [(100_000, "multiple of 4096"), (32 << 10, "make log files longer")] {
        let refusal = Engine::restore(&environment, backup(), target(), Some(len)).unwrap_err();
        assert!(refusal.to_string().contains(what) && !refusal.is_half_restored, "{refusal}");
    }
    assert!(disk.metadata(target()).is_err());
}

proptest! {
    #![proptest_config(Config { cases: 100, ..Config::default() })]

    #[test]
    fn what_is_restored_goes_on_from_the_cut(
        before in history(1..=60), after in history(1..=30), with_images in proptest::bool::ANY
    ) {
        let (environment, disk, _) = environment(5, 1 << 20);
        let (engine, opened) = Engine::open(
            environment.clone(),
            data(),
            EngineOptions { segments: 3, log_file_len: LOG_FILE_LEN, max_value_len: MAX_VALUE_LEN as u32, ..EngineOptions::default() },
        ).unwrap();
        let mut model = Model::new();
        for Step { command, context } in &before {
            model.execute(command, *context);
            engine.execute(command, *context).unwrap();
        }
        if with_images {
            engine.refresh_images(0).unwrap();
        }
        let cut = engine.cut(instance(before.len()), START_MS, opened.writer.end(), PROXIES.to_vec(), Vec::new());
        engine.checkpoint(&cut, false).unwrap();
        copy_folder(&disk, &Manifest::folder(&data().join("checkpoints"), cut.instance), backup());
        // What comes after the cut is no part of the backup.
        for Step { command, context } in after.iter().rev() {
            engine.execute(command, *context).unwrap();
        }
        restore(&environment).unwrap();
        assert_restored(&environment, &model, "restored");
        let engine = open(&environment, target()).unwrap();
        for Step { command, context } in after {
            let expected = model.execute(&command, context);
            let reply = engine.execute(&command, context).unwrap();
            assert!(agree(&expected, &reply), "{command:?}\nexpected {expected:?}\nbut got {reply:?}");
        }
    }
}
