//! What one client knows of its keys: the last write that was acknowledged, and one that may be in flight.
//!
//! Every value names its key and a number that no other write of the key has, so that a value read tells which write
//! it is of. After a crash a key must hold its last acknowledged write, or the one that was in flight then:
//! that one may have happened without its answer arriving.
//!
//! A client that tries again elsewhere sends the same write. Once it is acknowledged, an earlier try of it may still
//! be under way: the key is *retired*, or that try could undo a later write, and rightly so.

use std::fmt;

/// Length of a value, in bytes.
pub const VALUE_LEN: usize = 1024;

/// What one client knows of its keys.
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Number of the last write.
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    /// Number of the last acknowledged write, 0 for none.
    acknowledged: u64,
    /// Number of the last write that was sent, 0 for none.
    sent: u64,
    /// An earlier try of a write may still be under way: it is not written any more.
    is_retired: bool,
}

/// A key that does not hold what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    key: String,
    acknowledged: u64,
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    Write(u64),
    /// Not a value that this key was given.
    Foreign,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss { key, acknowledged, .. } = self;
        match &self.found {
            Found::Nothing => write!(f, "{key} is missing, its write {acknowledged} was acknowledged"),
            Found::Write(found) => write!(f, "{key} holds write {found}, its write {acknowledged} was acknowledged"),
            Found::Foreign => write!(f, "{key} holds a value that was never written to it"),
        }
    }
}

impl Ledger {
    /// Of keys to which nothing was written yet.
    pub fn new(keys: impl Iterator<Item = u32>) -> Ledger {
        Ledger {
            entries: keys.map(|key| Entry { key, acknowledged: 0, sent: 0, is_retired: false }).collect(),
            last: 0,
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A key's name.
    pub fn key_name(&self, index: usize) -> String {
        format!("demo:{:08}", self.entries[index].key)
    }

    /// The value of the next write to a key, which is in flight from now on.
    pub fn send(&mut self, index: usize) -> Vec<u8> {
        self.last += 1;
        self.entries[index].sent = self.last;
        value(self.entries[index].key, self.last)
    }

    /// The write in flight to a key was acknowledged.
    pub fn acknowledge(&mut self, index: usize) {
        self.entries[index].acknowledged = self.entries[index].sent;
    }

    /// A write was acknowledged, and an earlier try of it may still be under way.
    pub fn retire(&mut self, index: usize) {
        self.entries[index].is_retired = true;
    }

    /// The keys that can be written.
    pub fn writable(&self) -> Vec<usize> {
        (0..self.len()).filter(|index| !self.entries[*index].is_retired).collect()
    }

    /// How many writes were sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.entries.iter().filter(|entry| entry.sent != entry.acknowledged).count()
    }

    /// The key of the last acknowledged write.
    pub fn an_acknowledged_key(&self) -> Option<usize> {
        let acknowledged = self.entries.iter().enumerate().filter(|(_, entry)| entry.acknowledged > 0);
        acknowledged.max_by_key(|(_, entry)| entry.acknowledged).map(|(index, _)| index)
    }

    /// The keys to which something was written.
    pub fn written(&self) -> Vec<usize> {
        (0..self.len()).filter(|index| self.entries[*index].sent > 0).collect()
    }

    /// The number of the write that a key holds (0 for none), if it may hold that one.
    ///
    /// # Errors
    /// It must hold another.
    pub fn judge(&self, index: usize, held: Option<&[u8]>) -> Result<u64, Loss> {
        let Entry { key, acknowledged, sent, .. } = self.entries[index];
        let found = match held.map(|held| (number(held), held)) {
            None => Found::Nothing,
            Some((Some(number), held)) if held == value(key, number) => Found::Write(number),
            Some(_) => Found::Foreign,
        };
        let number = match found {
            Found::Nothing => Some(0),
            Found::Write(number) => Some(number),
            Found::Foreign => None,
        };
        number.filter(|number| *number == acknowledged || *number == sent).ok_or_else(|| Loss {
            key: self.key_name(index),
            acknowledged,
            found,
        })
    }

    /// A key was seen to hold this write: it must from now on. Returns whether its answer had not arrived.
    pub fn settle(&mut self, index: usize, number: u64) -> bool {
        let entry = &mut self.entries[index];
        let was_in_flight = entry.acknowledged != number;
        entry.acknowledged = number;
        entry.sent = number;
        was_in_flight
    }
}

/// The value of a key's write with this number: both, then what a generator makes of both.
fn value(key: u32, number: u64) -> Vec<u8> {
    let mut value = format!("{key}:{number}:").into_bytes();
    let mut state = (u64::from(key) << 40) ^ number;
    while value.len() < VALUE_LEN {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    value.truncate(VALUE_LEN);
    value
}

/// The number of the write that a value says it is of.
fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value.split(|byte| *byte == b':').nth(1)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Ledger, VALUE_LEN, value};

    #[test]
    fn a_key_must_hold_its_last_acknowledged_write_or_the_one_in_flight() {
        let mut ledger = Ledger::new([7].into_iter());
        assert_eq!(ledger.judge(0, None), Ok(0));
        let first = ledger.send(0);
        assert_eq!((ledger.judge(0, None), ledger.judge(0, Some(&first))), (Ok(0), Ok(1)));
        ledger.acknowledge(0);
        assert!(ledger.judge(0, None).unwrap_err().to_string().contains("demo:00000007 is missing"));
        let second = ledger.send(0);
        ledger.acknowledge(0);
        let third = ledger.send(0);
        assert_eq!(ledger.in_flight(), 1);
        assert!(ledger.judge(0, Some(&first)).unwrap_err().to_string().contains("holds write 1"));
        assert_eq!((ledger.judge(0, Some(&second)), ledger.judge(0, Some(&third))), (Ok(2), Ok(3)));
    }

    #[test]
    fn what_was_seen_once_must_stay() {
        let mut ledger = Ledger::new([7].into_iter());
        let (first, second) = (ledger.send(0), ledger.send(0));
        assert!(ledger.settle(0, 2));
        assert!(ledger.judge(0, Some(&first)).is_err());
        assert_eq!(ledger.judge(0, Some(&second)), Ok(2));
        assert!(!ledger.settle(0, 2));
    }

    #[test]
    fn a_key_whose_write_was_tried_twice_is_not_written_again() {
        let mut ledger = Ledger::new([7, 8].into_iter());
        let value = ledger.send(0);
        ledger.acknowledge(0);
        ledger.retire(0);
        assert_eq!(ledger.writable(), [1]);
        assert_eq!((ledger.judge(0, Some(&value)), ledger.written()), (Ok(1), vec![0]));
    }

    #[test]
    fn damage_is_no_value() {
        let mut ledger = Ledger::new([7].into_iter());
        let mut sent = ledger.send(0);
        sent[VALUE_LEN - 1] ^= 1;
        for held in [sent.as_slice(), b"", b"7:1:", &value(8, 1)] {
            assert!(ledger.judge(0, Some(held)).unwrap_err().to_string().contains("never written"));
        }
    }
}
