//! The log's files: used again, missing, foreign; and a disk that is full or fails.

use super::{FILE_LEN, FrameKind, Log, LogWriter, first, folder, frames_of, read_all, scan};
use crate::env::sim::Faults;
use crate::env::{BLOCK, Disk, Open};
use crate::error::Fault;
use crate::position::LogPosition;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

fn spares(log: &Log) -> usize {
    log.disk.list(folder()).unwrap().iter().filter(|name| name.starts_with("spare-")).count()
}

#[test]
fn files_that_are_used_again_show_nothing_of_what_they_held() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        // Frames of the same lengths at the same offsets: the old ones lie exactly where new ones could.
        let frames = frames_of(&mut random);
        let mut from = 0;
        for _ in 0..200 {
            log.write(&frames);
            match random.random_range(0..10) {
                0 => {
                    from = random.random_range(from..log.writes.len());
                    log.files.drop_below(log.writes[from].start).unwrap();
                    assert!(spares(&log) <= 2);
                    assert!(log.files.list().unwrap()[0].plus(FILE_LEN) > log.writes[from].start);
                    let start = log.files.start().unwrap();
                    assert!(start <= log.writes[from].start && start.plus(FILE_LEN) > log.writes[from].start);
                }
                1 => log.files.prepare(log.writer.next_file()).unwrap(),
                2 => {
                    if random.random_bool(0.5) {
                        log.disk.kill()
                    } else {
                        log.disk.power_cut()
                    }
                    let scan = scan(&log.files, log.writes[from].start, false).unwrap();
                    log.files = super::files(&log.environment);
                    log.writer = LogWriter::resume(Arc::clone(&log.files), &scan).unwrap();
                }
                _ => {}
            }
            assert_eq!(
                read_all(&log.files, log.writes[from].start, false).unwrap(),
                log.expected_from(from),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn preparing_the_file_that_the_writer_has_reached_changes_nothing() {
    // The background asks where the next file starts, the writer moves into it, and only then the background
    // prepares it.
    let mut log = Log::create(1);
    let next = log.writer.next_file();
    while log.writer.next_file() == next {
        log.write(&[(FrameKind::Payload, vec![5; 3000])]);
    }
    log.files.prepare(next).unwrap();
    log.files.prepare(LogPosition::ZERO).unwrap();
    log.write(&[(FrameKind::Payload, vec![6; 3000])]);
    assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected());
    // A process that goes on in that file knows it, too.
    log.reopen(false);
    log.files.prepare(next).unwrap();
    assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected());
}

#[test]
fn preparing_and_taking_the_same_file_at_the_same_time_give_one_file() {
    for round in 0..30 {
        let root = tempfile::tempdir().unwrap();
        let options = super::LogOptions { file_len: FILE_LEN, spares: 2 };
        let files = Arc::new(super::LogFiles::new(&crate::env::Environment::real(), root.path(), options, 1));
        let mut writer = LogWriter::create(Arc::clone(&files)).unwrap();
        let expected = std::thread::scope(|scope| {
            let (next, files) = (writer.next_file(), &files);
            scope.spawn(move || files.prepare(next).unwrap());
            let mut expected = Vec::new();
            for number in 0..12 {
                let body = vec![number; 8000];
                writer.append(FrameKind::Payload, &[&body]).unwrap();
                writer.flush().unwrap();
                expected.push(super::summary(FrameKind::Payload, &body));
            }
            expected
        });
        assert_eq!(read_all(&files, first(), false).unwrap(), expected, "round {round}");
    }
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let mut log = Log::create(1);
    while log.files.list().unwrap().len() < 4 {
        log.write(&[(FrameKind::Payload, vec![7; 5000])]);
    }
    for first_of_file in log.files.list().unwrap() {
        let path = log.files.path_of(first_of_file);
        let aside = folder().join("spare-aside.log");
        log.disk.rename(&path, &aside).unwrap();
        let text = match read_all(&log.files, first(), false) {
            Err(fault @ Fault::Refused(_)) => fault.to_string(),
            other => panic!("{path:?}: {other:?}"),
        };
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        log.disk.rename(&aside, &path).unwrap();
    }
}

