//! Rule 12: sessions, configurations, and what is lost at the end of them.

use super::cluster::{Cluster, at, replica};
use crate::paxos::{Effect, Envelope, Event, Message, Options, Rule, Rules, SessionNumber};
use skink_engine::position::Instance;

const ALL: [usize; 3] = [0, 1, 2];

#[test]
fn what_an_old_session_held_does_not_count() {
    let counts = |rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
        cluster.lead(0, &ALL);
        cluster.store(0, 1);
        cluster.store(1, 1);
        cluster.propose(0, 1);
        cluster.pass(0, 1);
        cluster.sync(1);
        cluster.sync(0);
        let late = cluster.drop_wire(1, 0).remove(0);
        cluster.connect(0, 1);
        cluster.event(0, Event::Received { peer: replica(1), envelope: late });
        cluster.protocol(0).decided() == at(1)
    };
    assert!(!counts(Rules::default()));
    assert!(counts(Rules::without(&[Rule::DropStale])));
}

#[test]
fn other_configurations_and_impossible_messages_are_refused() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    let promise = cluster.promise(1);
    let session = cluster.session();
    let ballot = crate::paxos::Ballot::new(9, replica(0));
    let message = Message::Prepare { ballot, decided: at(0), accepted_round: ballot, accepted: at(0) };
    let envelope = Envelope { configuration: 2, session: SessionNumber::new(session), message };
    cluster.event(1, Event::Received { peer: replica(0), envelope });
    assert_eq!(cluster.promise(1), promise);
    let ends = |cluster: &mut Cluster, message: Message| {
        cluster.say(0, 1, message);
        let has_ended = cluster.has_effect(1, |effect| matches!(effect, Effect::RestartSession { .. }));
        cluster.member(1).effects.clear();
        cluster.connect(0, 1);
        cluster.settle(&ALL);
        has_ended
    };
    let stranger = crate::paxos::Ballot::new(9, crate::paxos::ReplicaId::new(9).unwrap());
    assert!(ends(&mut cluster, Message::PrepareRequest { ballot: stranger }));
    let others = crate::paxos::Ballot::new(9, replica(2));
    let prepare = Message::Prepare { ballot: others, decided: at(0), accepted_round: others, accepted: at(0) };
    assert!(ends(&mut cluster, prepare), "a Prepare of another one's ballot");
    let ballot = cluster.promise(0);
    let sync = crate::paxos::Sync {
        after: at(0),
        gap_end: Instance::new(Instance::MAX.get()),
        entries: vec![],
        stop_sign: None,
    };
    let sequence = crate::paxos::Sequence { sync: 1, number: 1 };
    assert!(ends(&mut cluster, Message::AcceptSync { ballot, sequence, decided: at(0), sync }), "beyond all instances");
    let ballot = crate::paxos::Ballot::new(u32::MAX, replica(0));
    assert!(ends(&mut cluster, Message::NotAccepted { ballot }), "its successor would overflow");
    cluster.say(1, 0, Message::Accepted { ballot: promise, accepted: at(77) });
    assert!(cluster.has_effect(0, |effect| matches!(effect, Effect::RestartSession { .. })), "more than there is");
    assert_eq!(cluster.protocol(0).decided(), at(0));
}

#[test]
fn a_session_that_holds_too_much_ends() {
    let mut cluster = Cluster::new(3, Options { max_held: 4, ..Options::default() });
    cluster.lead(0, &ALL);
    for sequence in 1..=3 {
        cluster.store(0, sequence);
        cluster.propose(0, sequence);
        cluster.pass(0, 1);
    }
    assert!(cluster.has_effect(1, |effect| matches!(effect, Effect::RestartSession { .. })));
}

/// The last message before silence is lost; whether the follower gets it in the end.
fn lost_last_message(rules: Rules) -> bool {
    let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
    let leader = cluster.live(100, &ALL).unwrap();
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    ALL.iter().for_each(|index| cluster.store(*index, 1));
    cluster.propose(leader, 1);
    cluster.drop_wire(leader, follower);
    cluster.settle(&[leader, other]);
    cluster.drop_wire(leader, follower);
    cluster.live(50, &ALL);
    cluster.delivered(follower) == [1]
}

#[test]
fn an_idle_leader_says_how_far_it_is() {
    assert!(lost_last_message(Rules::default()));
    assert!(!lost_last_message(Rules::without(&[Rule::Probe])), "what the rule is for");
}

#[test]
fn a_new_session_begins_with_a_request() {
    let requests = |rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
        cluster.lead(0, &ALL);
        cluster.connect(0, 1);
        cluster.wire(1, 0).iter().any(|message| matches!(message, Message::PrepareRequest { .. }))
    };
    assert!(requests(Rules::default()));
    assert!(!requests(Rules::without(&[Rule::Reconnected])));
}
