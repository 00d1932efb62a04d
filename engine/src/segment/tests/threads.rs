//! Writers, readers, refresh and compaction at the same time, on real files.

use super::harness::{append, place};
use crate::env::Environment;
use crate::key::{Generation, SegmentId};
use crate::position::Instance;
use crate::segment::{Segment, SegmentCut, compact, refresh};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const KEYS: u64 = 3000;
const ROUNDS: u64 = 12;

fn key(number: u64) -> Vec<u8> {
    format!("key{number:05}").into_bytes()
}

/// Whether the key comes and goes; the others are always there once they were written.
fn goes(number: u64) -> bool {
    number.is_multiple_of(5)
}

#[test]
fn nothing_is_lost_or_seen_twice_while_indexes_and_files_are_replaced() {
    let root = tempfile::tempdir().unwrap();
    let place = place(&Environment::real(), root.path());
    let segment = Segment::waiting(SegmentId(0), SegmentCut::default());
    let layout = Mutex::new(());
    let (is_done, compactions) = (AtomicBool::new(false), AtomicU64::new(0));
    let write = |number: u64, round: u64| {
        let revision = Instance::new(round * KEYS + number + 1).unwrap().revision(0);
        let is_deleted = goes(number) && round % 2 == 1;
        let value = [round as u8; 100];
        append(&segment, &place, &key(number), (!is_deleted).then_some(&value[..]), revision);
    };
    (0..KEYS).for_each(|number| write(number, 0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..ROUNDS {
                (0..KEYS).for_each(|number| write(number, round));
            }
            is_done.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            let mut generation = 0;
            while !is_done.load(Ordering::Relaxed) {
                refresh(&segment).unwrap();
                generation += 1;
                if compact(&segment, Generation(generation), &layout, &|| false, &|_| ()).unwrap().is_some() {
                    compactions.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Scans see every key that is there all the while, whatever is replaced between their steps.
        while !is_done.load(Ordering::Relaxed) {
            let (mut from, mut seen) = (0_u64, 0);
            while let Ok(digest) = u32::try_from(from) {
                let guard = segment.lock(&place).unwrap();
                let mut visit = |record: &crate::segment::Record<'_>| {
                    let number: u64 = std::str::from_utf8(&record.key[3..]).unwrap().parse().unwrap();
                    seen += u64::from(!goes(number));
                    Ok(())
                };
                from = guard.installed().scan(digest, 200, &mut visit).unwrap();
            }
            assert_eq!(seen, KEYS - KEYS / 5);
        }
    });
    assert!(compactions.load(Ordering::Relaxed) > 0);
    let guard = segment.lock(&place).unwrap();
    let installed = guard.installed();
    for number in 0..KEYS {
        let stored = installed.stored(installed.hash(&key(number)), &key(number)).unwrap();
        let expected = (!goes(number)).then_some((ROUNDS - 1) as u8);
        assert_eq!(stored.map(|stored| stored.value[0]), expected);
    }
    assert_eq!(installed.cut().totals.live_records, KEYS - KEYS / 5);
}
