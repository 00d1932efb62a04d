//! Rules 2 and 6 to 10: what waits for the log and for payloads, in both directions.

use super::cluster::{Cluster, at, batch, header, replica};
use crate::paxos::admission::{Role, Verdict, View};
use crate::paxos::state::LogState;
use crate::paxos::{
    Ballot, DurableState, Effect, Entry, Event, Gate, Message, Options, Refusal, Request, Rule, Rules, Sequence, Sync,
};

const ALL: [usize; 3] = [0, 1, 2];

fn cluster(options: Options) -> Cluster {
    let mut cluster = Cluster::new(3, options);
    cluster.lead(0, &ALL);
    cluster
}

fn is_accept(message: &Message) -> bool {
    matches!(message, Message::AcceptDecide { .. })
}

#[test]
fn a_cycle_is_one_frame() {
    let mut cluster = cluster(Options::default());
    let before = cluster.member(0).frames.len();
    for sequence in 1..=3 {
        cluster.protocol(0).handle(Event::PayloadStored {
            id: batch(sequence),
            position: skink_engine::position::LogPosition::new(sequence),
        });
        cluster.protocol(0).handle(Event::Proposed { header: header(sequence) });
    }
    cluster.take(0);
    assert_eq!(cluster.member(0).frames.len(), before + 1);
    let frame = cluster.member(0).frames.last().unwrap().clone();
    assert_eq!((frame.suffix.unwrap().entries.len(), frame.payloads.len()), (3, 3));
    let accepts = cluster.wire(0, 1);
    assert!(
        matches!(&accepts[..], [Message::AcceptDecide { entries, .. }] if entries.len() == 3),
        "one message: {accepts:?}"
    );
}

#[test]
fn an_accept_waits_for_its_payload_and_what_follows_waits_behind() {
    let mut cluster = cluster(Options::default());
    for sequence in [1, 2] {
        cluster.store(0, sequence);
        cluster.propose(0, sequence);
    }
    cluster.store(1, 2);
    cluster.settle(&[0, 1]);
    assert_eq!(cluster.protocol(1).accepted(), at(0), "2 is behind 1");
    let request = Request::Payload { id: batch(1), instance: at(1) };
    assert!(cluster.has_effect(1, |effect| *effect == Effect::Ask { peer: replica(0), request }));
    cluster.event(0, Event::Asked { peer: replica(1), request });
    assert!(cluster.has_effect(0, |effect| matches!(effect, Effect::SendPayload { id, .. } if *id == batch(1))));
    cluster.store(1, 1);
    cluster.settle(&[0, 1]);
    assert_eq!(cluster.protocol(1).accepted(), at(2));
    assert_eq!(cluster.delivered(0), [1, 2]);
}

#[test]
fn syncs_and_promises_wait_for_their_payloads_where_they_are_used() {
    let configuration = super::cluster::configuration(3);
    let state = LogState::new(DurableState::empty(configuration.clone()), Rules::default());
    let ballot = Ballot::new(5, replica(0));
    let judge = |leads, accepts, rules, message: &Message| {
        let role = Role { promise: ballot, leads, accepts };
        View { role, state: &state, configuration: &configuration, rules }.judge(message)
    };
    let entries = [1, 2].map(|sequence| Entry::Header(header(sequence))).to_vec();
    let sync = Sync { after: at(3), gap_end: None, entries, stop_sign: None };
    let sequence = Sequence { sync: 1, number: 1 };
    let accept = |decided| Message::AcceptSync { ballot, sequence, decided: at(decided), sync: sync.clone() };
    let promise =
        Message::Promise { ballot, accepted_round: ballot, decided: at(3), accepted: at(5), sync: Some(sync.clone()) };
    let both = Verdict::NeedsPayloads(vec![(batch(1), at(4)), (batch(2), at(5))]);
    let all = Rules::default();
    assert_eq!(judge(false, false, all, &accept(3)), both);
    assert_eq!(judge(false, false, all, &accept(4)), Verdict::NeedsPayloads(vec![(batch(2), at(5))]), "4 is decided");
    assert_eq!(judge(false, true, all, &accept(3)), Verdict::HandOver, "it is ignored");
    assert_eq!(judge(true, false, all, &promise), both);
    assert_eq!(judge(true, true, all, &promise), Verdict::HandOver, "the sync in it is ignored");
    let without = |rule| Rules::without(&[rule]);
    assert_eq!(judge(false, false, without(Rule::PayloadsBeforeSync), &accept(3)), Verdict::HandOver);
    assert_eq!(judge(true, false, without(Rule::PayloadsBeforePromise), &promise), Verdict::HandOver);
}

