//! How the reply to a command is to look.

use crate::resp::Frame;
use bytes::Bytes;

/// How the engine's reply to a command becomes RESP. Failures are errors whatever the shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// `OK`, or nil where the write was not to happen.
    Status,
    /// 1, or 0 where the write was not to happen.
    Flag,
    /// A value, or nil.
    Value,
    /// An array of values, nil for those that are not there.
    Values,
    /// Part of a value.
    Bytes,
    /// A number.
    Integer,
    /// Seconds to live; -1 for ever, -2 without the key. Rounded, as Redis does.
    TtlSeconds,
    /// Milliseconds to live; -1 for ever, -2 without the key.
    TtlMs,
    /// When the key expires, in seconds since 1970; -1 for never, -2 without the key.
    ExpireTimeSeconds,
    /// When the key expires, in milliseconds since 1970; -1 for never, -2 without the key.
    ExpireTimeMs,
    /// Of a time to live: the status `string`, or `none` without the key.
    Type,
    /// The next cursor as a string, and an array of keys.
    Scan,
    /// As [`Shape::Scan`], but without the keys (`SCAN … TYPE` of a type that no key has).
    ScanOfNone,
    /// An array of a range's keys. An error if there are more, for a part would pass for the whole.
    Keys,
    /// A range as an array of [key, value]. Whoever asked for the range looks after its continuation.
    Entries,
    /// A range as an array of [key, value, revision, expiry in milliseconds since 1970 or nil]; otherwise as [`Shape::Entries`].
    Rows,
    /// As [`Shape::Rows`], of a read of these keys (one or many); keys that are not there have no row.
    RowsOf(Vec<Bytes>),
    /// Of `of` commands that stand for one (`GETDEL` is a read and a delete), the reply of one; the first failure if there is any.
    Pick {
        /// Whose reply it is.
        index: usize,
        /// How many commands there are.
        of: usize,
        /// What that reply looks like.
        shape: Box<Shape>,
    },
    /// This, whatever the state: the place in a transaction of what is no command of the engine.
    Answer(Frame),
    /// An array of the replies of a transaction's commands, each with its shape; nil if it was aborted.
    Transaction(Vec<Shape>),
}

impl Shape {
    /// How many of a transaction's commands the shape is for.
    pub(super) fn width(&self) -> usize {
        match self {
            Shape::Pick { of, .. } => *of,
            Shape::Answer(_) => 0,
            _ => 1,
        }
    }

    /// The number, from 1, of the command as the client counts, for the command with this index in a transaction.
    pub(super) fn command_number(&self, index: usize) -> usize {
        let Shape::Transaction(shapes) = self else { return index + 1 };
        let mut end = 0;
        let before = shapes.iter().take_while(|shape| {
            end += shape.width();
            end <= index
        });
        before.count() + 1
    }
}
