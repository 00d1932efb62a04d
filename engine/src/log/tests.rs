//! The log on a simulated disk: round trips, files used again, torn writes, damage.
//!
//! ```text
//! write (flushes of random frames) -> crash, tear, flip -> scan -> equal to what was flushed, or Fault::Corrupt
//! ```

mod damage;
mod files;
mod removal;
mod torn;

use super::{BodyReader, FrameKind, LogFiles, LogOptions, LogScan, LogWriter, scan, scan_with};
use crate::env::sim::{SimDisk, environment};
use crate::env::{BLOCK, Disk, Environment};
use crate::error::Fault;
use crate::position::LogPosition;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_LEN: u64 = 64 << 10;

/// One flush, as the test knows it: from its first to past its last byte, and the frames in it.
#[derive(Debug, Clone)]
struct Write {
    start: LogPosition,
    end: LogPosition,
    frames: Vec<(FrameKind, Vec<u8>)>,
}

/// A log in a folder of a simulated disk, and what was written to it.
struct Log {
    disk: SimDisk,
    environment: Environment,
    files: Arc<LogFiles>,
    writer: LogWriter,
    writes: Vec<Write>,
}

/// Where the first write of a log starts.
fn first() -> LogPosition {
    LogPosition::new(BLOCK as u64)
}

fn folder() -> &'static Path {
    Path::new("/log")
}

fn files(environment: &Environment) -> Arc<LogFiles> {
    let options = LogOptions { file_len: FILE_LEN, spares: 2 };
    Arc::new(LogFiles::new(environment, folder(), options, 77).with_outline(Path::new("/outline")))
}

impl Log {
    fn create(seed: u64) -> Log {
        let (environment, disk, _) = environment(seed, 1 << 20);
        disk.create_folder(folder()).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        let files = files(&environment);
        let writer = LogWriter::create(Arc::clone(&files)).unwrap();
        Log { disk, environment, files, writer, writes: Vec::new() }
    }

    /// Appends frames and flushes them; a write that had to be split over two files counts as two.
    fn write(&mut self, frames: &[(FrameKind, Vec<u8>)]) {
        let mut positions = Vec::new();
        for (kind, body) in frames {
            // In several parts, as payloads come.
            let (left, right) = body.split_at(body.len() / 3);
            positions.push(self.writer.append(*kind, &[left, right]).unwrap());
        }
        let end = self.writer.flush().unwrap();
        let file_of = |position: LogPosition| position.get() / FILE_LEN;
        let split = positions.iter().position(|&position| file_of(position) == file_of(end)).unwrap();
        for (from, to) in [(0, split), (split, frames.len())] {
            if from < to {
                let end = if to == frames.len() { end } else { LogPosition::new(u64::MAX) };
                self.writes.push(Write { start: positions[from], end, frames: frames[from..to].to_vec() });
            }
        }
    }

    /// Starts anew, as a process does that finds this log.
    fn reopen(&mut self, was_clean: bool) -> LogScan {
        let files = files(&self.environment);
        let scan = scan_both(&files, first(), was_clean).unwrap();
        self.writer = LogWriter::resume(Arc::clone(&files), &scan).unwrap();
        self.files = files;
        scan
    }

    fn expected(&self) -> Vec<Summary> {
        self.expected_from(0)
    }

    /// The frames of all writes from this one on.
    fn expected_from(&self, write: usize) -> Vec<Summary> {
        self.writes[write..].iter().flat_map(|write| &write.frames).map(|(kind, body)| summary(*kind, body)).collect()
    }

    fn path_and_offset(&self, position: LogPosition) -> (PathBuf, u64) {
        let first = self.files.first_of(position);
        (self.files.path_of(first), position.since(first))
    }
}

/// A frame, short enough to be printed: kind, length and checksum of the body.
type Summary = (FrameKind, usize, u32);

fn summary(kind: FrameKind, body: &[u8]) -> Summary {
    (kind, body.len(), crc32fast::hash(body))
}

