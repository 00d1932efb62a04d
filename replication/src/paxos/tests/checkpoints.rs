//! Rules 1 to 5: checkpoints in place of old entries, at donors, at followers and at leaders.

use super::cluster::{Cluster, at, replica};
use crate::paxos::admission::{Fit, Role, Verdict, View};
use crate::paxos::recovery::RecoveryError;
use crate::paxos::{
    Ballot, CheckpointFacts, DurableState, Effect, Leadership, Message, Options, OrderingFrame, Recovery, Request,
    Rule, Rules, Sequence, Suffix, Sync,
};
use skink_engine::position::LogPosition;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ALL: [usize; 3] = [0, 1, 2];

fn options() -> Options {
    Options { kept_entries: 0, ..Options::default() }
}

/// Replica 2 was away while the others wrote 1 to 5 and dropped 1 to 4.
fn one_behind(options: Options) -> (Cluster, CheckpointFacts) {
    let mut cluster = Cluster::new(3, options);
    cluster.lead(0, &ALL);
    (1..=4).for_each(|sequence| cluster.write(0, sequence, &[0, 1]));
    let checkpoint = cluster.checkpoint(0);
    cluster.checkpoint(1);
    cluster.write(0, 5, &[0, 1]);
    cluster.settle(&[0, 1]);
    cluster.connect(0, 2);
    cluster.settle(&ALL);
    (cluster, checkpoint)
}

#[test]
fn a_sync_with_a_gap_waits_for_a_checkpoint() {
    let (mut cluster, checkpoint) = one_behind(options());
    assert_eq!(cluster.protocol(2).accepted(), at(0));
    let request = Request::Checkpoint { at_least: at(4) };
    assert!(cluster.has_effect(2, |effect| *effect == Effect::Ask { peer: replica(0), request }));
    cluster.install(2, checkpoint);
    assert_eq!(cluster.protocol(2).decided(), at(4));
    let restarts = |effect: &Effect| matches!(effect, Effect::RestartSession { .. });
    assert!(cluster.has_effect(2, restarts), "all sessions start anew");
    cluster.connect(0, 2);
    cluster.connect(1, 2);
    cluster.store(2, 5);
    cluster.settle(&ALL);
    assert_eq!(cluster.delivered(2), [5]);
}

#[test]
fn without_the_wait_a_gap_reaches_the_log() {
    let run = |rule| {
        catch_unwind(AssertUnwindSafe(|| one_behind(Options { rules: Rules::without(&[rule]), ..options() }))).is_err()
    };
    assert!(run(Rule::GapInSync), "the storage asserts that a gap is no entry");
}

#[test]
fn an_install_keeps_the_round_and_the_tail_and_raises_the_promise() {
    let mut cluster = Cluster::new(3, options());
    cluster.lead(0, &ALL);
    (1..=4).for_each(|sequence| ALL.iter().for_each(|index| cluster.store(*index, sequence)));
    (1..=4).for_each(|sequence| cluster.propose(0, sequence));
    // Replica 1 accepts all four, and hears of no decision.
    while cluster.pass(0, 1).is_some() {}
    cluster.sync(1);
    cluster.drop_wire(1, 0);
    let round = cluster.promise(1);
    let promise = Ballot::new(9, replica(2));
    cluster.install(1, CheckpointFacts { instance: at(2), promise });
    let frame = cluster.member(1).frames.last().unwrap().clone();
    assert_eq!((frame.base, frame.decided, frame.promise, frame.accepted_round), (at(2), at(2), promise, round));
    assert_eq!(cluster.protocol(1).accepted(), at(4), "3 and 4 were voted for");
    assert_eq!([cluster.wire(1, 0), cluster.wire(1, 2)], [[], []], "nothing is said in the old sessions");
    // The same after a crash, whether the frame of the install became durable or not.
    for frames in [None, Some(cluster.member(1).frames.len() - 1)] {
        cluster.restart(1, frames, Some(CheckpointFacts { instance: at(2), promise }));
        assert_eq!((cluster.promise(1), cluster.protocol(1).accepted()), (promise, at(4)));
        let base = cluster.protocol(1).log.lock().base();
        assert_eq!(base, 2, "1 and 2 were not known to be decided: the checkpoint may have others in their place");
    }
}

