//! Rules 14 and 15: lost disks and stop signs.

use super::cluster::{Cluster, at, replica};
use crate::paxos::{DeliveredContent, Effect, Event, Leadership, Message, Options, Rule, StopSign};

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
    let next = StopSign { configuration: 2, members: vec![replica(0), replica(1), replica(3)] };
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
