//! What each statement means.

use super::one;
use crate::statement::{
    GroupError, GroupProblem, Limits, ShowTopic, Statement, StatementKind, group, parse, parse_script,
};
use bytes::Bytes;
use skink_engine::command::{
    Command, Condition, Expiry, MAX_RANGE_LIMIT, Pattern, Put, PutMode, Range, RangeQuery, Transaction,
};
use skink_engine::position::Revision;
use std::ops::Bound;

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn statements_are_the_commands_that_they_say() {
    let put = |mode| Put::new(mode, "k", "v");
    let keeping = |mode| Put { expiry: Expiry::Keep, ..put(mode) };
    let value_is = |value| Some(Condition::ValueIs(key(value)));
    let revision_42 = Some(Condition::RevisionIs(Revision::from_raw(42)));
    let cases = [
        ("CREATE 'k' = 'v'", Command::Put(put(PutMode::Create)), StatementKind::Create),
        (
            "CREATE 'k' = 'v' EXPIRE 60s",
            Command::Put(Put { expiry: Expiry::InMs(60_000), ..put(PutMode::Create) }),
            StatementKind::Create,
        ),
        ("UPDATE 'k' = 'v'", Command::Put(keeping(PutMode::Update)), StatementKind::Update),
        (
            "UPDATE 'k' = 'v' EXPIRE NEVER IF VALUE = 'Ann'",
            Command::Put(Put { condition: value_is("Ann"), ..put(PutMode::Update) }),
            StatementKind::Update,
        ),
        (
            "update 'k'='v' if revision=42 expire 500MS",
            Command::Put(Put { condition: revision_42.clone(), expiry: Expiry::InMs(500), ..put(PutMode::Update) }),
            StatementKind::Update,
        ),
        ("UPSERT 'k' = 'v'", Command::Put(keeping(PutMode::Upsert)), StatementKind::Upsert),
        ("READ 'k'", Command::Read { key: key("k") }, StatementKind::Read),
        ("READ 'a' , 'b'", Command::ReadMany { keys: vec![key("a"), key("b")] }, StatementKind::ReadMany),
        ("COUNT", Command::Count, StatementKind::Count),
        ("DELETE 'k'", Command::Delete { key: key("k"), condition: None }, StatementKind::Delete),
        ("DELETE 'k' IF VALUE = ''", Command::Delete { key: key("k"), condition: value_is("") }, StatementKind::Delete),
        (
            "DELETE 'k' IF REVISION = 42",
            Command::Delete { key: key("k"), condition: revision_42 },
            StatementKind::Delete,
        ),
        ("DELETE 'a','b'", Command::DeleteMany { keys: vec![key("a"), key("b")] }, StatementKind::Delete),
        ("INCREMENT 'k'", Command::Increment { key: key("k"), by: 1 }, StatementKind::Increment),
        ("INCREMENT 'k' BY -5", Command::Increment { key: key("k"), by: -5 }, StatementKind::Increment),
        (
            "INCREMENT 'k' BY -9223372036854775808",
            Command::Increment { key: key("k"), by: i64::MIN },
            StatementKind::Increment,
        ),
    ];
    for (text, command, kind) in cases {
        assert_eq!(one(text), Statement::Command { command, kind, is_stale: false }, "{text}");
    }
}

#[test]
fn durations_have_units() {
    let cases = [("500ms", 500), ("60s", 60_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)];
    for (duration, in_ms) in cases {
        let Statement::Command { command: Command::Put(put), .. } = one(format!("CREATE 'k' = 'v' EXPIRE {duration}"))
        else {
            panic!("{duration}");
        };
        assert_eq!(put.expiry, Expiry::InMs(in_ms), "{duration}");
    }
}

#[test]
fn conditions_on_keys_are_intersected() {
    let included = |text| Bound::Included(key(text));
    let excluded = |text| Bound::Excluded(key(text));
    let cases = [
        ("KEY = 'a'", included("a"), included("a")),
        ("KEY > 'a'", excluded("a"), Bound::Unbounded),
        ("KEY >= 'a'", included("a"), Bound::Unbounded),
        ("KEY < 'a'", Bound::Unbounded, excluded("a")),
        ("KEY<='a'", Bound::Unbounded, included("a")),
        ("KEY BETWEEN 'a' AND 'b'", included("a"), included("b")),
        ("KEY BETWEEN 'a' AND 'c' AND KEY > 'b' AND KEY <= 'd'", excluded("b"), included("c")),
    ];
    for (text, start, end) in cases {
        let query = RangeQuery::new(Range { start, end }, MAX_RANGE_LIMIT);
        let expected = Statement::Command {
            command: Command::ReadRange(query.clone()),
            kind: StatementKind::ReadWhere,
            is_stale: false,
        };
        assert_eq!(one(format!("READ WHERE {text}")), expected, "{text}");
        let query = RangeQuery { with_values: false, ..query };
        let expected =
            Statement::Command { command: Command::CountRange(query), kind: StatementKind::Count, is_stale: false };
        assert_eq!(one(format!("COUNT WHERE {text}")), expected, "{text}");
    }
    let query = RangeQuery {
        range: Range { start: included("user:5"), end: Bound::Unbounded },
        pattern: Some(Pattern::Like(key("user:%"))),
        limit: 10,
        with_values: true,
    };
    let expected =
        Statement::Command { command: Command::ReadRange(query), kind: StatementKind::ReadWhere, is_stale: false };
    assert_eq!(one("READ WHERE KEY LIKE 'user:%' AND KEY >= 'user:5' LIMIT 10"), expected);
}

