//! A cluster in one thread, under a virtual clock: what happens when.

use crate::batches::Batches;
use crate::checkers::Checkers;
use crate::clients::Clients;
use crate::clock::WallClock;
use crate::history::History;
use crate::machine::Machine;
use crate::network::{Channel, Network};
use crate::plan::{MS, Plan};
use crate::random::Random;
use crate::reference::Reference;
use bytes::Bytes;
use skink_replication::batch::{BatchOutcome, Refusal};
use skink_replication::header::BatchId;
use skink_replication::node::{Passes, View};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What is to happen. What belongs to one life of a machine does not happen in another one.
#[derive(Debug, Clone)]
pub enum Next {
    Tick { at: usize, life: u64 },
    Wake { at: usize, life: u64 },
    Written { at: usize, life: u64 },
    Background { at: usize, life: u64 },
    Maintain { at: usize, life: u64 },
    Connect(usize, usize),
    Connected { at: usize, life: u64, peer: usize, session: u64 },
    Ended { at: usize, life: u64, peer: usize, session: u64 },
    Silence { a: usize, b: usize, session: u64 },
    Arrive { from: usize, to: usize, channel: Channel },
    Stray { from: usize, to: usize, session: u64, bytes: Bytes },
    Start(usize),
    Room(usize),
    Client(usize),
    Read { at: usize, life: u64, operation: u64, view: View },
    Timeout { operation: u64 },
    Fault,
}

/// What a node has told through a reply.
pub enum Told {
    Batch { number: u64, outcome: BatchOutcome },
    Reads { question: u64, passes: Passes, result: Result<View, Refusal> },
}

pub struct World {
    pub plan: Plan,
    pub random: Random,
    /// Microseconds.
    pub now: u64,
    clock: WallClock,
    count: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    nexts: BTreeMap<u64, Next>,
    pub machines: Vec<Machine>,
    pub network: Network,
    pub reference: Reference,
    pub batches: Batches,
    pub clients: Clients,
    pub history: History,
    pub checkers: Checkers,
    /// Payloads that were ever sent.
    pub payloads: BTreeMap<BatchId, Bytes>,
    pub teller: Sender<Told>,
    told: Receiver<Told>,
    pub has_faults: bool,
    /// Log frames that asked for a promise.
    pub unrest: u64,
    pub trace: Option<String>,
}

impl World {
    pub fn new(plan: Plan) -> World {
        let clock = WallClock::default();
        let (teller, told) = channel();
        let mut world = World {
            plan,
            random: Random::new(plan.seed),
            now: 0,
            count: 0,
            agenda: BinaryHeap::new(),
            nexts: BTreeMap::new(),
            machines: (0..plan.members).map(|index| Machine::new(index, &plan, clock.beside())).collect(),
            clock,
            network: Network::new(plan.members),
            reference: Reference::default(),
            batches: Batches::default(),
            clients: Clients::new(&plan),
            history: History::default(),
            checkers: Checkers::default(),
            payloads: BTreeMap::new(),
            teller,
            told,
            has_faults: true,
            unrest: 0,
            trace: None,
        };
        for at in 0..plan.members {
            world.plan_in(at as u64, Next::Start(at));
        }
        for client in 0..plan.clients {
            world.plan_in(20 * MS + client as u64, Next::Client(client));
        }
        world.plan_in(300 * MS, Next::Fault);
        world
    }

    pub fn plan_in(&mut self, after: u64, next: Next) {
        self.count += 1;
        self.agenda.push(Reverse((self.now + after, self.count)));
        self.nexts.insert(self.count, next);
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{} {}", self.now, what());
        }
    }

    /// What nodes have told since this was asked last.
    pub fn take_told(&mut self) -> Vec<Told> {
        self.told.try_iter().collect()
    }

    /// Runs for so many milliseconds.
    pub fn run_for(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now + ms * MS;
        while let Some(Reverse((at, count))) = self.agenda.peek().copied() {
            if at > end {
                break;
            }
            self.agenda.pop();
            self.now = at;
            self.clock.set_ms(at / MS);
            if let Some(next) = self.nexts.remove(&count) {
                self.note(|| format!("{next:?}"));
                self.step(next)?;
            }
        }
        self.now = end;
        Ok(())
    }

    /// Whether a machine is in the life for which something was planned.
    fn is_alive(&self, at: usize, life: u64) -> bool {
        self.machines[at].life == life && self.machines[at].process.is_some()
    }

    fn step(&mut self, next: Next) -> Result<(), String> {
        match next {
            Next::Tick { at, life } if self.is_alive(at, life) => self.tick(at),
            Next::Wake { at, life } if self.is_alive(at, life) => self.begin_cycle(at),
            Next::Written { at, life } if self.is_alive(at, life) => self.end_cycle(at),
            Next::Background { at, life } if self.is_alive(at, life) => self.background(at),
            Next::Maintain { at, life } if self.is_alive(at, life) => self.maintain(at),
            Next::Connected { at, life, peer, session } if self.is_alive(at, life) => {
                self.connected(at, peer, session);
                Ok(())
            }
            Next::Ended { at, life, peer, session } if self.is_alive(at, life) => {
                self.ended(at, peer, session);
                Ok(())
            }
            Next::Read { at, life, operation, view } if self.is_alive(at, life) => {
                let read = self.read(at, operation);
                drop(view);
                read
            }
            Next::Tick { .. }
            | Next::Wake { .. }
            | Next::Written { .. }
            | Next::Background { .. }
            | Next::Maintain { .. }
            | Next::Connected { .. }
            | Next::Ended { .. }
            | Next::Read { .. } => Ok(()),
            Next::Connect(a, b) => {
                self.connect(a, b);
                Ok(())
            }
            Next::Silence { a, b, session } => {
                self.silence(a, b, session);
                Ok(())
            }
            Next::Arrive { from, to, channel } => {
                self.arrive(from, to, channel);
                Ok(())
            }
            Next::Stray { from, to, session, bytes } => {
                self.stray(from, to, session, bytes);
                Ok(())
            }
            Next::Start(at) => self.start(at),
            Next::Room(at) => {
                self.make_room(at);
                Ok(())
            }
            Next::Client(client) => self.client_acts(client),
            Next::Timeout { operation } => {
                self.gives_up(operation);
                Ok(())
            }
            Next::Fault => self.fault(),
        }
    }
}
