//! Expiry: which times are taken, which writes keep it, and that what has expired is hidden until it is swept.

use super::{Session, put, read};
use crate::command::{Command, Condition, Expiry, ExpiryRule, Put, PutMode, Reply, TimeToLive, Unmet};
use crate::command::{CommandError, RangeQuery};
use bytes::Bytes;

const NOW_MS: i64 = 1_000;

fn set_expiry(expiry: Expiry, rule: ExpiryRule) -> Command {
    Command::SetExpiry { key: "k".into(), expiry, rule }
}

/// EXPIRE with NX, XX, GT, LT: what each does to a key without an expiry and to one that expires at 1,100.
#[test]
fn expiry_rules_are_those_of_redis() {
    let cases = [
        (ExpiryRule::Always, Expiry::Never, 1_050, true),
        (ExpiryRule::IfNone, Expiry::Never, 1_050, true),
        (ExpiryRule::IfSome, Expiry::Never, 1_050, false),
        (ExpiryRule::IfLater, Expiry::Never, 1_050, false),
        (ExpiryRule::IfEarlier, Expiry::Never, 1_050, true),
        (ExpiryRule::Always, Expiry::AtMs(1_100), 1_050, true),
        (ExpiryRule::IfNone, Expiry::AtMs(1_100), 1_050, false),
        (ExpiryRule::IfSome, Expiry::AtMs(1_100), 1_050, true),
        (ExpiryRule::IfLater, Expiry::AtMs(1_100), 1_050, false),
        (ExpiryRule::IfLater, Expiry::AtMs(1_100), 1_100, false),
        (ExpiryRule::IfLater, Expiry::AtMs(1_100), 1_150, true),
        (ExpiryRule::IfEarlier, Expiry::AtMs(1_100), 1_050, true),
        (ExpiryRule::IfEarlier, Expiry::AtMs(1_100), 1_100, false),
        (ExpiryRule::IfEarlier, Expiry::AtMs(1_100), 1_150, false),
    ];
    for (rule, before, new_ms, applies) in cases {
        let mut session = Session::new();
        session.run(put("k", "v", before));
        let expires_before = session.expires_at_ms("k");
        let reply = session.run(set_expiry(Expiry::AtMs(new_ms), rule));
        assert_eq!(reply, Reply::Integer(i64::from(applies)), "{rule:?} {before:?} {new_ms}");
        let expected = if applies { Some(new_ms as u64) } else { expires_before };
        assert_eq!(session.expires_at_ms("k"), expected, "{rule:?} {before:?} {new_ms}");
    }
}

#[test]
fn an_expiry_that_has_passed_deletes() {
    for expiry in [Expiry::AtMs(NOW_MS), Expiry::AtMs(1), Expiry::AtMs(-1), Expiry::InMs(0), Expiry::InMs(i64::MIN)] {
        let mut session = Session::with("k", "v");
        assert_eq!(session.run(set_expiry(expiry, ExpiryRule::Always)), Reply::Integer(1), "{expiry:?}");
        assert_eq!(session.value("k"), None);

        let mut session = Session::with("k", "v");
        assert!(matches!(session.run(put("k", "new", expiry)), Reply::Written(_)), "SET … PXAT answers OK");
        assert_eq!(session.value("k"), None);
    }
}

#[test]
fn an_expiry_past_all_times_is_refused() {
    let mut session = Session::with("k", "v");
    let refused = Reply::Failed(CommandError::InvalidExpiry);
    assert_eq!(session.run(set_expiry(Expiry::InMs(i64::MAX), ExpiryRule::Always)), refused);
    assert_eq!(session.run(put("k", "new", Expiry::InMs(i64::MAX))), refused);
    assert_eq!(session.value("k"), Some(&b"v"[..]));
}

#[test]
fn removing_an_expiry_says_whether_there_was_one() {
    let mut session = Session::with("k", "v");
    assert_eq!(session.run(set_expiry(Expiry::Never, ExpiryRule::Always)), Reply::Integer(0));
    session.run(set_expiry(Expiry::InMs(50), ExpiryRule::Always));
    assert_eq!(session.run(set_expiry(Expiry::Never, ExpiryRule::Always)), Reply::Integer(1));
    assert_eq!(session.expires_at_ms("k"), Some(0));
}