/// Scans the log alone, and with what is noted of it, which must make no difference but for payloads.
fn scan_both(files: &LogFiles, from: LogPosition, was_clean: bool) -> Result<LogScan, Fault> {
    let outline = files.outline();
    let alone = scan(files, from, was_clean)?;
    let noted = scan_with(files, from, was_clean, &outline).unwrap();
    let ordering = |scan: &LogScan| -> Vec<super::Frame> {
        scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering).cloned().collect()
    };
    assert_eq!(ordering(&alone), ordering(&noted));
    assert_eq!((alone.end, alone.torn > 0, alone.is_clean_end), (noted.end, noted.torn > 0, noted.is_clean_end));
    assert_eq!(alone.last_file.is_some(), noted.last_file.is_some());
    Ok(alone)
}

/// All frames from a position on, their bodies read and checked.
fn read_all(files: &LogFiles, from: LogPosition, was_clean: bool) -> Result<Vec<Summary>, Fault> {
    let mut frames = Vec::new();
    for frame in scan_both(files, from, was_clean)?.frames {
        let body = BodyReader::new(files).read(frame.position)?;
        assert_eq!(body.len(), frame.body_len as usize);
        assert!(frame.kind == FrameKind::Payload || frame.body == body);
        frames.push(summary(frame.kind, &body));
    }
    Ok(frames)
}

fn frames_of(random: &mut StdRng) -> Vec<(FrameKind, Vec<u8>)> {
    let count = random.random_range(1..6);
    (0..count).map(|_| frame_of(random)).collect()
}

fn frame_of(random: &mut StdRng) -> (FrameKind, Vec<u8>) {
    let kind = if random.random_bool(0.5) { FrameKind::Payload } else { FrameKind::Ordering };
    let len = match random.random_range(0..6) {
        0 => 0,
        1 => random.random_range(1..40),
        // Around the ends of blocks, the head's 40 bytes counted or not.
        2 => (random.random_range(1..4) * BLOCK + random.random_range(0..96)) - 48,
        3 => random.random_range(40..2000),
        _ => random.random_range(0..5 * BLOCK),
    };
    (kind, (0..len).map(|_| random.random()).collect())
}

#[test]
fn what_is_flushed_is_found_again_over_many_files_and_restarts() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for _ in 0..random.random_range(1..60) {
            match random.random_range(0..12) {
                0 => {
                    log.writer.seal().unwrap();
                }
                1 => log.files.prepare(log.writer.next_file()).unwrap(),
                2 => {
                    log.disk.kill();
                    assert_eq!(log.reopen(false).torn, 0, "seed {seed}");
                }
                3 => {
                    log.disk.power_cut();
                    assert_eq!(log.reopen(false).torn, 0, "seed {seed}");
                }
                _ => log.write(&frames_of(&mut random)),
            }
        }
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
        // From any write on, the rest is found.
        for (number, write) in log.writes.iter().enumerate() {
            assert_eq!(read_all(&log.files, write.start, false).unwrap(), log.expected_from(number), "seed {seed}");
        }
    }
}

#[test]
fn frames_of_every_length_around_a_block_and_around_a_file_are_kept() {
    let mut log = Log::create(1);
    let longest = log.files.max_body_len();
    let lengths =
        (0..130).chain(BLOCK - 100..BLOCK + 20).chain(2 * BLOCK - 60..2 * BLOCK).chain(longest - 20..=longest);
    for (number, len) in lengths.enumerate() {
        let kind = if number % 2 == 0 { FrameKind::Payload } else { FrameKind::Ordering };
        log.write(&[(kind, vec![number as u8; len])]);
    }
    assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected());
}

#[test]
fn a_clean_stop_is_followed_by_whatever_the_next_process_wrote() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = Log::create(seed);
        for _ in 0..random.random_range(0..30) {
            log.write(&frames_of(&mut random));
        }
        let stop = log.writer.flush().unwrap();
        for after in 0..3 {
            log.disk.kill();
            assert_eq!(read_all(&log.files, stop, true).unwrap().len(), after, "seed {seed}");
            let scan = scan(&log.files, stop, true).unwrap();
            log.writer = LogWriter::resume(Arc::clone(&log.files), &scan).unwrap();
            log.write(&[frame_of(&mut random)]);
        }
        assert_eq!(read_all(&log.files, first(), false).unwrap(), log.expected(), "seed {seed}");
    }
}
