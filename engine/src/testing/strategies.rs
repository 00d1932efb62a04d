//! Strategies that make commands for property tests.
//!
//! The key space is small, so that commands meet; revisions, times and values are drawn from where
//! something is decided: revisions that were given, times around now, values at the length limit, numbers
//! at the ends of their range, text that is nearly a number.

use crate::command::{
    Command, Condition, Expiry, ExpiryRule, MAX_KEY_LEN, Pattern, Precondition, Put, PutMode, Range, RangeQuery,
    Transaction, Unmet,
};
use crate::evaluate::Context;
use crate::position::Revision;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use std::ops::{Bound, RangeInclusive};

/// The longest value in most contexts of [`history`], so short that commands meet it; the others have half of it.
pub const MAX_VALUE_LEN: usize = 24;

/// The time of a history's first command, in milliseconds.
pub const START_MS: u64 = 1_000;

/// A command of a history, with when and where it executes.
#[derive(Debug, Clone)]
pub struct Step {
    /// The command.
    pub command: Command,
    /// Its position, its time, and the limit on values.
    pub context: Context,
}

/// Commands that follow each other; time moves on between them, by nothing at all or by a lot.
pub fn history(len: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let advance_ms = prop_oneof![6 => Just(0_u64), 6 => 1..20_u64, 1 => 20..300_u64];
    // Sometimes shorter than a number.
    let max_value_len = select(vec![MAX_VALUE_LEN, MAX_VALUE_LEN, MAX_VALUE_LEN / 2]);
    (vec((advance_ms, command()), len), max_value_len).prop_map(|(commands, max_value_len)| {
        let mut now_ms = START_MS;
        let steps = commands.into_iter().zip(1..).map(|((advance_ms, command), number)| {
            now_ms += advance_ms;
            let revision = Revision::from_raw(number);
            Step { command, context: Context { revision, now_ms, max_value_len } }
        });
        steps.collect()
    })
}

/// A command of any kind, transactions included.
pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![8 => single_command(), 2 => transaction().prop_map(Command::Transaction)]
}

/// A transaction of a few commands; now and then one of them is a transaction, which is not allowed.
pub fn transaction() -> impl Strategy<Value = Transaction> {
    let precondition = (key(), of(revision())).prop_map(|(key, revision)| Precondition { key, revision });
    let preconditions = prop_oneof![3 => Just(vec![]), 1 => vec(precondition, 1..3)];
    let nested = Just(Command::Transaction(Transaction {
        preconditions: vec![],
        commands: vec![Command::Count],
        all_or_nothing: false,
    }));
    let commands = vec(prop_oneof![30 => single_command(), 1 => nested], 0..8);
    (preconditions, commands, any::<bool>()).prop_map(|(preconditions, commands, all_or_nothing)| Transaction {
        preconditions,
        commands,
        all_or_nothing,
    })
}

/// A command that is not a transaction.
pub fn single_command() -> impl Strategy<Value = Command> {
    // Writes come more often than reads: the final state is compared anyway.
    prop_oneof![
        12 => write(),
        8 => read(),
        1 => prop_oneof![
            8 => keys().prop_map(|keys| Command::Sweep { keys }),
            1 => Just(Command::Flush),
        ],
    ]
}

/// A command that writes keys that it names.
pub fn write() -> impl Strategy<Value = Command> {
    let offset = prop_oneof![8 => 0..MAX_VALUE_LEN as u64 + 4, 1 => any::<u64>()];
    prop_oneof![
        6 => put().prop_map(Command::Put),
        1 => (vec((key(), value()), 0..5), any::<bool>())
            .prop_map(|(entries, only_if_none_exists)| Command::PutMany { entries, only_if_none_exists }),
        2 => (key(), of(condition())).prop_map(|(key, condition)| Command::Delete { key, condition }),
        1 => keys().prop_map(|keys| Command::DeleteMany { keys }),
        2 => (key(), offset, value()).prop_map(|(key, offset, bytes)| Command::WritePart { key, offset, bytes }),
        2 => (key(), value()).prop_map(|(key, bytes)| Command::Append { key, bytes }),
        2 => (key(), integer()).prop_map(|(key, by)| Command::Increment { key, by }),
        4 => (key(), expiry(), expiry_rule())
            .prop_map(|(key, expiry, rule)| Command::SetExpiry { key, expiry, rule }),
    ]
}

/// A command that only reads.
pub fn read() -> impl Strategy<Value = Command> {
    let cursor = prop_oneof![Just(0_u64), any::<u64>()];
    prop_oneof![
        2 => key().prop_map(|key| Command::Read { key }),
        1 => keys().prop_map(|keys| Command::ReadMany { keys }),
        1 => keys().prop_map(|keys| Command::Exists { keys }),
        1 => key().prop_map(|key| Command::Length { key }),
        2 => key().prop_map(|key| Command::TimeToLive { key }),
        2 => (key(), part_position(), part_position())
            .prop_map(|(key, start, end)| Command::ReadPart { key, start, end }),
        4 => range_query().prop_map(Command::ReadRange),
        2 => range_query().prop_map(Command::CountRange),
        1 => (cursor, 0..6_u32, of(pattern()))
            .prop_map(|(cursor, limit, pattern)| Command::Scan { cursor, limit, pattern }),
        2 => Just(Command::Count),
    ]
}

