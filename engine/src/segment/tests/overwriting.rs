//! What is overwritten and what is not: nothing that a cut names or that somebody reads without the lock (S1).

use super::harness::{append, place};
use crate::env::sim::{SimDisk, environment};
use crate::env::{Disk, Open};
use crate::key::{Generation, SegmentId};
use crate::position::Instance;
use crate::segment::{Place, Segment, SegmentCut, compact, refresh};
use parking_lot::Mutex;
use std::path::Path;

const KEYS: u64 = 50;

struct State {
    disk: SimDisk,
    place: Place,
    segment: Segment,
    writes: u64,
}

impl State {
    /// A segment in which every key was written once.
    fn new() -> State {
        let (environment, disk, _) = environment(1, 4 << 20);
        let place = place(&environment, Path::new("/"));
        let segment = Segment::waiting(SegmentId(0), SegmentCut::default());
        let mut state = State { disk, place, segment, writes: 0 };
        state.write_all(100);
        state
    }

    /// Writes every key anew; answers with the bytes that the file grew by.
    fn write_all(&mut self, len: usize) -> u64 {
        let before = self.segment.cut().length;
        for key in 0..KEYS {
            self.writes += 1;
            let revision = Instance::new(self.writes).unwrap().revision(0);
            append(&self.segment, &self.place, &key.to_be_bytes(), Some(&vec![self.writes as u8; len]), revision);
        }
        self.segment.cut().length.saturating_sub(before)
    }

    fn compact(&self, generation: u32) {
        compact(&self.segment, Generation(generation), &Mutex::new(()), &|| false, &|_| ()).unwrap();
    }

    /// The newest value of each key is the last one written, and the totals are those of a new installation.
    fn check(&self) {
        let cut = self.segment.cut();
        let reinstalled = Segment::waiting(SegmentId(0), cut);
        for segment in [&self.segment, &reinstalled] {
            let guard = segment.lock(&self.place).unwrap();
            for key in 0..KEYS {
                let key_bytes = key.to_be_bytes();
                let stored = guard.installed().stored(guard.installed().hash(&key_bytes), &key_bytes).unwrap().unwrap();
                assert_eq!(stored.value[0], (self.writes - KEYS + key + 1) as u8);
                assert_eq!(stored.revision, Instance::new(self.writes - KEYS + key + 1).unwrap().revision(0));
            }
        }
    }
}

#[test]
fn a_version_of_the_same_length_takes_the_place_of_one_that_no_cut_names() {
    let mut state = State::new();
    assert_eq!(state.write_all(100), 0);
    assert!(state.write_all(200) > 0, "it doesn't fit");
    assert_eq!(state.write_all(200), 0);
    state.check();
}

#[test]
fn what_a_cut_names_stays() {
    let mut state = State::new();
    let cut = state.segment.freeze();
    let path = state.place.segment_path(SegmentId(0), cut.generation);
    let before = state.disk.read(&path, u64::MAX).unwrap();
    assert!(state.write_all(100) > 0);
    assert_eq!(state.write_all(100), 0, "what came after the cut is overwritten");
    let length = cut.length as usize;
    assert_eq!(state.disk.read(&path, u64::MAX).unwrap()[..length], before[..length]);
    state.check();
}

#[test]
fn what_was_installed_stays() {
    let mut state = State::new();
    state.segment = Segment::waiting(SegmentId(0), state.segment.cut());
    assert!(state.write_all(100) > 0);
    state.check();
}

#[test]
fn what_is_read_without_the_lock_stays_for_as_long() {
    let mut state = State::new();
    let file = state.segment.lock(&state.place).unwrap().installed().share().unwrap();
    let offset = crate::page::PAGE_LEN as u64;
    let before = file.record(offset).unwrap().value().unwrap().to_vec();
    assert!(state.write_all(100) > 0);
    assert_eq!(file.record(offset).unwrap().value().unwrap(), before);
    assert_eq!(state.write_all(100), 0, "the reader doesn't know of these");
    state.segment.lock(&state.place).unwrap().installed().show();
    assert!(state.write_all(100) > 0);
    drop(file);
    assert_eq!(state.write_all(100), 0);
    state.check();
}

#[test]
fn a_new_generation_is_overwritten_until_a_cut_names_it() {
    let mut state = State::new();
    state.segment.freeze();
    assert!(state.write_all(100) > 0);
    state.compact(1);
    assert_eq!(state.write_all(100), 0);
    state.segment.freeze();
    assert!(state.write_all(100) > 0);
    state.check();
}

#[test]
fn an_image_says_what_was_overwritten_since_it_was_made() {
    let mut state = State::new();
    let _ = refresh(&state.segment).unwrap();
    assert_eq!(state.write_all(100), 0, "an image by itself names nothing");
    let cut = state.segment.freeze();
    assert!(state.segment.lock(&state.place).unwrap().installed_mut().has_image_for(&cut).unwrap());
    // The image as a checkpoint of the cut has it, and what was written after the cut.
    let name = Place::image_name(SegmentId(0), cut.generation);
    let image = state.disk.read(&state.place.images.join(&name), u64::MAX).unwrap();
    state.disk.create_folder(Path::new("/checkpoint")).unwrap();
    let file = state.disk.open(&Path::new("/checkpoint").join(&name), Open::CreateNew).unwrap();
    file.write_all_at(&image, 0).unwrap();
    *state.place.checkpoint.lock() = Some("/checkpoint".into());
    assert!(state.write_all(100) > 0);
    state.check();
    // Installing says S3 where the image's totals don't fit.
    drop(Segment::waiting(SegmentId(0), cut).lock(&state.place).unwrap());
}

#[test]
fn an_image_is_of_no_use_to_a_cut_before_it() {
    let mut state = State::new();
    let cut = state.segment.freeze();
    state.write_all(100);
    let _ = refresh(&state.segment).unwrap();
    assert!(!state.segment.lock(&state.place).unwrap().installed_mut().has_image_for(&cut).unwrap());
}
