//! The last touchers of each key digest: who wrote it last, and who has read it since.
//!
//! An open-addressing table of twelve bytes an entry, in parts that grow one by one: growing holds up nobody for long, and
//! needs little memory beside. Entries are never taken out. One whose commands are complete is dead, without
//! anybody touching it: its tags lie before the window. A new digest takes the place of the first dead entry on its way,
//! and a part that is full is made again from the entries that are not dead.

use super::cells::{Cells, NONE};
use super::window::Window;

/// Parts, as a power of two.
const PART_BITS: u32 = 6;
/// Entries of the smallest part.
const MIN_PART: usize = 64;
/// Entries that are not dead up to which a part gets eight places for each; above, two.
const ROOMY: usize = 512;

/// In the place of the readers: there are several, in a ring whose last cell is in the other bits.
const RING: u32 = 1 << 31;
/// In the place of the readers: the entry was never used. No ring has this cell, as [`NONE`] is none either.
const VACANT: u32 = u32::MAX - 1;

/// A digest's last touchers.
#[derive(Debug, Clone, Copy)]
struct Entry {
    digest: u32,
    /// The tag of the last writer; a dead one where there is none.
    writer: u32,
    /// The tag of the only reader since, or a ring of several, or [`NONE`], or [`VACANT`].
    readers: u32,
}

const EMPTY: Entry = Entry { digest: 0, writer: 0, readers: VACANT };

#[derive(Debug, Default)]
struct Part {
    entries: Vec<Entry>,
    /// Those that are not vacant, and how many these may be.
    used: usize,
    most: usize,
}

/// The last touchers of each digest.
#[derive(Debug)]
pub(super) struct Touchers {
    parts: Vec<Part>,
    /// Rings of readers.
    readers: Cells,
    /// The part that is swept next.
    swept: usize,
}

impl Default for Touchers {
    fn default() -> Touchers {
        let part = || Part { entries: vec![EMPTY; MIN_PART], used: 0, most: MIN_PART / 2 };
        Touchers { parts: (0..1 << PART_BITS).map(|_| part()).collect(), readers: Cells::default(), swept: 0 }
    }
}

/// Whether an entry can be told to be dead at a glance.
fn is_dead(entry: &Entry, window: &Window) -> bool {
    !window.contains(entry.writer)
        && (entry.readers == NONE || (entry.readers < RING && !window.contains(entry.readers)))
}

/// Where the way of a digest through a part of so many entries begins, its hash without the bits that chose the part.
fn home(rest: u32, entries: usize) -> usize {
    ((u64::from(rest) * entries as u64) >> 32) as usize
}

fn hash(digest: u32) -> u32 {
    digest.wrapping_mul(0x9e37_79b1)
}

impl Part {
    /// The place of a digest, which is entered if it isn't there; `None` if there is no room for it.
    #[inline]
    fn place(&mut self, digest: u32, rest: u32, window: &Window) -> Option<usize> {
        let mut dead = None;
        let mut at = home(rest, self.entries.len());
        loop {
            let entry = &self.entries[at];
            if entry.digest == digest && entry.readers != VACANT {
                return Some(at);
            }
            if entry.readers == VACANT {
                break;
            }
            if dead.is_none() && is_dead(entry, window) {
                dead = Some(at);
            }
            at += 1;
            if at == self.entries.len() {
                at = 0;
            }
        }
        if dead.is_none() {
            if self.used >= self.most {
                return None;
            }
            self.used += 1;
        }
        let place = dead.unwrap_or(at);
        self.entries[place] = Entry { digest, writer: window.dead_tag(), readers: NONE };
        Some(place)
    }

    /// Makes it again from the entries that are not dead, with room for more.
    #[cold]
    fn rebuild(&mut self, window: &Window, readers: &mut Cells) {
        let mut live = std::mem::take(&mut self.entries);
        live.retain_mut(|entry| entry.readers != VACANT && refresh(entry, window, readers));
        // In small parts, the way to a vacant entry is to be short.
        let (entries, most) = match live.len() {
            few if few <= ROOMY => ((8 * few).max(MIN_PART), (4 * few).max(MIN_PART / 2)),
            many => (2 * many, many + many / 2),
        };
        self.most = most;
        self.used = live.len();
        self.entries = vec![EMPTY; entries];
        for entry in live {
            let mut at = home(hash(entry.digest) << PART_BITS, entries);
            while self.entries[at].readers != VACANT {
                at = (at + 1) % entries;
            }
            self.entries[at] = entry;
        }
    }
}