/// A put of any kind.
pub fn put() -> impl Strategy<Value = Put> {
    let mode = select(vec![PutMode::Upsert, PutMode::Upsert, PutMode::Create, PutMode::Update]);
    let unmet = select(vec![Unmet::Missing, Unmet::Fail]);
    (key(), value(), mode, weighted(0.2, condition()), expiry(), any::<bool>(), unmet).prop_map(
        |(key, value, mode, condition, expiry, return_previous, unmet)| Put {
            key,
            value,
            mode,
            condition,
            expiry,
            return_previous,
            unmet,
        },
    )
}

/// A key, one of a dozen; seldom one that is too long.
pub fn key() -> impl Strategy<Value = Bytes> {
    let usual = select(vec![&b""[..], b"a", b"aa", b"ab", b"b", b"ba", b"c", b"a*", b"a%", b"\xff", b"\xff\xff"]);
    prop_oneof![
        200 => usual.prop_map(Bytes::from_static),
        1 => (MAX_KEY_LEN..=MAX_KEY_LEN + 1).prop_map(|len| Bytes::from(vec![b'k'; len])),
    ]
}

/// A few keys, perhaps none, perhaps one twice.
pub fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    vec(key(), 0..6)
}

/// A value: a number, nearly a number, a few bytes, or about as long as is allowed.
pub fn value() -> impl Strategy<Value = Bytes> {
    let not_quite =
        select(vec!["", "-", "-0", "+1", "007", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "abc"]);
    prop_oneof![
        3 => integer().prop_map(|number| Bytes::from(number.to_string())),
        2 => not_quite.prop_map(|text| Bytes::from_static(text.as_bytes())),
        3 => vec(any::<u8>(), 0..8).prop_map(Bytes::from),
        1 => vec(any::<u8>(), MAX_VALUE_LEN - 2..MAX_VALUE_LEN + 2).prop_map(Bytes::from),
    ]
}

/// A number, small or near an end of its range.
pub fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -20..20_i64,
        1 => (0..3_i64).prop_map(|from_end| i64::MAX - from_end),
        1 => (0..3_i64).prop_map(|from_end| i64::MIN + from_end),
        1 => any::<i64>(),
    ]
}

/// One of the first revisions, which a history has given to somebody.
pub fn revision() -> impl Strategy<Value = Revision> {
    (0..20_u64).prop_map(Revision::from_raw)
}

/// A condition, which seldom holds.
pub fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (0..5_i64).prop_map(|number| Condition::ValueIs(number.to_string().into())),
        value().prop_map(Condition::ValueIs),
        revision().prop_map(Condition::RevisionIs),
    ]
}

/// An expiry, mostly around the time of a history.
pub fn expiry() -> impl Strategy<Value = Expiry> {
    let start = START_MS as i64;
    prop_oneof![
        4 => Just(Expiry::Never),
        2 => Just(Expiry::Keep),
        4 => (-3..300_i64).prop_map(Expiry::InMs),
        // Coarse, so that some are equal, and so far on that not all have passed when a history gets there.
        4 => (-1..15_i64).prop_map(move |hundreds| Expiry::AtMs(start + 100 * hundreds)),
        1 => select(vec![i64::MIN, -1, 0, i64::MAX]).prop_map(Expiry::InMs),
        1 => select(vec![i64::MIN, -1, 0, i64::MAX]).prop_map(Expiry::AtMs),
    ]
}

/// When an expiry applies.
pub fn expiry_rule() -> impl Strategy<Value = ExpiryRule> {
    select(vec![
        ExpiryRule::Always,
        ExpiryRule::Always,
        ExpiryRule::IfNone,
        ExpiryRule::IfSome,
        ExpiryRule::IfLater,
        ExpiryRule::IfEarlier,
    ])
}

/// A query over any range, the empty and the upside-down ones included.
pub fn range_query() -> impl Strategy<Value = RangeQuery> {
    let limit = prop_oneof![5 => 0..6_u32, 1 => Just(u32::MAX)];
    (range(), of(pattern()), limit, any::<bool>()).prop_map(|(range, pattern, limit, with_values)| RangeQuery {
        range,
        pattern,
        limit,
        with_values,
    })
}

/// A range whose ends are keys, in any order.
pub fn range() -> impl Strategy<Value = Range> {
    (bound(), bound()).prop_map(|(start, end)| Range { start, end })
}

fn bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
}

/// A pattern of either kind out of the bytes that mean something in it, and a few that don't.
pub fn pattern() -> impl Strategy<Value = Pattern> {
    let like = vec(select(b"%_\\aab".to_vec()), 0..6);
    let glob = vec(select(b"**??\\[]^-aabbc\xff".to_vec()), 0..8);
    prop_oneof![like.prop_map(|text| Pattern::Like(text.into())), glob.prop_map(|text| Pattern::Glob(text.into())),]
}

fn part_position() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -30..30_i64, 1 => any::<i64>()]
}