#[test]
fn strings_hold_any_bytes() {
    let cases: [(&[u8], &[u8]); 8] = [
        (b"READ ''", b""),
        (b"READ 'it''s'", b"it's"),
        (b"READ ''''", b"'"),
        (b"READ 'a;b -- c'", b"a;b -- c"),
        (b"READ 'a\nb'", b"a\nb"),
        (b"READ '\x00\xff'", b"\x00\xff"),
        (b"READ X'00fF'", b"\x00\xff"),
        (b"READ x''", b""),
    ];
    for (text, bytes) in cases {
        let command = Command::Read { key: Bytes::from_static(bytes) };
        assert_eq!(
            one(text),
            Statement::Command { command, kind: StatementKind::Read, is_stale: false },
            "{}",
            text.escape_ascii()
        );
    }
}

#[test]
fn a_read_may_ask_for_what_this_replica_has() {
    for rest in ["'k'", "'a', 'b'", "WHERE KEY LIKE 'a%' LIMIT 3"] {
        let Statement::Command { command, kind, is_stale: false } = one(format!("READ {rest}")) else {
            panic!("{rest}");
        };
        assert_eq!(one(format!("read stale {rest}")), Statement::Command { command, kind, is_stale: true }, "{rest}");
    }
    for text in ["STALE READ 'k'", "READ STALE STALE 'k'", "READ STALE", "COUNT STALE", "DELETE STALE 'k'"] {
        assert!(parse(text.as_bytes(), Limits::default()).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_command_parses_too() {
    for topic in ShowTopic::ALL {
        assert_eq!(one(format!("SHOW {}", topic.keyword().to_lowercase())), Statement::Show(topic));
    }
    assert_eq!(one("checkpoint"), Statement::Checkpoint);
    assert_eq!(one("BACKUP TO '/mnt/it''s'"), Statement::Backup { folder: "/mnt/it's".into() });
    assert_eq!(one("EXPLAIN READ 'k'"), Statement::Explain(Box::new(one("READ 'k'"))));
    assert_eq!(parse(b"BEGIN; COMMIT; ROLLBACK", Limits::default()).unwrap().len(), 3);
}

#[test]
fn semicolons_and_comments_separate() {
    for (text, count) in [
        ("", 0),
        (";;", 0),
        ("-- nothing", 0),
        ("COUNT", 1),
        ("COUNT;", 1),
        (" ; COUNT ;\n; COUNT ; ", 2),
        ("COUNT -- how many; COUNT\n;READ--now\n'k'", 2),
        ("INCREMENT 'k'BY -5;COUNT", 2),
    ] {
        assert_eq!(parse(text.as_bytes(), Limits::default()).unwrap().len(), count, "{text}");
    }
}

#[test]
fn begin_to_commit_is_one_command() {
    let script = |text: &str| parse_script(text.as_bytes(), Limits::default()).unwrap();
    let grouped = script("COUNT; BEGIN; READ 'k'; INCREMENT 'k'; COMMIT; BEGIN; COMMIT; CHECKPOINT");
    let transaction =
        |commands| Command::Transaction(Transaction { preconditions: vec![], commands, all_or_nothing: true });
    let commands = vec![Command::Read { key: key("k") }, Command::Increment { key: key("k"), by: 1 }];
    let expected = vec![
        one("COUNT"),
        Statement::Command {
            command: transaction(commands),
            kind: StatementKind::Transaction(vec![StatementKind::Read, StatementKind::Increment]),
            is_stale: false,
        },
        Statement::Command { command: transaction(vec![]), kind: StatementKind::Transaction(vec![]), is_stale: false },
        Statement::Checkpoint,
    ];
    assert_eq!(grouped, expected);
    assert_eq!(script("BEGIN; DELETE 'k'; ROLLBACK; COUNT"), vec![Statement::Rollback, one("COUNT")]);
}

#[test]
fn statements_that_make_no_transaction_are_refused() {
    let cases = [
        ("COUNT; COMMIT", 1, GroupProblem::CommitWithoutBegin),
        ("ROLLBACK", 0, GroupProblem::RollbackWithoutBegin),
        ("COUNT; BEGIN; COUNT", 1, GroupProblem::BeginWithoutCommit),
        ("BEGIN; BEGIN; COMMIT; COMMIT", 1, GroupProblem::BeginInsideTransaction),
        ("BEGIN; COUNT; SHOW STATUS; COMMIT", 2, GroupProblem::NotACommand),
        ("BEGIN; EXPLAIN COUNT; COMMIT", 1, GroupProblem::NotACommand),
        ("BEGIN; COUNT; READ STALE 'k'; COMMIT", 2, GroupProblem::StaleRead),
    ];
    for (text, index, problem) in cases {
        let statements = parse(text.as_bytes(), Limits::default()).unwrap();
        assert_eq!(group(statements), Err(GroupError { index, problem }), "{text}");
    }
}