/// Drops what is complete from an entry; whether anything is left.
fn refresh(entry: &mut Entry, window: &Window, readers: &mut Cells) -> bool {
    if !window.is_outstanding(entry.writer) {
        entry.writer = window.dead_tag();
    }
    if entry.readers < RING {
        if !window.is_outstanding(entry.readers) {
            entry.readers = NONE;
        }
    } else if entry.readers != NONE {
        let mut last = entry.readers & !RING;
        // Once around: every cell comes to the head, the last one as well.
        let end = last;
        let mut is_around = false;
        while !is_around {
            let head = readers.next(last);
            is_around = head == end;
            if window.is_outstanding(readers.value(head)) {
                last = head;
            } else if head == last {
                readers.remove(head);
                entry.readers = NONE;
                break;
            } else {
                readers.remove_after(last);
            }
            if entry.readers != NONE {
                entry.readers = RING | last;
            }
        }
    }
    window.is_outstanding(entry.writer) || entry.readers != NONE
}

impl Touchers {
    /// The entry of a digest, made if there is none.
    #[inline]
    fn entry(&mut self, digest: u32, window: &Window) -> (&mut Entry, &mut Cells) {
        let hash = hash(digest);
        let part = &mut self.parts[(hash >> (32 - PART_BITS)) as usize];
        let place = loop {
            match part.place(digest, hash << PART_BITS, window) {
                Some(place) => break place,
                None => part.rebuild(window, &mut self.readers),
            }
        };
        (&mut part.entries[place], &mut self.readers)
    }

    /// The command with this tag reads a digest: it waits for the last writer.
    pub(super) fn read(&mut self, digest: u32, tag: u32, window: &mut Window, edges: &mut Cells) {
        let (entry, readers) = self.entry(digest, window);
        if window.is_outstanding(entry.writer) {
            window.wait(entry.writer, tag, edges);
        }
        entry.readers = if entry.readers == NONE || (entry.readers < RING && !window.is_outstanding(entry.readers)) {
            tag
        } else if entry.readers < RING {
            let first = readers.insert_ring(entry.readers);
            RING | readers.insert_after(first, tag)
        } else {
            // Each new reader looks at two old ones: complete ones go, so that the ring stays in proportion to those
            // that are not.
            let mut last = entry.readers & !RING;
            for _ in 0..2 {
                let head = readers.next(last);
                if window.is_outstanding(readers.value(head)) {
                    last = head;
                } else if head != last {
                    readers.remove_after(last);
                }
            }
            RING | readers.insert_after(last, tag)
        };
    }

    /// The command with this tag writes a digest: it waits for those who have read it since it was last written, or
    /// else for that writer.
    pub(super) fn write(&mut self, digest: u32, tag: u32, window: &mut Window, edges: &mut Cells) {
        let (entry, readers) = self.entry(digest, window);
        // A reader that is not complete waits for the writer, or the writer is complete.
        let mut has_readers = false;
        if entry.readers < RING {
            if window.is_outstanding(entry.readers) {
                has_readers = true;
                window.wait(entry.readers, tag, edges);
            }
        } else if entry.readers != NONE {
            let last = entry.readers & !RING;
            let mut at = readers.next(last);
            loop {
                let is_last = at == last;
                let (reader, next) = readers.remove(at);
                if window.is_outstanding(reader) {
                    has_readers = true;
                    window.wait(reader, tag, edges);
                }
                if is_last {
                    break;
                }
                at = next;
            }
        }
        if !has_readers && window.is_outstanding(entry.writer) {
            window.wait(entry.writer, tag, edges);
        }
        entry.writer = tag;
        entry.readers = NONE;
    }

    /// Drops what is dead from the next part. From a part where nothing was dropped for half of all tags, they would name
    /// new commands.
    pub(super) fn sweep_next(&mut self, window: &Window) {
        self.parts[self.swept].rebuild(window, &mut self.readers);
        self.swept = (self.swept + 1) % self.parts.len();
        self.readers.tidy();
    }

    #[cfg(test)]
    pub(super) fn ring_cells(&self) -> usize {
        self.readers.used()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let entries: usize = self.parts.iter().map(|part| part.entries.capacity() * size_of::<Entry>()).sum();
        entries + self.parts.capacity() * size_of::<Part>() + self.readers.memory_bytes()
    }
}