#[test]
fn a_leader_that_installs_takes_a_new_ballot() {
    let role = |rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..options() });
        cluster.lead(0, &ALL);
        let before = cluster.promise(0);
        cluster.install(0, CheckpointFacts { instance: at(7), promise: before });
        (cluster.protocol(0).leadership(), cluster.promise(0) > before)
    };
    assert_eq!(role(Rules::default()), (Leadership::Prepares, true));
    assert_eq!(role(Rules::without(&[Rule::TakeBallotAfterInstall])), (Leadership::Unknown, false));
}

/// Replica 0 prepares an old ballot and is not heard; 4 decides in a higher one with 1 and 2; 3 installs what they
/// decided. Then 3 hears the old ballot.
fn old_candidate(rules: Rules, crashes: bool) -> Result<(), String> {
    let mut cluster = Cluster::new(5, Options { rules, ..options() });
    cluster.lead(0, &[0, 1, 2]);
    cluster.write(0, 1, &[0, 1, 2]);
    cluster.campaign(0);
    cluster.sync(0);
    let late = cluster.drop_wire(0, 3);
    cluster.pass(0, 1);
    cluster.sync(1);
    let promised = cluster.drop_wire(1, 0);
    cluster.campaign(4);
    cluster.campaign(4);
    cluster.settle(&[1, 2, 4]);
    (2..=6).for_each(|sequence| cluster.write(4, sequence, &[1, 2, 4]));
    let checkpoint = cluster.checkpoint(2);
    assert!(checkpoint.instance >= at(5));
    cluster.install(3, checkpoint);
    if crashes {
        let frames = cluster.member(3).frames.len() - 1;
        cluster.restart(3, Some(frames), Some(checkpoint));
    }
    cluster.connect(0, 3);
    cluster.drop_wire(3, 0);
    drop(late);
    let run = || {
        (0..50).for_each(|_| cluster.event(0, crate::paxos::Event::Tick));
        cluster.settle(&[0, 3]);
        for envelope in promised {
            cluster.event(0, crate::paxos::Event::Received { peer: replica(1), envelope });
        }
        cluster.settle(&[0, 3]);
        [7, 8].iter().for_each(|sequence| cluster.write(0, *sequence, &[0, 3]));
        if cluster.delivered(0).contains(&7) { Err("an old candidate decides".to_owned()) } else { Ok(()) }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("a broken invariant".to_owned()))
}

#[test]
fn an_installed_checkpoint_takes_no_part_in_older_ballots() {
    assert_eq!(old_candidate(Rules::default(), false), Ok(()));
    assert_eq!(old_candidate(Rules::default(), true), Ok(()), "the manifest says so where the frame was lost");
    assert!(old_candidate(Rules::without(&[Rule::RaisePromise]), false).is_err(), "what the rule is for");
}

#[test]
fn a_sync_never_writes_what_is_decided() {
    let mut cluster = Cluster::new(3, options());
    cluster.lead(0, &ALL);
    // The last frame says that three are decided.
    (1..=4).for_each(|sequence| cluster.write(0, sequence, &ALL));
    let entries: Vec<_> =
        cluster.member(0).frames.iter().filter_map(|frame| frame.suffix.clone()).flat_map(|it| it.entries).collect();
    let configuration = super::cluster::configuration(3);
    let promise = cluster.promise(1);
    let fit = |rules, after: u64, entries: &[crate::paxos::Entry]| {
        let state = cluster_state(&cluster);
        let role = Role { promise, leads: false, accepts: false };
        let view = View { role, state: &state, configuration: &configuration, rules };
        let sync = Sync { after: at(after), gap_end: None, entries: entries.to_vec(), stop_sign: None };
        let sequence = Sequence { sync: 1, number: 1 };
        view.fit(Message::AcceptSync { ballot: promise, sequence, decided: at(after), sync })
    };
    let Fit::Message(Message::AcceptSync { sync, .. }) = fit(Rules::default(), 1, &entries[1..]) else { panic!() };
    assert_eq!((sync.after, sync.entries.len()), (at(3), 1), "2 and 3 are decided here");
    assert_eq!(fit(Rules::default(), 1, &entries[1..2]), Fit::TooShort);
    assert!(matches!(fit(Rules::default(), 5, &[]), Fit::Impossible(_)), "the log ends before");
    let Fit::Message(Message::AcceptSync { sync, .. }) = fit(Rules::without(&[Rule::CutOverlap]), 1, &entries[1..])
    else {
        panic!()
    };
    assert_eq!(sync.after, at(1), "what the rule is for");
}

