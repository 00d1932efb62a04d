//! Rules 11 and 13: nobody is left behind, and who can't write doesn't lead.

use super::cluster::{Cluster, at};
use crate::paxos::{Effect, Event, Leadership, Message, Options, Rule, Rules};

const ALL: [usize; 3] = [0, 1, 2];

#[test]
fn a_leader_is_elected_and_another_one_after_its_crash() {
    let mut cluster = Cluster::new(3, Options::default());
    let first = cluster.live(100, &ALL).unwrap();
    let rest: Vec<usize> = ALL.into_iter().filter(|index| *index != first).collect();
    let second = cluster.live(100, &rest).unwrap();
    cluster.write(second, 1, &rest);
    assert_eq!(cluster.delivered(rest[0]), [1]);
    assert!(cluster.has_effect(second, |effect| *effect == Effect::LeadershipChanged(Leadership::Leads)));
}

/// A candidate is heard by one follower alone, and dies; whether that follower goes on.
fn dead_candidate(rules: Rules) -> bool {
    let mut cluster = Cluster::new(5, Options { rules, ..Options::default() });
    let who = [0, 1, 2, 3, 4];
    cluster.lead(0, &who);
    cluster.write(0, 1, &who);
    cluster.campaign(1);
    cluster.sync(1);
    cluster.pass(1, 2);
    cluster.sync(2);
    assert!(cluster.promise(2) > cluster.promise(0));
    let rest = [0, 2, 3, 4];
    // Its promise goes to the dead. It hears of a leader whose ballot is lower.
    cluster.write(0, 2, &rest);
    let Some(leader) = cluster.live(100, &rest) else { return false };
    cluster.write(leader, 3, &rest);
    cluster.delivered(2).last() == Some(&3)
}

#[test]
fn a_follower_that_promised_to_a_dead_candidate_is_brought_back() {
    assert!(dead_candidate(Rules::default()));
    let both = Rules::without(&[Rule::OutbidRefusal, Rule::OutbidRequest]);
    assert!(!dead_candidate(both), "what the rules are for");
}

#[test]
fn a_leader_outbids_those_who_ask_and_those_who_refuse() {
    let takes_ballot = |message: fn(crate::paxos::Ballot) -> Message, rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
        cluster.lead(0, &ALL);
        let ballot = crate::paxos::Ballot::new(7, super::cluster::replica(2));
        cluster.say(1, 0, message(ballot));
        cluster.promise(0) > ballot
    };
    let request = |ballot| Message::PrepareRequest { ballot };
    let refusal = |ballot| Message::NotAccepted { ballot };
    assert!(takes_ballot(request, Rules::default()) && takes_ballot(refusal, Rules::default()));
    assert!(!takes_ballot(request, Rules::without(&[Rule::OutbidRequest])));
    assert!(!takes_ballot(refusal, Rules::without(&[Rule::OutbidRefusal])));
}

#[test]
fn a_leader_that_can_not_accept_asks_again() {
    let asks = |rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
        cluster.campaign(0);
        cluster.sync(0);
        cluster.drop_wire(0, 1);
        let ticks = 2 * Options::default().ticks.election;
        (0..ticks).for_each(|_| cluster.event(0, Event::Tick));
        cluster.wire(0, 1).iter().any(|message| matches!(message, Message::PrepareRequest { .. }))
    };
    assert!(asks(Rules::default()));
    assert!(!asks(Rules::without(&[Rule::AskAgain])));
}

#[test]
fn a_replica_whose_log_stalls_is_silent() {
    let leads_after_stall = |rules| {
        let mut cluster = Cluster::new(3, Options { rules, ..Options::default() });
        let leader = cluster.live(100, &ALL).unwrap();
        let rest: Vec<usize> = ALL.into_iter().filter(|index| *index != leader).collect();
        cluster.store(leader, 1);
        cluster.propose(leader, 1);
        // Its log writes never end; the others' do.
        for _ in 0..150 {
            cluster.tick(&ALL);
            while cluster.pass(leader, rest[0]).is_some() || cluster.pass(leader, rest[1]).is_some() {}
            cluster.settle(&rest);
        }
        rest.iter().any(|index| cluster.protocol(*index).leadership() == Leadership::Leads)
    };
    assert!(leads_after_stall(Rules::default()));
    assert!(!leads_after_stall(Rules::without(&[Rule::SilentWhenStalled])), "what the rule is for");
}

#[test]
fn reads_get_an_index_here_and_at_the_leader() {
    let mut cluster = Cluster::new(3, Options::default());
    cluster.lead(0, &ALL);
    cluster.write(0, 1, &ALL);
    let read = crate::paxos::ReadId::new(1);
    for index in ALL {
        cluster.event(index, Event::ReadArrived { read });
        cluster.settle(&ALL);
        assert!(cluster.has_effect(index, |effect| *effect == Effect::ReadIndex { read, index: at(1) }), "{index}");
    }
    // What was asked while there was no session is asked at once in the next one.
    let early = crate::paxos::ReadId::new(3);
    cluster.event(2, Event::ReadArrived { read: early });
    cluster.connect(0, 2);
    cluster.settle(&ALL);
    assert!(cluster.has_effect(2, |effect| matches!(effect, Effect::ReadIndex { read, .. } if *read == early)));
    // A leader that is cut off answers nothing.
    let late = crate::paxos::ReadId::new(2);
    cluster.event(0, Event::ReadArrived { read: late });
    cluster.settle(&[0]);
    assert!(!cluster.has_effect(0, |effect| matches!(effect, Effect::ReadIndex { read, .. } if *read == late)));
}
