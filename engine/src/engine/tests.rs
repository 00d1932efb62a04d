//! The engine on a real and on a simulated disk.

mod checkpoints;
mod full_disk;
mod install;
mod model;
mod restore;
mod threads;

use super::{Engine, EngineOptions, Identity};
use crate::command::{Command, Put, PutMode, Range, RangeQuery, Reply, Transaction};
use crate::env::Environment;
use crate::evaluate::Context;
use crate::position::{Instance, Revision};
use bytes::Bytes;
use std::sync::Arc;

fn options() -> EngineOptions {
    EngineOptions { segments: 4, log_file_len: 1 << 20, max_value_len: 100_000, ..EngineOptions::default() }
}

fn context(number: u64) -> Context {
    Context { revision: Instance::new(number).unwrap().revision(0), now_ms: 1_000, max_value_len: 100_000 }
}

fn put(engine: &Engine, number: u64, key: &str, value: impl Into<Bytes>) {
    let command = Command::Put(Put::new(PutMode::Upsert, Bytes::from(key.to_string()), value));
    let reply = engine.execute(&command, context(number)).unwrap();
    assert_eq!(reply, Reply::Written(context(number).revision));
}

fn get(engine: &Engine, key: &str) -> Option<Vec<u8>> {
    engine.read(key.as_bytes(), 1_000, |stored| stored.map(|stored| stored.value.to_vec())).unwrap()
}

fn keys(reply: Reply) -> Vec<String> {
    let Reply::Entries { entries, .. } = reply else { panic!("{reply:?}") };
    entries.iter().map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()).collect()
}

#[test]
fn a_checkpoint_brings_the_state_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let expected: Vec<String> = (0..3000).map(|number| format!("key:{number:05}")).collect();
    {
        let (engine, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
        for (number, key) in expected.iter().enumerate() {
            put(&engine, number as u64 + 1, key, format!("value {number}"));
        }
        for number in 0..1500 {
            put(&engine, 3001 + number, &expected[number as usize], "again");
        }
        while engine.maintain(&|_| ()).unwrap() {}
        let cut = engine.cut(Instance::new(4500).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new());
        engine.checkpoint(&cut, true).unwrap();
        put(&engine, 4501, "lost", "not in the checkpoint, and not in a log");
    }
    let (engine, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
    assert_eq!(opened.manifest.instance.get(), 4500);
    assert_eq!(engine.installed_count(), 0);
    assert_eq!(engine.key_count(), 3000);
    assert_eq!(get(&engine, "lost"), None);
    for (number, key) in expected.iter().enumerate() {
        let value = if number < 1500 { "again".into() } else { format!("value {number}") };
        assert_eq!(get(&engine, key), Some(value.into_bytes()), "{key}");
    }
    let all = engine.execute(&Command::ReadRange(RangeQuery::new(Range::all(), 10_000)), context(5000)).unwrap();
    assert_eq!(keys(all), expected);
    for segment in 0..4 {
        engine.scrub(segment).unwrap();
    }
}

#[test]
fn compaction_keeps_what_is_live_and_a_pinned_cut_keeps_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let engine = Arc::new(engine);
    for number in 0..1000 {
        put(&engine, number + 1, &format!("k{number:04}"), vec![1; 1000]);
    }
    let pinned = engine.pin(Instance::new(1000).unwrap(), 1_000);
    for round in 0..4 {
        for number in 0..1000 {
            // Ever longer: a version of the same length would be overwritten.
            let value = vec![2; 1000 + 8 * round as usize];
            put(&engine, 2000 + round * 1000 + number, &format!("k{number:04}"), value);
        }
    }
    for number in 0..500 {
        let key = Bytes::from(format!("k{number:04}"));
        engine.execute(&Command::Delete { key, condition: None }, context(10_000 + number)).unwrap();
    }
    let before = engine.segment_cuts();
    while engine.maintain(&|_| ()).unwrap() {}
    let after = engine.segment_cuts();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.totals, after.totals);
        assert!(after.generation > before.generation && after.length < before.length / 4);
    }
    assert_eq!((get(&engine, "k0499"), get(&engine, "k0500")), (None, Some(vec![2; 1024])));
    let query = Command::ReadRange(RangeQuery { limit: 5000, ..RangeQuery::new(Range::all(), 0) });
    let Reply::Entries { entries, .. } = pinned.read(&query).unwrap() else { panic!() };
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|entry| entry.version.value == vec![1; 1000]));
    assert_eq!(pinned.read_key(b"k0001", |stored| stored.unwrap().value[0]).unwrap(), 1);
    assert_eq!(keys(engine.execute(&query, context(20_000)).unwrap()).len(), 500);
    drop(pinned);
}

