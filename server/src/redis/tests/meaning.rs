//! From requests to replies through the engine's meaning: that shapes fit what the engine answers.

use super::super::{Request, encode_reply, parse, table, transaction};
use super::arguments;
use crate::resp::ProtocolVersion;
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, proptest};
use proptest::sample::select;
use redis_protocol::{resp2, resp3};
use skink_engine::command::{Command, Range, Reply};
use skink_engine::evaluate::{Context, Effect, Stored, View, Walk, evaluate};
use skink_engine::position::Revision;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Keys with value, revision and expiry.
#[derive(Default)]
struct State {
    records: BTreeMap<Bytes, (Bytes, Revision, u64)>,
    now_ms: u64,
    commands: u64,
}

impl View for State {
    type Error = Infallible;

    fn stored(&self, key: &[u8]) -> Result<Option<Stored<'_>>, Infallible> {
        Ok(self.records.get(key).map(|(value, revision, expires_at_ms)| Stored {
            value,
            revision: *revision,
            expires_at_ms: *expires_at_ms,
        }))
    }

    fn walk(&self, range: &Range, visit: &mut dyn FnMut(&[u8], Stored<'_>) -> Walk) -> Result<(), Infallible> {
        for (key, (value, revision, expires_at_ms)) in &self.records {
            let stored = Stored { value, revision: *revision, expires_at_ms: *expires_at_ms };
            if range.contains(key) && visit(key, stored) == Walk::Stop {
                break;
            }
        }
        Ok(())
    }

    fn scan(&self, _: u64, _: usize, visit: &mut dyn FnMut(&[u8], Stored<'_>)) -> Result<u64, Infallible> {
        self.walk(&Range::all(), &mut |key, stored| {
            visit(key, stored);
            Walk::On
        })?;
        Ok(0)
    }

    fn count(&self) -> Result<u64, Infallible> {
        Ok(self.records.len() as u64)
    }
}

impl State {
    fn execute(&mut self, command: &Command) -> Reply {
        self.commands += 1;
        let revision = Revision::from_raw(self.commands);
        let context = Context { revision, now_ms: self.now_ms, max_value_len: 1 << 20 };
        let Ok(outcome) = evaluate(command, self, context);
        for effect in outcome.effects {
            match effect {
                Effect::Put { key, value, expires_at_ms } => {
                    self.records.insert(key, (value, revision, expires_at_ms));
                }
                Effect::Delete { key } => {
                    self.records.remove(&key);
                }
                Effect::Flush => self.records.clear(),
            }
        }
        outcome.reply
    }

    /// What a client that sends this line is answered.
    fn answer(&mut self, line: &str) -> String {
        let mut out = BytesMut::new();
        match parse(arguments(line)) {
            Ok(Request::Execute { command, shape }) => {
                encode_reply(&self.execute(&command), &shape, ProtocolVersion::Resp2, &mut out);
            }
            other => panic!("{line}: {other:?}"),
        }
        String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_string()
    }
}

#[test]
fn a_conversation() {
    let mut state = State { now_ms: 1_000_000, ..State::default() };
    for (line, answer) in [
        ("SET k v", "+OK"),
        ("SET k w NX", "$-1"),
        ("SET k w XX GET", "$1 v"),
        ("SET new w NX GET", "$-1"),
        ("SETNX k x", ":0"),
        ("SETNX fresh x", ":1"),
        ("MGET k none fresh", "*3 $1 w $-1 $1 x"),
        ("GETEX k EX 100", "$1 w"),
        ("TTL k", ":100"),
        ("EXPIRETIME k", ":1100"),
        ("GETEX k PERSIST", "$1 w"),
        ("PTTL k", ":-1"),
        ("EXPIRE k 10 XX", ":0"),
        ("PEXPIRE k 1500", ":1"),
        ("TTL k", ":2"),
        ("PERSIST k", ":1"),
        ("GETDEL k", "$1 w"),
        ("GETDEL k", "$-1"),
        ("TYPE k", "+none"),
        ("TYPE fresh", "+string"),
        ("EXPIRE fresh -1", ":1"),
        ("TTL fresh", ":-2"),
        ("INCRBY n 5", ":5"),
        ("DECR n", ":4"),
        ("APPEND n x", ":2"),
        ("INCR n", "-ERR value is not an integer or out of range"),
        ("GETRANGE n 0 0", "$1 4"),
        ("SETRANGE n 3 y", ":4"),
        ("STRLEN n", ":4"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
        ("CREATE a 1 PX 5000", "+OK"),
        ("CREATE a 1", "-KEYEXISTS the key exists already; use UPDATE to change it"),
        ("UPDATE a 2 IFVALUE 1", "+OK"),
        ("PTTL a", ":5000"),
        ("UPDATE a 3 IFVALUE 1", "-CONDITIONFAILED the condition does not hold; the key's revision is 34"),
        ("UPDATE a 3 IFREVISION 34", "+OK"),
        ("UPDATE b 3", "-NOTFOUND the key does not exist; use CREATE to make it"),
        ("READ a", "$1 3"),
        ("READ a b", "*2 $1 3 $-1"),
        ("DELETE b", ":0"),
        ("DELETE a IFVALUE 9", "-CONDITIONFAILED the condition does not hold; the key's revision is 37"),
        ("DELETE a IFVALUE 3", ":1"),
        ("MSET a 1 b 2 c 3", "+OK"),
        ("MSETNX c 1 d 2", ":0"),
        ("EXISTS a a d", ":2"),
        ("KEYS [ab]", "*2 $1 a $1 b"),
        ("SCAN 0 MATCH c*", "*2 $1 0 *1 $1 c"),
        ("SCAN 0 TYPE list", "*2 $1 0 *0"),
        ("DEL a b x", ":2"),
    ] {
        assert_eq!(state.answer(line), answer, "{line}");
    }
}

/// Any command, with arguments that mostly make sense somewhere.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = table::all().map(|spec| spec.name).collect();
    const WORDS: &[&str] = &[
        "a",
        "b",
        "c",
        "1",
        "-1",
        "0",
        "100",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "NX",
        "XX",
        "GET",
        "GT",
        "LT",
        "PERSIST",
        "MATCH",
        "COUNT",
        "TYPE",
        "string",
        "hash",
        "*",
        "IFVALUE",
        "IFREVISION",
        "9223372036854775807",
    ];
    (select(names), vec(select(WORDS), 0..6)).prop_map(|(name, words)| format!("{name} {}", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_engine_answers_has_an_encoding(lines in vec(line(), 1..30)) {
        let mut state = State { now_ms: 50_000, ..State::default() };
        let mut queued = Vec::new();
        for line in lines {
            // Requests that are refused, or are the connection's, are tested elsewhere.
            let Ok(Request::Execute { command, shape }) = parse(arguments(&line)) else { continue };
            check(&state.execute(&command), &shape);
            queued.push((Some(command), shape));
        }
        let (command, shape) = transaction(queued, vec![], false);
        check(&state.execute(&command), &shape);
    }
}

/// Others read one whole reply from what is encoded, in both versions.
fn check(reply: &Reply, shape: &super::super::Shape) {
    let encode = |version| {
        let mut out = BytesMut::new();
        encode_reply(reply, shape, version, &mut out);
        out.freeze()
    };
    let bytes = encode(ProtocolVersion::Resp2);
    assert!(matches!(resp2::decode::decode_bytes(&bytes), Ok(Some((_, len))) if len == bytes.len()), "{bytes:?}");
    let bytes = encode(ProtocolVersion::Resp3);
    let decoded = resp3::decode::complete::decode_bytes(&bytes);
    assert!(matches!(decoded, Ok(Some((_, len))) if len == bytes.len()), "{bytes:?}");
}
