//! The network: sessions that keep the order of their messages and end at any time, links that stall in one direction,
//! and a side channel that loses and reorders.

use crate::random::Random;
use skink_replication::paxos::Envelope;
use std::collections::VecDeque;

/// What a session carries.
#[derive(Debug, Clone)]
pub enum Item {
    /// The receiver learns that the session is open.
    Connected,
    /// Bytes of an envelope.
    Message(Vec<u8>),
}

#[derive(Debug)]
struct Queued {
    at: u64,
    session: u64,
    item: Item,
}

/// One direction between two replicas.
#[derive(Debug, Default)]
pub struct Link {
    queue: VecDeque<Queued>,
    /// Nothing gets through before this time.
    pub blocked_until: u64,
    last: u64,
}

/// All links of a cluster, and which sessions are open.
#[derive(Debug)]
pub struct Network {
    links: Vec<Vec<Link>>,
    sessions: Vec<Vec<Option<u64>>>,
    next_session: u64,
}

impl Network {
    pub fn new(members: usize) -> Network {
        let row = || (0..members).map(|_| Link::default()).collect();
        Network {
            links: (0..members).map(|_| row()).collect(),
            sessions: vec![vec![None; members]; members],
            next_session: 0,
        }
    }

    pub fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from][to]
    }

    pub fn session(&self, a: usize, b: usize) -> Option<u64> {
        self.sessions[a][b]
    }

    /// Opens a session. The news of it comes before all that is said in it.
    pub fn connect(&mut self, a: usize, b: usize, now: u64, random: &mut Random) -> [u64; 2] {
        self.next_session += 1;
        for (from, to) in [(a, b), (b, a)] {
            self.sessions[from][to] = Some(self.next_session);
        }
        [(a, b), (b, a)]
            .map(|(from, to)| self.send(from, to, self.next_session, Item::Connected, now, random).unwrap_or(now))
    }

    /// Ends the session; what is in flight is lost, but for what a late duplicate brings after the next one began.
    pub fn cut(&mut self, a: usize, b: usize) -> Vec<(usize, usize, Vec<u8>)> {
        let mut late = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            self.sessions[from][to] = None;
            for queued in self.links[from][to].queue.drain(..) {
                if let Item::Message(bytes) = queued.item {
                    late.push((from, to, bytes));
                }
            }
        }
        late
    }

    /// When it will arrive, if the session is open.
    pub fn send(
        &mut self,
        from: usize,
        to: usize,
        session: u64,
        item: Item,
        now: u64,
        random: &mut Random,
    ) -> Option<u64> {
        if self.sessions[from][to] != Some(session) {
            return None;
        }
        let link = &mut self.links[from][to];
        let at = (now + random.between(1, 4)).max(link.last).max(link.blocked_until);
        link.last = at;
        link.queue.push_back(Queued { at, session, item });
        Some(at)
    }

    /// What arrives now, or when to look again.
    pub fn arrive(&mut self, from: usize, to: usize, now: u64) -> Result<Option<(u64, Item)>, u64> {
        let link = &mut self.links[from][to];
        match link.queue.front() {
            None => Ok(None),
            Some(_) if link.blocked_until > now => Err(link.blocked_until),
            Some(front) if front.at > now => Err(front.at),
            Some(_) => Ok(link.queue.pop_front().map(|queued| (queued.session, queued.item))),
        }
    }
}

/// The session in an envelope's bytes, for those that stay behind.
pub fn decode(bytes: &[u8]) -> Result<Envelope, String> {
    Envelope::decode(bytes).map_err(|error| format!("ENCODING {error}"))
}
