//! What goes over the wire and into the log: every kind comes back as it was, and garbage is an error.

use super::cluster::{at, batch, header, replica};
use crate::paxos::{
    Ballot, Barrier, Entry, Envelope, Heartbeat, Message, MessageError, OrderingFrame, ReadId, Request, Sequence,
    SessionNumber, Sign, StopSign, Suffix, Sync,
};
use proptest::prelude::{any, prop_assert_eq, proptest};
use skink_engine::position::LogPosition;

fn entries() -> Vec<Entry> {
    vec![Entry::Header(header(3)), Entry::Barrier(Barrier { replica: replica(2), incarnation: 300 })]
}

fn messages() -> Vec<Message> {
    let (ballot, accepted_round) = (Ballot::new(7, replica(1)), Ballot::new(6, replica(2)));
    let sequence = Sequence { sync: 2, number: 300 };
    let stop_sign = StopSign {
        configuration: 2,
        members: vec![replica(0), replica(3)],
        addresses: vec![(replica(3), "c:1".into())],
    };
    let sync = Sync { after: at(4), gap_end: Some(at(9)), entries: entries(), stop_sign: Some(stop_sign.clone()) };
    let (decided, accepted, read) = (at(5), at(600), ReadId::new(70_000));
    vec![
        Message::PrepareRequest { ballot },
        Message::Prepare { ballot, decided, accepted_round, accepted },
        Message::Promise { ballot, accepted_round, decided, accepted, sync: Some(sync.clone()) },
        Message::Promise { ballot, accepted_round, decided, accepted, sync: None },
        Message::AcceptSync { ballot, sequence, decided, sync },
        Message::AcceptDecide { ballot, sequence, decided, entries: entries() },
        Message::Accepted { ballot, accepted },
        Message::NotAccepted { ballot },
        Message::Decide { ballot, sequence, decided },
        Message::AcceptStopSign { ballot, sequence, stop_sign },
        Message::Probe { ballot, accepted, decided },
        Message::ReadRequest { read },
        Message::ConfirmRequest { ballot, round: 4 },
        Message::Confirm { ballot, round: 4 },
        Message::ReadAnswer { read, index: at(5) },
        Message::SeedRequest { incarnation: 9 },
        Message::Seed { incarnation: 9, ballot },
    ]
}

fn frame() -> OrderingFrame {
    OrderingFrame {
        configuration: 1,
        base: at(2),
        decided: at(3),
        promise: Ballot::new(7, replica(1)),
        accepted_round: Ballot::new(6, replica(0)),
        stop_sign: None,
        incarnations: vec![(replica(0), 1), (replica(1), 2)],
        suffix: Some(Suffix { after: at(3), entries: entries() }),
        payloads: vec![(batch(3), LogPosition::new(4096))],
    }
}

#[test]
fn every_message_comes_back_and_no_part_of_it_is_one() {
    for message in messages() {
        let envelope = Envelope { configuration: 1, session: SessionNumber::new(77), message };
        let bytes = envelope.encode();
        assert_eq!(Envelope::decode(&bytes), Ok(envelope));
        for len in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..len]).is_err(), "{len} bytes of {bytes:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(Envelope::decode(&longer), Err(MessageError::Garbage(_))));
        let other_version = [&[2], &bytes[1..]].concat();
        assert_eq!(Envelope::decode(&other_version), Err(MessageError::Version(2)));
    }
}

#[test]
fn heartbeats_requests_and_frames_come_back() {
    let ballot = Ballot::new(7, replica(1));
    for sign in [Sign::Request { round: 5 }, Sign::Reply { round: 5, ballot, leader: ballot, is_happy: true }] {
        let heartbeat = Heartbeat { configuration: 1, sign };
        assert_eq!(Heartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
    }
    for request in [Request::Payload { id: batch(1), instance: at(2) }, Request::Checkpoint { at_least: at(2) }] {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    let bytes = frame().encode();
    assert_eq!(OrderingFrame::decode(&bytes).unwrap(), frame());
    assert!((0..bytes.len()).all(|len| OrderingFrame::decode(&bytes[..len]).is_err()));
}

#[test]
fn the_encoding_is_version_1() {
    let message = Message::AcceptDecide {
        ballot: Ballot::new(7, replica(1)),
        sequence: Sequence { sync: 2, number: 300 },
        decided: at(5),
        entries: vec![Entry::Barrier(Barrier { replica: replica(2), incarnation: 300 })],
    };
    let envelope = Envelope { configuration: 1, session: SessionNumber::new(77), message };
    assert_eq!(envelope.encode(), [1, 1, 77, 4, 7, 2, 2, 172, 2, 5, 1, 1, 3, 172, 2]);
    let small = OrderingFrame { suffix: None, payloads: Vec::new(), ..frame() };
    assert_eq!(small.encode(), [1, 1, 2, 3, 7, 2, 6, 1, 0, 2, 1, 1, 2, 2, 0, 0]);
    let stop_sign = StopSign {
        configuration: 2,
        members: vec![replica(0), replica(3)],
        addresses: vec![(replica(3), "c:1".into())],
    };
    let last = OrderingFrame { stop_sign: Some(stop_sign), ..small };
    let expected = [1, 1, 2, 3, 7, 2, 6, 1, 1, 2, 2, 1, 4, 1, 4, 3, b'c', b':', b'1', 2, 1, 1, 2, 2, 0, 0];
    assert_eq!(last.encode(), expected);
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_nothing_more(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..20) {
        let with_head = [&[1, 1, 77, kind], &bytes[..]].concat();
        for bytes in [&bytes, &with_head] {
            if let Ok(envelope) = Envelope::decode(bytes) {
                prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
            }
            let _ = Heartbeat::decode(bytes);
            let _ = Request::decode(bytes);
            let _ = OrderingFrame::decode(bytes);
        }
    }
}
