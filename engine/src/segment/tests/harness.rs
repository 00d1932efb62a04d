//! A segment on a simulated disk beside a map that is told the same.

use crate::command::Range;
use crate::env::sim::{SimDisk, environment};
use crate::env::{Disk, Open};
use crate::key::{Generation, KeyHash, SegmentId};
use crate::position::{Instance, Revision};
use crate::segment::installed::ImageAt;
use crate::segment::record::Head;
use crate::segment::{Content, Place, Segment, SegmentCut, Totals, compact, record_len, refresh};
use bytes::Bytes;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SEED: u64 = 42;

pub(super) type Key = Vec<u8>;

/// What the map knows of a key: value and revision.
type Version = (Vec<u8>, Revision);
type State = BTreeMap<Key, Version>;

/// Keys of several lengths, the empty one among them.
pub(super) fn keys(count: usize) -> Vec<Key> {
    let key = |number: usize| match number {
        0 => Vec::new(),
        _ => [format!("{number:x}").repeat(number % 4), number.to_string()].concat().into_bytes(),
    };
    (0..count).map(key).collect()
}

/// A place for one segment in folders of this disk.
pub(super) fn place(environment: &crate::env::Environment, root: &Path) -> Place {
    let folder = |name: &str| {
        let path = root.join(name);
        environment.disk.create_folder(&path).unwrap();
        Arc::new(path)
    };
    Place {
        environment: environment.clone(),
        folder: folder("segments"),
        images: folder("images"),
        spares: Arc::default(),
        checkpoint: Arc::default(),
        seed: SEED,
        segments: 1,
        capacity: 1 << 30,
    }
}

/// Writes one version, as the engine does.
pub(super) fn append(segment: &Segment, place: &Place, key: &[u8], value: Option<&[u8]>, revision: Revision) {
    let mut guard = segment.lock(place).unwrap();
    let installed = guard.installed_mut();
    installed.reserve(record_len(key.len(), value.map_or(0, <[u8]>::len))).unwrap();
    let content = Content { value, revision, expires_at_ms: revision.get() % 3 };
    let hash = installed.hash(key);
    guard.append(hash, key, &content).unwrap();
}

struct Kept {
    cut: SegmentCut,
    state: State,
    path: PathBuf,
    bytes: Vec<u8>,
    /// The image that a checkpoint of the cut would have.
    image: Option<Vec<u8>>,
}

/// The map, and how many writes made it.
#[derive(Default)]
struct Written {
    state: State,
    writes: u64,
}

impl Written {
    /// One write of a value of some length, or of a tombstone.
    fn write(&mut self, segment: &Segment, place: &Place, key: &[u8], value_len: Option<usize>) {
        self.writes += 1;
        let revision = Instance::new(self.writes).unwrap().revision(7);
        let value = value_len.map(|len| vec![self.writes as u8; len]);
        append(segment, place, key, value.as_deref(), revision);
        match value {
            Some(value) => self.state.insert(key.to_vec(), (value, revision)),
            None => self.state.remove(key),
        };
    }
}

pub(super) struct Harness {
    disk: SimDisk,
    place: Place,
    segment: Segment,
    layout: Mutex<()>,
    keys: Vec<Key>,
    written: Written,
    generations: u32,
    kept: Vec<Kept>,
}

impl Harness {
    pub(super) fn new(keys: Vec<Key>) -> Harness {
        let (environment, disk, _) = environment(1, 4 << 20);
        let place = place(&environment, Path::new("/"));
        let segment = Segment::waiting(SegmentId(0), SegmentCut::default());
        let (layout, written) = (Mutex::default(), Written::default());
        Harness { disk, place, segment, layout, keys, written, generations: 0, kept: Vec::new() }
    }

    pub(super) fn write(&mut self, key: usize, value_len: Option<usize>) {
        self.written.write(&self.segment, &self.place, &self.keys[key], value_len);
    }

    pub(super) fn refresh(&mut self) {
        let _ = self.segment.lock(&self.place).unwrap();
        refresh(&self.segment).unwrap();
        self.check_all();
    }

    pub(super) fn compact(&mut self, writes: Vec<(usize, Option<usize>)>) {
        let _ = self.segment.lock(&self.place).unwrap();
        // No generation is used twice, also not after a return to an older cut.
        self.generations += 1;
        let generation = Generation(self.generations);
        let (mut writes, keys, place, segment) = (writes.into_iter(), &self.keys, &self.place, &self.segment);
        let written = RefCell::new((&mut self.written, &mut writes));
        let pause = |_| {
            let (written, writes) = &mut *written.borrow_mut();
            for (key, len) in writes.by_ref().take(3) {
                written.write(segment, place, &keys[key], len);
            }
        };
        compact(segment, generation, &self.layout, &|| true, &pause).unwrap();
        self.check_all();
    }

    pub(super) fn cut(&mut self) {
        let cut = self.segment.freeze();
        if cut.length == 0 {
            return;
        }
        let path = self.place.segment_path(SegmentId(0), cut.generation);
        let mut bytes = self.disk.read(&path, u64::MAX).unwrap();
        bytes.truncate(cut.length as usize);
        let image = self.image(&cut);
        self.kept.push(Kept { cut, state: self.written.state.clone(), path, bytes, image });
    }

    fn image(&self, cut: &SegmentCut) -> Option<Vec<u8>> {
        let mut guard = self.segment.lock(&self.place).unwrap();
        let folder = match guard.installed().image_at {
            ImageAt::Nowhere => return None,
            ImageAt::Checkpoint => self.place.checkpoint.lock().clone().unwrap(),
            ImageAt::Images => {
                assert!(guard.installed_mut().has_image_for(cut).unwrap());
                self.place.images.as_ref().clone()
            }
        };
        Some(self.disk.read(&folder.join(Place::image_name(SegmentId(0), cut.generation)), u64::MAX).unwrap())
    }

