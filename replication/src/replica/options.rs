//! How a replica works, and its place among others.

use crate::paxos::ReplicaId;
use crate::recovery::RecoveryMode;
use crate::scheduler::Kind;
use skink_engine::engine::EngineOptions;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How a replica works.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// What a new data directory is made with.
    pub engine: EngineOptions,
    /// Bytes of log after which a checkpoint is taken.
    pub checkpoint_log_bytes: u64,
    /// Time after which a checkpoint is taken if anything was written.
    pub checkpoint_interval: Duration,
    /// How commands that don't conflict are found.
    pub scheduler: Kind,
    /// Threads that execute them; with none, they are executed in order by the thread that orders them.
    pub workers: usize,
    /// Whether each of these threads stays on one processor.
    pub pin_workers: bool,
    /// How it comes back.
    pub recovery: RecoveryMode,
    /// Bytes a second that the scrubber reads; 0 for none.
    pub scrub_bytes_per_second: u64,
    /// The other replicas; `None` for a single one.
    pub cluster: Option<ClusterOptions>,
}

/// A replica's place among others.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Which one it is.
    pub own: ReplicaId,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// How it reaches the others, as `HOST:PORT`; who they are is the membership of a new cluster.
    pub peers: BTreeMap<ReplicaId, String>,
    /// What members prove to each other that they know. Without one, they talk on loopback addresses alone.
    pub secret: Option<Vec<u8>>,
    /// How long a client waits for a majority before it gets an error.
    pub request_timeout: Duration,
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("own", &self.own)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("has_secret", &self.secret.is_some())
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        ReplicaOptions {
            engine: EngineOptions::default(),
            checkpoint_log_bytes: 512 << 20,
            checkpoint_interval: Duration::from_secs(300),
            scheduler: Kind::Table,
            workers: 0,
            pin_workers: false,
            recovery: RecoveryMode::default(),
            scrub_bytes_per_second: 4 << 20,
            cluster: None,
        }
    }
}
