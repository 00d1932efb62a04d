//! Linearizability: what the clients of an object heard is what they would have heard if all calls had taken effect one by
//! one, each between its beginning and its end.
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried. A call that nobody heard the end of may take
//! effect at any time after its beginning, or never.

use crate::history::{Call, Ending, State};
use std::collections::HashSet;

/// What the search came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order explains the answers; so many calls were explained at most.
    Wrong {
        explained: usize,
    },
    /// Too many orders to try.
    Undecided,
}

/// Orders that are tried at most.
const MAX_STEPS: u64 = 3_000_000;
const END: usize = usize::MAX;

/// The beginnings and ends of calls that have no place yet, in the order in which they happened, as a linked list.
struct Moments {
    /// Of call `n`, its beginning is at `2n`, its end at `2n + 1`.
    next: Vec<usize>,
    previous: Vec<usize>,
    head: usize,
}

impl Moments {
    fn new(calls: &[Call]) -> Moments {
        let mut order = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            order.push((call.invoked, 2 * number));
            match call.ending {
                Ending::Answered(_) => order.push((call.returned, 2 * number + 1)),
                // It has its place before the end of all.
                Ending::Happened => order.push((u64::MAX, 2 * number + 1)),
                Ending::Unknown => {}
            }
        }
        order.sort_unstable();
        let (mut next, mut previous) = (vec![END; 2 * calls.len()], vec![END; 2 * calls.len()]);
        for pair in order.windows(2) {
            next[pair[0].1] = pair[1].1;
            previous[pair[1].1] = pair[0].1;
        }
        Moments { next, previous, head: order.first().map_or(END, |(_, moment)| *moment) }
    }

    fn remove(&mut self, moment: usize) {
        let (before, after) = (self.previous[moment], self.next[moment]);
        if before == END {
            self.head = after
        } else {
            self.next[before] = after
        }
        if after != END {
            self.previous[after] = before;
        }
    }

    /// The reverse of removing it last.
    fn put_back(&mut self, moment: usize) {
        let (before, after) = (self.previous[moment], self.next[moment]);
        if before == END {
            self.head = moment
        } else {
            self.next[before] = moment
        }
        if after != END {
            self.previous[after] = moment;
        }
    }
}

fn has_end(call: &Call) -> bool {
    call.ending != Ending::Unknown
}

/// Looks for an order of the calls of one object.
pub fn check(calls: &[Call], initial: State) -> Verdict {
    let mut moments = Moments::new(calls);
    let mut state = initial;
    let mut placed = vec![0_u64; calls.len().div_ceil(64)];
    let mut tried: HashSet<(Vec<u64>, State)> = HashSet::new();
    let mut stack: Vec<(usize, State)> = Vec::new();
    let (mut moment, mut steps, mut explained) = (moments.head, 0, 0);
    loop {
        if moment == END {
            // What is left has no end, and need not have happened.
            return Verdict::Linearizable;
        }
        let (number, is_end) = (moment / 2, moment % 2 == 1);
        if is_end {
            // It ended, and has no place: something before it has the wrong one.
            let Some((last, before)) = stack.pop() else { return Verdict::Wrong { explained } };
            state = before;
            placed[last / 64] &= !(1 << (last % 64));
            if has_end(&calls[last]) {
                moments.put_back(2 * last + 1);
            }
            moments.put_back(2 * last);
            moment = moments.next[2 * last];
            continue;
        }
        steps += 1;
        if steps > MAX_STEPS {
            return Verdict::Undecided;
        }
        let call = &calls[number];
        let (after, outcome) = state.after(&call.action);
        let fits = match &call.ending {
            Ending::Answered(answer) => *answer == outcome,
            Ending::Unknown | Ending::Happened => true,
        };
        if fits {
            placed[number / 64] |= 1 << (number % 64);
            if tried.insert((placed.clone(), after.clone())) {
                stack.push((number, std::mem::replace(&mut state, after)));
                explained = explained.max(stack.len());
                moments.remove(2 * number);
                if has_end(call) {
                    moments.remove(2 * number + 1);
                }
                moment = moments.head;
                continue;
            }
            placed[number / 64] &= !(1 << (number % 64));
        }
        moment = moments.next[moment];
    }
}

fn is_answered(call: &Call) -> bool {
    matches!(call.ending, Ending::Answered(_))
}

/// What was known of the calls at a moment.
fn known_by(calls: &[Call], moment: u64) -> Vec<Call> {
    let begun = calls.iter().filter(|call| call.invoked <= moment);
    begun
        .map(|call| match call.ending {
            Ending::Answered(_) if call.returned > moment => Call { ending: Ending::Unknown, ..call.clone() },
            _ => call.clone(),
        })
        .collect()
}