    /// Starts anew from the last cut, as after a crash.
    pub(super) fn reinstall(&mut self) {
        let Some(kept) = self.kept.pop() else { return };
        let checkpoint = Path::new("/").join(format!("checkpoint-{}", self.written.writes));
        let path = checkpoint.join(Place::image_name(SegmentId(0), kept.cut.generation));
        self.disk.create_folder(&checkpoint).unwrap();
        let _ = self.disk.remove_file(&path);
        if let Some(image) = kept.image {
            self.disk.open(&path, Open::CreateNew).unwrap().write_all_at(&image, 0).unwrap();
        }
        *self.place.checkpoint.lock() = Some(checkpoint);
        self.segment = Segment::waiting(SegmentId(0), kept.cut);
        self.written.state = kept.state;
        self.check_all();
    }

    pub(super) fn check_all(&mut self) {
        self.check_totals();
        self.check_keys();
        self.check_range(0, usize::MAX, usize::MAX);
        self.check_scan(7);
        self.check_cuts();
    }

    /// S3.
    pub(super) fn check_totals(&self) {
        let totals = self.written.state.iter().fold(Totals::default(), |sum, (key, (value, revision))| {
            let content = Content { value: Some(value), revision: *revision, expires_at_ms: revision.get() % 3 };
            let digest = Head::new(key, &content, 0).content_digest(KeyHash::of(key, SEED).get());
            Totals {
                live_records: sum.live_records + 1,
                live_bytes: sum.live_bytes + record_len(key.len(), value.len()),
                expiring_records: sum.expiring_records + u64::from(!revision.get().is_multiple_of(3)),
                digest: sum.digest.wrapping_add(digest),
            }
        });
        assert_eq!(self.segment.cut().totals, totals, "S3");
    }

    fn check_keys(&self) {
        let guard = self.segment.lock(&self.place).unwrap();
        let installed = guard.installed();
        for key in &self.keys {
            let stored = installed.stored(installed.hash(key), key).unwrap();
            let found = stored.map(|stored| (stored.value.to_vec(), stored.revision));
            assert_eq!(found.as_ref(), self.written.state.get(key), "{key:?}");
        }
    }

    pub(super) fn check_range(&mut self, start: usize, end: usize, limit: usize) {
        let bound = |number: usize| match (self.keys.get(number / 2 % (self.keys.len() + 1)), number % 2) {
            (None, _) => Bound::Unbounded,
            (Some(key), 0) => Bound::Included(Bytes::from(key.clone())),
            (Some(key), _) => Bound::Excluded(Bytes::from(key.clone())),
        };
        let range = if end == usize::MAX { Range::all() } else { Range { start: bound(start), end: bound(end) } };
        let mut guard = self.segment.lock(&self.place).unwrap();
        let installed = guard.installed_mut();
        installed.sort().unwrap();
        // In steps of the limit, each after the last key of the one before.
        let (mut found, mut rest) = (Vec::new(), range.clone());
        loop {
            let offsets = installed.range_offsets(&rest, limit).unwrap();
            let records: Vec<_> = offsets.iter().map(|&offset| installed.record(offset).unwrap()).collect();
            let Some(last) = records.last() else { break };
            rest.start = Bound::Excluded(Bytes::copy_from_slice(last.key));
            assert!(records.iter().is_sorted_by_key(|record| record.key) && records.len() <= limit);
            found.extend(records.iter().filter(|record| record.stored().unwrap().is_some()).map(|record| record.key));
        }
        let expected: Vec<&[u8]> =
            self.written.state.keys().map(Vec::as_slice).filter(|key| range.contains(key)).collect();
        if limit > 0 {
            assert_eq!(found, expected, "{range:?} in steps of {limit}");
        } else {
            assert!(found.is_empty());
        }
    }

    pub(super) fn check_scan(&self, limit: usize) {
        let guard = self.segment.lock(&self.place).unwrap();
        let installed = guard.installed();
        let (mut from, mut found) = (0_u64, Vec::new());
        while let Ok(digest) = u32::try_from(from) {
            let covered = installed
                .scan(digest, limit, &mut |record| {
                    if installed.stored_of(record)?.is_some() {
                        found.push(record.key.to_vec());
                    }
                    Ok(())
                })
                .unwrap();
            assert!(covered > from, "a scan gets on");
            from = covered;
        }
        found.sort();
        assert_eq!(found, self.written.state.keys().cloned().collect::<Vec<_>>(), "each key once");
    }

    /// S1: the bytes below each cut are what they were, and its keys can be read from the generation that it names.
    fn check_cuts(&self) {
        let mut guard = self.segment.lock(&self.place).unwrap();
        for kept in &self.kept {
            let bytes = self.disk.read(&kept.path, u64::MAX).unwrap();
            assert!(bytes.starts_with(&kept.bytes), "S1: bytes below {:?} changed", kept.cut);
            // Generations of before a reinstall are gone with their process.
            let Some(installed) = guard.generation_mut(kept.cut.generation) else { continue };
            let Some(file) = installed.share() else { continue };
            for key in &self.keys {
                let newest = installed.newest(installed.hash(key), key).unwrap();
                let version = newest
                    .and_then(|record| file.version_at(file.record(record.offset).unwrap(), kept.cut.length).unwrap());
                let stored = version.and_then(|record| record.stored().unwrap());
                let found = stored.map(|stored| (stored.value.to_vec(), stored.revision));
                assert_eq!(found.as_ref(), kept.state.get(key), "{key:?} at {:?}", kept.cut);
            }
        }
    }
}
