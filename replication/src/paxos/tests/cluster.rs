//! The cluster: nothing moves but what a test moves.

use crate::header::{BatchId, Content, Digests, Header};
use crate::paxos::{
    Ballot, CheckpointFacts, Configuration, CycleNumber, Delivered, DurableState, Effect, Envelope, Event, Heartbeat,
    Leadership, Message, Options, OrderingFrame, Protocol, Recovery, ReplicaId, Rule, Rules, SessionNumber, Start,
};
use skink_engine::position::{Instance, LogPosition};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(super) struct Member {
    pub(super) protocol: Protocol,
    /// Frames in the log, and the last cycle that isn't durable.
    pub(super) frames: Vec<OrderingFrame>,
    unsynced: Option<CycleNumber>,
    pub(super) delivered: Vec<Delivered>,
    /// Effects that no message, frame or delivery is.
    pub(super) effects: Vec<Effect>,
    stored: u64,
}

pub(super) struct Cluster {
    members: Vec<Member>,
    options: Options,
    session: u64,
    wires: BTreeMap<(usize, usize), VecDeque<Envelope>>,
    beats: VecDeque<(usize, usize, Heartbeat)>,
}

pub(super) fn replica(index: usize) -> ReplicaId {
    ReplicaId::new(index as u8 + 1).unwrap()
}

pub(super) fn at(number: u64) -> Instance {
    Instance::new(number).unwrap()
}

pub(super) fn batch(sequence: u64) -> BatchId {
    BatchId { proxy: 1, incarnation: 1, sequence }
}

pub(super) fn header(sequence: u64) -> Arc<Header> {
    let content = Content::Commands { payload_len: 100, payload_crc: 7, digests: Digests::Keys(Vec::new()) };
    Arc::new(Header { id: batch(sequence), time_ms: 5, content })
}

pub(super) fn configuration(members: usize) -> Configuration {
    Configuration::new(1, (0..members).map(replica).collect(), Instance::ZERO).unwrap()
}

impl Cluster {
    pub(super) fn new(members: usize, options: Options) -> Cluster {
        let member = |index| Member {
            protocol: Protocol::start(
                replica(index),
                Start::Known { incarnation: 1 },
                DurableState::empty(configuration(members)),
                options,
            ),
            frames: Vec::new(),
            unsynced: None,
            delivered: Vec::new(),
            effects: Vec::new(),
            stored: 0,
        };
        let mut cluster = Cluster {
            members: (0..members).map(member).collect(),
            options,
            session: 0,
            wires: BTreeMap::new(),
            beats: VecDeque::new(),
        };
        for a in 0..members {
            (a + 1..members).for_each(|b| cluster.connect(a, b));
        }
        cluster.settle(&(0..members).collect::<Vec<_>>());
        cluster
    }

