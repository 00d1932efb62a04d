//! Replicas that don't fit together are told so, at both ends.

use super::cluster::{Member, address, agreement, open_all, options, pair_with, replica, until};
use crate::transport::{Agreement, Secret, TransportError, TransportEvent, TransportOptions};
use std::collections::BTreeMap;
use std::time::Duration;

/// The second one dials the first one, until both say these words.
fn until_refused(one: &mut Member, two: &mut Member, at_one: &[&str], at_two: &[&str]) {
    until(&mut [one, two], |members| members[0].has_trouble(at_one) && members[1].has_trouble(at_two));
    assert!(![one, two].iter().any(|member| member.has(|event| matches!(event, TransportEvent::Connected { .. }))));
}

#[test]
fn another_secret_is_refused() {
    for secret in [Secret::new("the secret of others"), None] {
        let other = TransportOptions { secret, ..options(2) };
        let (mut one, mut two) = (Member::new(options(1)), Member::new(other));
        open_all(&mut [&mut one, &mut two], &[1, 2]);
        until_refused(
            &mut one,
            &mut two,
            &["a connection from 127.0.0.1: it does not know the secret", "give all replicas of the cluster the same"],
            &["no session with replica 1", "it refused: replica 1 has another secret", "give all replicas"],
        );
        // Nor does discovery tell anything.
        one.transport.set_discovery(b"one".to_vec());
        two.transport.discover(replica(1));
        until(&mut [&mut one, &mut two], |members| members[1].has_trouble(&["can't be asked", "has another secret"]));
        assert!(!two.has(|event| matches!(event, TransportEvent::Discovered { .. })));
    }
}

#[test]
fn without_a_secret_only_loopback_addresses_are_used() {
    let without = |number| TransportOptions { secret: None, ..options(number) };
    let (mut one, mut two) = pair_with(without(1), without(2));
    let refused =
        crate::transport::Transport::bind(TransportOptions { listen: "0.0.0.0:0".parse().unwrap(), ..without(3) });
    let Err(TransportError::Refused(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("0.0.0.0 is not a loopback address: set a secret"), "{text}");
    // An address of nobody: nothing is sent to it.
    two.transport.set_peers(BTreeMap::from([(replica(1), "192.0.2.1:7000".into())]));
    let session = two.session(1).unwrap();
    two.transport.restart_session(replica(1), session);
    until(&mut [&mut one, &mut two], |members| members[1].has_trouble(&["192.0.2.1 is not a loopback address"]));
}

#[test]
fn another_agreement_is_refused_with_both_descriptions() {
    let (mut one, mut two) = (Member::new(options(1)), Member::new(options(2)));
    open_all(&mut [&mut one, &mut two], &[1, 2]);
    two.transport.open_sessions(Agreement::new(b"cluster 8", "cluster 8 with formats 1"), 1);
    let text = "replica 2 has cluster 8 with formats 1, replica 1 has cluster 7 with formats 1";
    until_refused(&mut one, &mut two, &["replica 2 was refused", text], &["it refused", text]);
}

#[test]
fn a_wrong_address_is_refused() {
    let mut members = [1, 2, 3].map(|number| Member::new(options(number)));
    let [one, two, three] = &mut members;
    open_all(&mut [one, two, three], &[1, 2, 3]);
    // The third one takes the first one's address for that of the second one.
    let wrong = BTreeMap::from([(replica(1), address(two).to_string()), (replica(2), address(one).to_string())]);
    three.transport.set_peers(wrong);
    until(&mut [one, two, three], |members| {
        members[2].has_trouble(&["no session with replica 2", "this is replica 1, not replica 2: correct the address"])
            && members[2].has_trouble(&["no session with replica 1", "this is replica 2, not replica 1"])
            && members[0].has_trouble(&["replica 3 was refused: this is replica 1, not replica 2"])
            && members[0].session(2).is_some()
    });
}

#[test]
fn a_replica_of_the_same_number_is_refused() {
    let (mut one, mut other) = (Member::new(options(2)), Member::new(options(2)));
    let addresses = BTreeMap::from([(replica(1), address(&one).to_string())]);
    other.transport.set_peers(addresses);
    other.transport.open_sessions(agreement(), 1);
    until(&mut [&mut one, &mut other], |members| members[1].has_trouble(&["this is replica 2, not replica 1"]));
}

#[test]
fn no_member_and_no_cluster_are_refused_until_they_are() {
    let (mut one, mut two) = (Member::new(options(1)), Member::new(options(2)));
    two.transport.set_peers(BTreeMap::from([(replica(1), address(&one).to_string())]));
    two.transport.open_sessions(agreement(), 1);
    let text = "replica 1 opens no sessions yet: it is starting, or its cluster is not formed";
    until_refused(&mut one, &mut two, &["replica 2 was refused", text], &["it refused", text]);
    one.transport.open_sessions(agreement(), 1);
    one.transport.set_peers(BTreeMap::from([(replica(3), "127.0.0.1:1".into())]));
    let text = "replica 2 is no member: replica 1 knows of 3 beside itself";
    until_refused(&mut one, &mut two, &["replica 2 was refused", text], &["it refused", text]);
    one.transport.set_peers(BTreeMap::from([(replica(2), "127.0.0.1:1".into())]));
    until(&mut [&mut one, &mut two], |members| members[0].session(2).is_some() && members[1].session(1).is_some());
    // Who is no member any more has no session any more.
    one.transport.set_peers(BTreeMap::new());
    until(&mut [&mut one, &mut two], |members| members[0].session(2).is_none() && members[1].session(1).is_none());
    until(&mut [&mut one, &mut two], |members| members[1].has_trouble(&["replica 2 is no member"]));
}

#[test]
fn a_refused_peer_waits_and_is_told_why() {
    let refusal_wait = Duration::from_millis(300);
    // By the end that accepts, which tells; then by the end that dials.
    for is_first in [true, false] {
        let [first, second] = [1, 2].map(|number| TransportOptions { refusal_wait, ..options(number) });
        let (mut one, mut two) = pair_with(first, second);
        let old = one.session(2).unwrap();
        let (member, peer) = if is_first { (&mut one, 2) } else { (&mut two, 1) };
        member.transport.refuse_peer(replica(peer), old, "its disk is another one".into());
        let refused = std::time::Instant::now();
        until(&mut [&mut one, &mut two], |members| {
            members[0].session(2) > Some(old) && members[1].session(1) > Some(old)
        });
        assert!(refused.elapsed() >= refusal_wait);
        let was_told = two.has_trouble(&["no session with replica 1", "it refused: its disk is another one"]);
        assert_eq!(was_told, is_first);
    }
}

#[test]
fn an_address_at_which_nobody_is_is_told_once() {
    let mut two = Member::new(options(2));
    two.transport.set_peers(BTreeMap::from([(replica(1), "127.0.0.1:1".into())]));
    two.transport.open_sessions(agreement(), 1);
    super::cluster::linger(&mut [&mut two], Duration::from_millis(300));
    assert_eq!(two.troubles().len(), 1);
    assert!(two.has_trouble(&["no session with replica 1 at 127.0.0.1:1", "Connection refused"]));
}
