//! Sessions between processes, as the transport makes them: they open when both ends run and reach each other, each end
//! learns of their beginning and end by itself, and what is in flight is lost with them.

use crate::mistakes::Mistake;
use crate::network::Channel;
use crate::plan::{MS, index, replica};
use crate::process::Input;
use crate::world::{Next, World};
use bytes::Bytes;
use skink_replication::paxos::{ReplicaId, SessionNumber};

/// A session ends when nothing came for so long.
const SILENCE: u64 = 400 * MS;

impl World {
    pub fn connect(&mut self, a: usize, b: usize) {
        let are_up = self.machines[a].process.is_some() && self.machines[b].process.is_some();
        if !are_up || self.network.session(a, b).is_some() {
            // A start connects, and so does the end of a session.
            return;
        }
        if !self.network.is_passable(a, b, self.now) {
            let delay = self.random.between(10 * MS, 50 * MS);
            return self.plan_in(delay, Next::Connect(a, b));
        }
        let (session, learn) = self.network.connect(a, b, self.now, &mut self.random);
        for ((at, peer), when) in [(a, b), (b, a)].into_iter().zip(learn) {
            let life = self.machines[at].life;
            self.plan_in(when - self.now, Next::Connected { at, life, peer, session });
        }
    }

    pub fn connected(&mut self, at: usize, peer: usize, session: u64) {
        if self.network.session(at, peer) != Some(session) {
            return;
        }
        let incarnation = self.machines[peer].incarnation;
        let Some(process) = &mut self.machines[at].process else { return };
        let (peer, session) = (replica(peer), SessionNumber::new(session));
        if let Some(before) = process.sessions.insert(peer, session) {
            process.inputs.push(Input::Disconnected { peer, session: before });
        }
        process.inputs.push(Input::Connected { peer, session, incarnation });
        self.wake(at);
    }

    pub fn ended(&mut self, at: usize, peer: usize, session: u64) {
        let Some(process) = &mut self.machines[at].process else { return };
        let (peer, session) = (replica(peer), SessionNumber::new(session));
        if process.sessions.get(&peer) == Some(&session) {
            process.sessions.remove(&peer);
            process.inputs.push(Input::Disconnected { peer, session });
            self.wake(at);
        }
    }

    /// Ends a session; each end learns of it by itself, and another one begins when it can. A little of it stays somewhere
    /// and comes late.
    pub fn cut(&mut self, a: usize, b: usize, pause: u64) {
        let Some(session) = self.network.session(a, b) else { return };
        for (from, to, channel, bytes) in self.network.cut(a, b) {
            if self.has_faults && channel != Channel::Heartbeat && self.random.percent(20) {
                let delay = self.random.between(5 * MS, 300 * MS);
                self.plan_in(delay, Next::Stray { from, to, session, bytes });
            }
        }
        for (at, peer) in [(a, b), (b, a)] {
            let (life, delay) = (self.machines[at].life, self.random.between(0, 15 * MS));
            self.plan_in(delay, Next::Ended { at, life, peer, session });
        }
        self.plan_in(pause, Next::Connect(a.min(b), a.max(b)));
    }

    /// Lets nothing through in one direction for a while.
    pub fn block(&mut self, from: usize, to: usize, long: u64) {
        if from == to {
            return;
        }
        let until = self.now + long;
        let link = self.network.link(from, to);
        link.blocked_until = link.blocked_until.max(until);
        if let Some(session) = self.network.session(from, to)
            && long > SILENCE
        {
            self.plan_in(SILENCE, Next::Silence { a: from, b: to, session });
        }
    }

    pub fn silence(&mut self, a: usize, b: usize, session: u64) {
        if self.network.session(a, b) == Some(session) && !self.network.is_passable(a, b, self.now) {
            self.cut(a, b, 20 * MS);
        }
    }

    /// Ends the session with a peer, and lets none begin for a while.
    pub fn refuse(&mut self, at: usize, peer: usize) {
        self.network.link(peer, at).refused_until = self.now + 300 * MS;
        self.cut(at, peer, 300 * MS);
    }

    /// A node says something to a peer.
    pub fn send(&mut self, at: usize, peer: ReplicaId, session: SessionNumber, channel: Channel, bytes: Bytes) {
        let to = index(peer);
        // Late heartbeats are worth nothing, and payloads that are missing are asked for: of these, some may get lost.
        let loss = match channel {
            Channel::Heartbeat if self.has_faults => 3,
            Channel::Payload if self.has_faults => 1,
            _ => 0,
        };
        if loss > 0 && self.random.percent(loss) {
            return;
        }
        let sent = self.network.send((at, to), session.get(), channel, bytes, self.now, &mut self.random);
        if let Some(arrival) = sent {
            self.plan_in(arrival - self.now, Next::Arrive { from: at, to, channel });
        }
    }

    pub fn arrive(&mut self, from: usize, to: usize, channel: Channel) {
        match self.network.arrive(from, to, channel, self.now) {
            Ok(None) => {}
            Err(later) => self.plan_in(later - self.now, Next::Arrive { from, to, channel }),
            Ok(Some(bytes)) => {
                let Some(session) = self.network.session(from, to) else { return };
                self.receive(from, to, session, channel, bytes);
            }
        }
    }

    /// What an ended session left behind. The transport gives nothing of it to anybody; if it did, the node would see by the
    /// number that it is late.
    pub fn stray(&mut self, from: usize, to: usize, session: u64, bytes: Bytes) {
        self.receive(from, to, session, Channel::Control, bytes);
    }

    fn receive(&mut self, from: usize, to: usize, session: u64, channel: Channel, bytes: Bytes) {
        let overtakes = self.plan.mistake == Some(Mistake::MessagesOvertake) && self.random.percent(5);
        let Some(process) = &mut self.machines[to].process else { return };
        let (peer, session) = (replica(from), SessionNumber::new(session));
        let input = match channel {
            Channel::Heartbeat => Input::Heartbeat { peer, bytes },
            Channel::Control | Channel::Payload => Input::Received { peer, session, bytes },
        };
        if overtakes {
            let at = process.inputs.len().saturating_sub(2);
            process.inputs.insert(at, input);
        } else {
            process.inputs.push(input);
        }
        self.wake(to);
    }
}
