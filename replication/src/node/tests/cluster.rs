//! The cluster: nodes, the sessions between them, and who is cut off or off.

use crate::batch::{BatchOutcome, LocalBatch, LocalCommand};
use crate::node::{HandoffOptions, Jump, Membership, Node, NodeOptions, Output, Passes, Question, Touches, View};
use crate::paxos::{self, Configuration, Leadership, MembershipChange, ReplicaId, SessionNumber};
use crate::recovery::RecoveryMode;
use bytes::Bytes;
use parking_lot::Mutex;
use skink_engine::catalog::Catalog;
use skink_engine::command::{Command, Put, PutMode};
use skink_engine::engine::{Engine, EngineOptions, Identity};
use skink_engine::env::Environment;
use skink_engine::env::sim::{SimDisk, environment};
use skink_engine::position::Instance;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(10);
const ENGINE: EngineOptions = EngineOptions {
    segments: 2,
    log_file_len: 1 << 20,
    max_value_len: 1 << 10,
    identity: Some(Identity { cluster: 7, seed: 8 }),
};
/// Ticks in which anything must have come about.
const PATIENCE: usize = 3000;

pub(super) type Answer<T> = Arc<Mutex<Option<T>>>;
/// What was told of reads: which, and whether they may be answered.
pub(super) type Told = Arc<Mutex<Vec<(Passes, bool)>>>;

/// A replica's machine, and its process if that runs.
struct Machine {
    environment: Environment,
    disk: SimDisk,
    membership: Membership,
    node: Option<Node>,
}

pub(super) struct Cluster {
    machines: BTreeMap<ReplicaId, Machine>,
    cut_off: BTreeSet<ReplicaId>,
    /// Of pairs, the lower number first.
    sessions: BTreeMap<(ReplicaId, ReplicaId), SessionNumber>,
    last_session: u64,
    last_incarnation: u64,
    wires: BTreeMap<(ReplicaId, ReplicaId), VecDeque<(SessionNumber, Bytes)>>,
    /// Peers that were refused for their disks.
    pub(super) refused: BTreeSet<ReplicaId>,
    ticks: u64,
    recovery: RecoveryMode,
}

pub(super) fn id(number: u8) -> ReplicaId {
    ReplicaId::new(number).unwrap()
}

fn options() -> NodeOptions {
    NodeOptions {
        order: paxos::Options::default(),
        tick: TICK,
        checkpoint_log_bytes: 64 << 10,
        checkpoint_interval: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        recovery: RecoveryMode::OnDemand,
        burst: 8,
        early_lag: 20,
        handoff: HandoffOptions { lag: 100, part: 1 << 10, per_tick: 1 << 20, cut_after: 20 },
    }
}

impl Cluster {
    /// A new cluster of the members from 1 on, whose replicas execute what they missed.
    pub(super) fn new(members: u8) -> Cluster {
        Cluster::of(members, RecoveryMode::OnDemand)
    }

    /// One whose replicas come back in this way.
    pub(super) fn of(members: u8, recovery: RecoveryMode) -> Cluster {
        let members: Vec<ReplicaId> = (1..=members).map(id).collect();
        let mut cluster = Cluster {
            machines: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            last_incarnation: 1000,
            wires: BTreeMap::new(),
            refused: BTreeSet::new(),
            ticks: 0,
            recovery,
        };
        let configuration = Configuration::new(1, members.clone(), Instance::ZERO).unwrap();
        for own in members {
            let membership = Membership { own, incarnation: 1, is_founder: true, configuration: configuration.clone() };
            cluster.new_machine(membership);
        }
        cluster
    }

    fn new_machine(&mut self, membership: Membership) {
        let own = membership.own;
        let (environment, disk, _) = environment(u64::from(own.get()), 16 << 20);
        self.machines.insert(own, Machine { environment, disk, membership, node: None });
        self.start(own.get());
    }

    /// A machine with an empty disk, of a replica that is a member here.
    pub(super) fn start_empty(&mut self, number: u8, knows: u8) {
        self.stop(number);
        self.cut_off.remove(&id(number));
        self.refused.remove(&id(number));
        self.last_incarnation += 1;
        let (own, incarnation) = (id(number), self.last_incarnation);
        let configuration = self.node(knows).configuration().clone();
        assert!(configuration.has_member(own));
        self.new_machine(Membership { own, incarnation, is_founder: false, configuration });
    }

    pub(super) fn start(&mut self, number: u8) {
        let options = NodeOptions { recovery: self.recovery, ..options() };
        let machine = self.machines.get_mut(&id(number)).unwrap();
        let (engine, opened) = Engine::open(machine.environment.clone(), Path::new("/data"), ENGINE).unwrap();
        machine.node = Some(Node::start(Arc::new(engine), opened, &machine.membership, options).unwrap());
    }

