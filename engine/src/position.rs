//! Positions: in the total order, and in the log. Each is a type of its own with checked arithmetic.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The position of a batch's header in the total order; the first is 1, there are no gaps. 0 stands before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instance(u64);

impl Instance {
    /// Before the first instance.
    pub const ZERO: Instance = Instance(0);
    /// The last instance that a revision can name.
    pub const MAX: Instance = Instance((1 << (63 - Revision::INDEX_BITS)) - 1);

    /// The instance with this number, `None` past [`Instance::MAX`].
    pub fn new(number: u64) -> Option<Instance> {
        (number <= Instance::MAX.0).then_some(Instance(number))
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    ///
    /// # Panics
    /// At [`Instance::MAX`], after 2^47 batches.
    pub fn next(self) -> Instance {
        assert!(self < Instance::MAX, "instances are exhausted");
        Instance(self.0 + 1)
    }

    /// The revision of the command with this index in the instance's batch.
    pub fn revision(self, index: u16) -> Revision {
        Revision((self.0 << Revision::INDEX_BITS) | u64::from(index))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of one command in the total order: instance (47 bits) and index in the batch (16 bits).
///
/// It fits an `i64`, so that any client can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Revision(u64);

impl Revision {
    const INDEX_BITS: u32 = 16;
    /// Most commands in a batch.
    pub const MAX_BATCH_COMMANDS: usize = 1 << Self::INDEX_BITS;
    /// Before the first command.
    pub const ZERO: Revision = Revision(0);

    /// The revision that this number is.
    pub fn from_raw(number: u64) -> Revision {
        Revision(number)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The instance of its batch.
    pub fn instance(self) -> Instance {
        Instance(self.0 >> Self::INDEX_BITS)
    }

    /// Its index in the batch.
    pub fn index(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A byte position in the write-ahead log, counted over all its files from the first one ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogPosition(u64);

impl LogPosition {
    /// Before everything.
    pub const ZERO: LogPosition = LogPosition(0);

    /// The position at this byte.
    pub fn new(byte: u64) -> LogPosition {
        LogPosition(byte)
    }

    /// The byte.
    pub fn get(self) -> u64 {
        self.0
    }

    /// So many bytes on.
    ///
    /// # Panics
    /// After 2^64 bytes.
    pub fn plus(self, bytes: u64) -> LogPosition {
        match self.0.checked_add(bytes) {
            Some(byte) => LogPosition(byte),
            None => panic!("log positions are exhausted"),
        }
    }

    /// Bytes from `earlier` to this position, 0 if it is not earlier.
    pub fn since(self, earlier: LogPosition) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Instance, Revision};

    #[test]
    fn revisions_order_as_instance_then_index() {
        let first = Instance::ZERO.next();
        let revision = first.revision(7);
        assert_eq!((revision.instance(), revision.index()), (first, 7));
        assert!(first.revision(u16::MAX) < first.next().revision(0));
        assert!(i64::try_from(Instance::MAX.revision(u16::MAX).get()).is_ok());
        assert_eq!(Instance::new(Instance::MAX.get() + 1), None);
        assert_eq!(Revision::from_raw(revision.get()), revision);
    }
}