#[test]
fn a_foreign_file_is_refused_by_name() {
    let mut log = Log::create(1);
    log.write(&[(FrameKind::Payload, vec![7; 5000])]);
    for name in ["notes.txt", "0000000000000001.log", "123.log", "000000000000000g.log"] {
        log.disk.open(&folder().join(name), Open::CreateNew).unwrap();
        let Err(Fault::Refused(text)) = log.files.list() else { panic!("{name} was taken") };
        assert!(text.contains(name), "{text}");
        log.disk.remove_file(&folder().join(name)).unwrap();
    }
    // The file of another data directory in the place of ours.
    let other = super::LogFiles::new(&log.environment, folder(), log.files.options, 78);
    assert!(matches!(scan(&other, first(), false), Err(Fault::Corrupt { offset: 0, .. })));
}

#[test]
fn a_failed_write_poisons_the_log() {
    let mut log = Log::create(1);
    log.write(&[(FrameKind::Payload, vec![7; 5000])]);
    log.disk.set_faults(Faults { syncs_until_failure: Some(0), ..Faults::default() });
    log.writer.append(FrameKind::Payload, &[b"lost"]).unwrap();
    assert!(matches!(log.writer.flush(), Err(Fault::Io { .. })));
    // The disk is well again; the log is not.
    log.disk.set_faults(Faults::default());
    assert!(matches!(log.writer.flush(), Err(Fault::Io { .. })));
    assert!(matches!(log.writer.append(FrameKind::Payload, &[b"more"]), Err(Fault::Io { .. })));
    assert!(matches!(log.writer.seal(), Err(Fault::Io { .. })));
    assert!(matches!(log.writer.reserve(1), Err(Fault::Io { .. })));
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        log.disk.set_faults(Faults { capacity: 2 * FILE_LEN, ..Faults::default() });
        let body = vec![9; random.random_range(1..9000)];
        let mut refusals = 0;
        while refusals < 5 {
            match log.writer.append(FrameKind::Ordering, &[&body]) {
                Ok(_) => {
                    let end = log.writer.flush().unwrap();
                    log.writes.push(super::Write {
                        start: end,
                        end,
                        frames: vec![(FrameKind::Ordering, body.clone())],
                    });
                }
                Err(Fault::Full { .. }) => refusals += 1,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        assert_eq!(spares(&log), 0, "what could not be made is gone");
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
        if random.random_bool(0.5) {
            log.disk.kill();
            log.reopen(false);
        }
        log.disk.set_faults(Faults::default());
        for _ in 0..10 {
            log.write(&[(FrameKind::Ordering, body.clone())]);
        }
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
    }
}

#[test]
fn a_full_disk_never_fails_a_write_to_a_file_that_is_in_use() {
    // A power cut may leave a log file shorter than it was made; the process after it makes it whole before it
    // writes, so that a full disk is a refusal and no failed write.
    for seed in 0..60 {
        let mut log = Log::create(seed);
        let next = log.writer.next_file();
        log.disk.open(&folder().join("spare-0-9.log"), Open::CreateNew).unwrap();
        log.disk.sync_folder(folder()).unwrap();
        while log.writer.next_file() == next {
            log.write(&[(FrameKind::Payload, vec![5; 3000])]);
        }
        log.disk.power_cut();
        log.reopen(false);
        let used: u64 = log.disk.paths().iter().map(|path| log.disk.metadata(path).unwrap().len).sum();
        log.disk.set_faults(Faults { capacity: used, ..Faults::default() });
        for _ in 0..20 {
            match log.writer.append(FrameKind::Payload, &[&[6; BLOCK]]) {
                Ok(_) => assert!(log.writer.flush().is_ok(), "seed {seed}: a write failed for want of room"),
                Err(fault) => assert!(fault.is_transient(), "seed {seed}: {fault}"),
            }
        }
    }
}
