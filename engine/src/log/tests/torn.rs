//! Torn writes: whatever part of the last write is on the disk, it is left out as a whole, all before it is
//! there, and the log goes on.

use super::{FrameKind, Log, first, frame_of, frames_of, read_all};
use crate::env::sim::Faults;
use crate::env::{Disk, Open};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SECTOR: usize = 512;

/// Changes sectors of the last write, then expects all writes before it, and a log that can be used.
fn tear(seed: u64, garble: impl Fn(usize, usize, &mut [u8])) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut log = Log::create(seed);
    for _ in 0..random.random_range(0..12) {
        log.write(&frames_of(&mut random));
    }
    log.write(&[(FrameKind::Payload, vec![1; random.random_range(600..9000)]), frame_of(&mut random)]);
    // Only what is in the last file's last write is torn; a roll in between ends the one before.
    let last = log.writes.pop().unwrap();
    let (path, offset) = log.path_and_offset(last.start);
    let mut bytes = vec![0; last.end.since(last.start) as usize];
    let file = log.disk.open(&path, Open::ReadWrite).unwrap();
    file.read_exact_at(&mut bytes, offset).unwrap();
    let used = used_bytes(&last.frames);
    let before = bytes.clone();
    let sectors = used.div_ceil(SECTOR);
    bytes.chunks_mut(SECTOR).take(sectors).enumerate().for_each(|(sector, bytes)| garble(sector, sectors, bytes));
    if bytes[..used] == before[..used] {
        return;
    }
    file.write_all_at(&bytes, offset).unwrap();
    file.sync_data().unwrap();
    log.disk.kill();
    let scan = log.reopen(false);
    assert_eq!(scan.end, last.start, "seed {seed}");
    assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
    for _ in 0..3 {
        log.write(&frames_of(&mut random));
        log.disk.power_cut();
        assert_eq!(log.reopen(false).torn, 0, "seed {seed}");
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
    }
}

/// Bytes of a write that say something: its last frame's padding and what fills its last block don't.
fn used_bytes(frames: &[(FrameKind, Vec<u8>)]) -> usize {
    let len = |body: &Vec<u8>| 40 + body.len();
    let (last, others) = frames.split_last().unwrap();
    others.iter().map(|(_, body)| len(body).next_multiple_of(8)).sum::<usize>() + len(&last.1)
}

#[test]
fn one_lost_sector_anywhere_in_the_last_write() {
    for seed in 0..40 {
        for torn in 0..8 {
            tear(seed, |sector, sectors, bytes| {
                if sector == torn * sectors / 8 {
                    bytes.fill(0);
                }
            });
        }
    }
}

#[test]
fn one_garbled_sector_anywhere_in_the_last_write() {
    for seed in 0..40 {
        for torn in 0..8 {
            tear(seed, |sector, sectors, bytes| {
                if sector == torn * sectors / 8 {
                    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= (at as u8) | 1);
                }
            });
        }
    }
}

#[test]
fn every_beginning_and_every_end_of_the_last_write() {
    for seed in 0..20 {
        for kept in 0..6 {
            tear(seed, |sector, sectors, bytes| {
                if sector >= kept * sectors / 6 {
                    bytes.fill(0);
                }
            });
            tear(seed, |sector, sectors, bytes| {
                if sector < (kept + 1) * sectors / 6 {
                    bytes.fill(0);
                }
            });
        }
    }
}

#[test]
fn a_power_cut_at_any_change_leaves_whole_writes() {
    let mut torn = 0;
    for seed in 0..1000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for round in 0..3 {
            let changes = random.random_range(0..25);
            log.disk.set_faults(Faults { changes_until_power_cut: Some(changes), ..Faults::default() });
            let mut attempted = Vec::new();
            while log.disk.is_powered() {
                attempted = vec![frame_of(&mut random)];
                let appended = match random.random_range(0..8) {
                    0 => log.files.prepare(log.writer.next_file()).is_err(),
                    1 => log.writer.seal().is_err(),
                    _ => {
                        let (kind, body) = &attempted[0];
                        log.writer.append(*kind, &[body]).is_err() || log.writer.flush().is_err() || {
                            let (start, end) = (first(), log.writer.durable());
                            log.writes.push(super::Write { start, end, frames: attempted.clone() });
                            false
                        }
                    }
                };
                assert_eq!(appended, !log.disk.is_powered(), "seed {seed}");
            }
            log.disk.power_cut();
            torn += usize::from(log.reopen(false).torn > 0);
            let found = read_all(&log.files, first(), false).unwrap();
            let mut expected = log.expected();
            if found.len() > expected.len() {
                // Never reported durable, but all of it reached the disk.
                log.writes.push(super::Write { start: first(), end: first(), frames: attempted.clone() });
                expected = log.expected();
            }
            assert_eq!(found, expected, "seed {seed}, round {round}");
        }
    }
    assert!(torn > 50, "only {torn} writes were torn");
}

#[test]
fn a_write_that_was_found_but_never_synced_outlives_the_next_power_cut() {
    // The process ends between a write and its sync. The next process finds the write and builds on it: from then
    // on it must be durable.
    for seed in 0..30 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        log.write(&frames_of(&mut random));
        let body = vec![2; random.random_range(1..9000)];
        log.writer.append(FrameKind::Payload, &[&body]).unwrap();
        log.disk.set_faults(Faults { syncs_until_failure: Some(0), ..Faults::default() });
        assert!(log.writer.flush().is_err());
        log.disk.set_faults(Faults::default());
        log.disk.kill();
        log.reopen(false);
        log.writes.push(super::Write { start: first(), end: first(), frames: vec![(FrameKind::Payload, body)] });
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
        log.write(&frames_of(&mut random));
        log.disk.power_cut();
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
    }
}
