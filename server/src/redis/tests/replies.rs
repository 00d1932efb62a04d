//! Golden bytes of the engine's replies, for both versions of the protocol.

use super::super::{Shape, encode_reply, transaction};
use crate::resp::{Frame, ProtocolVersion};
use bytes::BytesMut;
use skink_engine::command::{Command, CommandError, Entry, Reply, TimeToLive, Versioned};
use skink_engine::position::Revision;

fn encode(reply: &Reply, shape: &Shape, version: ProtocolVersion) -> String {
    let mut out = BytesMut::new();
    encode_reply(reply, shape, version, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn version(value: &'static str, revision: u64, expires_at_ms: u64) -> Versioned {
    Versioned { value: value.into(), revision: Revision::from_raw(revision), expires_at_ms }
}

fn entries(next: Option<&'static str>) -> Reply {
    let entries = vec![
        Entry { key: "a".into(), version: version("1", 7, 0) },
        Entry { key: "b".into(), version: version("2", 8, 99) },
    ];
    Reply::Entries { entries, next: next.map(Into::into) }
}

fn pick(shape: Shape) -> Shape {
    Shape::Pick { index: 0, of: 2, shape: Box::new(shape) }
}

#[test]
fn replies_have_these_bytes() {
    let written = Reply::Written(Revision::from_raw(7));
    let value = || Reply::Value(version("v", 7, 0));
    let expires = |at_ms, in_ms| Reply::TimeToLive(TimeToLive::Expires { at_ms, in_ms });
    let scanned = || Reply::Scanned { keys: vec!["a".into()], cursor: u64::MAX };
    let cases = [
        (written.clone(), Shape::Status, "+OK\r\n"),
        (Reply::Done, Shape::Status, "+OK\r\n"),
        (Reply::Integer(1), Shape::Status, "+OK\r\n"),
        (Reply::Missing, Shape::Status, "NIL"),
        (written, Shape::Flag, ":1\r\n"),
        (Reply::Missing, Shape::Flag, ":0\r\n"),
        (value(), Shape::Value, "$1\r\nv\r\n"),
        (Reply::Missing, Shape::Value, "NIL"),
        (Reply::Values(vec![Some(version("v", 7, 0)), None]), Shape::Values, "*2\r\n$1\r\nv\r\nNIL"),
        (Reply::Bytes("v".into()), Shape::Bytes, "$1\r\nv\r\n"),
        (Reply::Integer(-3), Shape::Integer, ":-3\r\n"),
        (Reply::TimeToLive(TimeToLive::Missing), Shape::TtlSeconds, ":-2\r\n"),
        (Reply::TimeToLive(TimeToLive::Never), Shape::TtlMs, ":-1\r\n"),
        (expires(7_000_499, 1499), Shape::TtlSeconds, ":1\r\n"),
        (expires(7_000_499, 1500), Shape::TtlSeconds, ":2\r\n"),
        (expires(7_000_499, 1500), Shape::TtlMs, ":1500\r\n"),
        (expires(7_000_499, 1500), Shape::ExpireTimeSeconds, ":7000\r\n"),
        (expires(7_000_500, 1500), Shape::ExpireTimeSeconds, ":7001\r\n"),
        (expires(7_000_500, 1500), Shape::ExpireTimeMs, ":7000500\r\n"),
        (expires(u64::MAX, 1500), Shape::ExpireTimeMs, ":9223372036854775807\r\n"),
        (expires(1, 1), Shape::Type, "+string\r\n"),
        (Reply::TimeToLive(TimeToLive::Missing), Shape::Type, "+none\r\n"),
        (scanned(), Shape::Scan, "*2\r\n$20\r\n18446744073709551615\r\n*1\r\n$1\r\na\r\n"),
        (scanned(), Shape::ScanOfNone, "*2\r\n$20\r\n18446744073709551615\r\n*0\r\n"),
        (entries(None), Shape::Keys, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (entries(Some("b")), Shape::Keys, "-ERR too many keys match for one reply; use SCAN\r\n"),
        (entries(Some("b")), Shape::Entries, "*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n"),
        (
            entries(None),
            Shape::Rows,
            "*2\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n:7\r\nNIL*4\r\n$1\r\nb\r\n$1\r\n2\r\n:8\r\n:99\r\n",
        ),
        (
            Reply::Values(vec![None, Some(version("v", 7, 0))]),
            Shape::RowsOf(vec!["x".into(), "y".into()]),
            "*1\r\n*4\r\n$1\r\ny\r\n$1\r\nv\r\n:7\r\nNIL",
        ),
        (value(), Shape::RowsOf(vec!["x".into()]), "*1\r\n*4\r\n$1\r\nx\r\n$1\r\nv\r\n:7\r\nNIL"),
        (Reply::Missing, Shape::RowsOf(vec!["x".into()]), "*0\r\n"),
        (Reply::Transaction(vec![value(), Reply::Integer(1)]), pick(Shape::Value), "$1\r\nv\r\n"),
        (
            Reply::Transaction(vec![value(), Reply::Failed(CommandError::InvalidExpiry)]),
            pick(Shape::Value),
            "-ERR invalid expire time\r\n",
        ),
        (Reply::Transaction(vec![]), Shape::Transaction(vec![]), "*0\r\n"),
        (
            Reply::Transaction(vec![
                Reply::Done,
                Reply::Missing,
                Reply::Integer(0),
                Reply::Failed(CommandError::NotAnInteger),
            ]),
            Shape::Transaction(vec![Shape::Status, pick(Shape::Value), Shape::Integer]),
            "*3\r\n+OK\r\nNIL-ERR value is not an integer or out of range\r\n",
        ),
        (Reply::Aborted, Shape::Transaction(vec![Shape::Status]), "NIL ARRAY"),
    ];
    for (reply, shape, bytes) in cases {
        let resp2 = bytes.replace("NIL ARRAY", "*-1\r\n").replace("NIL", "$-1\r\n");
        let resp3 = bytes.replace("NIL ARRAY", "_\r\n").replace("NIL", "_\r\n");
        assert_eq!(encode(&reply, &shape, ProtocolVersion::Resp2), resp2, "{reply:?} {shape:?}");
        assert_eq!(encode(&reply, &shape, ProtocolVersion::Resp3), resp3, "{reply:?} {shape:?}");
    }
}

#[test]
fn failures_have_their_codes_in_every_shape() {
    let revision = Some(Revision::from_raw(7));
    let cases = [
        (CommandError::KeyExists, "-KEYEXISTS the key exists already; use UPDATE to change it\r\n"),
        (CommandError::KeyMissing, "-NOTFOUND the key does not exist; use CREATE to make it\r\n"),
        (
            CommandError::ConditionFailed { revision },
            "-CONDITIONFAILED the condition does not hold; the key's revision is 7\r\n",
        ),
        (
            CommandError::ConditionFailed { revision: None },
            "-CONDITIONFAILED the condition does not hold; the key does not exist\r\n",
        ),
        (CommandError::NotAnInteger, "-ERR value is not an integer or out of range\r\n"),
        (CommandError::IntegerOverflow, "-ERR increment or decrement would overflow\r\n"),
        (CommandError::TooManyKeys { max: 5 }, "-ERR the command names more than 5 keys\r\n"),
    ];
    for (error, bytes) in cases {
        for shape in [Shape::Status, Shape::Value, Shape::Rows, pick(Shape::Value), Shape::Transaction(vec![])] {
            assert_eq!(encode(&Reply::Failed(error.clone()), &shape, ProtocolVersion::Resp2), bytes);
        }
    }
}

#[test]
fn a_transaction_takes_pairs_apart_and_counts_commands_as_the_client_does() {
    let read = || Command::Read { key: "k".into() };
    let (pair, _) =
        transaction(vec![(Some(read()), Shape::Value), (Some(Command::Flush), Shape::Status)], vec![], false);
    let commands = vec![
        (Some(read()), Shape::Value),
        (Some(pair), pick(Shape::Value)),
        (None, Shape::Answer(Frame::simple("PONG"))),
        (Some(Command::Count), Shape::Integer),
    ];
    let (command, shape) = transaction(commands, vec![], true);
    let Command::Transaction(inner) = command else { panic!("it is a transaction") };
    assert_eq!(inner.commands, [read(), read(), Command::Flush, Command::Count]);
    assert!(inner.all_or_nothing);
    for (index, number) in [(0, 1), (1, 2), (2, 2), (3, 4)] {
        let reply = Reply::RolledBack { index, error: CommandError::KeyExists };
        let expected = format!(
            "-KEYEXISTS transaction rolled back at command {number}: the key exists already; use UPDATE to change it\r\n"
        );
        assert_eq!(encode(&reply, &shape, ProtocolVersion::Resp2), expected);
    }
    let replies = vec![Reply::Missing, Reply::Missing, Reply::Done, Reply::Integer(7)];
    let expected = "*4\r\n_\r\n_\r\n+PONG\r\n:7\r\n";
    assert_eq!(encode(&Reply::Transaction(replies), &shape, ProtocolVersion::Resp3), expected);
}

#[test]
#[cfg(not(debug_assertions))]
fn a_reply_that_does_not_fit_is_an_internal_error() {
    for (reply, shape) in [
        (Reply::Done, Shape::Value),
        (Reply::Transaction(vec![Reply::Done]), pick(Shape::Value)),
        (Reply::Transaction(vec![Reply::Done]), Shape::Transaction(vec![])),
    ] {
        assert!(encode(&reply, &shape, ProtocolVersion::Resp2).starts_with("-ERR internal error"));
    }
}