    /// The disk of a replica that is off says that it was about to jump.
    pub(super) fn put_jump(&mut self, number: u8, jump: &Jump) {
        let environment = &self.machines[&id(number)].environment;
        jump.store(&Catalog::open(environment, Path::new("/data/catalog")).unwrap()).unwrap();
    }

    fn stop(&mut self, number: u8) {
        if let Some(machine) = self.machines.get_mut(&id(number)) {
            machine.node = None;
        }
        self.fix_sessions();
    }

    /// Ends a process as `kill -9` does.
    pub(super) fn kill(&mut self, number: u8) {
        self.machines[&id(number)].disk.kill();
        self.stop(number);
    }

    /// What was not durable is gone, at least in part.
    pub(super) fn power_cut(&mut self, number: u8) {
        self.machines[&id(number)].disk.power_cut();
        self.stop(number);
    }

    pub(super) fn cut_off(&mut self, number: u8) {
        self.cut_off.insert(id(number));
        self.fix_sessions();
    }

    pub(super) fn heal(&mut self) {
        self.cut_off.clear();
        let off: Vec<u8> = self.machines.iter().filter(|(_, it)| it.node.is_none()).map(|(own, _)| own.get()).collect();
        off.into_iter().for_each(|number| self.start(number));
        self.fix_sessions();
    }

    pub(super) fn runs(&self, number: u8) -> bool {
        self.machines.get(&id(number)).is_some_and(|machine| machine.node.is_some())
    }

    pub(super) fn node(&mut self, number: u8) -> &mut Node {
        self.machines.get_mut(&id(number)).unwrap().node.as_mut().unwrap()
    }

    fn running(&self) -> Vec<ReplicaId> {
        self.machines.iter().filter(|(_, machine)| machine.node.is_some()).map(|(own, _)| *own).collect()
    }

    fn configuration(&self, own: ReplicaId) -> Option<&Configuration> {
        self.machines.get(&own)?.node.as_ref().map(Node::configuration)
    }

    /// Who leads, if anybody does.
    pub(super) fn leader(&self) -> Option<u8> {
        let leads = |own: &ReplicaId| {
            let node = self.machines[own].node.as_ref().unwrap();
            !self.cut_off.contains(own) && node.protocol.leadership() == Leadership::Leads
        };
        self.running()
            .into_iter()
            .filter(leads)
            .max_by_key(|own| self.configuration(*own).unwrap().id())
            .map(ReplicaId::get)
    }

    /// Sessions are between members that see each other as such.
    fn fix_sessions(&mut self) {
        let all: Vec<ReplicaId> = self.machines.keys().copied().collect();
        for (at, a) in all.iter().copied().enumerate() {
            for b in all[at + 1..].iter().copied() {
                let is_reached = |one| !self.cut_off.contains(&one);
                let sees =
                    |one, other| self.configuration(one).is_some_and(|it| it.has_member(one) && it.has_member(other));
                let should = is_reached(a) && is_reached(b) && sees(a, b) && sees(b, a);
                match (should, self.sessions.get(&(a, b)).copied()) {
                    (true, None) => self.connect(a, b),
                    (false, Some(session)) => self.disconnect(a, b, session),
                    _ => {}
                }
            }
        }
    }

    fn connect(&mut self, a: ReplicaId, b: ReplicaId) {
        self.last_session += 1;
        let session = SessionNumber::new(self.last_session);
        self.sessions.insert((a, b), session);
        for (from, to) in [(a, b), (b, a)] {
            let incarnation = self.machines[&to].membership.incarnation;
            self.node(from.get()).connected(to, session, incarnation);
        }
    }

    fn disconnect(&mut self, a: ReplicaId, b: ReplicaId, session: SessionNumber) {
        self.sessions.remove(&(a, b));
        for (from, to) in [(a, b), (b, a)] {
            self.wires.remove(&(from, to));
            if let Some(node) = &mut self.machines.get_mut(&from).unwrap().node {
                node.disconnected(to, session);
            }
        }
    }

    // ---- time ----

