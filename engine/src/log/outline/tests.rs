//! The outline, held to the log that it is of: after kills, power cuts, torn ends and damage.

use super::{LogPosition, Outline};
use crate::env::sim::{SimDisk, environment};
use crate::env::{BLOCK, Disk, Environment, Open};
use crate::log::{FrameKind, LogFiles, LogOptions, LogWriter, scan, scan_with};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn files(environment: &Environment) -> Arc<LogFiles> {
    let options = LogOptions { file_len: 64 << 10, spares: 2 };
    Arc::new(LogFiles::new(environment, Path::new("/log"), options, 7).with_outline(Path::new("/outline")))
}

fn first() -> LogPosition {
    LogPosition::new(BLOCK as u64)
}

fn begin() -> (Environment, SimDisk, LogWriter) {
    let (environment, disk, _) = environment(1, 1 << 20);
    disk.create_folder(Path::new("/log")).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    let writer = LogWriter::create(files(&environment)).unwrap();
    (environment, disk, writer)
}

fn write(writer: &mut LogWriter, number: usize) {
    writer.append(FrameKind::Payload, &[&vec![number as u8; 3000]]).unwrap();
    writer.append(FrameKind::Ordering, &[&number.to_le_bytes()]).unwrap();
    writer.flush().unwrap();
}

fn outlines(disk: &SimDisk) -> Vec<PathBuf> {
    disk.list(Path::new("/outline")).unwrap_or_default().iter().map(|name| Path::new("/outline").join(name)).collect()
}

#[test]
fn all_but_the_last_write_are_noted_as_durable() {
    let (environment, disk, mut writer) = begin();
    (0..40).for_each(|number| write(&mut writer, number));
    let files = files(&environment);
    let outline = files.outline();
    let alone = scan(&files, first(), false).unwrap();
    let starts: Vec<LogPosition> = outline.writes.keys().copied().collect();
    let behind = files.outline_from(starts[30]);
    assert_eq!(behind.writes, outline.writes.range(starts[30]..).map(|(at, it)| (*at, it.clone())).collect());
    assert_eq!(behind.known_end(alone.end), outline.known_end(alone.end));
    // Of the log files in front of it, not even that is read.
    disk.remove_file(outlines(&disk).iter().min().unwrap()).unwrap();
    assert_eq!(files.outline_from(starts[30]).writes, behind.writes);
    assert!(starts.len() > 40 && starts[0] == first());
    let epoch = |position: LogPosition| outline.writes[&position].frames.first().map_or(0, |(head, _)| head.epoch);
    let durable = |position: &&LogPosition| outline.durable(**position, epoch(**position)).is_some();
    assert_eq!(starts.iter().filter(durable).count(), starts.len() - 1);
    assert!(outline.durable(starts[1], epoch(starts[1]).wrapping_add(1)).is_none(), "of a file that was used again");
    assert_eq!(outline.known_end(alone.end), Some(alone.end));
}

#[test]
fn a_start_does_not_read_what_is_noted() {
    let (environment, disk, mut writer) = begin();
    (0..12).for_each(|number| write(&mut writer, number));
    // Of all that is durable and noted, nothing is looked at.
    let log = Path::new("/log/0000000000000000.log");
    let file = disk.open(log, Open::ReadWrite).unwrap();
    file.write_all_at(&[0xee; BLOCK], 2 * BLOCK as u64).unwrap();
    let files = files(&environment);
    assert!(scan(&files, first(), false).is_err());
    let found = scan_with(&files, first(), false, &files.outline()).unwrap();
    assert_eq!(found.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering).count(), 12);
    // After a power cut it may be lost what was noted last: then the end is looked for.
    disk.power_cut();
    assert!(files.outline().known_end(found.end).is_none());
}

#[test]
fn a_torn_end_is_cut_off_without_a_search_and_the_next_process_goes_on() {
    let (environment, disk, mut writer) = begin();
    (0..5).for_each(|number| write(&mut writer, number));
    let end = scan(&files(&environment), first(), false).unwrap().end;
    write(&mut writer, 5);
    let file = disk.open(Path::new("/log/0000000000000000.log"), Open::ReadWrite).unwrap();
    file.write_all_at(&[0; BLOCK], end.get()).unwrap();
    disk.kill();
    for number in 6..9 {
        let files = files(&environment);
        let found = scan_with(&files, first(), false, &files.outline()).unwrap();
        let mut writer = LogWriter::resume(Arc::clone(&files), &found).unwrap();
        write(&mut writer, number);
        disk.kill();
    }
    let files = files(&environment);
    let (alone, noted) =
        (scan(&files, first(), false).unwrap(), scan_with(&files, first(), false, &files.outline()).unwrap());
    let numbers = |scan: &crate::log::LogScan| -> Vec<u8> {
        scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering).map(|frame| frame.body[0]).collect()
    };
    assert_eq!((numbers(&alone), numbers(&noted)), (vec![0, 1, 2, 3, 4, 6, 7, 8], vec![0, 1, 2, 3, 4, 6, 7, 8]));
}

/// Whatever is wrong with what is noted, the log is found as it is.
#[test]
fn damage_of_it_costs_time_alone() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let (environment, disk, mut writer) = begin();
        for number in 0..random.random_range(1..40) {
            write(&mut writer, number);
            if random.random_bool(0.1) {
                disk.kill();
                let files = files(&environment);
                let found = scan_with(&files, first(), false, &files.outline()).unwrap();
                writer = LogWriter::resume(Arc::clone(&files), &found).unwrap();
            }
        }
        drop(writer);
        let paths = outlines(&disk);
        let path = &paths[random.random_range(0..paths.len())];
        let file = disk.open(path, Open::ReadWrite).unwrap();
        let len = file.len().unwrap();
        match random.random_range(0..4) {
            0 => file.truncate(random.random_range(0..len)).unwrap(),
            1 => disk.remove_file(path).unwrap(),
            _ => {
                let at = random.random_range(0..len);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << random.random_range(0..8)], at).unwrap();
            }
        }
        let files = files(&environment);
        let (alone, noted) =
            (scan(&files, first(), false).unwrap(), scan_with(&files, first(), false, &files.outline()).unwrap());
        let ordering = |scan: &crate::log::LogScan| -> Vec<crate::log::Frame> {
            scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering).cloned().collect()
        };
        assert_eq!((ordering(&alone), alone.end), (ordering(&noted), noted.end), "seed {seed}");
        // A write begins with its payload.
        let starts: Vec<LogPosition> =
            alone.frames.iter().filter(|frame| frame.kind == FrameKind::Payload).map(|frame| frame.position).collect();
        let from = starts.get(random.random_range(0..starts.len().max(1))).copied().unwrap_or(alone.end);
        let (alone, noted) =
            (scan(&files, from, false).unwrap(), scan_with(&files, from, false, &files.outline_from(from)).unwrap());
        assert_eq!((ordering(&alone), alone.end), (ordering(&noted), noted.end), "seed {seed} from {from}");
    }
}

#[test]
fn outlines_go_with_the_log_that_they_are_of() {
    let (environment, disk, mut writer) = begin();
    (0..60).for_each(|number| write(&mut writer, number));
    let before = outlines(&disk).len();
    let files = files(&environment);
    files.drop_below(LogPosition::new(130 << 10)).unwrap();
    assert_eq!(outlines(&disk).len(), before - 2);
    assert!(Outline::read(&disk, Path::new("/nowhere"), first()).writes.is_empty());
}
