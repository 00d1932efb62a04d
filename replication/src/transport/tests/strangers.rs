//! Whoever else may connect: strangers, floods, and what was recorded.

use super::cluster::{Member, address, agreement, linger, open_all, options, replica, tapped, until};
use crate::transport::handshake::{Hello, Purpose, Versions};
use crate::transport::lobby::MAX_STRANGERS;
use crate::transport::{Channel, TransportEvent, TransportOptions, frame};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A connection by hand.
struct Raw {
    socket: TcpStream,
    received: Vec<u8>,
    is_closed: bool,
}

impl Raw {
    fn connect(to: &Member) -> Raw {
        Raw::over(TcpStream::connect(address(to)).unwrap())
    }

    fn over(socket: TcpStream) -> Raw {
        socket.set_nonblocking(true).unwrap();
        Raw { socket, received: Vec::new(), is_closed: false }
    }

    fn say(&mut self, bytes: &[u8]) {
        // What doesn't fit, or comes after the end, is lost.
        let _ = self.socket.write(bytes);
    }

    fn say_frame(&mut self, body: &[u8]) {
        self.say(&[&frame::head(&[body])[..], body].concat());
    }

    fn step(&mut self) {
        let mut buffer = [0; 4096];
        while !self.is_closed {
            match self.socket.read(&mut buffer) {
                Ok(len) if len > 0 => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.is_closed = true,
            }
        }
    }

    fn has_received(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.received).contains(text)
    }
}

fn hello(versions: Versions) -> Vec<u8> {
    Hello { purpose: Purpose::Control, from: replica(2), to: replica(1), nonce: [3; 32] }.encode(versions)
}

/// A replica that takes strangers for late soon.
fn impatient(number: u8) -> TransportOptions {
    TransportOptions { handshake_deadline: Duration::from_millis(300), ..options(number) }
}

#[test]
fn who_speaks_something_else_is_closed() {
    let mut one = Member::new(options(1));
    let hellos: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: skink\r\n\r\n",
        &[0; 100],
        &[0xff; 100],
        // The right magic, and a wrong checksum.
        b"\x2f\0\0\0\0\0\0\0SKINKREP\x01\0\x01\0\0\x02\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    for bytes in hellos {
        let mut raw = Raw::connect(&one);
        raw.say(bytes);
        until(&mut [&mut one], |_| {
            raw.step();
            raw.is_closed
        });
        assert!(raw.received.is_empty(), "it learns nothing");
    }
    assert_eq!(one.troubles().len(), 1, "told once");
    assert!(one.has_trouble(&["a connection from 127.0.0.1: it does not answer as a replica does"]));
}

#[test]
fn who_only_looks_whether_anybody_listens_is_no_trouble() {
    let mut one = Member::new(options(1));
    drop(Raw::connect(&one));
    linger(&mut [&mut one], Duration::from_millis(50));
    assert_eq!((one.transport.lobby.len(), one.troubles()), (0, vec![]));
}

#[test]
fn who_says_nothing_or_not_enough_is_closed_after_a_time() {
    let mut one = Member::new(impatient(1));
    let mut raws: Vec<Raw> = (0..3).map(|_| Raw::connect(&one)).collect();
    raws[1].say_frame(&hello(Versions::OWN));
    raws[2].say(&frame::head(&[&hello(Versions::OWN)]));
    until(&mut [&mut one], |_| {
        raws.iter_mut().for_each(Raw::step);
        raws.iter().all(|raw| raw.is_closed)
    });
    assert!(one.has_trouble(&["a connection from 127.0.0.1 was not authenticated in time"]));
    assert_eq!(one.transport.lobby.len(), 0);
}

#[test]
fn a_version_that_is_not_spoken_is_told() {
    let mut one = Member::new(options(1));
    let mut raw = Raw::connect(&one);
    raw.say_frame(&hello(Versions { newest: 9, oldest: 8 }));
    until(&mut [&mut one], |_| {
        raw.step();
        raw.is_closed
    });
    assert!(raw.has_received("replica 1 speaks versions 1 to 1 of the transport: update the older one"));
    assert!(one.has_trouble(&["it speaks versions 8 to 9 of the transport, and this replica 1 to 1"]));
}

