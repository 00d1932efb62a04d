//! What holds of every text: nothing panics, and what is printed parses to what it was printed from.

use super::one;
use crate::statement::{Limits, Literal, ShowTopic, Statement, StatementKind, group, parse, parse_script};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use skink_engine::command::{Command, Condition, Expiry, Pattern, Put, PutMode, Range, RangeQuery};
use skink_engine::position::Revision;
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        "[a-z:'%_; -]{0,12}".prop_map(Bytes::from),
        "\\PC{0,8}".prop_map(Bytes::from),
        vec(any::<u8>(), 0..12).prop_map(Bytes::from),
    ]
}

fn condition() -> impl Strategy<Value = Option<Condition>> {
    prop_oneof![
        Just(None),
        bytes().prop_map(|value| Some(Condition::ValueIs(value))),
        any::<u64>().prop_map(|revision| Some(Condition::RevisionIs(Revision::from_raw(revision)))),
    ]
}

fn put() -> impl Strategy<Value = (Put, StatementKind)> {
    let expiry = prop_oneof![
        Just(None),
        Just(Some(Expiry::Never)),
        (1..i64::MAX).prop_map(|in_ms| Some(Expiry::InMs(in_ms))),
        (1..100_i64, select(vec![1_000, 60_000, 3_600_000, 86_400_000]))
            .prop_map(|(number, unit_ms)| Some(Expiry::InMs(number * unit_ms))),
    ];
    let mode = select(vec![PutMode::Create, PutMode::Update, PutMode::Upsert]);
    (mode, bytes(), bytes(), expiry, condition()).prop_map(|(mode, key, value, expiry, condition)| {
        let put = Put::new(mode, key, value);
        let (kind, unless_given, condition) = match mode {
            PutMode::Create => (StatementKind::Create, Expiry::Never, None),
            PutMode::Update => (StatementKind::Update, Expiry::Keep, condition),
            PutMode::Upsert => (StatementKind::Upsert, Expiry::Keep, condition),
        };
        (Put { expiry: expiry.unwrap_or(unless_given), condition, ..put }, kind)
    })
}

fn range_query() -> impl Strategy<Value = RangeQuery> {
    let bound =
        || prop_oneof![Just(Bound::Unbounded), bytes().prop_map(Bound::Included), bytes().prop_map(Bound::Excluded),];
    let range = prop_oneof![
        4 => (bound(), bound()).prop_map(|(start, end)| Range { start, end }),
        1 => bytes().prop_map(|key| Range { start: Bound::Included(key.clone()), end: Bound::Included(key) }),
    ];
    let pattern = proptest::option::of(bytes().prop_map(Pattern::Like));
    (range, pattern, 0..=65_536_u32)
        .prop_map(|(range, pattern, limit)| RangeQuery { range, pattern, limit, with_values: true })
        .prop_filter("a WHERE without a condition", |query| query.pattern.is_some() || query.range != Range::all())
}

fn command() -> impl Strategy<Value = Statement> {
    let statement = |(command, kind)| Statement::Command { command, kind, is_stale: false };
    prop_oneof![
        4 => put().prop_map(|(put, kind)| (Command::Put(put), kind)),
        1 => bytes().prop_map(|key| (Command::Read { key }, StatementKind::Read)),
        1 => vec(bytes(), 2..5).prop_map(|keys| (Command::ReadMany { keys }, StatementKind::ReadMany)),
        3 => range_query().prop_map(|query| (Command::ReadRange(query), StatementKind::ReadWhere)),
        1 => range_query().prop_map(|query| {
            let query = RangeQuery { limit: 65_536, with_values: false, ..query };
            (Command::CountRange(query), StatementKind::Count)
        }),
        1 => Just((Command::Count, StatementKind::Count)),
        2 => (bytes(), condition())
            .prop_map(|(key, condition)| (Command::Delete { key, condition }, StatementKind::Delete)),
        1 => vec(bytes(), 2..5).prop_map(|keys| (Command::DeleteMany { keys }, StatementKind::Delete)),
        1 => (bytes(), any::<i64>()).prop_map(|(key, by)| (Command::Increment { key, by }, StatementKind::Increment)),
    ]
    .prop_map(statement)
}

fn stale_if_it_reads(statement: Statement) -> Statement {
    let reads = [StatementKind::Read, StatementKind::ReadMany, StatementKind::ReadWhere];
    match statement {
        Statement::Command { command, kind, .. } if reads.contains(&kind) => {
            Statement::Command { command, kind, is_stale: true }
        }
        other => other,
    }
}

