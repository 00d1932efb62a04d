//! The paper's scheme (section IV): a bitmap of the keys for each batch, and for each worker a sequence of batches, `c_seq`,
//! with the union of their bitmaps, `c_map`. O(workers x bits) for each batch.
//!
//! A batch that meets no worker's map goes to the worker with the least to do. One that meets some goes to the end of all
//! of their sequences; when it has come to the head of each, one of them executes it, while the others stand still. A
//! batch that is done leaves its sequences, and their maps are made again from what is left in them.
//!
//! The map doesn't tell reads from writes, and two keys may have the same bit: some batches wait that needn't.

use super::{BatchNumber, Footprints, LastAdmitted, Scheduler, Unit};
use std::collections::VecDeque;
use std::sync::Arc;

/// Words that are compared before a look at the result: enough to use the processor's wide registers.
const STRIDE: usize = 32;

/// Which keys a batch touches: a bit for the digest's remainder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    words: Box<[u64]>,
}

impl Bitmap {
    /// No keys, of `bits`, at least one.
    pub fn empty(bits: u32) -> Bitmap {
        Bitmap { words: vec![0; (bits.max(1) as usize).div_ceil(64)].into() }
    }

    /// The keys of a batch; all of them where a command is over everything.
    pub fn of(footprints: &Footprints, bits: u32) -> Bitmap {
        let mut bitmap = Bitmap::empty(bits);
        if footprints.has_everything() {
            bitmap.words.fill(u64::MAX);
        }
        for touch in footprints.touches() {
            let bit = touch.digest % bits.max(1);
            bitmap.words[bit as usize / 64] |= 1 << (bit % 64);
        }
        bitmap
    }

    /// Whether both have a bit, both of the same size.
    pub fn meets(&self, other: &Bitmap) -> bool {
        let strides = self.words.chunks(STRIDE).zip(other.words.chunks(STRIDE));
        strides
            .into_iter()
            .any(|(left, right)| left.iter().zip(right).fold(0, |common, (left, right)| common | (left & right)) != 0)
    }

    /// Adds the bits of another one of the same size.
    pub fn add(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }
}

/// A batch that is not done.
#[derive(Debug)]
struct Entry {
    batch: BatchNumber,
    count: u32,
    bitmap: Arc<Bitmap>,
    /// Workers that have it in their sequences.
    involved: Vec<u32>,
    has_begun: bool,
}

/// What a worker has to do.
#[derive(Debug)]
struct Worker {
    /// Places of batches, in the order in which it takes them: the paper's `c_seq`.
    sequence: VecDeque<u32>,
    /// The union of their bitmaps: the paper's `c_map`.
    map: Bitmap,
    /// Commands in them.
    load: usize,
}

/// Assigns batches to workers by their bitmaps.
#[derive(Debug)]
pub struct BitmapScheduler {
    last: LastAdmitted,
    bits: u32,
    workers: Vec<Worker>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    outstanding: usize,
}

impl BitmapScheduler {
    /// For so many workers, with bitmaps of so many bits.
    pub fn new(workers: usize, bits: u32) -> BitmapScheduler {
        let worker = || Worker { sequence: VecDeque::new(), map: Bitmap::empty(bits), load: 0 };
        BitmapScheduler {
            last: LastAdmitted::default(),
            bits,
            workers: (0..workers).map(|_| worker()).collect(),
            entries: Vec::new(),
            free: Vec::new(),
            outstanding: 0,
        }
    }

    /// Like [`admit`](Scheduler::admit), for so many commands whose bitmap was made elsewhere: in the paper the proxy
    /// makes it.
    ///
    /// # Panics
    /// If the batch's number is not above the one before, or the bitmap has another size.
    pub fn admit_prepared(&mut self, batch: BatchNumber, count: usize, bitmap: Arc<Bitmap>) {
        self.last.admit(batch);
        if count == 0 {
            return;
        }
        assert!(self.workers.iter().all(|worker| worker.map.words.len() == bitmap.words.len()), "bitmaps of one size");
        let numbered = || (0_u32..).zip(&self.workers);
        // The map of a worker that has nothing to do is empty.
        let meets = |worker: &Worker| !worker.sequence.is_empty() && worker.map.meets(&bitmap);
        let mut involved: Vec<u32> = numbered().filter(|(_, worker)| meets(worker)).map(|(number, _)| number).collect();
        if involved.is_empty() {
            involved.extend(numbered().min_by_key(|(_, worker)| worker.load).map(|(number, _)| number));
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        for number in &involved {
            let worker = &mut self.workers[*number as usize];
            worker.sequence.push_back(place);
            worker.map.add(&bitmap);
            worker.load += count;
        }
        self.outstanding += count;
        self.entries[place as usize] = Some(Entry { batch, count: count as u32, bitmap, involved, has_begun: false });
    }
}

impl Scheduler for BitmapScheduler {
    fn admit(&mut self, batch: BatchNumber, footprints: &Footprints) {
        self.admit_prepared(batch, footprints.len(), Arc::new(Bitmap::of(footprints, self.bits)));
    }

