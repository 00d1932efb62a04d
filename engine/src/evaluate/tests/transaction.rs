//! Transactions: what their commands see of each other, and that they happen wholly or not at all.

use super::{Session, put, read};
use crate::command::{
    Command, CommandError, Expiry, MAX_REPLY_LEN, Precondition, Put, PutMode, Range, RangeQuery, Reply, Transaction,
    Versioned,
};
use crate::evaluate::{Effect, Outcome};
use crate::position::Revision;
use crate::testing::state::scan_all;

fn transaction(commands: Vec<Command>) -> Command {
    Command::Transaction(Transaction { preconditions: vec![], commands, all_or_nothing: false })
}

fn all_or_nothing(commands: Vec<Command>) -> Command {
    Command::Transaction(Transaction { preconditions: vec![], commands, all_or_nothing: true })
}

fn delete(key: &'static str) -> Command {
    Command::Delete { key: key.into(), condition: None }
}

fn effects(session: &Session, command: &Command) -> Vec<Effect> {
    let Outcome { effects, .. } = session.state.evaluate(command, session.context);
    effects.into_vec()
}

fn replies(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Transaction(replies) => replies,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_see_what_the_earlier_ones_did() {
    let mut session = Session::with("a", "1");
    let reply = session.run(transaction(vec![
        put("b", "2", Expiry::Never),
        Command::Increment { key: "b".into(), by: 40 },
        read("b"),
        delete("a"),
        read("a"),
        Command::ReadRange(RangeQuery::new(Range::all(), 10)),
    ]));
    let revision = Revision::from_raw(2);
    let b = Versioned { value: "42".into(), revision, expires_at_ms: 0 };
    let expected = vec![
        Reply::Written(revision),
        Reply::Integer(42),
        Reply::Value(b.clone()),
        Reply::Integer(1),
        Reply::Missing,
        Reply::Entries { entries: vec![crate::command::Entry { key: "b".into(), version: b }], next: None },
    ];
    assert_eq!(replies(reply), expected);
    assert_eq!((session.value("a"), session.value("b")), (None, Some(&b"42"[..])));
}

#[test]
fn a_count_follows_the_transaction() {
    let mut session = Session::with("a", "1");
    session.run(put("expired", "1", Expiry::InMs(1)));
    session.context.now_ms += 10;
    let reply = session.run(transaction(vec![
        Command::Count,
        put("a", "2", Expiry::Never),
        Command::Count,
        put("b", "1", Expiry::Never),
        put("expired", "1", Expiry::Never),
        Command::Count,
        delete("a"),
        delete("a"),
        Command::Count,
        Command::Flush,
        Command::Count,
        put("c", "1", Expiry::Never),
        Command::Count,
    ]));
    let counts: Vec<Reply> = replies(reply).into_iter().filter(|reply| matches!(reply, Reply::Integer(_))).collect();
    assert_eq!(counts, [2, 2, 3, 1, 0, 2, 0, 1].map(Reply::Integer));
    assert_eq!(session.run(Command::Count), Reply::Integer(1));
}

#[test]
fn a_transaction_has_at_most_one_effect_for_a_key_in_key_order() {
    let mut session = Session::with("z", "1");
    session.run(put("y", "1", Expiry::Never));
    let several = transaction(vec![
        put("z", "2", Expiry::Never),
        put("a", "1", Expiry::Never),
        put("a", "2", Expiry::Never),
        put("made", "1", Expiry::Never),
        delete("made"),
        delete("y"),
        delete("z"),
        put("z", "3", Expiry::Never),
    ]);
    let put_effect =
        |key: &'static str, value: &'static str| Effect::Put { key: key.into(), value: value.into(), expires_at_ms: 0 };
    let expected = vec![put_effect("a", "2"), Effect::Delete { key: "y".into() }, put_effect("z", "3")];
    assert_eq!(effects(&session, &several), expected);

    let flushed =
        transaction(vec![put("a", "1", Expiry::Never), Command::Flush, put("b", "1", Expiry::Never), delete("b")]);
    assert_eq!(effects(&session, &flushed), vec![Effect::Flush]);
}

#[test]
fn a_put_of_many_has_one_effect_for_a_key() {
    let session = Session::new();
    let entries = vec![("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())];
    let effects = effects(&session, &Command::PutMany { entries, only_if_none_exists: false });
    let value_of_a = effects.iter().find_map(|effect| match effect {
        Effect::Put { key, value, .. } if key == "a" => Some(value.clone()),
        _ => None,
    });
    assert_eq!((effects.len(), value_of_a), (2, Some("3".into())));
}

#[test]
fn a_failing_command_leaves_the_others_or_undoes_all() {
    let commands = || {
        vec![
            put("a", "1", Expiry::Never),
            Command::Put(Put::new(PutMode::Create, "k", "2")),
            put("b", "1", Expiry::Never),
        ]
    };
    let mut session = Session::with("k", "v");
    assert!(effects(&session, &all_or_nothing(commands())).is_empty());
    let rolled_back = Reply::RolledBack { index: 1, error: CommandError::KeyExists };
    assert_eq!(session.run(all_or_nothing(commands())), rolled_back);
    assert_eq!(session.value("a"), None);

    let failed = replies(session.run(transaction(commands())));
    assert_eq!(failed[1], Reply::Failed(CommandError::KeyExists));
    assert!(session.value("a").is_some() && session.value("b").is_some(), "as in Redis, the others stand");
}

#[test]
fn a_read_only_transaction_has_no_effects() {
    let session = Session::with("k", "v");
    let reads = transaction(vec![read("k"), Command::Count, Command::Exists { keys: vec!["k".into(), "k".into()] }]);
    assert!(reads.is_read_only());
    let Outcome { reply, effects } = session.state.evaluate(&reads, session.context);
    assert!(effects.is_empty());
    assert_eq!(replies(reply)[1..], [Reply::Integer(1), Reply::Integer(2)]);
}

#[test]
fn a_transaction_in_a_transaction_fails_like_any_command() {
    let mut session = Session::new();
    let nested = || transaction(vec![put("inner", "1", Expiry::Never)]);
    let reply = session.run(transaction(vec![put("a", "1", Expiry::Never), nested()]));
    assert_eq!(replies(reply)[1], Reply::Failed(CommandError::NestedTransaction));
    assert!(session.value("inner").is_none() && session.value("a").is_some());
    let rolled_back = Reply::RolledBack { index: 0, error: CommandError::NestedTransaction };
    assert_eq!(session.run(all_or_nothing(vec![nested()])), rolled_back);
}

#[test]
fn a_precondition_that_does_not_hold_aborts() {
    let mut session = Session::with("k", "v");
    let written = session.state.entries()[&b"k"[..]].revision;
    let guarded = |revision| {
        Command::Transaction(Transaction {
            preconditions: vec![Precondition { key: "k".into(), revision }],
            commands: vec![put("done", "1", Expiry::Never)],
            all_or_nothing: false,
        })
    };
    assert_eq!(session.run(guarded(None)), Reply::Aborted);
    assert_eq!(session.run(guarded(Some(Revision::from_raw(written.get() + 1)))), Reply::Aborted);
    assert_eq!(session.value("done"), None);
    assert_eq!(replies(session.run(guarded(Some(written)))).len(), 1);
    session.run(delete("k"));
    assert_eq!(replies(session.run(guarded(None))).len(), 1, "it must not exist, and does not");
}

/// A scan that goes on inside a transaction still sees the keys that this transaction overwrote before.
#[test]
fn a_scan_sees_keys_that_its_transaction_overwrote() {
    let mut session = Session::new();
    let keys = ["a", "b", "c", "d", "e"];
    keys.into_iter().for_each(|key| drop(session.run(put(key, "1", Expiry::Never))));
    let mut scanned = scan_all(1, None, |scan| {
        let mut commands: Vec<Command> = keys.into_iter().map(|key| put(key, "2", Expiry::Never)).collect();
        commands.push(scan.clone());
        replies(session.run(transaction(commands))).pop().unwrap()
    });
    scanned.sort();
    assert_eq!(scanned, keys);
}

#[test]
fn what_would_be_answered_with_too_much_has_no_effect() {
    let too_long = Reply::Failed(CommandError::ReplyTooLong { max: MAX_REPLY_LEN });
    let mut session = Session::new();
    session.context.max_value_len = MAX_REPLY_LEN / 4;
    session.run(Command::Put(Put::new(PutMode::Upsert, "a", vec![b'x'; MAX_REPLY_LEN / 4])));
    let reads = |count: usize| Command::ReadMany { keys: vec!["a".into(); count] };
    assert!(matches!(session.run(reads(4)), Reply::Values(values) if values.len() == 4));
    assert_eq!(session.run(reads(5)), too_long);
    assert_eq!(session.run(transaction(vec![put("b", "1", Expiry::Never), reads(3), reads(2)])), too_long);
    assert_eq!(session.value("b"), None);
    let fits = session.run(transaction(vec![put("b", "1", Expiry::Never), reads(5), reads(4)]));
    assert_eq!(replies(fits)[1], too_long);
    assert_eq!(session.value("b"), Some(&b"1"[..]));
    // Where one value may be longer, it can be read.
    session.context.max_value_len = MAX_REPLY_LEN + 1;
    session.run(Command::Put(Put::new(PutMode::Upsert, "a", vec![b'x'; MAX_REPLY_LEN + 1])));
    assert!(matches!(session.run(reads(1)), Reply::Values(_)));
    assert!(session.run(reads(2)).is_failure());
}
