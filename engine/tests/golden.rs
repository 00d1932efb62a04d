//! Files on disk as each version has them, byte for byte: what old programs wrote is read, and what is written is the same.
//!
//! The fixtures in `tests/golden` are data directories and a log, without the zeros at the ends of the preallocated
//! files. After a deliberate change of a format `SKINK_REGENERATE_GOLDEN=1 cargo test --workspace --test golden written`
//! writes them anew. Old ones must stay readable, so that is a new folder next to this version's: in `version-2` is the
//! directory, whose manifest differs from that of version 1. The log is the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use skink_engine::command::{Command, Condition, Expiry, ExpiryRule, Put, PutMode, Range, RangeQuery, Reply};
use skink_engine::engine::{Engine, EngineOptions};
use skink_engine::env::sim::{SimClock, SimDisk};
use skink_engine::env::{Disk, Environment, Open};
use skink_engine::evaluate::Context;
use skink_engine::log::{BodyReader, FrameKind, LogFiles, LogOptions, LogWriter, scan};
use skink_engine::manifest::{Manifest, ProxyPosition};
use skink_engine::position::{Instance, LogPosition};
use skink_engine::verify::verify;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: usize = 4096;
/// The directory that is written, and the one whose manifest is read besides.
const DIRECTORY: &str = "version-2/directory";
const OLD_DIRECTORY: &str = "version-1/directory";
const LOG: &str = "version-1/log";
const TIME_MS: u64 = 1_700_000_000_000;
const OPTIONS: EngineOptions =
    EngineOptions { segments: 2, log_file_len: 128 << 10, max_value_len: 16 << 10, identity: None };
const LOG_OPTIONS: LogOptions = LogOptions { file_len: 8 * BLOCK as u64, spares: 0 };

fn root() -> &'static Path {
    Path::new("/data")
}

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// An empty simulated disk, and random numbers that count: what depends on a generator would change with it.
fn environment() -> (Environment, SimDisk) {
    let disk = SimDisk::new(1, 1 << 20);
    let next = AtomicU64::new(0x1122_3344_5566_7700);
    let environment = Environment {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(SimClock::default()),
        random: Arc::new(move || next.fetch_add(1, Ordering::Relaxed)),
    };
    (environment, disk)
}

/// Files that are preallocated: their length is no part of the format.
fn is_preallocated(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg" || extension == "log")
}

/// The files below a folder of the simulated disk, by their names from there.
fn files_of(disk: &SimDisk, folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for path in disk.paths() {
        let Ok(name) = path.strip_prefix(folder) else { continue };
        if !is_wanted(name) {
            continue;
        }
        let mut bytes = disk.read(&path, u64::MAX).unwrap();
        if is_preallocated(name) {
            let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end.next_multiple_of(BLOCK));
        }
        files.insert(name.to_path_buf(), bytes);
    }
    files
}

/// Compares the files with the fixtures, or writes the fixtures where that is asked for.
fn expect_fixtures(name: &str, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let folder = fixtures(name);
    if std::env::var_os("SKINK_REGENERATE_GOLDEN").is_some_and(|value| value == "1") {
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        for (path, bytes) in files {
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), bytes).unwrap();
        }
    }
    let expected = read_fixtures(name);
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, bytes) in files {
        let expected = &expected[path];
        let first = bytes.iter().zip(expected).position(|(byte, expected)| byte != expected);
        assert!(bytes == expected, "{} differs from its fixture, first at byte {first:?}", path.display());
    }
}

