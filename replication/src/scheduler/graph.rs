//! The graph of CBASE (Kotla and Dahlin, DSN 2004; section III.B of the paper), of batches: each new batch is compared
//! with every one that is not done. O(batches that are not done) for each.

use super::{BatchNumber, Footprints, LastAdmitted, Scheduler, Touch, Unit};
use skink_engine::command::Access;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A batch that is not done.
#[derive(Debug, Default)]
struct Vertex {
    count: u32,
    /// Its keys by their digest, each once, with the strongest access.
    keys: Vec<Touch>,
    is_everything: bool,
    /// Earlier batches that it waits for.
    predecessors: usize,
    /// Later ones that wait for it.
    successors: Vec<u32>,
}

/// Compares each new batch with all that are not done.
#[derive(Debug, Default)]
pub struct GraphScheduler {
    last: LastAdmitted,
    vertices: Vec<Vertex>,
    /// Places among the vertices: of those that are not done, and of those that are free.
    pending: Vec<u32>,
    free: Vec<u32>,
    ready: BinaryHeap<Reverse<(BatchNumber, u32)>>,
    numbers: Vec<BatchNumber>,
    outstanding: usize,
}

/// Whether two lists by digest share one that either writes.
fn meet(left: &[Touch], right: &[Touch]) -> bool {
    let (mut at_left, mut at_right) = (0, 0);
    while let (Some(one), Some(other)) = (left.get(at_left), right.get(at_right)) {
        match one.digest.cmp(&other.digest) {
            Ordering::Equal if one.access.max(other.access) == Access::Write => return true,
            Ordering::Equal => (at_left, at_right) = (at_left + 1, at_right + 1),
            Ordering::Less => at_left += 1,
            Ordering::Greater => at_right += 1,
        }
    }
    false
}

impl Scheduler for GraphScheduler {
    fn admit(&mut self, batch: BatchNumber, footprints: &Footprints) {
        self.last.admit(batch);
        if footprints.is_empty() {
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.vertices.push(Vertex::default());
            self.numbers.push(batch);
            self.vertices.len() as u32 - 1
        });
        // Vertices keep the memory of their lists.
        let mut vertex = std::mem::take(&mut self.vertices[place as usize]);
        vertex.count = footprints.len() as u32;
        vertex.is_everything = footprints.has_everything();
        vertex.keys.clear();
        vertex.keys.extend_from_slice(footprints.touches());
        vertex.keys.sort_unstable_by(|left, right| right.cmp(left));
        vertex.keys.dedup_by_key(|touch| touch.digest);
        vertex.keys.reverse();
        for other in &self.pending {
            let pending = &mut self.vertices[*other as usize];
            if vertex.is_everything || pending.is_everything || meet(&vertex.keys, &pending.keys) {
                pending.successors.push(place);
                vertex.predecessors += 1;
            }
        }
        if vertex.predecessors == 0 {
            self.ready.push(Reverse((batch, place)));
        }
        self.outstanding += vertex.count as usize;
        self.vertices[place as usize] = vertex;
        self.numbers[place as usize] = batch;
        self.pending.push(place);
    }

    fn next_ready(&mut self, _worker: usize, _most: usize) -> Option<Unit> {
        let Reverse((batch, place)) = self.ready.pop()?;
        Some(Unit::whole(batch, place, self.vertices[place as usize].count))
    }

    fn complete(&mut self, unit: Unit) {
        let place = unit.handle;
        self.outstanding -= unit.count as usize;
        let mut successors = std::mem::take(&mut self.vertices[place as usize].successors);
        for successor in successors.drain(..) {
            let waiting = &mut self.vertices[successor as usize];
            waiting.predecessors -= 1;
            if waiting.predecessors == 0 {
                self.ready.push(Reverse((self.numbers[successor as usize], successor)));
            }
        }
        self.vertices[place as usize].successors = successors;
        match self.pending.iter().position(|pending| *pending == place) {
            Some(at) => self.pending.swap_remove(at),
            None => panic!("E1: what has begun is completed"),
        };
        self.free.push(place);
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn memory_bytes(&self) -> usize {
        let lists = |vertex: &Vertex| {
            vertex.keys.capacity() * size_of::<Touch>() + vertex.successors.capacity() * size_of::<u32>()
        };
        self.vertices.iter().map(lists).sum::<usize>()
            + self.vertices.capacity() * size_of::<Vertex>()
            + (self.pending.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.ready.capacity() * size_of::<(BatchNumber, u32)>()
            + self.numbers.capacity() * size_of::<BatchNumber>()
    }
}