#[test]
fn changes_of_a_value_keep_its_expiry_and_a_new_value_does_not() {
    let key = || Bytes::from_static(b"k");
    let keeping = [
        Command::Increment { key: key(), by: 1 },
        Command::Append { key: key(), bytes: "0".into() },
        Command::WritePart { key: key(), offset: 0, bytes: "9".into() },
        put("k", "2", Expiry::Keep),
    ];
    for command in keeping {
        let mut session = Session::new();
        session.run(put("k", "1", Expiry::InMs(50)));
        assert!(!session.run(command.clone()).is_failure());
        assert_eq!(session.expires_at_ms("k"), Some(1_050), "{command:?}");
    }
    let dropping = [
        put("k", "2", Expiry::Never),
        Command::PutMany { entries: vec![(key(), "2".into())], only_if_none_exists: false },
    ];
    for command in dropping {
        let mut session = Session::new();
        session.run(put("k", "1", Expiry::InMs(50)));
        session.run(command.clone());
        assert_eq!(session.expires_at_ms("k"), Some(0), "{command:?}");
    }
}

#[test]
fn an_expired_key_is_hidden_and_counted_until_it_is_swept() {
    let mut session = Session::new();
    session.run(put("k", "v", Expiry::InMs(50)));
    session.context.now_ms = 1_049;
    let left = TimeToLive::Expires { at_ms: 1_050, in_ms: 1 };
    assert_eq!(session.run(Command::TimeToLive { key: "k".into() }), Reply::TimeToLive(left));
    let sweep = || Command::Sweep { keys: vec!["k".into(), "k".into(), "other".into()] };
    assert_eq!(session.run(sweep()), Reply::Integer(0), "not yet");

    session.context.now_ms = 1_050;
    assert_eq!(session.run(read("k")), Reply::Missing);
    assert_eq!(session.run(Command::Exists { keys: vec!["k".into()] }), Reply::Integer(0));
    assert_eq!(session.run(Command::Delete { key: "k".into(), condition: None }), Reply::Integer(0));
    assert_eq!(session.run(set_expiry(Expiry::Never, ExpiryRule::Always)), Reply::Integer(0));
    let everything = RangeQuery::new(crate::command::Range::all(), 10);
    assert_eq!(session.run(Command::CountRange(everything)), Reply::Integer(0));
    assert_eq!(session.run(Command::Count), Reply::Integer(1), "a count does not look at every key");
    assert_eq!(session.run(sweep()), Reply::Integer(1));
    assert_eq!(session.run(Command::Count), Reply::Integer(0));
}

#[test]
fn an_expired_key_is_no_obstacle() {
    let mut session = Session::new();
    session.run(put("k", "10", Expiry::InMs(50)));
    session.context.now_ms = 2_000;
    assert_eq!(session.run(Command::Increment { key: "k".into(), by: 1 }), Reply::Integer(1));
    assert_eq!(session.expires_at_ms("k"), Some(0), "the old expiry went with the old value");

    session.run(put("gone", "v", Expiry::InMs(1)));
    session.context.now_ms = 3_000;
    assert!(matches!(session.run(Command::Put(Put::new(PutMode::Create, "gone", "v"))), Reply::Written(_)));
}

/// What SET's NX, XX and GET are made of.
#[test]
fn unmet_puts_are_answered_as_they_ask() {
    let base = |mode| Put::new(mode, "k", "new");
    let run = |session: &mut Session, put: Put| session.run(Command::Put(put));
    let mut session = Session::with("k", "old");
    let old = session.run(read("k"));

    assert_eq!(run(&mut session, base(PutMode::Create)), Reply::Failed(CommandError::KeyExists));
    let nx = Put { unmet: Unmet::Missing, ..base(PutMode::Create) };
    assert_eq!(run(&mut session, nx.clone()), Reply::Missing);
    assert_eq!(run(&mut session, Put { return_previous: true, ..nx.clone() }), old, "SET NX GET of a key that exists");
    assert_eq!(session.value("k"), Some(&b"old"[..]));

    let unmet = Put { condition: Some(Condition::ValueIs("other".into())), ..base(PutMode::Upsert) };
    let revision = session.state.entries()[&b"k"[..]].revision;
    let failed = Reply::Failed(CommandError::ConditionFailed { revision: Some(revision) });
    assert_eq!(run(&mut session, unmet), failed);
    let met = Put { condition: Some(Condition::RevisionIs(revision)), ..base(PutMode::Update) };
    assert!(
        matches!(run(&mut session, Put { return_previous: true, ..met }), Reply::Value(previous) if previous.value == "old")
    );

    let mut session = Session::new();
    assert_eq!(run(&mut session, base(PutMode::Update)), Reply::Failed(CommandError::KeyMissing));
    assert_eq!(run(&mut session, Put { unmet: Unmet::Missing, ..base(PutMode::Update) }), Reply::Missing);
    assert_eq!(run(&mut session, Put { return_previous: true, ..nx }), Reply::Missing, "SET NX GET of a new key");
    assert_eq!(session.value("k"), Some(&b"new"[..]));
}
