//! A cluster in one thread, under a virtual clock: what happens when, and the checkers that look on.

use crate::checkers::{agreement::Agreement, promises::check_sent, reads::Reads};
use crate::disk::{Checkpoint, replica};
use crate::network::{Item, Network, decode};
use crate::random::Random;
use crate::replica::Replica;
use skink_engine::position::Instance;
use skink_replication::header::BatchId;
use skink_replication::paxos::{
    Configuration, Effect, Event, Gate, Heartbeat, Message, Options, Request, Rules, SessionNumber, Ticks,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;

/// Milliseconds of a tick.
const TICK: u64 = 10;

const TICKS: Ticks = Ticks { election: 10, resend: 15, retry: 5, probe: 8, stall: 15 };

/// How a run is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub members: usize,
    pub gate: Gate,
    pub rules: Rules,
    pub seed: u64,
    /// Milliseconds with faults.
    pub faulty_ms: u64,
}

/// What is to happen.
#[derive(Debug, Clone)]
pub enum Next {
    Tick(usize),
    Arrive { from: usize, to: usize },
    Side { from: usize, to: usize, message: Side },
    Written { at: usize, life: u64, until: u64 },
    CheckpointDurable { at: usize, life: u64, checkpoint: Checkpoint },
    Disconnected { at: usize, life: u64, peer: usize, session: u64 },
    Connect(usize, usize),
    Late { from: usize, to: usize, bytes: Vec<u8> },
    Start(usize),
    Load,
    Fault,
}

/// What goes beside the sessions, in any order.
#[derive(Debug, Clone)]
pub enum Side {
    Heartbeat(Vec<u8>),
    Ask(Request),
    Payload(BatchId),
    Checkpoint(Checkpoint),
}

pub struct World {
    pub plan: Plan,
    pub random: Random,
    pub now: u64,
    count: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    nexts: BTreeMap<(u64, u64), Next>,
    pub replicas: Vec<Replica>,
    pub network: Network,
    pub agreement: Agreement,
    pub reads: Reads,
    /// Batches that were not executed anywhere yet.
    pub pending: Vec<u64>,
    pub sequence: u64,
    /// Prepares that were sent.
    pub unrest: u64,
    pub takes_checkpoints: bool,
    pub has_faults: bool,
    pub has_load: bool,
    pub trace: Option<String>,
}

impl World {
    pub fn new(plan: Plan) -> Result<World, String> {
        let mut world = World {
            plan,
            random: Random::new(plan.seed),
            now: 0,
            count: 0,
            agenda: BinaryHeap::new(),
            nexts: BTreeMap::new(),
            replicas: (0..plan.members).map(Replica::new).collect(),
            network: Network::new(plan.members),
            agreement: Agreement::default(),
            reads: Reads::default(),
            pending: Vec::new(),
            sequence: 0,
            unrest: 0,
            takes_checkpoints: true,
            has_faults: true,
            has_load: true,
            trace: None,
        };
        for at in 0..plan.members {
            world.start(at)?;
            world.plan_at(at as u64, Next::Tick(at));
        }
        world.plan_at(20, Next::Load);
        world.plan_at(500, Next::Fault);
        Ok(world)
    }

    pub fn configuration(&self) -> Configuration {
        let members = (0..self.plan.members).map(replica).collect();
        Configuration::new(1, members, Instance::ZERO).unwrap()
    }

    pub fn options(&self) -> Options {
        Options {
            ticks: Ticks { resend: [15, 2, 6][(self.plan.seed / 2 % 3) as usize], ..TICKS },
            gate: self.plan.gate,
            kept_entries: (self.plan.seed % 3) as usize * 3,
            max_undecided: 30,
            rules: self.plan.rules,
            ..Options::default()
        }
    }

    pub fn plan_at(&mut self, at: u64, next: Next) {
        self.count += 1;
        self.agenda.push(Reverse((at, self.count)));
        self.nexts.insert((at, self.count), next);
    }