/// The first answer, in the order in which clients heard them, that nothing explains.
pub fn first_unexplained(calls: &[Call], initial: &State) -> Option<Call> {
    let mut ends: Vec<u64> = calls.iter().filter(|call| is_answered(call)).map(|call| call.returned).collect();
    ends.sort_unstable();
    let is_explained = |end: &u64| !matches!(check(&known_by(calls, *end), initial.clone()), Verdict::Wrong { .. });
    let end = *ends.get(ends.partition_point(is_explained))?;
    calls.iter().find(|call| is_answered(call) && call.returned == end).cloned()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, check};
    use crate::history::{Action, Call, Ending, Outcome, State};
    use bytes::Bytes;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn set(text: &str) -> Action {
        Action::Set(bytes(text))
    }

    fn call(action: Action, invoked: u64, returned: u64, outcome: Outcome) -> Call {
        Call { action, invoked, returned, ending: Ending::Answered(outcome) }
    }

    fn lost(action: Action, invoked: u64, ending: Ending) -> Call {
        Call { action, invoked, returned: invoked + 1, ending }
    }

    fn got(text: Option<&str>) -> Outcome {
        Outcome::Value(text.map(bytes))
    }

    fn is_linearizable(calls: &[Call]) -> bool {
        match check(calls, State::Value(None)) {
            Verdict::Linearizable => true,
            Verdict::Wrong { .. } => false,
            Verdict::Undecided => panic!("small histories are decided"),
        }
    }

    #[test]
    fn one_after_the_other() {
        let calls = [
            call(set("a"), 1, 2, Outcome::Done),
            call(Action::Get, 3, 4, got(Some("a"))),
            call(Action::Append(bytes("b")), 5, 6, Outcome::Integer(2)),
            call(Action::Delete, 7, 8, Outcome::Integer(1)),
            call(Action::Delete, 9, 10, Outcome::Integer(0)),
            call(Action::Add(3), 11, 12, Outcome::Integer(3)),
            call(Action::Get, 13, 14, got(Some("3"))),
        ];
        assert!(is_linearizable(&calls));
    }

    #[test]
    fn a_stale_read_is_wrong() {
        let calls = [
            call(set("a"), 1, 2, Outcome::Done),
            call(set("b"), 3, 4, Outcome::Done),
            call(Action::Get, 5, 6, got(Some("a"))),
        ];
        assert!(!is_linearizable(&calls));
    }

    #[test]
    fn what_overlaps_may_come_in_either_order() {
        let read = |value| {
            [
                call(set("a"), 1, 10, Outcome::Done),
                call(set("b"), 2, 9, Outcome::Done),
                call(Action::Get, 11, 12, got(Some(value))),
            ]
        };
        assert!(is_linearizable(&read("a")) && is_linearizable(&read("b")) && !is_linearizable(&read("c")));
    }

    #[test]
    fn reads_do_not_go_back() {
        let calls = [
            call(set("a"), 1, 100, Outcome::Done),
            call(Action::Get, 2, 3, got(Some("a"))),
            call(Action::Get, 4, 5, got(None)),
        ];
        assert!(!is_linearizable(&calls));
        assert!(is_linearizable(&[calls[0].clone(), calls[2].clone()]));
    }

    #[test]
    fn a_lost_update_is_wrong() {
        let calls = [call(Action::Add(1), 1, 5, Outcome::Integer(1)), call(Action::Add(1), 2, 6, Outcome::Integer(1))];
        assert!(!is_linearizable(&calls));
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_or_never_but_not_twice() {
        let unknown = lost(Action::Add(1), 1, Ending::Unknown);
        let read = |value, at| call(Action::Get, at, at + 1, got(value));
        assert!(is_linearizable(&[unknown.clone(), read(None, 3), read(None, 5)]));
        assert!(is_linearizable(&[unknown.clone(), read(None, 3), read(Some("1"), 5)]));
        assert!(!is_linearizable(&[unknown.clone(), read(Some("1"), 3), read(None, 5)]));
        assert!(!is_linearizable(&[unknown, read(Some("1"), 3), read(Some("2"), 5)]));
        let before = lost(set("a"), 10, Ending::Unknown);
        assert!(!is_linearizable(&[before, read(Some("a"), 3)]), "not before it began");
    }

    #[test]
    fn a_write_that_has_happened_must_be_seen_in_the_end() {
        let happened = lost(Action::Add(1), 1, Ending::Happened);
        let add = |sum, at| call(Action::Add(10), at, at + 1, Outcome::Integer(sum));
        assert!(is_linearizable(&[happened.clone(), add(10, 3), add(21, 5)]));
        assert!(is_linearizable(&[happened, add(10, 3), add(20, 5)]), "after all that was read");
    }

    #[test]
    fn transfers_are_seen_whole() {
        let accounts = State::Accounts(vec![0, 0]);
        let transfer = call(Action::Transfer { from: 0, to: 1, amount: 5 }, 1, 9, Outcome::Integers(vec![-5, 5]));
        let read = |values: [i64; 2]| call(Action::GetAll, 2, 3, Outcome::Integers(values.to_vec()));
        for (values, expected) in [([0, 0], true), ([-5, 5], true), ([-5, 0], false), ([0, 5], false)] {
            let verdict = check(&[transfer.clone(), read(values)], accounts.clone());
            assert_eq!(verdict == Verdict::Linearizable, expected, "{values:?}");
        }
        let fails = call(Action::FailToTransfer, 4, 5, Outcome::RolledBack);
        assert_eq!(check(&[transfer, fails], accounts), Verdict::Linearizable);
    }

    #[test]
    fn many_writes_without_answers_are_no_hindrance() {
        let mut calls: Vec<Call> =
            (0..30).map(|number| lost(set(&format!("lost {number}")), number, Ending::Unknown)).collect();
        for number in 0..50 {
            let at = 100 + 4 * number;
            calls.push(call(set(&format!("{number}")), at, at + 1, Outcome::Done));
            calls.push(call(Action::Get, at + 2, at + 3, got(Some(&format!("{number}")))));
        }
        assert!(is_linearizable(&calls));
    }
}
