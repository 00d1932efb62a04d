//! Rules 14 and 15: lost disks and stop signs.

use super::cluster::{Cluster, at, configuration, replica};
use crate::paxos::{
    DeliveredContent, Effect, Event, Leadership, MembershipChange, Message, Options, Recovery, RecoveryError, Rule,
    Rules, StopSign,
};
use skink_engine::position::LogPosition;

const ALL: [usize; 3] = [0, 1, 2];

#[test]
fn a_replica_that_lost_its_disk_is_silent_until_a_barrier() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    cluster.write(0, 1, &ALL);
    let before = cluster.promise(0);
    cluster.lose_disk(2, 2);
    assert!(cluster.protocol(2).is_silent());
    // One that knows nothing of the old disk's votes must not be part of a majority.
    cluster.campaign(1);
    cluster.settle(&[1, 2]);
    assert_eq!(cluster.protocol(1).leadership(), Leadership::Prepares);
    cluster.settle(&ALL);
    cluster.live(100, &ALL);
    assert!(!cluster.protocol(2).is_silent());
    assert!(cluster.promise(2) > before, "a ballot that was taken after the loss");
    let is_barrier =
        |content: &DeliveredContent| matches!(content, DeliveredContent::Barrier(it) if it.incarnation == 2);
    for index in ALL {
        assert!(cluster.member(index).delivered.iter().any(|it| is_barrier(&it.content)), "{index}");
    }
    assert_eq!(cluster.protocol(2).decided(), cluster.protocol(0).decided());
}

#[test]
fn without_the_rule_a_lost_vote_loses_a_write() {
    let elects = |rule: Option<Rule>| {
        let mut cluster = rule.map_or_else(|| Cluster::new(3, Options::default()), |rule| Cluster::without(3, rule));
        cluster.lead(0, &ALL);
        // Decided by 0 and 2 alone.
        cluster.write(0, 1, &[0, 2]);
        assert_eq!(cluster.delivered(0), [1]);
        cluster.lose_disk(2, 2);
        cluster.lead(1, &[1, 2]);
        cluster.protocol(1).leadership() == Leadership::Leads
    };
    assert!(!elects(None));
    assert!(elects(Some(Rule::Barrier)), "1 and 2 lead without the write");
}

#[test]
fn a_disk_from_before_a_barrier_is_refused() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    cluster.lose_disk(2, 5);
    cluster.live(60, &ALL);
    let session = crate::paxos::SessionNumber::new(1000);
    cluster.event(0, Event::Connected { peer: replica(2), session, incarnation: 1 });
    assert!(cluster.has_effect(0, |effect| *effect == Effect::RefusePeer { peer: replica(2), known: 5 }));
    let request = Message::PrepareRequest { ballot: cluster.promise(2) };
    cluster.say(2, 0, request);
    assert!(cluster.wire(0, 2).is_empty(), "it is not answered");
}

#[test]
fn a_stop_sign_is_the_last_entry() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    cluster.write(0, 1, &ALL);
    let next = StopSign { configuration: 2, members: vec![replica(0), replica(1), replica(3)], addresses: Vec::new() };
    cluster.event(0, Event::Reconfigured { next: next.clone() });
    cluster.settle(&ALL);
    for index in ALL {
        let last = cluster.member(index).delivered.last().unwrap().clone();
        assert_eq!((last.instance, last.content), (at(2), DeliveredContent::StopSign(next.clone())), "{index}");
    }
    cluster.store(0, 2);
    cluster.propose(0, 2);
    let is_ending = |effect: &Effect| matches!(effect, Effect::Refuse { refusal: crate::paxos::Refusal::Ending, .. });
    assert!(cluster.has_effect(0, is_ending));
    // It is there again after a crash.
    cluster.restart(1, None, None);
    cluster.settle(&ALL);
    assert_eq!(cluster.member(1).delivered.last().unwrap().content, DeliveredContent::StopSign(next));
}

/// Four members, of which 0 leads and the last one is to go; two batches, of which the second one and the stop sign are in the
/// log of all.
fn about_to_lose_one() -> Cluster {
    let mut cluster = Cluster::new(4, Options::default());
    let all = [0, 1, 2, 3];
    cluster.lead(0, &all);
    cluster.write(0, 1, &all);
    cluster.write(0, 2, &all);
    let next = MembershipChange::Remove { replica: replica(3) }.stop_sign(&configuration(4)).unwrap();
    assert_eq!(cluster.protocol(0).try_reconfigure(&next), Ok(()));
    cluster.take(0);
    assert_eq!(cluster.protocol(0).stop_sign(), Some(next));
    cluster.settle(&all);
    cluster
}

#[test]
fn the_next_configuration_goes_on_with_the_instances() {
    let mut cluster = about_to_lose_one();
    for index in 0..4 {
        cluster.succeed(index);
    }
    assert!(cluster.protocol(0).is_member() && !cluster.protocol(3).is_member());
    cluster.protocol(0).campaign();
    cluster.take(0);
    cluster.settle(&ALL);
    assert_eq!(cluster.protocol(0).leadership(), Leadership::Leads);
    cluster.write(0, 3, &ALL);
    for index in ALL {
        let last = cluster.member(index).delivered.last().unwrap().clone();
        assert_eq!(last.instance, at(4), "{index}");
        assert_eq!(cluster.delivered(index), [1, 2, 3], "{index}");
    }
    // Who is no member says nothing, and is not listened to.
    cluster.event(3, Event::Tick);
    assert!((0..3).all(|peer| cluster.wire(3, peer).is_empty()));
    assert_eq!(cluster.protocol(3).incarnation(replica(3)), Some(2), "a disk that comes again must be another one");
}

