//! A full disk: refusals that change nothing and leave nothing behind, and background work that comes to an end.

use super::{context, get, put};
use crate::command::{Command, Put, PutMode, Transaction};
use crate::engine::{Engine, EngineOptions};
use crate::env::Disk;
use crate::env::sim::{Faults, SimDisk, environment};
use std::path::Path;

fn open(segments: u16) -> (Engine, SimDisk) {
    let (environment, disk, _) = environment(1, 64 << 20);
    let options = EngineOptions { segments, log_file_len: 1 << 20, max_value_len: 500_000, ..EngineOptions::default() };
    let (engine, _) = Engine::open(environment, Path::new("/data"), options).unwrap();
    (engine, disk)
}

/// Leaves so many bytes free.
fn fill(disk: &SimDisk, free: u64) {
    let used: u64 = disk.paths().iter().map(|path| disk.metadata(path).unwrap().len).sum();
    disk.set_faults(Faults { capacity: used + free, ..Faults::default() });
}

#[test]
fn a_refused_flush_changes_nothing_and_leaves_no_files() {
    let (engine, disk) = open(4);
    for number in 0..100 {
        put(&engine, number + 1, &format!("k{number}"), "v");
    }
    let flush = Command::Transaction(Transaction {
        preconditions: Vec::new(),
        commands: vec![Command::Flush, Command::Put(Put::new(PutMode::Upsert, "new", vec![1; 100_000]))],
        all_or_nothing: true,
    });
    let paths = disk.paths();
    for free in [0, 50_000, 120_000, 300_000] {
        fill(&disk, free);
        for _ in 0..3 {
            assert!(engine.execute(&flush, context(200)).unwrap_err().is_transient());
            assert_eq!(disk.paths(), paths);
            assert_eq!(engine.key_count(), 100);
        }
    }
    disk.set_faults(Faults::default());
    assert!(!engine.execute(&flush, context(200)).unwrap().is_failure());
    assert_eq!((engine.key_count(), get(&engine, "k1"), get(&engine, "new")), (1, None, Some(vec![1; 100_000])));
}

#[test]
fn maintenance_comes_to_an_end_without_room_for_an_image() {
    let (engine, disk) = open(1);
    for number in 0..120 {
        put(&engine, number + 1, &format!("k{number}"), vec![1; 90_000]);
    }
    fill(&disk, 0);
    let steps = (0..20).take_while(|_| engine.maintain(&|_| ()).unwrap_or(false)).count();
    assert!(steps <= 1, "{steps} pieces of the same work");
    assert_eq!(get(&engine, "k7"), Some(vec![1; 90_000]));
    // What could not be written is written when there is room, before the process stops.
    disk.set_faults(Faults::default());
    engine.refresh_images(1000).unwrap();
    assert_eq!(disk.list(Path::new("/data/images")).unwrap(), ["0000.0.idx"]);
}

#[test]
fn a_refused_compaction_leaves_the_segment_as_it_was() {
    let (engine, disk) = open(1);
    for number in 0..200 {
        // Ever longer: a version of the same length would be overwritten, and nothing be there to compact.
        put(&engine, number + 1, &format!("k{}", number % 50), vec![number as u8; 10_000 + number as usize]);
    }
    let before = engine.segment_cuts();
    for free in [0, 10_000, 400_000] {
        fill(&disk, free);
        assert!(engine.maintain(&|_| ()).unwrap_err().is_transient());
        assert_eq!(engine.segment_cuts(), before);
    }
    let refused = disk.paths().iter().filter(|path| path.starts_with("/data/segments")).count();
    assert_eq!(refused, 1, "what was begun takes room from what is tried next");
    disk.set_faults(Faults::default());
    while engine.maintain(&|_| ()).unwrap() {}
    assert_eq!(engine.segment_cuts()[0].totals, before[0].totals);
    assert_eq!(get(&engine, "k49"), Some(vec![199; 10_199]));
}

#[test]
fn a_start_without_much_room_removes_first_what_it_puts_aside() {
    let (engine, disk) = open(4);
    for number in 0..100 {
        put(&engine, number + 1, &format!("k{number}"), vec![1; 10_000]);
    }
    let aside = engine.directory().segments_aside();
    let is_there = |disk: &SimDisk| disk.list(&aside).is_ok_and(|names| !names.is_empty());
    let environment = engine.environment().clone();
    drop(engine);
    let options = EngineOptions { segments: 4, ..EngineOptions::default() };
    let reopen = || Engine::open(environment.clone(), Path::new("/data"), options).unwrap();
    drop(reopen());
    assert!(is_there(&disk), "it is removed in the background");
    let (engine, _) = reopen();
    put(&engine, 1000, "k", vec![1; 10_000]);
    drop(engine);
    fill(&disk, 2 << 20);
    drop(reopen());
    assert!(!is_there(&disk));
}
