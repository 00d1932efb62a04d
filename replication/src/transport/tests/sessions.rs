//! Sessions that come, carry and go.

use super::cluster::{Member, address, agreement, linger, open_all, options, pair, pair_with, replica, until};
use super::tap::Tap;
use crate::transport::{Channel, Sent, TransportEvent, TransportOptions};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn three_replicas_open_sessions_with_each_other() {
    let mut members = [1, 3, 9].map(|number| Member::new(options(number)));
    let [one, three, nine] = &mut members;
    open_all(&mut [one, three, nine], &[1, 3, 9]);
    until(&mut [one, three, nine], |members| {
        let open = [(0, 3), (0, 9), (1, 1), (1, 9), (2, 1), (2, 3)];
        open.iter().all(|(member, peer)| members[*member].session(*peer).is_some())
    });
    assert_eq!(one.session(3), three.session(1), "both ends have the same number");
    assert_eq!(one.session(9), nine.session(1));
    assert!(
        one.has(
            |event| matches!(event, TransportEvent::Connected { peer, incarnation: 109, .. } if *peer == replica(9))
        )
    );
    assert!(
        nine.has(
            |event| matches!(event, TransportEvent::Connected { peer, incarnation: 101, .. } if *peer == replica(1))
        )
    );
    assert_eq!((one.troubles(), three.troubles(), nine.troubles()), (vec![], vec![], vec![]));
}

#[test]
fn bodies_of_a_channel_arrive_in_their_order() {
    let (mut one, mut two) = pair();
    let body = |number: u32| [&number.to_le_bytes()[..], &vec![number as u8; (number as usize * 37) % 5000]].concat();
    for number in 0..1000 {
        for channel in [Channel::Control, Channel::Payload] {
            one.send(2, channel, &body(number));
            two.send(1, channel, &body(number));
        }
        if number % 50 == 0 {
            one.send(2, Channel::Heartbeat, &number.to_le_bytes());
            one.transport.flush();
            one.poll();
            two.poll();
        }
    }
    until(&mut [&mut one, &mut two], |members| {
        members.iter().zip([2, 1]).all(|(member, from)| member.bodies(from, Channel::Payload).len() == 1000)
    });
    let expected: Vec<Vec<u8>> = (0..1000).map(body).collect();
    for (member, from) in [(&one, 2), (&two, 1)] {
        assert_eq!(member.bodies(from, Channel::Control), expected);
        assert_eq!(member.bodies(from, Channel::Payload), expected);
    }
    assert_eq!(two.bodies(1, Channel::Heartbeat).len(), 20);
}

#[test]
fn a_session_that_is_restarted_is_followed_by_one_with_a_higher_number() {
    let (mut one, mut two) = pair();
    // At the end that accepted, then at the one that dialed.
    for is_first in [true, false] {
        let old = one.session(2).unwrap();
        let (member, peer) = if is_first { (&mut one, 2) } else { (&mut two, 1) };
        member.transport.restart_session(replica(peer), old);
        assert_eq!(member.transport.send(replica(peer), old, Channel::Control, &[b"late"]), Sent::NoSession);
        until(&mut [&mut one, &mut two], |members| {
            members[0].session(2) > Some(old) && members[0].session(2) == members[1].session(1)
        });
        one.transport.restart_session(replica(2), old);
        assert!(one.session(2) > Some(old), "an old number restarts nothing");
    }
    linger(&mut [&mut one, &mut two], Duration::from_millis(50));
    let ends = |event: &&TransportEvent| matches!(event, TransportEvent::Disconnected { .. });
    assert_eq!((one.events.iter().filter(ends).count(), two.events.iter().filter(ends).count()), (2, 2));
}

#[test]
fn what_comes_before_a_session_is_complete_at_this_end_waits() {
    let (mut one, mut two) = (Member::new(options(1)), Member::new(options(2)));
    let mut tap = Tap::new(address(&one));
    one.transport.set_peers(BTreeMap::from([(replica(2), "127.0.0.1:1".into())]));
    two.transport.set_peers(BTreeMap::from([(replica(1), tap.address().to_string())]));
    one.transport.open_sessions(agreement(), 1);
    two.transport.open_sessions(agreement(), 1);
    // The last welcome is late.
    until(&mut [&mut one, &mut two], |members| {
        tap.step();
        if let Some(last) = tap.links.get_mut(2) {
            last.back.is_stuck = !last.back.recorded.is_empty();
        }
        members[0].session(2).is_some()
    });
    one.send(2, Channel::Control, b"early");
    one.transport.flush();
    for _ in 0..20 {
        tap.step();
        two.poll();
    }
    assert_eq!(two.events, [], "it is not connected yet");
    tap.links[2].back.is_stuck = false;
    until(&mut [&mut one, &mut two], |members| {
        tap.step();
        members[1].session(1).is_some() && members[1].bodies(1, Channel::Control) == [b"early"]
    });
}

#[test]
fn the_end_of_a_session_is_seen_along_with_what_came_before() {
    // Nothing but the end itself tells.
    let [first, second] =
        [1, 2].map(|number| TransportOptions { silence: Duration::from_secs(3600), ..options(number) });
    let (mut one, mut two) = pair_with(first, second);
    let old = two.session(1).unwrap();
    for channel in Channel::ALL {
        two.send(1, channel, b"last");
    }
    two.transport.flush();
    two.transport.restart_session(replica(1), old);
    until(&mut [&mut one], |members| members[0].session(2).is_none());
    // The first connection that is read ends the session.
    assert_eq!(one.bodies(2, Channel::Heartbeat), [b"last"]);
}

#[test]
fn discovery_tells_both_ends_before_and_after_sessions() {
    let (mut one, mut two) = (Member::new(options(1)), Member::new(options(2)));
    let addresses = BTreeMap::from([(replica(1), address(&one).to_string()), (replica(2), address(&two).to_string())]);
    one.transport.set_peers(addresses.clone());
    two.transport.set_peers(addresses);
    let told = |member: &Member, from: u8, text: &[u8]| {
        member.has(|event| matches!(event, TransportEvent::Discovered { peer, blob } if *peer == replica(from) && blob == text))
    };
    one.transport.set_discovery(b"one".to_vec());
    two.transport.set_discovery(vec![2; crate::transport::MAX_BLOB_LEN]);
    // The lower number may ask, too.
    one.transport.discover(replica(2));
    until(&mut [&mut one, &mut two], |members| {
        told(members[0], 2, &[2; crate::transport::MAX_BLOB_LEN]) && told(members[1], 1, b"one")
    });
    one.transport.open_sessions(agreement(), 1);
    one.transport.set_discovery(b"one, open".to_vec());
    two.transport.discover(replica(1));
    until(&mut [&mut one, &mut two], |members| told(members[1], 1, b"one, open"));
    assert_eq!((one.troubles(), two.troubles()), (vec![], vec![]));
}

#[test]
fn a_waker_ends_a_poll() {
    let mut one = Member::new(options(1));
    let waker = one.transport.waker();
    let thread = std::thread::spawn(move || waker.wake().unwrap());
    one.transport.poll(Duration::from_secs(3600), &mut one.events).unwrap();
    thread.join().unwrap();
}