fn read_fixtures(name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let top = fixtures(name);
    let (mut files, mut folders) = (BTreeMap::new(), vec![top.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(&top).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Puts fixtures on a simulated disk.
fn put_fixtures(disk: &SimDisk, name: &str) {
    for (path, bytes) in read_fixtures(name) {
        let path = root().join(path);
        disk.create_folder(path.parent().unwrap()).unwrap();
        let file = disk.open(&path, Open::CreateNew).unwrap();
        file.allocate(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    }
}

fn put(mode: PutMode, key: &str, value: &'static [u8], expiry: Expiry) -> Command {
    Command::Put(Put { expiry, ..Put::new(mode, Bytes::copy_from_slice(key.as_bytes()), value) })
}

/// What is executed before the images are made: each kind of record, and enough keys for a bucket to overflow.
fn before_images() -> Vec<Command> {
    let mut commands = vec![
        put(PutMode::Create, "a", b"first", Expiry::Never),
        put(PutMode::Create, "", b"the empty key", Expiry::Never),
        put(PutMode::Create, "expires", b"at a time", Expiry::AtMs(1_900_000_000_123)),
        put(PutMode::Create, "empty value", b"", Expiry::InMs(60_000)),
        put(PutMode::Update, "a", b"second", Expiry::Keep),
        put(PutMode::Create, "deleted", b"for a while", Expiry::Never),
        Command::Delete { key: "deleted".into(), condition: Some(Condition::ValueIs("for a while".into())) },
    ];
    commands.extend((0..60).map(|number| put(PutMode::Upsert, &format!("key:{number:02}"), b"v", Expiry::Never)));
    commands
}

/// What is executed after: records that a start indexes.
fn after_images() -> Vec<Command> {
    vec![
        put(PutMode::Upsert, "a", b"third", Expiry::Never),
        put(PutMode::Upsert, "new", &[0, 255, 13, 10], Expiry::Never),
        Command::Increment { key: "number".into(), by: -7 },
        Command::SetExpiry { key: "new".into(), expiry: Expiry::InMs(1000), rule: ExpiryRule::Always },
        Command::DeleteMany { keys: vec!["key:00".into()] },
    ]
}

fn execute(engine: &Engine, commands: &[Command], first: u64) -> u64 {
    let max_value_len = OPTIONS.max_value_len as usize;
    for (instance, command) in (first..).zip(commands) {
        let revision = Instance::new(instance).unwrap().revision(3);
        let context = Context { revision, now_ms: TIME_MS + instance, max_value_len };
        let reply = engine.execute(command, context).unwrap();
        assert!(!matches!(reply, Reply::Failed(_)), "{command:?}: {reply:?}");
        // A cut names each version, so that none takes the place of the one before.
        engine.cut(Instance::new(instance).unwrap(), TIME_MS + instance, LogPosition::new(0), Vec::new(), Vec::new());
    }
    first + commands.len() as u64
}

fn entries(engine: &Engine) -> Vec<(Bytes, Bytes, u64, u64)> {
    let query = Command::ReadRange(RangeQuery::new(Range::all(), u32::MAX));
    let revision = Instance::new(1).unwrap().revision(0);
    let context = Context { revision, now_ms: TIME_MS, max_value_len: OPTIONS.max_value_len as usize };
    let Reply::Entries { entries, next: None } = engine.execute(&query, context).unwrap() else { panic!("no entries") };
    let of_entry = |entry: skink_engine::command::Entry| {
        (entry.key, entry.version.value, entry.version.revision.get(), entry.version.expires_at_ms)
    };
    entries.into_iter().map(of_entry).collect()
}

const PROXIES: [ProxyPosition; 2] = [
    ProxyPosition { proxy: 0, incarnation: 1, sequence: 5 },
    ProxyPosition { proxy: 9, incarnation: 300, sequence: 1 << 40 },
];
const ORDERING: &[u8] = b"what the order keeps";

/// Makes the data directory that the fixtures are of; answers with what is in it.
fn make_directory(environment: &Environment) -> Vec<(Bytes, Bytes, u64, u64)> {
    let (engine, opened) = Engine::open(environment.clone(), root(), OPTIONS).unwrap();
    let next = execute(&engine, &before_images(), 1);
    engine.refresh_images(0).unwrap();
    let next = execute(&engine, &after_images(), next);
    let instance = Instance::new(next - 1).unwrap();
    let cut = engine.cut(instance, TIME_MS + next - 1, opened.writer.end(), PROXIES.to_vec(), ORDERING.to_vec());
    engine.checkpoint(&cut, true).unwrap();
    entries(&engine)
}

/// Of the data directory: what a start reads, apart from the first checkpoint, which is empty.
fn is_of_directory(name: &Path) -> bool {
    let is_read = name.starts_with("checkpoints") || name.starts_with("log") || name == Path::new("FORMAT");
    is_read && !name.starts_with("checkpoints/0000000000000000")
}

#[test]
fn a_data_directory_is_written_as_ever() {
    let (environment, disk) = environment();
    make_directory(&environment);
    expect_fixtures(DIRECTORY, &files_of(&disk, root(), is_of_directory));
}

#[test]
fn a_data_directory_is_read_as_ever() {
    expect_read(DIRECTORY, ORDERING);
}

#[test]
fn a_data_directory_of_version_1_is_read() {
    expect_read(OLD_DIRECTORY, b"");
    // What differs is the manifest, and nothing else.
    let (old, new) = (read_fixtures(OLD_DIRECTORY), read_fixtures(DIRECTORY));
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    let changed: Vec<_> = old.iter().filter(|(path, bytes)| new[*path] != **bytes).map(|(path, _)| path).collect();
    assert_eq!(changed, [Path::new("checkpoints/0000000000000072/MANIFEST")]);
}

fn expect_read(fixtures: &str, ordering: &[u8]) {
    let (environment, _) = environment();
    let expected = make_directory(&environment);
    let (environment, disk) = self::environment();
    put_fixtures(&disk, fixtures);
    disk.create_folder(&root().join("segments")).unwrap();
    let report = verify(&environment, root()).unwrap();
    assert!(report.is_clean(), "{:?}", report.damage);
    assert_eq!((report.segment_files, report.live_records), (2, 65));

    let (engine, opened) = Engine::open(environment, root(), EngineOptions::default()).unwrap();
    assert_eq!(engine.format().shape.segments, OPTIONS.segments, "the directory counts, not the options");
    assert_eq!(opened.manifest.proxies, PROXIES);
    assert_eq!(opened.manifest.ordering, ordering);
    assert!(opened.manifest.is_clean_stop && opened.log.frames.is_empty() && opened.log.torn == 0);
    assert_eq!(opened.manifest.live_records(), 65);
    let found = entries(&engine);
    assert_eq!(found, expected);
    let version = |key: &str| found.iter().find(|entry| entry.0 == key.as_bytes()).unwrap().clone();
    assert_eq!(version("a"), ("a".into(), "third".into(), (68 << 16) + 3, 0));
    assert_eq!(version("expires").3, 1_900_000_000_123);
    assert_eq!(version("number").1, "-7");
    assert!(!found.iter().any(|entry| entry.0 == "deleted" || entry.0 == "key:00"));
    // From its records alone, without the images, it is the same.
    let (environment, disk) = self::environment();
    put_fixtures(&disk, fixtures);
    disk.create_folder(&root().join("segments")).unwrap();
    for path in disk.paths().iter().filter(|path| path.extension().is_some_and(|extension| extension == "idx")) {
        disk.remove_file(path).unwrap();
    }
    let (engine, _) = Engine::open(environment, root(), OPTIONS).unwrap();
    assert_eq!(entries(&engine), expected);
}

#[test]
fn the_images_of_the_fixtures_are_used() {
    let images =
        read_fixtures(DIRECTORY).into_keys().filter(|path| path.extension().is_some_and(|found| found == "idx"));
    assert_eq!(images.count(), 2);
    // A damaged image only costs time, so that a changed format would not fail the test above: ask for damage.
    let (environment, disk) = environment();
    put_fixtures(&disk, DIRECTORY);
    let folder = Manifest::folder(&root().join("checkpoints"), Instance::new(72).unwrap());
    let report = verify(&environment, &folder).unwrap();
    assert!(report.is_clean(), "{:?}", report.damage);
    let image = disk.paths().into_iter().find(|path| path.extension().is_some_and(|found| found == "idx")).unwrap();
    disk.flip_bit(&image, 4100, 0).unwrap();
    assert_eq!(verify(&environment, &folder).unwrap().damage.len(), 1);
}

fn log_files(environment: &Environment) -> Arc<LogFiles> {
    Arc::new(LogFiles::new(environment, root(), LOG_OPTIONS, 0x0102_0304_0506_0708))
}

/// Frames of every kind in two files.
fn log_frames() -> Vec<(FrameKind, Vec<u8>)> {
    vec![
        (FrameKind::Payload, b"a payload".to_vec()),
        (FrameKind::Payload, Vec::new()),
        (FrameKind::Ordering, b"what the order remembers".to_vec()),
        // Too long for what is left of the first file.
        (FrameKind::Payload, vec![0x55; 12 << 10]),
        (FrameKind::Ordering, vec![0xaa; 100]),
    ]
}

#[test]
fn a_log_is_written_as_ever() {
    let (environment, disk) = environment();
    disk.create_folder(root()).unwrap();
    let mut writer = LogWriter::create(log_files(&environment)).unwrap();
    for (number, (kind, body)) in log_frames().iter().enumerate() {
        writer.append(*kind, &[body]).unwrap();
        if number == 2 {
            writer.flush().unwrap();
            writer.seal().unwrap();
        }
    }
    writer.seal().unwrap();
    let files = files_of(&disk, root(), |_| true);
    assert_eq!(files.len(), 2);
    expect_fixtures(LOG, &files);
}

#[test]
fn a_log_is_read_as_ever() {
    let (environment, disk) = environment();
    put_fixtures(&disk, LOG);
    let files = log_files(&environment);
    let found = scan(&files, LogPosition::new(BLOCK as u64), false).unwrap();
    assert_eq!(found.torn, 0);
    let mut reader = BodyReader::new(&files);
    let frames = found.frames.iter().map(|frame| (frame.kind, reader.read(frame.position).unwrap()));
    assert_eq!(frames.collect::<Vec<_>>(), log_frames());
}