    /// With one rule off.
    pub(super) fn without(members: usize, rule: Rule) -> Cluster {
        Cluster::new(members, Options { rules: Rules::without(&[rule]), ..Options::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn member(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
    }

    pub(super) fn frames(&self, index: usize) -> &[OrderingFrame] {
        &self.members[index].frames
    }

    pub(super) fn protocol(&mut self, index: usize) -> &mut Protocol {
        &mut self.members[index].protocol
    }

    /// Tells a member something, and moves what it wants done.
    pub(super) fn event(&mut self, index: usize, event: Event) {
        self.members[index].protocol.handle(event);
        self.take(index);
    }

    pub(super) fn take(&mut self, index: usize) {
        let member = &mut self.members[index];
        for effect in member.protocol.take_effects() {
            match effect {
                Effect::Append { cycle, frame } => {
                    member.frames.push(frame);
                    member.unsynced = Some(cycle);
                }
                Effect::Send { peer, envelope } => {
                    self.wires.entry((index, usize::from(peer.get()) - 1)).or_default().push_back(envelope);
                }
                Effect::SendHeartbeat { peer, heartbeat } => {
                    self.beats.push_back((index, usize::from(peer.get()) - 1, heartbeat));
                }
                Effect::Deliver(delivered) => member.delivered.extend(delivered),
                effect => member.effects.push(effect),
            }
        }
    }

    /// The member's log is durable.
    pub(super) fn sync(&mut self, index: usize) {
        while let Some(cycle) = self.members[index].unsynced.take() {
            self.event(index, Event::Durable { cycle });
        }
    }

    /// A new session; what was on the wire is lost.
    pub(super) fn connect(&mut self, a: usize, b: usize) {
        self.session += 1;
        for (from, to) in [(a, b), (b, a)] {
            self.wires.remove(&(from, to));
            let session = SessionNumber::new(self.session);
            self.event(from, Event::Connected { peer: replica(to), session, incarnation: self.incarnation(to) });
        }
    }

    fn incarnation(&self, index: usize) -> u64 {
        self.members[index].protocol.incarnation(replica(index)).unwrap()
    }

    /// What is on the wire.
    pub(super) fn wire(&self, from: usize, to: usize) -> Vec<Message> {
        self.wires.get(&(from, to)).into_iter().flatten().map(|envelope| envelope.message.clone()).collect()
    }

    /// Takes everything from a wire.
    pub(super) fn drop_wire(&mut self, from: usize, to: usize) -> Vec<Envelope> {
        self.wires.remove(&(from, to)).unwrap_or_default().into()
    }

    /// The next message arrives.
    pub(super) fn pass(&mut self, from: usize, to: usize) -> Option<Message> {
        let envelope = self.wires.get_mut(&(from, to))?.pop_front()?;
        let message = envelope.message.clone();
        self.event(to, Event::Received { peer: replica(from), envelope });
        Some(message)
    }

    /// Messages and log writes among these move until nothing is left to.
    pub(super) fn settle(&mut self, who: &[usize]) {
        for _ in 0..100 {
            let mut has_moved = false;
            for from in who {
                for to in who {
                    while self.pass(*from, *to).is_some() {
                        has_moved = true;
                    }
                }
            }
            has_moved |= who.iter().any(|index| self.members[*index].unsynced.is_some());
            who.iter().for_each(|index| self.sync(*index));
            if !has_moved {
                return;
            }
        }
    }

    /// A tick of each of these, and their heartbeats in time.
    pub(super) fn tick(&mut self, who: &[usize]) {
        who.iter().for_each(|index| self.event(*index, Event::Tick));
        while let Some((from, to, heartbeat)) = self.beats.pop_front() {
            if who.contains(&from) && who.contains(&to) {
                self.event(to, Event::HeartbeatReceived { peer: replica(from), heartbeat });
            }
        }
    }

    /// A member takes a new ballot, as if it had won an election.
    pub(super) fn campaign(&mut self, index: usize) {
        self.members[index].protocol.with_object(omnipaxos::OmniPaxos::try_become_leader);
        self.take(index);
    }

    /// Time passes, and everything arrives. Whoever leads then.
    pub(super) fn live(&mut self, ticks: usize, who: &[usize]) -> Option<usize> {
        for _ in 0..ticks {
            self.tick(who);
            self.settle(who);
        }
        let leads = |index: &&usize| self.members[**index].protocol.leadership() == Leadership::Leads;
        who.iter().find(leads).copied()
    }

    /// A member leads, with everybody named.
    pub(super) fn lead(&mut self, index: usize, who: &[usize]) {
        self.campaign(index);
        self.settle(who);
    }

    pub(super) fn store(&mut self, index: usize, sequence: u64) {
        self.members[index].stored += 1;
        let position = LogPosition::new(self.members[index].stored);
        self.event(index, Event::PayloadStored { id: batch(sequence), position });
    }

    pub(super) fn propose(&mut self, index: usize, sequence: u64) {
        self.event(index, Event::Proposed { header: header(sequence) });
    }

    /// A batch that all of these get, and decide.
    pub(super) fn write(&mut self, leader: usize, sequence: u64, who: &[usize]) {
        who.iter().for_each(|index| self.store(*index, sequence));
        self.propose(leader, sequence);
        self.settle(who);
    }

    /// The member takes a checkpoint of what it delivered; what its manifest says.
    pub(super) fn checkpoint(&mut self, index: usize) -> CheckpointFacts {
        let instance = self.members[index].delivered.last().unwrap().instance;
        let promise = self.protocol(index).manifest_promise();
        self.event(index, Event::CheckpointTaken { instance });
        CheckpointFacts { instance, promise }
    }

    pub(super) fn install(&mut self, index: usize, checkpoint: CheckpointFacts) {
        self.event(index, Event::CheckpointInstalled { checkpoint });
    }

    /// A crash and a start, with the frames that are in the log, or with the first ones only.
    pub(super) fn restart(&mut self, index: usize, frames: Option<usize>, checkpoint: Option<CheckpointFacts>) {
        let mut recovery = Recovery::new(configuration(self.len()), self.options.rules);
        let kept = frames.unwrap_or(self.members[index].frames.len());
        self.members[index].frames.truncate(kept);
        for frame in self.members[index].frames.clone() {
            recovery.replay(OrderingFrame::decode(&frame.encode()).unwrap()).unwrap();
        }
        let state = recovery.finish(checkpoint, LogPosition::ZERO).unwrap();
        let start = Start::Known { incarnation: self.incarnation(index) };
        self.start(index, Protocol::start(replica(index), start, state, self.options));
    }

    /// The member begins the configuration whose stop sign it delivered last; its sessions go on.
    pub(super) fn succeed(&mut self, index: usize) {
        let last = self.members[index].delivered.last().unwrap().clone();
        let crate::paxos::DeliveredContent::StopSign(stop_sign) = last.content else { panic!("{last:?}") };
        let next = Configuration::after(&stop_sign, last.instance).unwrap();
        let state = self.members[index].protocol.successor(next, None);
        let start = Start::Known { incarnation: self.incarnation(index) };
        let sessions = &self.members[index].protocol.sessions;
        let sessions: Vec<_> =
            sessions.peers().into_iter().map(|peer| (peer, sessions.get(peer).unwrap().number)).collect();
        self.members[index].protocol = Protocol::start(replica(index), start, state, self.options);
        for (peer, session) in sessions {
            let incarnation = self.incarnation(usize::from(peer.get()) - 1);
            self.event(index, Event::Connected { peer, session, incarnation });
        }
    }

    /// A crash and a start with an empty disk.
    pub(super) fn lose_disk(&mut self, index: usize, incarnation: u64) {
        let state = DurableState::empty(configuration(self.len()));
        self.members[index].frames.clear();
        self.start(index, Protocol::start(replica(index), Start::Lost { incarnation }, state, self.options));
    }

    fn start(&mut self, index: usize, protocol: Protocol) {
        let member = &mut self.members[index];
        member.protocol = protocol;
        member.unsynced = None;
        member.delivered.clear();
        member.effects.clear();
        (0..self.len()).filter(|peer| *peer != index).for_each(|peer| self.connect(index, peer));
    }

    /// The number of the newest session of the cluster.
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// A message in the session of the replicas 0 and 1.
    pub(super) fn envelope(&self, message: Message) -> Envelope {
        let session = self.members[0].protocol.sessions.get(replica(1)).unwrap().number;
        Envelope { configuration: 1, session, message }
    }

    /// A message that a member would not say by itself, in its present session.
    pub(super) fn say(&mut self, from: usize, to: usize, message: Message) {
        let Some(session) = self.members[to].protocol.sessions.get(replica(from)) else { return };
        let envelope = Envelope { configuration: 1, session: session.number, message };
        self.event(to, Event::Received { peer: replica(from), envelope });
    }

    /// The sequences that a member delivered.
    pub(super) fn delivered(&self, index: usize) -> Vec<u64> {
        let entries = self.members[index].delivered.iter();
        entries
            .filter_map(|delivered| match &delivered.content {
                crate::paxos::DeliveredContent::Header { header, .. } => Some(header.id.sequence),
                _ => None,
            })
            .collect()
    }

    pub(super) fn promise(&self, index: usize) -> Ballot {
        self.members[index].protocol.role.promise
    }

    pub(super) fn has_effect(&self, index: usize, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.members[index].effects.iter().any(wanted)
    }
}