    fn next_ready(&mut self, worker: usize, _most: usize) -> Option<Unit> {
        let place = *self.workers.get(worker)?.sequence.front()?;
        let entry = self.entries[place as usize].as_mut()?;
        let is_head = |number: &u32| self.workers[*number as usize].sequence.front() == Some(&place);
        if entry.has_begun || !entry.involved.iter().all(is_head) {
            return None;
        }
        entry.has_begun = true;
        Some(Unit::whole(entry.batch, place, entry.count))
    }

    fn complete(&mut self, unit: Unit) {
        let Some(entry) = self.entries[unit.handle as usize].take() else {
            panic!("E1: what has begun is completed");
        };
        for number in &entry.involved {
            let worker = &mut self.workers[*number as usize];
            assert_eq!(worker.sequence.pop_front(), Some(unit.handle), "E1: what has begun is at the head");
            worker.load -= unit.count as usize;
            worker.map.words.fill(0);
            for place in &worker.sequence {
                if let Some(queued) = &self.entries[*place as usize] {
                    worker.map.add(&queued.bitmap);
                }
            }
        }
        self.outstanding -= unit.count as usize;
        self.free.push(unit.handle);
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn memory_bytes(&self) -> usize {
        let words = |bitmap: &Bitmap| size_of_val(&*bitmap.words);
        let worker = |worker: &Worker| words(&worker.map) + worker.sequence.capacity() * size_of::<u32>();
        let entry = |entry: &Entry| words(&entry.bitmap) + entry.involved.capacity() * size_of::<u32>();
        self.workers.iter().map(worker).sum::<usize>()
            + self.entries.iter().flatten().map(entry).sum::<usize>()
            + self.workers.capacity() * size_of::<Worker>()
            + self.entries.capacity() * size_of::<Option<Entry>>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn binds_workers(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Bitmap, BitmapScheduler};
    use crate::scheduler::{BatchNumber, Footprints, Scheduler, Touch};
    use skink_engine::command::Access;

    fn writes(digests: &[u32]) -> Footprints {
        let mut footprints = Footprints::default();
        digests.iter().for_each(|digest| footprints.push_keys([Touch { digest: *digest, access: Access::Write }]));
        footprints
    }

    #[test]
    fn bitmaps_meet_where_they_share_a_bit() {
        let bitmap = |digests: &[u32]| Bitmap::of(&writes(digests), 10_000);
        assert!(bitmap(&[1, 9_999]).meets(&bitmap(&[5, 9_999])) && bitmap(&[7]).meets(&bitmap(&[10_007])));
        assert!(!bitmap(&[1, 2]).meets(&bitmap(&[3, 66])));
        let mut sum = bitmap(&[1]);
        sum.add(&bitmap(&[2]));
        assert_eq!(sum, bitmap(&[2, 1]));
        let mut everything = Footprints::default();
        everything.push_everything();
        assert!(Bitmap::of(&everything, 10_000).meets(&bitmap(&[4_321])));
    }

    /// The paper's figure 3(d): batches without conflicts are spread, one that meets two workers waits for both.
    #[test]
    fn batches_go_where_the_paper_sends_them() {
        let mut scheduler = BitmapScheduler::new(3, 1_000);
        let mut admit = |number, digests: &[u32]| scheduler.admit(BatchNumber::new(number), &writes(digests));
        admit(1, &[1, 2]);
        admit(2, &[3]);
        admit(3, &[2, 3]);
        admit(4, &[4]);
        let sequences: Vec<Vec<u32>> =
            scheduler.workers.iter().map(|worker| worker.sequence.iter().copied().collect()).collect();
        assert_eq!(sequences, [vec![0, 2], vec![1, 2], vec![3]]);
        let first = scheduler.next_ready(0, 1).unwrap();
        assert!(scheduler.next_ready(0, 1).is_none(), "it has begun");
        scheduler.complete(first);
        assert!(scheduler.next_ready(0, 1).is_none(), "the other worker is not there yet");
        assert!(!scheduler.workers[0].map.meets(&Bitmap::of(&writes(&[1]), 1_000)), "the map is made again");
        let second = scheduler.next_ready(1, 1).unwrap();
        scheduler.complete(second);
        let third = scheduler.next_ready(1, 1).unwrap();
        assert_eq!((third.batch().get(), third.commands()), (3, 0..2));
        assert!(scheduler.next_ready(0, 1).is_none(), "one of them executes it");
        scheduler.complete(third);
        assert_eq!(scheduler.next_ready(2, 1).map(|unit| unit.batch().get()), Some(4));
    }
}
