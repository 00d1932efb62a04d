//! Parts of values, and values that are numbers.

use super::Session;
use crate::command::{Command, CommandError, Reply};

#[test]
fn a_part_counts_from_either_end_and_is_cut_off_at_both() {
    // From Redis: GETRANGE of "Hello World" and of a missing key.
    let cases = [
        (0, 4, "Hello"),
        (0, -1, "Hello World"),
        (-5, -1, "World"),
        (-3, -2, "rl"),
        (6, 1_000, "World"),
        (5, 4, ""),
        (11, 20, ""),
        (-1_000, 4, "Hello"),
        (-1_000, -1_000, "H"),
        (-1, -5, ""),
        (0, -1_000, "H"),
        (i64::MIN, i64::MAX, "Hello World"),
        (i64::MAX, i64::MIN, ""),
    ];
    for (start, end, expected) in cases {
        let mut session = Session::with("k", "Hello World");
        let part = |key: &'static str| Command::ReadPart { key: key.into(), start, end };
        assert_eq!(session.run(part("k")), Reply::Bytes(expected.into()), "{start}..={end}");
        assert_eq!(session.run(part("missing")), Reply::Bytes("".into()), "{start}..={end}");
    }
}

#[test]
fn writing_a_part_pads_with_zeros() {
    let write = |offset, bytes: &'static str| Command::WritePart { key: "k".into(), offset, bytes: bytes.into() };
    let mut session = Session::new();
    assert_eq!(session.run(write(3, "")), Reply::Integer(0));
    assert_eq!(session.value("k"), None, "nothing written makes no key");
    assert_eq!(session.run(write(3, "ab")), Reply::Integer(5));
    assert_eq!(session.value("k"), Some(&b"\0\0\0ab"[..]));
    assert_eq!(session.run(write(1, "xy")), Reply::Integer(5));
    assert_eq!(session.value("k"), Some(&b"\0xyab"[..]));
    assert_eq!(session.run(write(1_000, "")), Reply::Integer(5));
    assert_eq!(session.run(write(63, "z")), Reply::Integer(64), "as long as allowed");
    let too_long = |len| Reply::Failed(CommandError::ValueTooLong { len, max: 64 });
    assert_eq!(session.run(write(63, "zz")), too_long(65));
    assert_eq!(session.run(write(u64::MAX, "z")), too_long(u64::MAX));
}

#[test]
fn appending_makes_the_key_and_ends_at_the_limit() {
    let append = |bytes: &'static str| Command::Append { key: "k".into(), bytes: bytes.into() };
    let mut session = Session::new();
    assert_eq!(session.run(append("")), Reply::Integer(0));
    assert_eq!(session.value("k"), Some(&b""[..]), "as in Redis, even of nothing");
    assert_eq!(session.run(append("0123456789012345678901234567890123456789")), Reply::Integer(40));
    let refused = session.run(append("0123456789012345678901234"));
    assert_eq!(refused, Reply::Failed(CommandError::ValueTooLong { len: 65, max: 64 }));
    assert_eq!(session.run(Command::Length { key: "k".into() }), Reply::Integer(40));
}

#[test]
fn only_what_redis_writes_as_a_number_is_one() {
    let increment = |by| Command::Increment { key: "k".into(), by };
    for (value, sum) in [("0", 1), ("-1", 0), ("41", 42), ("9223372036854775806", i64::MAX)] {
        assert_eq!(Session::with("k", value).run(increment(1)), Reply::Integer(sum), "{value}");
    }
    for garbage in ["", "-", "-0", "+1", "01", "1 ", " 1", "1.0", "0x1", "9223372036854775808", "abc", "١"] {
        let mut session = Session::with("k", garbage);
        assert_eq!(session.run(increment(1)), Reply::Failed(CommandError::NotAnInteger), "{garbage:?}");
        assert_eq!(session.value("k"), Some(garbage.as_bytes()));
    }
    let overflow = Reply::Failed(CommandError::IntegerOverflow);
    assert_eq!(Session::with("k", "9223372036854775807").run(increment(1)), overflow);
    assert_eq!(Session::with("k", "-1").run(increment(i64::MIN)), overflow);
    assert_eq!(Session::new().run(increment(i64::MIN)), Reply::Integer(i64::MIN));
}

#[test]
fn a_sum_is_no_longer_than_a_value_may_be() {
    let mut session = Session::with("k", "99");
    session.context.max_value_len = 2;
    let reply = session.run(Command::Increment { key: "k".into(), by: 1 });
    assert_eq!(reply, Reply::Failed(CommandError::ValueTooLong { len: 3, max: 2 }));
    assert_eq!(session.value("k"), Some(&b"99"[..]));
}