fn statement() -> impl Strategy<Value = Statement> {
    let folder = vec(1..=u8::MAX, 1..12).prop_map(|name| OsStr::from_bytes(&name).into());
    prop_oneof![
        8 => command(),
        1 => command().prop_map(stale_if_it_reads),
        1 => command().prop_map(|statement| Statement::Explain(Box::new(statement))),
        1 => select(ShowTopic::ALL.to_vec()).prop_map(Statement::Show),
        1 => select(vec![Statement::Begin, Statement::Commit, Statement::Rollback, Statement::Checkpoint]),
        1 => folder.prop_map(|folder| Statement::Backup { folder }),
    ]
}

/// What statements are made of, and what they are not.
const SOUP: &[&str] = &[
    "CREATE",
    "READ",
    "STALE",
    "COUNT",
    "UPDATE",
    "UPSERT",
    "DELETE",
    "INCREMENT",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "EXPLAIN",
    "SHOW",
    "STATUS",
    "CHECKPOINT",
    "BACKUP",
    "TO",
    "WHERE",
    "KEY",
    "LIKE",
    "BETWEEN",
    "AND",
    "LIMIT",
    "EXPIRE",
    "NEVER",
    "IF",
    "VALUE",
    "REVISION",
    "BY",
    "'k'",
    "'v'",
    "''",
    "'it''s'",
    "X'00ff'",
    "X'0",
    "x'zz'",
    "'",
    "\"",
    "\"k\"",
    "60s",
    "0s",
    "-5",
    "42",
    "99999999999999999999",
    "9223372036854775807d",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    ",",
    ";",
    "--",
    "-",
    "\n",
    "\t",
    "é",
    "\0",
    "!",
    "banana",
];

proptest! {
    #[test]
    fn literals_parse_to_what_they_are_of(key in bytes()) {
        let expected = Statement::Command { command: Command::Read { key: key.clone() }, kind: StatementKind::Read, is_stale: false };
        prop_assert_eq!(one(format!("READ {}", Literal(&key))), expected);
    }

    #[test]
    fn what_is_printed_parses_to_what_was_printed(statement in statement()) {
        let text = statement.to_text().unwrap();
        prop_assert_eq!(one(&text), statement, "{}", text);
    }

    #[test]
    fn transactions_are_printed_too(commands in vec(command(), 0..5)) {
        let statements = [vec![Statement::Begin], commands, vec![Statement::Commit]].concat();
        let grouped = group(statements).unwrap();
        let text = grouped[0].to_text().unwrap();
        prop_assert_eq!(parse_script(text.as_bytes(), Limits::default()), Ok(grouped), "{}", text);
    }

    #[test]
    fn any_bytes_parse_or_fail_with_a_place(text in vec(any::<u8>(), 0..200)) {
        check(&text)?;
    }

    #[test]
    fn any_soup_of_tokens_parses_or_fails_with_a_place(
        tokens in vec((select(SOUP), select(vec!["", " ", " ", "\n"])), 0..20),
    ) {
        let text: String = tokens.into_iter().flat_map(|(token, blank)| [token, blank]).collect();
        check(text.as_bytes())?;
    }

    #[test]
    fn a_statement_that_was_damaged_parses_or_fails_with_a_place(
        statements in vec(statement(), 1..4),
        at in any::<proptest::sample::Index>(),
        with in select(SOUP),
    ) {
        let text: String = statements.iter().map(|statement| statement.to_text().unwrap() + ";").collect();
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        text.splice(at..=at, with.bytes());
        check(&text)?;
    }
}

/// The text parses, and so does what is printed of it; or there is an error, whose place is in the text.
fn check(text: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
    match parse(text, Limits::default()) {
        Ok(statements) => {
            for statement in &statements {
                let printed = statement.to_text();
                prop_assert!(printed.is_some(), "{statement:?}");
                prop_assert_eq!(&one(printed.unwrap_or_default()), statement);
            }
            let _grouped_or_not = parse_script(text, Limits::default());
        }
        Err(error) => {
            prop_assert!(error.offset <= text.len() && error.line >= 1 && error.column >= 1);
            let shown = error.to_string();
            prop_assert!(shown.lines().count() >= 3 && shown.len() < 2_000, "{shown}");
            prop_assert!(shown.chars().all(|shown| shown == '\n' || !shown.is_control()));
        }
    }
    Ok(())
}