#[test]
fn sessions_open_in_a_flood_of_strangers() {
    let (mut one, mut two) = (Member::new(options(1)), Member::new(options(2)));
    let mut raws: Vec<Raw> = Vec::new();
    for number in 0..300 {
        let mut raw = Raw::connect(&one);
        if number % 2 == 0 {
            raw.say_frame(&hello(Versions::OWN));
        }
        raws.push(raw);
        one.poll();
        assert!(one.transport.lobby.len() <= MAX_STRANGERS);
    }
    open_all(&mut [&mut one, &mut two], &[1, 2]);
    until(&mut [&mut one, &mut two], |members| members[0].session(2).is_some() && members[1].session(1).is_some());
    raws.iter_mut().for_each(Raw::step);
    assert!(raws[..200].iter().all(|raw| raw.is_closed), "the oldest gave way");
    assert!(!one.has(|event| matches!(event, TransportEvent::Discovered { .. })));
}

#[test]
fn a_flood_of_one_connection_is_not_read() {
    let mut one = Member::new(options(1));
    let mut raw = Raw::connect(&one);
    // A frame that never ends, as far as it says of itself; then one that could be, but no handshake's.
    raw.say(&[&(1_u32 << 20).to_le_bytes()[..], &[7; 60_000]].concat());
    until(&mut [&mut one], |_| {
        raw.step();
        raw.is_closed
    });
    assert!(raw.received.is_empty());
}

#[test]
fn nobody_who_is_dialed_is_believed() {
    // Nothing, garbage, an answer of another version, a welcome before a challenge.
    let answers: [(&[u8], &str); 4] = [
        (b"", "did not answer in time"),
        (b"\x07garbage", "does not answer as a replica does"),
        (b"\x01\x09\0\x08\0................................", "speaks versions 8 to 9"),
        (b"\x02................................\x05\x05", "does not answer as a replica does"),
    ];
    for (answer, text) in answers {
        let mut two = Member::new(impatient(2));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        two.transport.set_peers([(replica(1), to.to_string())].into());
        two.transport.open_sessions(agreement(), 1);
        two.poll();
        let mut raw = Raw::over(listener.accept().unwrap().0);
        if !answer.is_empty() {
            raw.say_frame(answer);
        }
        let place = format!("no session with replica 1 at {to}");
        until(&mut [&mut two], |members| members[0].has_trouble(&[&place, text]));
    }
}

#[test]
fn what_was_recorded_opens_nothing() {
    let (mut one, mut two, mut tap) = tapped(options(1), options(2));
    for number in 0..10_u8 {
        two.send(1, Channel::Control, &[number; 100]);
        two.send(1, Channel::Heartbeat, &[number]);
    }
    until(&mut [&mut one, &mut two], |members| {
        tap.step();
        members[0].bodies(2, Channel::Control).len() == 10 && members[0].bodies(2, Channel::Heartbeat).len() == 10
    });
    let recorded: Vec<Vec<u8>> = tap.links.iter().map(|link| link.there.recorded.clone()).collect();
    let session = one.session(2);
    let seen = one.events.len();
    let mut replay = |raws: &mut [Raw], members: &mut [&mut Member]| {
        until(members, |_| {
            tap.step();
            raws.iter_mut().for_each(Raw::step);
            raws.iter().all(|raw| raw.is_closed)
        });
    };
    // Whole connections, all at once; then only what was said in the session.
    let handshake_len = |bytes: &[u8]| {
        let frame_len = |at: usize| 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        frame_len(0) + frame_len(frame_len(0))
    };
    for start in [|_: &[u8]| 0, handshake_len as fn(&[u8]) -> usize] {
        let mut raws: Vec<Raw> = recorded.iter().map(|_| Raw::connect(&one)).collect();
        for (raw, bytes) in raws.iter_mut().zip(&recorded) {
            // The connection for payloads carried nothing.
            raw.say(&bytes[start(bytes)..]);
            raw.socket.shutdown(std::net::Shutdown::Write).unwrap();
        }
        replay(&mut raws, &mut [&mut one, &mut two]);
        // A challenge, and a refusal where the claim came.
        assert!(raws.iter().all(|raw| raw.received.get(8) != Some(&2)), "nobody is welcome");
    }
    assert_eq!(one.session(2), session, "and the open session goes on");
    let is_trouble = |event: &TransportEvent| matches!(event, TransportEvent::Trouble { .. });
    assert!(one.events[seen..].iter().all(is_trouble), "{:?}", &one.events[seen..]);
    assert!(one.has_trouble(&["a connection from 127.0.0.1: it does not know the secret"]));
}