#[test]
fn who_goes_over_later_is_waited_for() {
    let mut cluster = about_to_lose_one();
    cluster.succeed(0);
    cluster.protocol(0).campaign();
    cluster.take(0);
    // What is said to members that are not there yet is lost on them.
    cluster.settle(&ALL);
    assert_eq!(cluster.protocol(0).leadership(), Leadership::Prepares);
    cluster.succeed(2);
    cluster.settle(&ALL);
    assert_eq!(cluster.protocol(0).leadership(), Leadership::Leads);
    cluster.write(0, 3, &[0, 2]);
    cluster.succeed(1);
    cluster.store(1, 3);
    cluster.live(60, &ALL);
    assert_eq!(cluster.delivered(1), [1, 2, 3]);
}

#[test]
fn a_start_finds_both_configurations_in_the_log() {
    let mut cluster = about_to_lose_one();
    for index in ALL {
        cluster.succeed(index);
    }
    cluster.protocol(0).campaign();
    cluster.take(0);
    cluster.settle(&ALL);
    cluster.write(0, 3, &ALL);
    let checkpoint = crate::paxos::CheckpointFacts { instance: at(1), promise: cluster.promise(1) };
    cluster.restart(1, None, Some(checkpoint));
    let delivered: Vec<u64> = cluster.delivered(1);
    assert_eq!((cluster.protocol(1).configuration().id(), delivered), (2, vec![2]), "what is decided for sure");
    cluster.settle(&ALL);
    cluster.live(60, &ALL);
    assert_eq!(cluster.delivered(1), [2, 3]);
    let instances: Vec<_> = cluster.member(1).delivered.iter().map(|delivered| delivered.instance).collect();
    assert_eq!(instances, [at(2), at(3), at(4)]);
    assert!(matches!(cluster.member(1).delivered[1].content, DeliveredContent::StopSign(_)));
}

#[test]
fn frames_from_before_the_checkpoints_configuration_are_left_out() {
    let mut cluster = about_to_lose_one();
    for index in ALL {
        cluster.succeed(index);
    }
    let old = cluster.frames(1).to_vec();
    cluster.protocol(0).campaign();
    cluster.take(0);
    cluster.settle(&ALL);
    cluster.write(0, 3, &ALL);
    let next = cluster.protocol(1).configuration().clone();
    let mut recovery = Recovery::new(next.clone(), Rules::default());
    for frame in cluster.frames(1) {
        recovery.replay(frame.clone()).unwrap();
    }
    let checkpoint = crate::paxos::CheckpointFacts { instance: at(3), promise: cluster.promise(1) };
    let state = recovery.finish(Some(checkpoint), LogPosition::ZERO).unwrap();
    assert_eq!((state.entries.len(), state.earlier.len()), (1, 0));
    // Without its stop sign, a configuration has no successor.
    let mut recovery = Recovery::new(configuration(4), Rules::default());
    for frame in old.iter().filter(|frame| frame.stop_sign.is_none()) {
        recovery.replay(frame.clone()).unwrap();
    }
    let first = cluster.frames(1).iter().find(|frame| frame.configuration == 2).unwrap().clone();
    assert_eq!(recovery.replay(first), Err(RecoveryError::Configuration { found: 2, expected: 1 }));
    // A replica that was added has nothing of before.
    let recovery = Recovery::new(next, Rules::default());
    assert!(
        recovery
            .finish(Some(crate::paxos::CheckpointFacts { instance: at(0), ..checkpoint }), LogPosition::ZERO)
            .is_ok()
    );
}

#[test]
fn a_stop_sign_that_is_accepted_and_not_decided_is_counted_once() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    cluster.write(0, 1, &ALL);
    let next = MembershipChange::Remove { replica: replica(2) }.stop_sign(&configuration(3)).unwrap();
    cluster.event(0, Event::Reconfigured { next: next.clone() });
    // One follower gets it, and nobody hears of that.
    while cluster.pass(0, 1).is_some() {}
    cluster.sync(0);
    cluster.sync(1);
    cluster.drop_wire(1, 0);
    // Another ballot of the same leader, and then one of the other: both logs have the stop sign.
    for leader in [0, 1, 0] {
        cluster.connect(0, 1);
        cluster.lead(leader, &[0, 1]);
        assert_eq!(cluster.protocol(leader).accepted(), at(2), "{leader}");
    }
    cluster.connect(0, 2);
    cluster.connect(1, 2);
    cluster.live(60, &ALL);
    for index in ALL {
        let last = cluster.member(index).delivered.last().unwrap().clone();
        assert_eq!((last.instance, last.content), (at(2), DeliveredContent::StopSign(next.clone())), "{index}");
    }
}
