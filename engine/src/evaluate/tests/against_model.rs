//! Random histories of commands: evaluate and the model come to the same replies and the same state.

use crate::command::{Access, Command, Footprint, Range, RangeQuery, Reply};
use crate::evaluate::{Context, Effect, Outcome};
use crate::testing::model::{self, Model};
use crate::testing::state::{MapState, scan_all};
use crate::testing::strategies::{self, Step, history};
use bytes::Bytes;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeSet;
use std::ops::Bound;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4 * ProptestConfig::default().cases))]

    #[test]
    fn replies_and_state_are_the_models(steps in history(1..=60)) {
        let (mut state, mut model) = (MapState::new(), Model::new());
        for Step { command, context } in &steps {
            check_outcome(command, &state, *context);
            let expected = model.execute(command, *context);
            let reply = state.execute(command, *context);
            prop_assert!(model::agree(&expected, &reply), "{command:?} at {context:?}: {expected:?}, not {reply:?}");
            prop_assert_eq!(model.entries(), state.entries(), "after {:?}", command);
        }
    }

    /// A blind command does the same to any state.
    #[test]
    fn blind_commands_depend_on_no_state(steps in history(1..=40), command in strategies::command()) {
        let (state, context) = after(&steps);
        if command.is_blind() {
            let (here, there) = (state.evaluate(&command, context), MapState::new().evaluate(&command, context));
            prop_assert_eq!(here.reply, there.reply);
            prop_assert_eq!(here.effects, there.effects);
        }
    }

    #[test]
    fn a_range_read_in_pieces_is_the_range(
        steps in history(1..=40),
        range in strategies::range(),
        pattern in proptest::option::of(strategies::pattern()),
        limit in 1..4_u32,
    ) {
        let (state, context) = after(&steps);
        let read = |range: Range, limit| {
            let query = RangeQuery { range, pattern: pattern.clone(), limit, with_values: true };
            match state.evaluate(&Command::ReadRange(query), context).reply {
                Reply::Entries { entries, next } => (entries, next),
                other => panic!("{other:?}"),
            }
        };
        let (whole, _) = read(range.clone(), u32::MAX);
        let (mut pieces, mut rest) = (Vec::new(), Some(range.clone()));
        while let Some(range) = rest {
            let (entries, next) = read(range.clone(), limit);
            prop_assert!(entries.len() <= limit as usize);
            pieces.extend(entries);
            rest = next.map(|key| Range { start: Bound::Excluded(key), end: range.end });
        }
        prop_assert_eq!(pieces, whole);
    }

    /// Other commands run between the steps of a scan, and steps of it in transactions that write before them.
    #[test]
    fn a_scan_returns_every_key_that_is_there_all_the_while(
        before in history(20..=40),
        during in proptest::collection::vec(strategies::command(), 30),
        in_transactions in proptest::bool::ANY,
        limit in 1..3_u32,
    ) {
        let (mut state, context) = after(&before);
        let mut during = during.into_iter().filter(|command| !matches!(command, Command::Transaction(_)));
        let mut present: BTreeSet<Bytes> = keys(&state, context);
        let mut ever = present.clone();
        let scanned = scan_all(limit, None, |scan| {
            let Some(other) = during.next() else {
                return state.execute(scan, context);
            };
            let reply = if in_transactions {
                let transaction = crate::command::Transaction {
                    preconditions: vec![],
                    commands: vec![other, scan.clone()],
                    all_or_nothing: false,
                };
                match state.execute(&Command::Transaction(transaction), context) {
                    Reply::Transaction(mut replies) => replies.pop().unwrap(),
                    // The transaction names a key that is too long.
                    _ => state.execute(scan, context),
                }
            } else {
                state.execute(&other, context);
                state.execute(scan, context)
            };
            let now = keys(&state, context);
            present.retain(|key| now.contains(key));
            ever.extend(now);
            reply
        });
        let scanned: BTreeSet<Bytes> = scanned.into_iter().collect();
        prop_assert!(present.is_subset(&scanned), "{present:?} were there all the while, the scan saw {scanned:?}");
        prop_assert!(scanned.is_subset(&ever), "{scanned:?} were seen of {ever:?}");
    }

    #[test]
    fn patterns_match_as_in_the_model(pattern in strategies::pattern(), key in strategies::key()) {
        prop_assert_eq!(pattern.matches(&key), model::matches(&pattern, &key));
        prop_assert!(!pattern.matches(&key) || key.starts_with(&pattern.literal_prefix()));
    }
}

/// What holds of every outcome, whatever the command means.
fn check_outcome(command: &Command, state: &MapState, context: Context) {
    let Outcome { reply, effects } = state.evaluate(command, context);
    let mut written = BTreeSet::new();
    let footprint = command.footprint(&mut |key, access| {
        if access == Access::Write {
            written.insert(key);
        }
    });
    let mut seen = BTreeSet::new();
    for (index, effect) in effects.iter().enumerate() {
        match effect {
            Effect::Flush => {
                assert_eq!(index, 0, "a flush is the first effect");
                assert_eq!(footprint, Footprint::Everything);
            }
            Effect::Put { key, value, .. } => {
                assert!(!command.only_deletes(), "{command:?} only deletes");
                assert!(value.len() <= context.max_value_len, "a value of {} bytes", value.len());
                assert!(seen.insert(key) && written.contains(key), "one effect for a key, in the footprint");
            }
            Effect::Delete { key } => {
                assert!(state.entries().contains_key(key.as_ref()), "deletes a key that does not exist");
                assert!(seen.insert(key) && written.contains(key), "one effect for a key, in the footprint");
            }
        }
    }
    if command.is_read_only() || reply.is_failure() || reply == Reply::Aborted {
        assert!(effects.is_empty(), "{command:?} was answered with {reply:?} and has effects");
    }
}

/// The state after the steps, and the context of the last.
fn after(steps: &[Step]) -> (MapState, Context) {
    let mut state = MapState::new();
    for Step { command, context } in steps {
        state.execute(command, *context);
    }
    (state, steps.last().unwrap().context)
}

/// The keys that reads see.
fn keys(state: &MapState, context: Context) -> BTreeSet<Bytes> {
    let query = RangeQuery::new(Range::all(), u32::MAX);
    match state.evaluate(&Command::ReadRange(query), context).reply {
        Reply::Entries { entries, .. } => entries.into_iter().map(|entry| entry.key).collect(),
        other => panic!("{other:?}"),
    }
}
