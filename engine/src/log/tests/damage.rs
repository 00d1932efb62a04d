//! Damage: a flipped bit in anything that was durable before something else was written is reported with file and
//! offset. It never makes the log shorter.

use super::{FrameKind, Log, LogWriter, Write, files, first, frame_of, frames_of, read_all, scan};
use crate::env::BLOCK;
use crate::error::Fault;
use crate::position::LogPosition;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

/// Bytes of a write, from its start, that a checksum covers.
fn covered(write: &Write, random: &mut StdRng) -> u64 {
    let frame = random.random_range(0..write.frames.len());
    let len = |body: &Vec<u8>| 40 + body.len() as u64;
    let before: u64 = write.frames[..frame].iter().map(|(_, body)| len(body).next_multiple_of(8)).sum();
    before
        + if random.random_bool(0.5) {
            random.random_range(0..40)
        } else {
            random.random_range(0..len(&write.frames[frame].1))
        }
}

/// Flips one bit and expects that reading everything from `from` on names the file and an offset near it.
fn flip(log: &Log, at: LogPosition, from: LogPosition, was_clean: bool, random: &mut StdRng, label: &str) {
    let (path, offset) = log.path_and_offset(at);
    let bit = random.random_range(0..8);
    log.disk.flip_bit(&path, offset, bit).unwrap();
    match read_all(&log.files, from, was_clean) {
        Err(Fault::Corrupt { path: named, offset: named_offset, .. }) => {
            assert_eq!(named, path, "{label}");
            assert!(named_offset <= offset, "{label}: at {offset}, reported at {named_offset}");
        }
        Err(other) => panic!("{label}: {other}"),
        Ok(frames) => panic!("{label}: {path:?} {offset} was read as {} frames", frames.len()),
    }
    log.disk.flip_bit(&path, offset, bit).unwrap();
}

#[test]
fn a_flipped_bit_in_any_earlier_write_is_reported() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for _ in 0..random.random_range(2..30) {
            log.write(&frames_of(&mut random));
        }
        for _ in 0..20 {
            let number = random.random_range(0..log.writes.len() - 1);
            let write = log.writes[number].clone();
            let at = write.start.plus(covered(&write, &mut random));
            flip(&log, at, first(), false, &mut random, &format!("seed {seed}, write {number}"));
        }
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected());
    }
}

#[test]
fn a_flipped_bit_in_the_last_write_is_reported_when_a_seal_came_after() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for _ in 0..random.random_range(1..20) {
            log.write(&frames_of(&mut random));
        }
        log.writer.seal().unwrap();
        let write = log.writes.last().unwrap().clone();
        for _ in 0..20 {
            let at = write.start.plus(covered(&write, &mut random));
            flip(&log, at, first(), false, &mut random, &format!("seed {seed}"));
        }
    }
}

#[test]
fn a_flipped_bit_after_a_clean_stop_is_reported_too() {
    // What the process after a clean stop wrote is searched as thoroughly as anything else.
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for _ in 0..random.random_range(0..10) {
            log.write(&frames_of(&mut random));
        }
        let stop = log.writer.flush().unwrap();
        let found = scan(&log.files, stop, true).unwrap();
        log.files = files(&log.environment);
        log.writer = LogWriter::resume(Arc::clone(&log.files), &found).unwrap();
        log.writes.clear();
        for _ in 0..random.random_range(2..12) {
            log.write(&frames_of(&mut random));
        }
        for _ in 0..20 {
            let number = random.random_range(0..log.writes.len() - 1);
            let write = log.writes[number].clone();
            let at = write.start.plus(covered(&write, &mut random));
            flip(&log, at, stop, true, &mut random, &format!("seed {seed}, write {number}"));
        }
        assert_eq!(read_all(&log.files, stop, true).unwrap(), log.expected());
    }
}

#[test]
fn a_torn_write_proves_that_the_one_before_was_durable() {
    let mut reported = 0;
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        log.write(&[(FrameKind::Payload, vec![1; 3000]), frame_of(&mut random)]);
        let durable = log.writes.last().unwrap().clone();
        log.write(&[(FrameKind::Payload, vec![2; 3000]), (FrameKind::Payload, vec![3; 3000])]);
        let torn = log.writes.pop().unwrap();
        // The second head of the last write never reached the disk; its first one did.
        let (path, offset) = log.path_and_offset(torn.start.plus(3040));
        log.disk.flip_bit(&path, offset, 0).unwrap();
        if log.files.first_of(durable.start) != log.files.first_of(torn.start) {
            continue;
        }
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
        let at = durable.start.plus(random.random_range(40..3000));
        flip(&log, at, first(), false, &mut random, &format!("seed {seed}"));
        reported += 1;
    }
    assert!(reported > 20);
}

#[test]
fn a_damaged_header_is_reported_and_its_padding_does_not_matter() {
    let mut log = Log::create(1);
    while log.files.list().unwrap().len() < 3 {
        log.write(&[(FrameKind::Payload, vec![7; 5000])]);
    }
    for file in log.files.list().unwrap() {
        let path = log.files.path_of(file);
        for offset in 0..24 {
            log.disk.flip_bit(&path, offset, 3).unwrap();
            let outcome = read_all(&log.files, first(), false);
            let Err(Fault::Corrupt { path: named, offset: 0, .. }) = outcome else {
                panic!("{path:?} {offset}: {outcome:?}")
            };
            assert_eq!(named, path);
            log.disk.flip_bit(&path, offset, 3).unwrap();
        }
        log.disk.flip_bit(&path, BLOCK as u64 - 1, 3).unwrap();
    }
    assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected());
}
