//! The network: sessions of three connections each, as the transport gives them. What is said in a connection arrives in its
//! order or not at all; connections overtake each other; links stall in one direction; sessions end at any time.

use crate::plan::MS;
use crate::random::Random;
use bytes::Bytes;
use std::collections::VecDeque;

/// A connection of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Heartbeat,
    Control,
    Payload,
}

impl Channel {
    pub const ALL: [Channel; 3] = [Channel::Heartbeat, Channel::Control, Channel::Payload];
}

#[derive(Debug)]
struct Queued {
    at: u64,
    bytes: Bytes,
}

#[derive(Debug, Default)]
struct Connection {
    queue: VecDeque<Queued>,
    last: u64,
}

/// One direction between two replicas.
#[derive(Debug, Default)]
pub struct Link {
    connections: [Connection; 3],
    /// Nothing gets through before this time.
    pub blocked_until: u64,
    /// Until when the receiving end has no session with the other one, whatever it is asked.
    pub refused_until: u64,
}

/// All links of a cluster, and which sessions are open.
#[derive(Debug)]
pub struct Network {
    links: Vec<Vec<Link>>,
    sessions: Vec<Vec<Option<u64>>>,
    next_session: u64,
}

/// What a session leaves behind: from whom, to whom, through which connection, and what.
pub type Stray = (usize, usize, Channel, Bytes);

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

    /// Whether both can reach each other, and want to.
    pub fn is_passable(&self, a: usize, b: usize, now: u64) -> bool {
        [(a, b), (b, a)].iter().all(|&(from, to)| {
            let link = &self.links[from][to];
            link.blocked_until <= now && link.refused_until <= now
        })
    }

    /// Opens a session; answers with its number, and when each end learns of it. Nothing of it arrives before.
    pub fn connect(&mut self, a: usize, b: usize, now: u64, random: &mut Random) -> (u64, [u64; 2]) {
        self.next_session += 1;
        let learn = [(b, a), (a, b)].map(|(from, to)| {
            self.sessions[from][to] = Some(self.next_session);
            let at = now + random.between(MS / 5, 3 * MS);
            for connection in &mut self.links[from][to].connections {
                connection.last = at;
            }
            at
        });
        (self.next_session, learn)
    }

    /// Ends the session, whatever is in flight with it.
    pub fn cut(&mut self, a: usize, b: usize) -> Vec<Stray> {
        let mut strays = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            self.sessions[from][to] = None;
            for channel in Channel::ALL {
                let connection = &mut self.links[from][to].connections[channel as usize];
                strays.extend(connection.queue.drain(..).map(|queued| (from, to, channel, queued.bytes)));
            }
        }
        strays
    }

    /// Puts a message on its way; answers when it will arrive, if the session is open.
    pub fn send(
        &mut self,
        (from, to): (usize, usize),
        session: u64,
        channel: Channel,
        bytes: Bytes,
        now: u64,
        random: &mut Random,
    ) -> Option<u64> {
        if self.sessions[from][to] != Some(session) {
            return None;
        }
        let is_slow = random.percent(3);
        // Some 100 MB a second.
        let transmission = bytes.len() as u64 / 100;
        let delay = if is_slow { random.between(MS, 20 * MS) } else { random.between(MS / 10, 2 * MS) };
        let link = &mut self.links[from][to];
        let blocked_until = link.blocked_until;
        let connection = &mut link.connections[channel as usize];
        let at = (now + delay + transmission).max(connection.last).max(blocked_until);
        connection.last = at;
        connection.queue.push_back(Queued { at, bytes });
        Some(at)
    }

    /// What arrives now, or when to look again.
    pub fn arrive(&mut self, from: usize, to: usize, channel: Channel, now: u64) -> Result<Option<Bytes>, u64> {
        let link = &mut self.links[from][to];
        let queue = &mut link.connections[channel as usize].queue;
        match queue.front() {
            None => Ok(None),
            Some(_) if link.blocked_until > now => Err(link.blocked_until),
            Some(front) if front.at > now => Err(front.at),
            Some(_) => Ok(queue.pop_front().map(|queued| queued.bytes)),
        }
    }

    /// Bytes that are on their way through a connection.
    pub fn backlog(&self, from: usize, to: usize, channel: Channel) -> usize {
        self.links[from][to].connections[channel as usize].queue.iter().map(|queued| queued.bytes.len()).sum()
    }
}