/// What the cut needs would stay on the disk all the same.
#[test]
fn while_a_cut_is_pinned_only_what_is_nearly_all_dead_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let engine = Arc::new(engine);
    let overwrite = |round: usize| {
        for number in 0..1000 {
            let instance = 1 + round as u64 * 1000 + number;
            put(&engine, instance, &format!("k{number:04}"), vec![1; 1000 + 8 * round]);
        }
    };
    overwrite(0);
    let pinned = engine.pin(Instance::new(1000).unwrap(), 1_000);
    (1..3).for_each(overwrite);
    assert!(!engine.maintain(&|_| ()).unwrap(), "two thirds are dead");
    drop(pinned);
    assert!(engine.maintain(&|_| ()).unwrap());
}

#[test]
fn a_flush_empties_everything_and_scans_see_all_keys_once() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    for number in 0..5000 {
        put(&engine, number + 1, &format!("k{number}"), "v");
        if number == 3000 {
            while engine.maintain(&|_| ()).unwrap() {}
        }
    }
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let command = Command::Scan { cursor, limit: 10, pattern: None };
        let Reply::Scanned { keys, cursor: next } = engine.execute(&command, context(6000)).unwrap() else { panic!() };
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found.len(), 5000);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 5000);
    engine.execute(&Command::Flush, context(7000)).unwrap();
    assert_eq!((engine.key_count(), get(&engine, "k1")), (0, None));
    put(&engine, 7001, "k1", "new");
    assert_eq!(get(&engine, "k1"), Some(b"new".to_vec()));
    let revision = engine.read(b"k1", 0, |stored| stored.unwrap().revision).unwrap();
    assert!(revision > Revision::ZERO);
}

#[test]
fn a_transaction_of_single_keys_locks_no_more_than_their_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let write = |key: &'static str| Command::Put(Put::new(PutMode::Upsert, key, "v"));
    let delete = Command::Delete { key: "a".into(), condition: None };
    let commands = vec![write("a"), delete, write("b")];
    let transaction = Transaction { preconditions: Vec::new(), commands, all_or_nothing: true };
    let reply = engine.execute(&Command::Transaction(transaction), context(1)).unwrap();
    assert!(matches!(reply, Reply::Transaction(replies) if replies.len() == 3));
    assert_eq!((get(&engine, "a"), get(&engine, "b"), engine.key_count()), (None, Some(b"v".to_vec()), 1));
}

#[test]
fn what_waits_to_be_installed_needs_no_maintenance() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let (engine, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
    put(&engine, 1, "k", "v");
    engine
        .checkpoint(&engine.cut(Instance::new(1).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new()), true)
        .unwrap();
    drop((engine, opened));
    let (engine, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
    assert!(!engine.maintain(&|_| ()).unwrap());
    engine.refresh_images(0).unwrap();
    engine.scrub(0).unwrap();
    engine
        .checkpoint(&engine.cut(Instance::new(2).unwrap(), 1_000, opened.writer.end(), Vec::new(), Vec::new()), true)
        .unwrap();
    assert_eq!(engine.installed_count(), 0);
    assert_eq!(get(&engine, "k"), Some(b"v".to_vec()));
}

#[test]
fn replicas_that_are_made_with_one_identity_have_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity { cluster: 7, seed: 8 };
    let options = EngineOptions { identity: Some(identity), ..options() };
    let open = |name: &str, options| Engine::open(Environment::real(), &folder.path().join(name), options).unwrap().0;
    let (first, second) = (open("first", options), open("second", options));
    assert_eq!(first.format().shape, second.format().shape);
    assert_eq!((first.format().shape.cluster, first.format().shape.seed), (7, 8));
    assert_ne!(first.format().directory, second.format().directory);
    let other = open("third", self::options());
    assert_ne!(other.format().shape.cluster, open("fourth", self::options()).format().shape.cluster);
    drop(other);
    // A directory that is there is what it is.
    let shape = open("third", options).format().shape;
    assert_ne!((shape.cluster, shape.seed), (7, 8));
}