    /// A tick of all, and all that follows from it.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.fix_sessions();
        if self.ticks.is_multiple_of(20) {
            self.ask_around();
        }
        for own in self.running() {
            self.node(own.get()).tick().unwrap();
        }
        for _ in 0..20 {
            let mut has_moved = false;
            for own in self.running() {
                has_moved |= self.cycle(own);
            }
            if !has_moved {
                return;
            }
        }
    }

    /// Those who know of no leader ask others which members there are.
    fn ask_around(&mut self) {
        let told: Vec<(ReplicaId, Configuration)> =
            self.running().into_iter().filter_map(|own| Some((own, self.configuration(own)?.clone()))).collect();
        for own in self.running() {
            for (peer, configuration) in &told {
                let is_told = *peer != own && !self.cut_off.contains(peer) && !self.cut_off.contains(&own);
                if is_told && self.node(own.get()).is_looking() && self.node(own.get()).discovered(*peer, configuration)
                {
                    self.machines.get_mut(&own).unwrap().membership.configuration = configuration.clone();
                    self.node(own.get()).join(configuration.clone());
                }
            }
        }
    }

    fn cycle(&mut self, own: ReplicaId) -> bool {
        let mut has_moved = false;
        for (from, wire) in
            self.wires.iter_mut().filter(|((_, to), _)| *to == own).map(|((from, _), wire)| (*from, wire))
        {
            let node = self.machines.get_mut(&own).unwrap().node.as_mut().unwrap();
            for (session, body) in wire.drain(..) {
                node.received(from, session, &body).unwrap();
                has_moved = true;
            }
        }
        self.node(own.get()).begin_cycle().unwrap();
        self.take(own);
        has_moved |= self.node(own.get()).write().unwrap();
        self.node(own.get()).end_cycle().unwrap();
        has_moved |= self.take(own);
        for peer in self.node(own.get()).donations() {
            self.node(own.get()).donate(peer, 1 << 20).unwrap();
            has_moved |= self.take(own);
        }
        has_moved | self.node(own.get()).has_work()
    }

    fn take(&mut self, own: ReplicaId) -> bool {
        let outputs = self.node(own.get()).take_outputs();
        let has_moved = !outputs.is_empty();
        for output in outputs {
            match output {
                Output::Send { peer, session, head, body, .. } => {
                    let pair = (own.min(peer), own.max(peer));
                    if self.sessions.get(&pair) == Some(&session) {
                        let body = Bytes::from([&head[..], &body[..]].concat());
                        self.wires.entry((own, peer)).or_default().push_back((session, body));
                    }
                }
                Output::Heartbeat { peer, bytes } => {
                    if self.sessions.contains_key(&(own.min(peer), own.max(peer))) {
                        self.node(peer.get()).heartbeat_received(own, &bytes);
                    }
                }
                Output::RestartSession { peer, session, .. } => {
                    self.disconnect(own.min(peer), own.max(peer), session);
                }
                // It may have another disk by now.
                Output::RefusePeer { peer, known } if known <= self.machines[&peer].membership.incarnation => {}
                Output::RefusePeer { peer, .. } => {
                    self.refused.insert(peer);
                    self.cut_off(peer.get());
                }
                Output::Answer(reply, outcome) => reply(outcome),
                Output::Pass(tell, passes, result) => tell(passes, result),
                Output::Checkpoint { cut, replies } => {
                    let node = self.node(own.get());
                    let info = node.engine.checkpoint(&cut, false).unwrap();
                    replies.into_iter().for_each(|reply| reply(Ok(info)));
                    node.checkpoint_done(Some(&info));
                }
                Output::CheckIncoming(incoming) => {
                    self.node(own.get()).incoming_checked(incoming.finish().map(Box::new)).unwrap();
                }
                Output::AnswerChange(reply, result) => reply(result),
                Output::LeadershipChanged(_) | Output::MembersChanged(_) => {}
            }
        }
        has_moved
    }

    pub(super) fn run(&mut self, ticks: usize) {
        (0..ticks).for_each(|_| self.tick());
    }

    /// Lets time pass until something is so.
    pub(super) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Cluster) -> bool) {
        for _ in 0..PATIENCE {
            if is_so(self) {
                return;
            }
            self.tick();
        }
        let stand: Vec<_> = self.running().into_iter().map(|own| self.node(own.get()).status()).collect();
        panic!("never {what}: {stand:#?}");
    }

    // ---- clients ----

    /// A write at a replica.
    pub(super) fn write(&mut self, number: u8, key: &str) -> Answer<BatchOutcome> {
        self.execute(number, Command::Put(Put::new(PutMode::Upsert, key.to_owned(), key.to_owned())))
    }

    /// A command at a replica.
    pub(super) fn execute(&mut self, number: u8, command: Command) -> Answer<BatchOutcome> {
        let commands = vec![LocalCommand { command, is_ordered: true }];
        let node = self.node(number);
        let (content, payload) = node.encoder.encode(&commands, |key| node.engine.hash(key));
        let answer: Answer<BatchOutcome> = Answer::default();
        let told = Arc::clone(&answer);
        let batch = LocalBatch { proxy: 1, time_ms: 1, commands, content, payload };
        node.submit(1, batch, Box::new(move |outcome| *told.lock() = Some(outcome)));
        self.take(id(number));
        answer
    }

    /// A write that must be answered.
    pub(super) fn put(&mut self, number: u8, key: &str) {
        let answer = self.write(number, key);
        self.until("a write is answered", |_| answer.lock().is_some());
        assert!(answer.lock().take().unwrap().is_ok(), "{key}");
    }

    /// Asks for reads. Gives what is told of them, in order: which ones, and whether they may be answered.
    pub(super) fn ask(&mut self, number: u8, touches: Vec<Touches>) -> Told {
        let told = Told::default();
        let teller = Arc::clone(&told);
        let tell = Arc::new(move |passes, result: Result<View, _>| teller.lock().push((passes, result.is_ok())));
        self.node(number).when_current(Question { touches, tell });
        self.take(id(number));
        told
    }

    /// What a read of a key touches.
    pub(super) fn touches(&mut self, key: &str) -> Touches {
        let command = Command::Read { key: key.to_owned().into() };
        let engine = Arc::clone(&self.node(1).engine);
        Touches::of(&command, |key| engine.hash(key))
    }

    /// Keys that the state of a replica must have.
    pub(super) fn has(&mut self, number: u8, keys: &[String]) {
        let node = self.node(number);
        for key in keys {
            let is_there = node.engine.read(key.as_bytes(), 0, |stored| stored.is_some()).unwrap();
            assert!(is_there, "{key} at replica {number}");
        }
    }

    /// Reads that must be current.
    pub(super) fn is_there(&mut self, number: u8, keys: &[String]) {
        let told = self.ask(number, vec![Touches::Everything]);
        let is_answered = |told: &Told| told.lock().iter().any(|(passes, _)| *passes != Passes::Some(Vec::new()));
        self.until("a read is answered", |_| is_answered(&told));
        assert!(told.lock().iter().all(|(_, is_passed)| *is_passed));
        self.has(number, keys);
    }

    pub(super) fn begin_change(&mut self, number: u8, change: MembershipChange) -> Answer<Result<(), String>> {
        let answer: Answer<Result<(), String>> = Answer::default();
        let told = Arc::clone(&answer);
        self.node(number).change_members(change, Box::new(move |result| *told.lock() = Some(result)));
        self.take(id(number));
        answer
    }

    /// A change of members, until it is answered.
    pub(super) fn change(&mut self, number: u8, change: MembershipChange) -> Result<(), String> {
        let answer = self.begin_change(number, change);
        self.until("a change is answered", |_| answer.lock().is_some());
        answer.lock().take().unwrap()
    }

    /// Whether a replica has all, and takes part.
    pub(super) fn serves(&mut self, number: u8) -> bool {
        let leader = self.leader();
        let own = self.node(number).status();
        let is_serving = own.own().is_some_and(|own| own.condition == crate::status::Condition::Serving);
        leader.is_some()
            && own.leader.map(ReplicaId::get) == leader
            && is_serving
            && self.node(number).refusal().is_none()
    }

    /// All members have executed the same, and their states are equal.
    pub(super) fn check_equal(&mut self, members: &[u8]) {
        let first = members[0];
        self.until("all serve", |cluster| members.iter().all(|number| cluster.serves(*number)));
        self.until("all have executed the same", |cluster| {
            let executed: Vec<Instance> = members.iter().map(|number| cluster.node(*number).executed()).collect();
            executed.iter().all(|instance| *instance == executed[0])
        });
        let is_done: Answer<bool> = Answer::default();
        let told = Arc::clone(&is_done);
        self.node(first).checkpoint(Box::new(move |result| *told.lock() = Some(result.is_ok())));
        self.until("a checkpoint is taken", |_| is_done.lock().is_some());
        assert_eq!(*is_done.lock(), Some(true));
        let instance = self.node(first).engine.last_checkpoint();
        self.until("all have the checkpoint", |cluster| {
            members.iter().all(|number| cluster.node(*number).engine.last_checkpoint() == instance)
        });
        let digests: BTreeSet<u64> = members
            .iter()
            .map(|number| {
                let manifest = self.node(*number).engine.newest_checkpoint().unwrap().manifest().clone();
                manifest.segments.iter().fold(0, |sum: u64, segment| sum.wrapping_add(segment.totals.digest))
            })
            .collect();
        assert_eq!(digests.len(), 1, "states differ");
    }
}
