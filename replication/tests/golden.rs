//! Payloads, ordering frames and the handshake between replicas as version 1 has them, byte for byte.
//!
//! After a deliberate change, `SKINK_REGENERATE_GOLDEN=1 cargo test --workspace --test golden written` writes the
//! fixtures anew. Of what is compressed only the reading is tested: another version of zstd may compress otherwise.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use skink_engine::command::{
    Command, Condition, Expiry, ExpiryRule, Pattern, Precondition, Put, PutMode, Range, RangeQuery, Transaction, Unmet,
};
use skink_engine::key::KeyHash;
use skink_engine::position::{Instance, LogPosition, Revision};
use skink_replication::batch::{BatchEncoder, LocalCommand, decode};
use skink_replication::header::{BatchId, Content, Digests, Header};
use skink_replication::order::Cycle;
use skink_replication::transport::fuzzing;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The fixture; `bytes` become it where that is asked for.
fn fixture(name: &str, bytes: &[u8]) -> Vec<u8> {
    if std::env::var_os("SKINK_REGENERATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::create_dir_all(path("")).unwrap();
        fs::write(path(name), bytes).unwrap();
    }
    fs::read(path(name)).unwrap()
}

/// Every command, and every variant inside commands, at least once.
fn commands() -> Vec<Command> {
    let key = || Bytes::from_static(b"key");
    let keys = || vec![Bytes::from_static(b"key"), Bytes::from_static(b"\x00\xff")];
    let put = |mode, condition, expiry, return_previous, unmet| {
        Command::Put(Put { condition, expiry, return_previous, unmet, ..Put::new(mode, key(), "value") })
    };
    let range =
        |start, end, pattern| RangeQuery { range: Range { start, end }, pattern, limit: 300, with_values: true };
    let rules =
        [ExpiryRule::Always, ExpiryRule::IfNone, ExpiryRule::IfSome, ExpiryRule::IfLater, ExpiryRule::IfEarlier];
    let mut commands = vec![
        put(PutMode::Create, None, Expiry::Never, false, Unmet::Fail),
        put(PutMode::Update, Some(Condition::ValueIs("old".into())), Expiry::Keep, true, Unmet::Missing),
        put(
            PutMode::Upsert,
            Some(Condition::RevisionIs(Revision::from_raw(70_000))),
            Expiry::InMs(-1),
            false,
            Unmet::Fail,
        ),
        put(PutMode::Upsert, None, Expiry::AtMs(1_700_000_000_000), false, Unmet::Fail),
        Command::PutMany { entries: vec![(key(), "value".into())], only_if_none_exists: true },
        Command::Delete { key: key(), condition: None },
        Command::DeleteMany { keys: keys() },
        Command::Read { key: key() },
        Command::ReadMany { keys: keys() },
        Command::Exists { keys: keys() },
        Command::Length { key: key() },
        Command::TimeToLive { key: key() },
        Command::ReadPart { key: key(), start: 0, end: -1 },
        Command::WritePart { key: key(), offset: 200, bytes: "part".into() },
        Command::Append { key: key(), bytes: "more".into() },
        Command::Increment { key: key(), by: i64::MIN },
        Command::ReadRange(range(Bound::Unbounded, Bound::Included(key()), None)),
        Command::CountRange(range(Bound::Excluded(key()), Bound::Unbounded, Some(Pattern::Like("k%".into())))),
        Command::Scan { cursor: 1 << 40, limit: 10, pattern: Some(Pattern::Glob("k*".into())) },
        Command::Count,
        Command::Flush,
        Command::Transaction(Transaction {
            preconditions: vec![
                Precondition { key: key(), revision: Some(Revision::from_raw(7)) },
                Precondition { key: key(), revision: None },
            ],
            commands: vec![Command::Count, Command::Read { key: key() }],
            all_or_nothing: true,
        }),
        Command::Sweep { keys: keys() },
    ];
    commands.extend(rules.map(|rule| Command::SetExpiry { key: key(), expiry: Expiry::InMs(500), rule }));
    commands
}

fn encode(commands: &[Command]) -> (Content, Bytes) {
    let local: Vec<LocalCommand> =
        commands.iter().map(|command| LocalCommand { command: command.clone(), is_ordered: true }).collect();
    BatchEncoder::default().encode(&local, |key| KeyHash::of(key, 0x1122_3344_5566_7788))
}

#[test]
fn a_plain_payload_is_written_and_read_as_ever() {
    let (_, payload) = encode(&commands());
    assert_eq!(payload[0], 0, "short payloads are not compressed");
    let golden = fixture("payload-plain.bin", &payload);
    assert_eq!(decode(&golden).unwrap(), commands());
    assert_eq!(payload, golden);
}

#[test]
fn a_compressed_payload_is_written_once_and_read_as_ever() {
    let many = vec![Command::Append { key: "key".into(), bytes: vec![b'x'; 100].into() }; 40];
    let (_, payload) = encode(&many);
    assert_eq!(payload[0], 1);
    assert_eq!(decode(&fixture("payload-zstd.bin", &payload)).unwrap(), many);
}

#[test]
fn an_ordering_frame_is_written_and_read_as_ever() {
    let header = |sequence, content| Header {
        id: BatchId { proxy: 3, incarnation: 300, sequence },
        time_ms: 1_700_000_000_000,
        content,
    };
    let reads_and_writes = [Command::Read { key: "a".into() }, Command::Put(Put::new(PutMode::Upsert, "b", "value"))];
    let (keys, _) = encode(&reads_and_writes);
    let (everything, _) = encode(&[Command::Flush]);
    assert!(matches!(everything, Content::Commands { digests: Digests::Everything, .. }));
    let cycle = Cycle {
        first: Instance::new(1000).unwrap(),
        entries: vec![
            (header(1, keys), LogPosition::new(4096)),
            (header(2, everything), LogPosition::new(1 << 33)),
            (header(3, Content::CheckpointMarker), LogPosition::ZERO),
        ],
    };
    let body = postcard::to_stdvec(&cycle).unwrap();
    let golden = fixture("ordering-frame.bin", &body);
    assert_eq!(postcard::from_bytes::<Cycle>(&golden).unwrap(), cycle);
    assert_eq!(body, golden);
}

#[test]
fn a_handshake_is_written_and_read_as_ever() {
    let [hello, challenge, claim, welcome] = fuzzing::conversation();
    let messages = [&hello, &challenge, &claim, &welcome, &fuzzing::refusal("a reason")];
    let frames: Vec<u8> = messages.iter().flat_map(|message| fuzzing::frame(message)).collect();
    let golden = fixture("transport-handshake.bin", &frames);
    assert_eq!(frames, golden);
    let frame_len = |start: usize| 8 + u32::from_le_bytes(golden[start..start + 4].try_into().unwrap()) as usize;
    let (first, second) = (frame_len(0), frame_len(frame_len(0)));
    let third = first + second;
    assert!(fuzzing::is_taken(&golden[8..first], &golden[third + 8..third + frame_len(third)]));
}
