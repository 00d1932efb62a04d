//! The delta: the keys of a segment's index that its image doesn't have.
//!
//! Point reads go through a hash table of digests. Key order is made when somebody asks for it: keys that
//! came since are sorted and merged then, so that writes don't pay for it. About 25 bytes a key.

use super::record::RECORD_ALIGN;
use hashbrown::HashTable;

/// Number of a key in the delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaSlot(u32);

#[derive(Clone, Copy)]
struct Entry {
    digest: u32,
    /// In units of 8 bytes.
    newest: u32,
}

/// Keys that came after the image.
#[derive(Default)]
pub struct Delta {
    entries: Vec<Entry>,
    table: HashTable<u32>,
    /// Numbers of the entries, the first `sorted_len` of them in key order.
    order: Vec<u32>,
    sorted_len: usize,
}

fn table_hash(digest: u32) -> u64 {
    // The table wants entropy in the high bits too.
    u64::from(digest).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Delta {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Finds a key; `is_it` compares the record at an offset.
    #[inline]
    pub fn find<E>(
        &self,
        digest: u32,
        mut is_it: impl FnMut(u64) -> Result<bool, E>,
    ) -> Result<Option<(DeltaSlot, u64)>, E> {
        let mut failure = None;
        let found = self.table.find(table_hash(digest), |&number| {
            let entry = self.entries[number as usize];
            entry.digest == digest
                && match is_it(u64::from(entry.newest) * RECORD_ALIGN) {
                    Ok(is_it) => is_it,
                    Err(error) => {
                        failure = Some(error);
                        true
                    }
                }
        });
        match (failure, found) {
            (Some(error), _) => Err(error),
            (None, found) => Ok(found
                .map(|&number| (DeltaSlot(number), u64::from(self.entries[number as usize].newest) * RECORD_ALIGN))),
        }
    }

    /// Adds a key that is not there.
    pub fn insert(&mut self, digest: u32, offset: u64) {
        let number = self.entries.len() as u32;
        self.entries.push(Entry { digest, newest: (offset / RECORD_ALIGN) as u32 });
        let entries = &self.entries;
        self.table.insert_unique(table_hash(digest), number, |&number| table_hash(entries[number as usize].digest));
        self.order.push(number);
    }

    /// Sets a key's newest offset.
    pub fn set(&mut self, slot: DeltaSlot, offset: u64) {
        self.entries[slot.0 as usize].newest = (offset / RECORD_ALIGN) as u32;
    }

    /// Newest offsets with digests, in no order.
    pub fn offsets(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.entries.iter().map(|entry| (entry.digest, u64::from(entry.newest) * RECORD_ALIGN))
    }

    /// Digest and newest offset of position `number` in key order, after [`Delta::sort`].
    pub fn sorted(&self, number: usize) -> (u32, u64) {
        let entry = self.entries[self.order[number] as usize];
        (entry.digest, u64::from(entry.newest) * RECORD_ALIGN)
    }

    /// Brings the keys in order; `key_at` reads the key of the record at an offset.
    pub fn sort<'k, E>(&mut self, mut key_at: impl FnMut(u64) -> Result<&'k [u8], E>) -> Result<(), E> {
        if self.sorted_len == self.order.len() {
            return Ok(());
        }
        let mut key_of = |number: u32| key_at(u64::from(self.entries[number as usize].newest) * RECORD_ALIGN);
        let mut new = Vec::with_capacity(self.order.len() - self.sorted_len);
        for &number in &self.order[self.sorted_len..] {
            new.push((key_of(number)?, number));
        }
        new.sort_unstable_by_key(|&(key, _)| key);
        let mut merged = Vec::with_capacity(self.order.len());
        let mut taken = 0;
        for (key, number) in new {
            // Binary search: the old keys that are not next to a new one are never read.
            let (mut low, mut high) = (taken, self.sorted_len);
            while low < high {
                let middle = low + (high - low) / 2;
                if key_of(self.order[middle])? < key {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            merged.extend_from_slice(&self.order[taken..low]);
            taken = low;
            merged.push(number);
        }
        merged.extend_from_slice(&self.order[taken..self.sorted_len]);
        self.sorted_len = merged.len();
        self.order = merged;
        Ok(())
    }

    /// The first position in key order at which `is_before` no longer holds for the record.
    pub fn partition<E>(&self, mut is_before: impl FnMut(u64) -> Result<bool, E>) -> Result<usize, E> {
        let (mut low, mut high) = (0, self.sorted_len);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.sorted(middle).1)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