#[test]
fn a_prepare_overtakes_what_waits() {
    let has_promised = |rules| {
        let mut cluster = cluster(Options { rules, ..Options::default() });
        cluster.store(0, 1);
        cluster.propose(0, 1);
        cluster.pass(0, 1);
        cluster.campaign(0);
        cluster.sync(0);
        while cluster.pass(0, 1).is_some() {}
        cluster.promise(1) == cluster.promise(0)
    };
    assert!(has_promised(Rules::default()));
    assert!(!has_promised(Rules::without(&[Rule::PrepareOvertakes])), "what the rule is for");
}

#[test]
fn what_the_object_ignores_does_not_wait() {
    let has_passed = |rules| {
        let mut cluster = cluster(Options { rules, ..Options::default() });
        cluster.store(0, 1);
        cluster.propose(0, 1);
        // Another leader comes before the message does.
        cluster.lead(2, &[1, 2]);
        cluster.pass(0, 1);
        cluster.sync(1);
        cluster.wire(1, 0).iter().any(|message| matches!(message, Message::NotAccepted { .. }))
    };
    assert!(has_passed(Rules::default()));
    assert!(!has_passed(Rules::without(&[Rule::PassStale])), "what the rule is for");
}

#[test]
fn who_asks_for_a_payload_that_is_gone_gets_a_checkpoint() {
    let answer = |rules| {
        let mut cluster = cluster(Options { rules, kept_entries: 0, ..Options::default() });
        cluster.write(0, 1, &ALL);
        cluster.checkpoint(0);
        cluster.event(0, Event::LogDropped { before: skink_engine::position::LogPosition::new(50) });
        cluster
            .event(0, Event::Asked { peer: replica(1), request: Request::Payload { id: batch(1), instance: at(1) } });
        cluster.has_effect(0, |effect| matches!(effect, Effect::SendCheckpoint { .. }))
    };
    assert!(answer(Rules::default()));
    assert!(!answer(Rules::without(&[Rule::CheckpointForGone])));
}

#[test]
fn the_log_keeps_the_payloads_that_are_named_and_all_while_preparing() {
    let mut cluster = cluster(Options::default());
    cluster.store(0, 9);
    cluster.write(0, 1, &ALL);
    let named = cluster.protocol(0).needed().payload.unwrap();
    assert_eq!(named.get(), 2, "9 is not in the log");
    cluster.checkpoint(0);
    assert_eq!(cluster.protocol(0).needed().payload, None);
    cluster.campaign(0);
    assert_eq!(cluster.protocol(0).needed().payload.unwrap().get(), 1, "a sync may name it yet");
}

#[test]
fn a_payload_that_a_start_would_not_find_counts_no_more() {
    let mut cluster = cluster(Options::default());
    cluster.store(0, 9);
    cluster.write(0, 1, &ALL);
    assert!(cluster.protocol(0).has_payload(&batch(9)));
    // A cut names what is in the log; 9 is not, and lies before.
    let log_position =
        cluster.protocol(0).needed_by(at(1)).payload.unwrap_or(skink_engine::position::LogPosition::new(2));
    cluster.event(0, Event::Cut { log_position });
    assert!(!cluster.protocol(0).has_payload(&batch(9)), "it is stored again before anything relies on it");
    assert!(cluster.protocol(0).payload(&batch(9)).is_some(), "and may be read as long as it is there");
    cluster.propose(0, 9);
    assert!(!cluster.wire(0, 1).iter().any(is_accept));
    cluster.store(0, 9);
    assert!(cluster.protocol(0).has_payload(&batch(9)));
}

#[test]
fn strictly_nothing_leaves_before_it_is_durable() {
    let mut cluster = cluster(Options { gate: Gate::Strict, ..Options::default() });
    cluster.store(0, 1);
    cluster.propose(0, 1);
    assert_eq!(cluster.wire(0, 1), []);
    cluster.sync(0);
    assert!(matches!(&cluster.wire(0, 1)[..], [message] if is_accept(message)));
    cluster.store(1, 1);
    cluster.pass(0, 1);
    assert_eq!(cluster.wire(1, 0), [], "Accepted waits for the follower's log");
    cluster.sync(1);
    assert!(matches!(&cluster.wire(1, 0)[..], [Message::Accepted { .. }]));
}

