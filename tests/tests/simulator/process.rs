//! A process on a machine: its node and engine, and what the threads around them hold.

use bytes::Bytes;
use skink_engine::command::Command;
use skink_engine::engine::{CheckedIncoming, CheckpointInfo, Cut, Engine, Incoming};
use skink_engine::error::Fault;
use skink_engine::position::Instance;
use skink_replication::batch::{BatchEncoder, LocalCommand};
use skink_replication::node::Node;
use skink_replication::paxos::{ReplicaId, SessionNumber};
use skink_replication::replica::CheckpointReply;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Proxies of a process, each with a number from 1.
pub const PROXIES: u16 = 3;

/// What gathers for the node while it is busy.
pub enum Input {
    Connected { peer: ReplicaId, session: SessionNumber, incarnation: u64 },
    Disconnected { peer: ReplicaId, session: SessionNumber },
    Received { peer: ReplicaId, session: SessionNumber, bytes: Bytes },
    Heartbeat { peer: ReplicaId, bytes: Bytes },
    CheckpointDone(Option<CheckpointInfo>),
    IncomingChecked(Result<Box<CheckedIncoming>, Fault>),
    Sweep(Vec<Bytes>),
}

/// What the thread in the background is to do.
pub enum Job {
    Checkpoint { cut: Cut, replies: Vec<CheckpointReply> },
    CheckIncoming(Box<Incoming>),
}

/// Where the node's thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for something to happen.
    Ready,
    /// It writes the log, between the beginning and the end of a cycle.
    Writing,
}

/// What clients of a proxy have asked for, and is not handed in yet.
#[derive(Default)]
pub struct Proxy {
    pub writes: VecDeque<(u64, Vec<LocalCommand>)>,
    pub reads: Vec<(u64, Command)>,
    /// Batches that were handed in and not answered.
    pub in_flight: usize,
}

pub struct Process {
    pub engine: Arc<Engine>,
    pub node: Node,
    pub phase: Phase,
    pub inputs: Vec<Input>,
    pub is_tick_due: bool,
    pub is_wake_planned: bool,
    pub sessions: BTreeMap<ReplicaId, SessionNumber>,
    pub proxies: Vec<Proxy>,
    pub encoder: BatchEncoder,
    pub jobs: VecDeque<Job>,
    /// Where the next look for expired keys begins.
    pub sweep_cursor: u64,
    /// The last instance of the state that came as a whole, with the checkpoint at the start or a donor's.
    pub came_with: Instance,
    /// The last instance that was seen to be executed.
    pub executed: Instance,
}

impl Process {
    pub fn new(engine: Arc<Engine>, node: Node) -> Process {
        Process {
            engine,
            node,
            phase: Phase::Ready,
            inputs: Vec::new(),
            is_tick_due: false,
            is_wake_planned: false,
            sessions: BTreeMap::new(),
            proxies: (0..PROXIES).map(|_| Proxy::default()).collect(),
            encoder: BatchEncoder::default(),
            jobs: VecDeque::new(),
            sweep_cursor: 0,
            came_with: Instance::ZERO,
            executed: Instance::ZERO,
        }
    }

    /// The proxy with this number.
    pub fn proxy(&mut self, number: u16) -> &mut Proxy {
        &mut self.proxies[usize::from(number) - 1]
    }

    /// Whether something waits for the node.
    pub fn has_work(&self) -> bool {
        let has_clients = |proxy: &Proxy| !proxy.writes.is_empty() || !proxy.reads.is_empty();
        self.node.has_work() || !self.inputs.is_empty() || self.is_tick_due || self.proxies.iter().any(has_clients)
    }
}