#[test]
fn what_the_order_keeps_comes_back_with_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let (engine, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
    assert!(opened.manifest.ordering.is_empty());
    let cut = engine.cut(Instance::new(1).unwrap(), 1_000, opened.writer.end(), Vec::new(), b"promise".to_vec());
    engine.checkpoint(&cut, false).unwrap();
    drop((engine, opened));
    let (_, opened) = Engine::open(Environment::real(), &root, options()).unwrap();
    assert_eq!(opened.manifest.ordering, b"promise");
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let refusal = |root: &std::path::Path| match Engine::open(Environment::real(), root, options()) {
        Ok(_) => panic!("opened"),
        Err(fault) => fault.to_string(),
    };
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("notes.txt"), "x").unwrap();
    assert!(refusal(&root).contains("notes.txt"));
    std::fs::remove_file(root.join("notes.txt")).unwrap();
    let (engine, _) = Engine::open(Environment::real(), &root, options()).unwrap();
    assert!(refusal(&root).contains("in use"));
    drop(engine);
    std::fs::write(root.join("notes.txt"), "x").unwrap();
    assert!(refusal(&root).contains("notes.txt"));
    std::fs::remove_file(root.join("notes.txt")).unwrap();
    std::fs::write(root.join("log/notes.txt"), "x").unwrap();
    assert!(refusal(&root).contains("notes.txt"));
    std::fs::remove_file(root.join("log/notes.txt")).unwrap();
    let manifest = root.join("checkpoints/0000000000000000/MANIFEST");
    std::fs::rename(&manifest, folder.path().join("aside")).unwrap();
    let text = refusal(&root);
    assert!(text.contains("MANIFEST is damaged at offset 0: the file is missing"), "{text}");
    std::fs::rename(folder.path().join("aside"), &manifest).unwrap();
    std::fs::remove_dir_all(root.join("log")).unwrap();
    assert!(refusal(&root).contains("deleted in part"));
    std::fs::create_dir(root.join("log")).unwrap();
    assert!(refusal(&root).contains("missing"));
    std::fs::remove_file(root.join("FORMAT")).unwrap();
    assert!(refusal(&root).contains("deleted in part"));
    assert!(refusal(&folder.path().join("data/LOCK")).contains("not a folder"));
}

#[test]
fn a_transaction_that_writes_locks_only_the_segments_of_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Engine::open(Environment::real(), &folder.path().join("data"), options()).unwrap();
    let commands = |count: usize| {
        let mut commands = vec![
            Command::Increment { key: "n".into(), by: 5 },
            Command::Delete { key: "n".into(), condition: None },
            Command::Increment { key: "n".into(), by: 7 },
        ];
        commands.extend((0..count).map(|_| Command::Count));
        commands
    };
    let transaction = |commands| {
        Command::Transaction(crate::command::Transaction { preconditions: Vec::new(), commands, all_or_nothing: true })
    };
    let reply = engine.execute(&transaction(commands(0)), context(1)).unwrap();
    assert_eq!(reply, Reply::Transaction(vec![Reply::Integer(5), Reply::Integer(1), Reply::Integer(7)]));
    let Reply::Transaction(replies) = engine.execute(&transaction(commands(1)), context(2)).unwrap() else { panic!() };
    assert_eq!(replies.last(), Some(&Reply::Integer(1)), "with a count among them it locks everything");
}