#[test]
fn eagerly_an_accept_leaves_at_once_but_nothing_is_decided_by_an_undurable_vote() {
    let mut cluster = cluster(Options::default());
    for sequence in [1, 2] {
        cluster.store(0, sequence);
        cluster.store(1, sequence);
    }
    cluster.propose(0, 1);
    assert!(matches!(&cluster.wire(0, 1)[..], [message] if is_accept(message)), "the leader has written nothing yet");
    cluster.pass(0, 1);
    cluster.sync(1);
    // The leader counts its own vote, and sends the decided index with the next entry.
    let envelope = cluster.drop_wire(1, 0).remove(0);
    cluster.protocol(0).handle(Event::Proposed { header: header(2) });
    cluster.protocol(0).handle(Event::Received { peer: replica(1), envelope });
    cluster.take(0);
    assert_eq!(cluster.protocol(0).decided(), at(1));
    assert_eq!(cluster.delivered(0), [0; 0], "decided, and not durable here");
    assert_eq!(cluster.wire(0, 1), [], "what it says is decided isn't durable");
    cluster.sync(0);
    assert_eq!(cluster.delivered(0), [1]);
    assert!(matches!(&cluster.wire(0, 1)[..], [Message::AcceptDecide { decided, .. }] if *decided == at(1)));
}

#[test]
fn a_session_has_one_promise_of_a_ballot() {
    let promises = |rules| {
        let mut cluster = cluster(Options { rules, ..Options::default() });
        cluster.campaign(0);
        cluster.sync(0);
        cluster.pass(0, 1);
        cluster.sync(1);
        // No answer for longer than the time after which the object says it again.
        (0..cluster.len() * 10).for_each(|_| cluster.event(1, Event::Tick));
        cluster.wire(1, 0).iter().filter(|message| matches!(message, Message::Promise { .. })).count()
    };
    assert_eq!(promises(Rules::default()), 1);
    assert_eq!(promises(Rules::without(&[Rule::OnePromise])), 2, "what the rule is for");
}

#[test]
fn no_entry_slips_in_before_a_sync_that_lacks_it() {
    let is_last = |rules| {
        let mut cluster = cluster(Options { rules, ..Options::default() });
        [1, 2].iter().for_each(|sequence| cluster.store(0, *sequence));
        let ballot = cluster.promise(0);
        let promise = Message::Promise { ballot, accepted_round: ballot, decided: at(0), accepted: at(0), sync: None };
        let envelope = cluster.envelope(promise);
        // All in one cycle.
        let protocol = cluster.protocol(0);
        protocol.handle(Event::Proposed { header: header(1) });
        protocol.handle(Event::Received { peer: replica(1), envelope });
        protocol.handle(Event::Proposed { header: header(2) });
        cluster.take(0);
        cluster.sync(0);
        let messages = cluster.wire(0, 1);
        let sync = messages.iter().position(|message| matches!(message, Message::AcceptSync { .. })).unwrap();
        let holds_2 = |message: &Message| match message {
            Message::AcceptDecide { entries, .. } => entries.iter().any(|entry| entry.payload() == Some(batch(2))),
            _ => false,
        };
        messages.iter().rposition(holds_2).unwrap() > sync
    };
    assert!(is_last(Rules::default()));
    assert!(!is_last(Rules::without(&[Rule::TakeBetween])), "what the rule is for");
}

#[test]
fn proposals_are_taken_by_the_leader_with_their_payload_while_there_is_room() {
    let mut cluster = cluster(Options { max_undecided: 2, ..Options::default() });
    cluster.propose(0, 1);
    cluster.store(1, 1);
    cluster.propose(1, 1);
    for sequence in 2..=4 {
        cluster.store(0, sequence);
        cluster.propose(0, sequence);
    }
    let refused = |cluster: &mut Cluster, index: usize| cluster.member(index).effects.clone();
    assert_eq!(
        refused(&mut cluster, 0).into_iter().filter(|it| matches!(it, Effect::Refuse { .. })).collect::<Vec<_>>(),
        [
            Effect::Refuse { id: batch(1), refusal: Refusal::PayloadMissing },
            Effect::Refuse { id: batch(4), refusal: Refusal::Busy },
        ]
    );
    let not_leader = Effect::Refuse { id: batch(1), refusal: Refusal::NotLeader(Some(replica(0))) };
    assert!(refused(&mut cluster, 1).contains(&not_leader));
    cluster.settle(&ALL);
    ALL.iter().for_each(|index| (2..=3).for_each(|sequence| cluster.store(*index, sequence)));
    cluster.settle(&ALL);
    cluster.propose(0, 4);
    assert_eq!(cluster.protocol(0).accepted(), at(3), "there is room again");
}

#[test]
fn bytes_are_bounded_too_but_one_giant_passes() {
    let mut cluster = cluster(Options { max_undecided_bytes: 150, ..Options::default() });
    for sequence in 1..=2 {
        cluster.store(0, sequence);
        cluster.propose(0, sequence);
    }
    assert_eq!(cluster.protocol(0).accepted(), at(1), "100 of 150 bytes are under way");
    let mut giant = self::cluster(Options { max_undecided_bytes: 50, ..Options::default() });
    giant.write(0, 1, &ALL);
    assert_eq!(giant.delivered(2), [1]);
}
