//! What a run is made of: everything in it follows from its seed, and from the rules and mistakes it is given.

use crate::mistakes::Mistake;
use skink_engine::engine::{EngineOptions, Identity};
use skink_engine::position::Instance;
use skink_replication::node::{HandoffOptions, NodeOptions};
use skink_replication::paxos::{self, Configuration, Gate, ReplicaId, Rules, Ticks};
use skink_replication::recovery::RecoveryMode;
use skink_replication::scheduler::Kind;
use std::time::Duration;

/// A millisecond, in the unit of virtual time.
pub const MS: u64 = 1000;
/// Time between two ticks of a node.
pub const TICK: u64 = 10 * MS;
/// Longest value that a replica takes.
pub const MAX_VALUE_LEN: u32 = 32 << 10;
/// No file of a simulated disk can be longer.
pub const MAX_FILE_LEN: usize = 4 << 20;

/// From a crash of the leader to a new one it is two to three election timeouts.
const TICKS: Ticks = Ticks { election: 10, resend: 15, retry: 5, probe: 8, stall: 15 };

/// How a run is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub members: usize,
    pub clients: usize,
    pub gate: Gate,
    pub rules: Rules,
    pub mistake: Option<Mistake>,
    /// Milliseconds with faults.
    pub faulty_ms: u64,
    /// Mean pause between two faults, in milliseconds: some runs are calm, some are wild.
    pub calm_ms: u64,
}

impl Plan {
    /// Seeds differ in the size of the cluster, in the gate, in how much is going on and how wild it is.
    pub fn of_seed(seed: u64, rules: Rules, mistake: Option<Mistake>) -> Plan {
        Plan {
            seed,
            members: if seed % 5 == 4 { 5 } else { 3 },
            clients: 4 + (seed / 3 % 3) as usize * 3,
            gate: if seed % 5 < 2 { Gate::Strict } else { Gate::Eager },
            rules,
            mistake,
            faulty_ms: 5_000,
            calm_ms: [60, 150, 400, 1000][(seed % 4) as usize],
        }
    }

    pub fn majority(&self) -> usize {
        self.members / 2 + 1
    }

    pub fn configuration(&self) -> Configuration {
        let members = (0..self.members).map(replica).collect();
        Configuration::new(1, members, Instance::ZERO).unwrap()
    }

    /// Small files, so that there are many.
    pub fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            segments: 4,
            log_file_len: 256 << 10,
            max_value_len: MAX_VALUE_LEN,
            identity: Some(Identity { cluster: 1, seed: self.seed }),
        }
    }

    /// How many workers a replica has, and by what they execute; none: it executes in order, by itself.
    pub fn crew(&self, index: usize) -> Option<(Kind, usize)> {
        let kinds = [Kind::Table, Kind::Bitmap { bits: 512 }, Kind::Graph, Kind::Sequential];
        let number = (self.seed / 13) as usize + index;
        (!number.is_multiple_of(3)).then(|| (kinds[number % 4], 1 + number % 5))
    }

    /// Checkpoints are frequent, so that logs are dropped and whoever was away needs a checkpoint.
    pub fn node_options(&self) -> NodeOptions {
        let order = paxos::Options {
            ticks: Ticks { resend: [15, 4, 8][(self.seed / 2 % 3) as usize], ..TICKS },
            gate: self.gate,
            kept_entries: (self.seed % 3) as usize * 6,
            max_undecided: [8, 30, 200][(self.seed / 4 % 3) as usize],
            rules: self.rules,
            ..paxos::Options::default()
        };
        NodeOptions {
            order,
            tick: Duration::from_micros(TICK),
            checkpoint_log_bytes: [96 << 10, 256 << 10, 700 << 10][(self.seed / 5 % 3) as usize],
            checkpoint_interval: Duration::from_secs(2),
            request_timeout: Duration::from_millis([250, 600, 1500][(self.seed / 7 % 3) as usize]),
            recovery: RecoveryMode::ALL[[3, 2, 3, 1, 3, 2, 0][(self.seed / 11 % 7) as usize]],
            // Few, so that there often is something to execute ahead of.
            burst: [1, 4, 64][(self.seed / 3 % 3) as usize],
            early_lag: [1, 4, 64][(self.seed / 9 % 3) as usize],
            handoff: HandoffOptions {
                lag: [1, 3, 20][(self.seed / 13 % 3) as usize],
                part: [1, 512, 64 << 10][(self.seed / 17 % 3) as usize],
                per_tick: [1, 4 << 10, 1 << 20][(self.seed / 19 % 3) as usize],
                cut_after: [1, 10, 1000][(self.seed / 23 % 3) as usize],
            },
        }
    }
}

/// A replica by its index from 0.
pub fn replica(index: usize) -> ReplicaId {
    ReplicaId::new(index as u8 + 1).unwrap()
}

/// And back.
pub fn index(replica: ReplicaId) -> usize {
    usize::from(replica.get()) - 1
}
