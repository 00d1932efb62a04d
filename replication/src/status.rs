//! How the replicas of a cluster stand, as one of them sees it: for people, `INFO` and tests.

use crate::paxos::ReplicaId;
use serde::{Deserialize, Serialize};
use skink_engine::position::Instance;
use std::fmt;

/// What a replica does in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It is the only one.
    Single,
    /// It gives commands their places.
    Leader,
    /// It wants to.
    Candidate,
    /// It follows a leader.
    Follower,
    /// It knows of no leader.
    Searching,
    /// It lost its disk, and has no vote before it was seeded.
    Silent,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Single => "single",
            Role::Leader => "leader",
            Role::Candidate => "candidate",
            Role::Follower => "follower",
            Role::Searching => "searching",
            Role::Silent => "silent",
        })
    }
}

/// Whether a replica can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It answers, and is up to date but for what is under way.
    Serving,
    /// It answers, and executes what it has missed.
    CatchingUp,
    /// It fetches a checkpoint from another replica.
    Installing,
    /// It waits for room on its disk.
    DiskFull,
    /// It can't reach a majority.
    NoMajority,
    /// The replica that was asked has no session with it.
    Unreachable,
    /// It has stopped.
    Stopped,
    /// It is no member any more.
    Removed,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::Serving => "serving",
            Condition::CatchingUp => "catching up",
            Condition::Installing => "installing",
            Condition::DiskFull => "disk full",
            Condition::NoMajority => "no majority",
            Condition::Unreachable => "unreachable",
            Condition::Stopped => "stopped",
            Condition::Removed => "removed",
        })
    }
}

/// How a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Which one.
    pub replica: ReplicaId,
    /// What it does in the order.
    pub role: Role,
    /// Whether it can be used.
    pub condition: Condition,
    /// The last instance that it knows to be decided.
    pub decided: Instance,
    /// The last instance that it has executed.
    pub executed: Instance,
    /// The last instance that is in its durable log.
    pub durable: Instance,
    /// Its last durable checkpoint.
    pub checkpoint: Instance,
}

/// How the replicas of a cluster stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Who says so.
    pub own: ReplicaId,
    /// Who leads, if anybody is known to.
    pub leader: Option<ReplicaId>,
    /// Number of the membership, from 1; 0 for a single replica.
    pub configuration: u32,
    /// All members, ascending, and the one that says so if it is none; what others said last, at most some tenths of a second ago unless they are unreachable.
    pub replicas: Vec<ReplicaStatus>,
}

impl ClusterStatus {
    /// The highest instance that any of them knows to be decided.
    pub fn decided(&self) -> Instance {
        self.replicas.iter().map(|replica| replica.decided).max().unwrap_or_default()
    }

    /// How many decided instances a replica has still to execute.
    pub fn lag(&self, replica: &ReplicaStatus) -> u64 {
        self.decided().get().saturating_sub(replica.executed.get())
    }

    /// How the replica stands that says so.
    pub fn own(&self) -> Option<&ReplicaStatus> {
        self.replicas.iter().find(|replica| replica.replica == self.own)
    }
}