/// The ordering state of replica 1.
fn cluster_state(cluster: &Cluster) -> crate::paxos::state::LogState {
    let mut recovery = Recovery::new(super::cluster::configuration(3), Rules::default());
    for frame in cluster.frames(1) {
        recovery.replay(frame.clone()).unwrap();
    }
    let state: DurableState = recovery.finish(None, LogPosition::ZERO).unwrap();
    crate::paxos::state::LogState::new(state, Rules::default())
}

#[test]
fn a_promise_with_a_gap_waits_until_the_majority_came_without_it() {
    let judged = |rules, accepts| {
        let cluster = Cluster::new(3, options());
        let state = cluster_state(&cluster);
        let promise = Ballot::new(5, replica(1));
        let role = Role { promise, leads: true, accepts };
        let configuration = super::cluster::configuration(3);
        let view = View { role, state: &state, configuration: &configuration, rules };
        let sync = Sync { after: at(0), gap_end: Some(at(6)), entries: Vec::new(), stop_sign: None };
        let (accepted_round, decided, accepted) = (Ballot::new(4, replica(2)), at(6), at(6));
        view.judge(&Message::Promise { ballot: promise, accepted_round, decided, accepted, sync: Some(sync) })
    };
    assert_eq!(judged(Rules::default(), false), Verdict::NeedsCheckpoint(at(6)));
    assert_eq!(judged(Rules::default(), true), Verdict::HandOver);
    assert_eq!(judged(Rules::without(&[Rule::ReleaseGap]), true), Verdict::NeedsCheckpoint(at(6)));
}

#[test]
fn a_start_finds_what_the_log_says() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    (1..=3).for_each(|sequence| cluster.write(0, sequence, &ALL));
    let promise = cluster.promise(2);
    cluster.restart(2, None, None);
    assert_eq!(
        (cluster.promise(2), cluster.protocol(2).decided(), cluster.protocol(2).accepted()),
        (promise, at(2), at(3)),
        "that 3 is decided is learned again: no frame was written for it alone"
    );
    cluster.take(2);
    assert_eq!(cluster.delivered(2), [1, 2], "and delivers it again");
    cluster.settle(&ALL);
    assert_eq!(cluster.delivered(2), [1, 2, 3]);
    cluster.write(0, 4, &ALL);
    assert_eq!(cluster.delivered(2), [1, 2, 3, 4]);
}

#[test]
fn frames_that_can_not_follow_are_damage() {
    let frame = |base, after: Option<u64>| OrderingFrame {
        configuration: 1,
        base: at(base),
        decided: at(base),
        promise: Ballot::NONE,
        accepted_round: Ballot::NONE,
        stop_sign: None,
        incarnations: Vec::new(),
        suffix: after.map(|after| Suffix { after: at(after), entries: Vec::new() }),
        payloads: Vec::new(),
    };
    let new = || Recovery::new(super::cluster::configuration(3), Rules::default());
    let mut recovery = new();
    recovery.replay(frame(0, Some(2))).unwrap();
    assert_eq!(recovery.replay(frame(0, Some(7))).unwrap_err(), RecoveryError::Gap { after: at(7), end: at(2) });
    assert!(recovery.replay(frame(9, Some(9))).is_ok(), "a checkpoint was installed");
    let uncovered = RecoveryError::Uncovered { start: at(9), checkpoint: at(4) };
    let checkpoint = CheckpointFacts { instance: at(4), promise: Ballot::NONE };
    assert_eq!(recovery.finish(Some(checkpoint), LogPosition::ZERO).unwrap_err(), uncovered);
    let other = OrderingFrame { configuration: 2, ..frame(0, None) };
    assert!(matches!(new().replay(other), Err(RecoveryError::Configuration { found: 2, expected: 1 })));
}