    pub fn plan_in(&mut self, after: u64, next: Next) {
        self.plan_at(self.now + after, next);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{} {}", self.now, what());
        }
    }

    /// Runs until this time.
    pub fn run_until(&mut self, end: u64) -> Result<(), String> {
        while let Some(Reverse((at, count))) = self.agenda.peek().copied() {
            if at > end {
                break;
            }
            self.agenda.pop();
            self.now = at;
            if let Some(next) = self.nexts.remove(&(at, count)) {
                self.note(|| format!("{next:?}"));
                self.step(next)?;
            }
        }
        self.now = end;
        Ok(())
    }

    fn step(&mut self, next: Next) -> Result<(), String> {
        match next {
            Next::Tick(at) => {
                self.plan_in(TICK, Next::Tick(at));
                self.event(at, Event::Tick)
            }
            Next::Arrive { from, to } => match self.network.arrive(from, to, self.now) {
                Ok(None) => Ok(()),
                Err(later) => {
                    self.plan_at(later, Next::Arrive { from, to });
                    Ok(())
                }
                Ok(Some((session, Item::Connected))) => {
                    let incarnation = self.replicas[from].incarnation;
                    let session = SessionNumber::new(session);
                    self.event(to, Event::Connected { peer: replica(from), session, incarnation })
                }
                Ok(Some((_, Item::Message(bytes)))) => self.deliver(from, to, &bytes),
            },
            Next::Late { from, to, bytes } => self.deliver(from, to, &bytes),
            Next::Side { from, to, message } => self.side(from, to, message),
            Next::Written { at, life, until } if self.replicas[at].life == life => {
                let effects = self.replicas[at].written(until)?;
                self.perform(at, effects)
            }
            Next::CheckpointDurable { at, life, checkpoint } if self.replicas[at].life == life => {
                let drops_log = self.random.percent(70);
                let effects = self.replicas[at].checkpoint_durable(checkpoint, drops_log);
                self.perform(at, effects)
            }
            Next::Disconnected { at, life, peer, session } if self.replicas[at].life == life => {
                let session = SessionNumber::new(session);
                self.event(at, Event::Disconnected { peer: replica(peer), session })
            }
            Next::Written { .. } | Next::CheckpointDurable { .. } | Next::Disconnected { .. } => Ok(()),
            Next::Connect(a, b) => {
                let are_up = self.replicas[a].running.is_some() && self.replicas[b].running.is_some();
                if are_up && self.network.session(a, b).is_none() {
                    let [there, back] = self.network.connect(a, b, self.now, &mut self.random);
                    self.plan_at(there, Next::Arrive { from: a, to: b });
                    self.plan_at(back, Next::Arrive { from: b, to: a });
                }
                Ok(())
            }
            Next::Start(at) if self.replicas[at].running.is_none() => self.start(at),
            Next::Start(_) => Ok(()),
            Next::Load => self.load(),
            Next::Fault => self.fault(),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), String> {
        let envelope = decode(bytes)?;
        self.event(to, Event::Received { peer: replica(from), envelope })
    }

    fn side(&mut self, from: usize, to: usize, message: Side) -> Result<(), String> {
        match message {
            Side::Heartbeat(bytes) => {
                let heartbeat = Heartbeat::decode(&bytes).map_err(|error| format!("ENCODING {error}"))?;
                self.event(to, Event::HeartbeatReceived { peer: replica(from), heartbeat })
            }
            Side::Ask(request) => self.event(to, Event::Asked { peer: replica(from), request }),
            Side::Payload(id) => {
                let effects = self.replicas[to].store_payload(id);
                self.perform(to, effects)
            }
            Side::Checkpoint(checkpoint) => {
                let effects = self.replicas[to].install(checkpoint);
                let is_installed = !effects.is_empty();
                self.perform(to, effects)?;
                // Between the manifest and the frame of an install is a moment of its own.
                if is_installed && self.has_faults && self.random.percent(15) {
                    self.crash_for_a_while(to)
                } else {
                    Ok(())
                }
            }
        }
    }

    pub fn event(&mut self, at: usize, event: Event) -> Result<(), String> {
        // A runtime gathers: what comes together is one cycle. A tick ends it at the latest.
        let gathers = !matches!(event, Event::Tick | Event::Durable { .. }) && self.random.percent(40);
        let effects = self.replicas[at].event(event, gathers);
        self.perform(at, effects)
    }

    fn perform(&mut self, at: usize, effects: Vec<Effect>) -> Result<(), String> {
        let calm = 1000 + 1000 * (self.plan.seed % 4);
        for effect in effects {
            if self.has_faults && self.random.below(calm) == 0 {
                // What stands before is done, what comes after is not.
                return self.crash_for_a_while(at);
            }
            self.note(|| format!("{at}: {effect:?}"));
            match effect {
                Effect::Append { cycle, frame } => self.replicas[at].append(cycle, frame.encode()),
                Effect::Send { peer, envelope } => {
                    self.unrest += u64::from(matches!(envelope.message, Message::Prepare { .. }));
                    check_sent(&envelope.message, &self.replicas[at].disk)?;
                    let (to, session) = (usize::from(peer.get()) - 1, envelope.session.get());
                    let item = Item::Message(envelope.encode());
                    let arrival = self.network.send(at, to, session, item, self.now, &mut self.random);
                    if let Some(arrival) = arrival {
                        self.plan_at(arrival, Next::Arrive { from: at, to });
                    }
                }
                Effect::SendHeartbeat { peer, heartbeat } => {
                    self.send_side(at, peer.get(), Side::Heartbeat(heartbeat.encode()))
                }
                Effect::Ask { peer, request } => self.send_side(at, peer.get(), Side::Ask(request)),
                Effect::SendPayload { peer, id, position } => {
                    if self.replicas[at].disk.has_payload(position) {
                        self.send_side(at, peer.get(), Side::Payload(id));
                    }
                }
                Effect::SendCheckpoint { peer } => {
                    if let Some(checkpoint) = self.replicas[at].disk.checkpoint {
                        self.send_side(at, peer.get(), Side::Checkpoint(checkpoint));
                    }
                }
                Effect::RestartSession { peer, session, .. } => {
                    let peer = usize::from(peer.get()) - 1;
                    if self.network.session(at, peer) == Some(session.get()) {
                        self.cut(at, peer);
                        self.plan_in(2, Next::Connect(at, peer));
                    }
                }
                Effect::Deliver(delivered) => {
                    if let Some(running) = &mut self.replicas[at].running {
                        running.delivered.extend(delivered);
                    }
                }
                Effect::ReadIndex { read, index } => self.reads.answer(read, index)?,
                Effect::Refuse { .. }
                | Effect::RefuseRead { .. }
                | Effect::RefusePeer { .. }
                | Effect::LeadershipChanged(_) => {}
            }
        }
        self.execute(at)?;
        self.write(at);
        Ok(())
    }

    fn send_side(&mut self, from: usize, to: u8, message: Side) {
        let to = usize::from(to) - 1;
        let is_blocked = self.network.link(from, to).blocked_until > self.now;
        let loss = if self.has_faults { 3 } else { 0 };
        if !is_blocked && !self.random.percent(loss) {
            let is_late = self.has_faults && self.random.percent(3);
            let delay = if is_late { self.random.between(10, 300) } else { self.random.between(1, 6) };
            self.plan_in(delay, Next::Side { from, to, message });
        }
    }

    /// Starts a write of all that has gathered, if none is under way.
    fn write(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let (life, until) = (replica.life, replica.disk.end());
        let Some(running) = replica.running.as_mut() else { return };
        if running.writing.is_none() && replica.disk.durable() < until {
            running.writing = Some(until);
            let duration = if self.random.percent(15) { self.random.between(5, 60) } else { self.random.between(1, 6) };
            let done = self.now.max(replica.slow_until) + duration;
            self.plan_at(done, Next::Written { at, life, until });
        }
    }

    fn execute(&mut self, at: usize) -> Result<(), String> {
        while let Some((instance, entry)) = self.replicas[at].next_executable() {
            let disks = self.replicas.iter().map(|replica| &replica.disk);
            self.agreement.executed(instance, &entry, self.plan.members / 2 + 1, disks)?;
            self.replicas[at].execute(instance, &entry)?;
            if let Some(id) = entry.payload() {
                self.pending.retain(|sequence| *sequence != id.sequence);
            }
        }
        Ok(())
    }
}
