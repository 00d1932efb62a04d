//! Several transports in one thread, polled in turn until something holds.

use super::tap::Tap;
use crate::paxos::{ReplicaId, SessionNumber};
use crate::transport::{Agreement, Channel, Secret, Sent, Transport, TransportEvent, TransportOptions};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For what surely comes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn replica(number: u8) -> ReplicaId {
    ReplicaId::new(number).unwrap()
}

pub(super) fn agreement() -> Agreement {
    Agreement::new(b"cluster 7, formats 1", "cluster 7 with formats 1")
}

/// Options of a replica on a free port.
pub(super) fn options(number: u8) -> TransportOptions {
    let mut options =
        TransportOptions::new(replica(number), "127.0.0.1:0".parse().unwrap(), Arc::new(rand::random::<u64>));
    options.secret = Secret::new("the secret of the tests");
    options
}

/// A transport, and what it said.
pub(super) struct Member {
    pub(super) transport: Transport,
    pub(super) events: Vec<TransportEvent>,
}

impl Member {
    pub(super) fn new(options: TransportOptions) -> Member {
        Member { transport: Transport::bind(options).unwrap(), events: Vec::new() }
    }

    pub(super) fn poll(&mut self) {
        self.transport.poll(Duration::from_millis(1), &mut self.events).unwrap();
    }

    pub(super) fn has(&self, is_meant: impl Fn(&TransportEvent) -> bool) -> bool {
        self.events.iter().any(is_meant)
    }

    /// The open session with a peer, by the events.
    pub(super) fn session(&self, with: u8) -> Option<SessionNumber> {
        self.events.iter().fold(None, |open, event| match event {
            TransportEvent::Connected { peer, session, .. } if *peer == replica(with) => Some(*session),
            TransportEvent::Disconnected { peer, session } if *peer == replica(with) => {
                assert_eq!(open, Some(*session), "what ends was open");
                None
            }
            TransportEvent::Received { peer, session, .. } if *peer == replica(with) => {
                assert_eq!(open, Some(*session), "what comes belongs to what is open");
                open
            }
            _ => open,
        })
    }

    /// Bodies from a peer through a channel.
    pub(super) fn bodies(&self, from: u8, through: Channel) -> Vec<Vec<u8>> {
        let body = |event: &TransportEvent| match event {
            TransportEvent::Received { peer, channel, body, .. } if *peer == replica(from) && *channel == through => {
                Some(body.to_vec())
            }
            _ => None,
        };
        self.events.iter().filter_map(body).collect()
    }

    /// Texts of troubles.
    pub(super) fn troubles(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                TransportEvent::Trouble { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Whether a trouble has all these words.
    pub(super) fn has_trouble(&self, words: &[&str]) -> bool {
        self.troubles().iter().any(|text| words.iter().all(|word| text.contains(word)))
    }

    /// Sends in the open session.
    pub(super) fn send(&mut self, to: u8, channel: Channel, body: &[u8]) {
        let session = self.session(to).unwrap();
        assert_eq!(self.transport.send(replica(to), session, channel, &[body]), Sent::Buffered);
    }
}

/// Polls all in turn until something holds.
pub(super) fn until(members: &mut [&mut Member], mut holds: impl FnMut(&mut [&mut Member]) -> bool) {
    let started = Instant::now();
    while !holds(members) {
        if started.elapsed() >= PATIENCE {
            let said: Vec<_> = members.iter().map(|member| &member.events).collect();
            panic!("it does not come to hold: {said:#?}");
        }
        members.iter_mut().for_each(|member| member.poll());
    }
}

/// Polls all in turn for a while, so that what must not happen has time to.
pub(super) fn linger(members: &mut [&mut Member], time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        members.iter_mut().for_each(|member| member.poll());
    }
}

/// Where others find a member.
pub(super) fn address(member: &Member) -> SocketAddr {
    member.transport.local_address()
}

/// Lets all know of all, and open sessions.
pub(super) fn open_all(members: &mut [&mut Member], numbers: &[u8]) {
    let addresses: BTreeMap<ReplicaId, String> = numbers
        .iter()
        .zip(members.iter())
        .map(|(number, member)| (replica(*number), address(member).to_string()))
        .collect();
    for (member, number) in members.iter_mut().zip(numbers) {
        member.transport.set_peers(addresses.clone());
        member.transport.open_sessions(agreement(), 100 + u64::from(*number));
    }
}

/// Two replicas with an open session; the second one dials.
pub(super) fn pair() -> (Member, Member) {
    pair_with(options(1), options(2))
}

/// Two replicas and a tap between them, with an open session; the second one dials. The tap's links are the control connection
/// and the two others, in any order.
pub(super) fn tapped(first: TransportOptions, second: TransportOptions) -> (Member, Member, Tap) {
    let (mut one, mut two) = (Member::new(first), Member::new(second));
    let mut tap = Tap::new(address(&one));
    one.transport.set_peers(BTreeMap::from([(replica(2), "127.0.0.1:1".into())]));
    two.transport.set_peers(BTreeMap::from([(replica(1), tap.address().to_string())]));
    one.transport.open_sessions(agreement(), 101);
    two.transport.open_sessions(agreement(), 102);
    until(&mut [&mut one, &mut two], |members| {
        tap.step();
        members[0].session(2).is_some() && members[1].session(1).is_some()
    });
    (one, two, tap)
}

/// Two replicas with an open session and these options.
pub(super) fn pair_with(first: TransportOptions, second: TransportOptions) -> (Member, Member) {
    let (mut one, mut two) = (Member::new(first), Member::new(second));
    open_all(&mut [&mut one, &mut two], &[1, 2]);
    until(&mut [&mut one, &mut two], |members| members[0].session(2).is_some() && members[1].session(1).is_some());
    (one, two)
}
