//! Bounds, and who comes first.

use super::cluster::{options, pair_with, replica, tapped, until};
use crate::transport::{Channel, ChannelLimits, Sent, TransportEvent, TransportOptions};

const LIMITS: ChannelLimits = ChannelLimits { max_body_len: 40_000, max_buffered_len: 100_000 };

#[test]
fn what_waits_is_bounded_and_what_is_taken_arrives() {
    let [first, second] = [1, 2].map(|number| TransportOptions { payload: LIMITS, ..options(number) });
    let (mut one, mut two, mut tap) = tapped(first, second);
    let session = two.session(1).unwrap();
    // Nobody reads: the system's buffers are full some time, then ours.
    let mut taken = 0_u32;
    loop {
        let body = vec![taken as u8; 30_000];
        match two.transport.send(replica(1), session, Channel::Payload, &[&taken.to_le_bytes(), &body]) {
            Sent::Buffered => taken += 1,
            Sent::Full => break,
            other => panic!("{other:?}"),
        }
        two.transport.flush();
        assert!(two.transport.backlog(replica(1), Channel::Payload) <= LIMITS.max_buffered_len);
    }
    let backlog = two.transport.backlog(replica(1), Channel::Payload);
    assert!(backlog > LIMITS.max_buffered_len - 30_012);
    assert_eq!(two.transport.backlog(replica(1), Channel::Control), 0, "other channels have room");
    until(&mut [&mut one, &mut two], |members| {
        tap.step();
        members[0].bodies(2, Channel::Payload).len() == taken as usize
    });
    for (number, body) in (0..taken).zip(one.bodies(2, Channel::Payload)) {
        assert!(body[..4] == number.to_le_bytes() && body[4..].iter().all(|byte| *byte == number as u8));
    }
    assert_eq!(two.transport.backlog(replica(1), Channel::Payload), 0);
    two.send(1, Channel::Payload, b"there is room again");
}

#[test]
fn a_body_beyond_the_limit_is_not_taken() {
    let [first, second] = [1, 2].map(|number| TransportOptions { payload: LIMITS, ..options(number) });
    let (mut one, mut two) = pair_with(first, second);
    let session = two.session(1).unwrap();
    let parts: [&[u8]; 2] = [&[1; 20_000], &[2; 20_001]];
    assert_eq!(two.transport.send(replica(1), session, Channel::Payload, &parts), Sent::TooLong);
    assert_eq!(two.transport.send(replica(1), session, Channel::Payload, &[parts[0], &parts[1][1..]]), Sent::Buffered);
    until(&mut [&mut one, &mut two], |members| members[0].bodies(2, Channel::Payload).len() == 1);
    assert_eq!(two.transport.send(replica(3), session, Channel::Payload, &[]), Sent::NoSession);
}

#[test]
fn control_and_heartbeats_overtake_payloads() {
    let (mut one, mut two) = pair_with(options(1), options(2));
    for number in 0..15 {
        two.send(1, Channel::Payload, &vec![number; 4 << 20]);
    }
    two.transport.flush();
    assert!(two.transport.backlog(replica(1), Channel::Payload) > 50 << 20, "a turn takes a part");
    two.send(1, Channel::Control, b"control");
    two.send(1, Channel::Heartbeat, b"heartbeat");
    until(&mut [&mut one, &mut two], |members| members[0].bodies(2, Channel::Payload).len() == 15);
    let place = |is_meant: &dyn Fn(&Channel, &[u8]) -> bool| {
        let is_there = |event: &TransportEvent| matches!(event, TransportEvent::Received { channel, body, .. } if is_meant(channel, body));
        one.events.iter().position(is_there).unwrap()
    };
    let first_payload = place(&|channel, _| *channel == Channel::Payload);
    let control = place(&|channel, _| *channel == Channel::Control);
    let heartbeat = place(&|channel, _| *channel == Channel::Heartbeat);
    assert!(heartbeat < control && control < first_payload, "{heartbeat} {control} {first_payload}");
}

#[test]
fn a_poll_takes_only_a_turn_of_what_came() {
    let (mut one, mut two) = pair_with(options(1), options(2));
    let count = |member: &super::cluster::Member| member.bodies(2, Channel::Payload).len();
    for _ in 0..64 {
        two.send(1, Channel::Payload, &vec![7; 100_000]);
    }
    let mut rounds = 0;
    while count(&one) < 64 {
        let before = count(&one);
        two.poll();
        one.poll();
        assert!(count(&one) - before <= (1 << 20) / 100_000 + 1, "a turn is a mebibyte");
        rounds += 1;
    }
    assert!(rounds >= 6);
}
