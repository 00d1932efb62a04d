//! Configuration of a server.

use skink_engine::engine::EngineOptions;
use skink_replication::replica::ReplicaOptions;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The data directory; made where there is none.
    pub data: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// What a new data directory is made with.
    pub engine: EngineOptions,
    /// How the replica works; its `engine` is replaced by the one above.
    pub replica: ReplicaOptions,
    /// Threads that serve connections; 0 for as many as suit the machine.
    pub io_threads: usize,
    /// Connections at the same time.
    pub max_connections: usize,
}

impl ServerConfig {
    /// The defaults for this data directory and address.
    pub fn new(data: PathBuf, listen: SocketAddr) -> ServerConfig {
        ServerConfig {
            data,
            listen,
            engine: EngineOptions::default(),
            replica: ReplicaOptions::default(),
            io_threads: 0,
            max_connections: 10_000,
        }
    }

    /// Threads that execute commands where nobody says how many: what connections and ordering leave of the cores. With one or
    /// two there is nothing left, and waking threads costs more than it gains.
    pub fn default_workers(&self) -> usize {
        match std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            0..=2 => 0,
            cores => cores.saturating_sub(self.effective_io_threads() + 1).min(64),
        }
    }

    /// Threads that serve connections: half of the cores, as ordering and execution need the others.
    pub fn effective_io_threads(&self) -> usize {
        match self.io_threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 16)),
            threads => threads.min(64),
        }
    }
}
