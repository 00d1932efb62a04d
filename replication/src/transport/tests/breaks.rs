//! Connections that break, or carry damage, or nothing any more.

use super::cluster::{Member, options, pair, pair_with, replica, tapped, until};
use super::tap::{Link, Tap};
use crate::paxos::SessionNumber;
use crate::transport::{Channel, ChannelLimits, TransportEvent, TransportOptions};
use std::time::Duration;

/// Steps until both ends have a later session than this.
fn until_later(one: &mut Member, two: &mut Member, tap: &mut Tap, old: SessionNumber) {
    until(&mut [one, two], |members| {
        tap.step();
        members[0].session(2) > Some(old) && members[0].session(2) == members[1].session(1)
    });
}

fn disconnects(member: &Member) -> usize {
    member.events.iter().filter(|event| matches!(event, TransportEvent::Disconnected { .. })).count()
}

#[test]
fn a_session_is_over_when_any_of_its_connections_breaks() {
    for link in 0..3 {
        let (mut one, mut two, mut tap) = tapped(options(1), options(2));
        let old = one.session(2).unwrap();
        tap.links[link].cut();
        until_later(&mut one, &mut two, &mut tap, old);
        assert_eq!((disconnects(&one), disconnects(&two)), (1, 1), "said once");
        assert_eq!(tap.links.len(), 6, "all three were dialed again");
        assert!(one.has_trouble(&["the session ended with replica 2"]) || two.has_trouble(&["with replica 1"]));
        two.send(1, Channel::Control, b"after");
        until(&mut [&mut one, &mut two], |members| {
            tap.step();
            members[0].bodies(2, Channel::Control) == [b"after"]
        });
    }
}

/// The link that carries a channel from the second replica to the first: the one on which a body is seen.
fn link_of<'t>(one: &mut Member, two: &mut Member, tap: &'t mut Tap, channel: Channel) -> &'t mut Link {
    let lens: Vec<usize> = tap.links.iter().map(|link| link.there.recorded.len()).collect();
    let body = vec![7; 4000];
    two.send(1, channel, &body);
    until(&mut [one, two], |members| {
        tap.step();
        members[0].bodies(2, channel).contains(&body)
    });
    let mut grown = tap.links.iter_mut().zip(lens).filter(|(link, len)| link.there.recorded.len() >= len + 4000);
    grown.next().unwrap().0
}

#[test]
fn damage_ends_a_session_before_anything_damaged_is_taken() {
    for channel in Channel::ALL {
        let (mut one, mut two, mut tap) = tapped(options(1), options(2));
        let old = one.session(2).unwrap();
        link_of(&mut one, &mut two, &mut tap, channel).there.is_noisy = true;
        two.send(1, channel, b"damaged");
        until_later(&mut one, &mut two, &mut tap, old);
        assert_eq!(one.bodies(2, channel).len(), 1, "{channel:?}");
        // A length that is altered is too long, or comes with a wrong checksum, or waits for what never comes.
        assert!(one.has_trouble(&["the session ended with replica 2 at"]), "{:?}", one.troubles());
    }
}

#[test]
fn a_body_that_is_cut_off_is_not_taken() {
    let (mut one, mut two, mut tap) = tapped(options(1), options(2));
    let old = one.session(2).unwrap();
    let link = link_of(&mut one, &mut two, &mut tap, Channel::Payload);
    link.there.recorded.clear();
    two.send(1, Channel::Payload, &vec![8; 32 << 20]);
    until(&mut [&mut one, &mut two], |_| {
        tap.step();
        tap.links.iter().any(|link| link.there.recorded.len() > 1 << 20)
    });
    tap.links.iter_mut().for_each(Link::cut);
    until_later(&mut one, &mut two, &mut tap, old);
    assert_eq!(one.bodies(2, Channel::Payload).len(), 1);
    assert_eq!(two.transport.backlog(replica(1), Channel::Payload), 0, "the rest is gone with its session");
}

#[test]
fn a_session_in_which_nothing_comes_any_more_ends_at_both_ends() {
    let silence = Duration::from_millis(300);
    // In both directions, in one, and in one of the heartbeats' connection alone.
    for case in 0..3 {
        let [first, second] = [1, 2].map(|number| TransportOptions { silence, ..options(number) });
        let (mut one, mut two, mut tap) = tapped(first, second);
        let old = one.session(2).unwrap();
        if case == 2 {
            link_of(&mut one, &mut two, &mut tap, Channel::Heartbeat).there.is_stuck = true;
        } else {
            for link in &mut tap.links {
                link.there.is_stuck = true;
                link.back.is_stuck = case == 0;
            }
        }
        until_later(&mut one, &mut two, &mut tap, old);
        assert!(one.has_trouble(&["the session ended with replica 2", "nothing came for 300 ms"]));
        assert!(case != 0 || two.has_trouble(&["the session ended with replica 1", "nothing came for 300 ms"]));
    }
}

#[test]
fn an_idle_session_lives() {
    let silence = Duration::from_millis(300);
    let [first, second] = [1, 2].map(|number| TransportOptions { silence, ..options(number) });
    let (mut one, mut two) = pair_with(first, second);
    let old = one.session(2);
    super::cluster::linger(&mut [&mut one, &mut two], 4 * silence);
    assert_eq!((one.session(2), disconnects(&two)), (old, 0));
    assert!(one.bodies(2, Channel::Heartbeat).is_empty(), "what the transport says by itself is not handed out");
}

#[test]
fn a_body_that_is_longer_than_the_other_end_takes_ends_the_session() {
    let mut first = options(1);
    first.payload = ChannelLimits { max_body_len: 1000, max_buffered_len: 1 << 20 };
    let (mut one, mut two) = pair_with(first, options(2));
    let old = one.session(2);
    two.send(1, Channel::Payload, &[7; 1000]);
    two.send(1, Channel::Payload, &[7; 1001]);
    until(&mut [&mut one, &mut two], |members| members[0].session(2) > old && members[1].session(1) > old);
    assert!(one.has_trouble(&["a frame of 1001 bytes came where at most 1000 are taken"]), "{:?}", one.troubles());
    assert_eq!(one.bodies(2, Channel::Payload).len(), 1, "what came before counts");
}

#[test]
fn a_peer_that_starts_again_gets_a_new_session() {
    let (mut one, two) = pair();
    let old = one.session(2).unwrap();
    let (port_one, port_two) = (one.transport.local_address(), two.transport.local_address());
    // The end that dials.
    drop(two);
    let mut again = options(2);
    again.listen = port_two;
    again.peers.insert(replica(1), port_one.to_string());
    let mut two = Member::new(again);
    two.transport.open_sessions(super::cluster::agreement(), 500);
    until(&mut [&mut one, &mut two], |members| members[0].session(2) > Some(old) && members[1].session(1).is_some());
    let is_new = |event: &TransportEvent| matches!(event, TransportEvent::Connected { incarnation: 500, .. });
    assert!(one.has(is_new));
    // The end that accepts.
    let old = two.session(1);
    drop(one);
    let mut again = options(1);
    again.listen = port_one;
    again.peers.insert(replica(2), port_two.to_string());
    let mut one = Member::new(again);
    one.transport.open_sessions(super::cluster::agreement(), 501);
    until(&mut [&mut one, &mut two], |members| members[1].session(1) > old && members[0].session(2).is_some());
}
