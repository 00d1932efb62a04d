//! The contenders of `bench-cluster`: how their replicas are started, where their clients go, and what load stands for
//! the same request.
//!
//! | contender | replicas | clients go to | a write counts when |
//! | --- | --- | --- | --- |
//! | `skink` | 3 | all | a majority has it on disk |
//! | `skink-alone` | 1 | it | it is on disk |
//! | `redis-wait` | 3 | the master | it is on the master's and on a replica's disk (`WAIT 1`) |
//! | `redis-alone` | 1 | it | it is on disk |
//! | `etcd` | 3 | all | a majority has it on disk |

use crate::load::{self, Control, Load, LoadError, Outcome, Wait};
use crate::peers::server::ServerCommand;
use crate::peers::{etcd_server, redis_server};
use crate::workload::Workload;
use std::env;
use std::path::{Path, PathBuf};

/// Clients that send transactions to etcd, where others send pipelines: with 50 puts each, 400 are under way.
const ETCD_TRANSACTION_CLIENTS: usize = 8;

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// Three replicas of Skink.
    Skink,
    /// One.
    SkinkAlone,
    /// Redis with two replicas.
    RedisWait,
    /// Redis alone.
    RedisAlone,
    /// Three members of etcd.
    Etcd,
}

/// All, in the order in which they are reported.
pub const CONTENDERS: [Contender; 5] =
    [Contender::Skink, Contender::SkinkAlone, Contender::RedisWait, Contender::RedisAlone, Contender::Etcd];

/// Ports of a contender's replicas.
#[derive(Debug, Clone)]
pub struct Ports {
    /// For clients.
    pub clients: Vec<u16>,
    /// For each other.
    pub peers: Vec<u16>,
}

impl Contender {
    /// Its name in arguments and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skink => "skink",
            Self::SkinkAlone => "skink-alone",
            Self::RedisWait => "redis-wait",
            Self::RedisAlone => "redis-alone",
            Self::Etcd => etcd_server::NAME,
        }
    }

    /// How many replicas it has.
    pub fn replicas(self) -> usize {
        match self {
            Self::Skink | Self::RedisWait | Self::Etcd => 3,
            Self::SkinkAlone | Self::RedisAlone => 1,
        }
    }

    /// Whether any replica takes requests, and another one leads when the leader is gone.
    pub fn is_led_by_any(self) -> bool {
        matches!(self, Self::Skink | Self::Etcd)
    }

    /// Whether it speaks the Redis protocol.
    pub fn speaks_redis(self) -> bool {
        self != Self::Etcd
    }

    /// Why it can't take part here, if so.
    pub fn obstacle(self, skink: &Path) -> Option<String> {
        let program = match self {
            Self::Skink | Self::SkinkAlone => skink,
            Self::RedisWait | Self::RedisAlone => Path::new(redis_server::PROGRAM),
            Self::Etcd if !cfg!(feature = "etcd") => return Some("this program was built without `etcd`".to_owned()),
            Self::Etcd => Path::new(etcd_server::PROGRAM),
        };
        (!is_there(program)).then(|| format!("{} is not there", program.display()))
    }

    /// How to start replica `replica` (from 0). `skink` is Skink's binary.
    pub fn command(self, skink: &Path, replica: usize, ports: &Ports) -> ServerCommand {
        let skink_command = || {
            let arguments = ["serve", "--data", "{dir}", "--listen", "127.0.0.1:{port}"].map(str::to_owned);
            ServerCommand::new(self.name(), skink, arguments)
        };
        match self {
            Self::SkinkAlone => skink_command(),
            Self::Skink => {
                let place = |(index, port): (usize, &u16)| format!("{}=127.0.0.1:{port}", index + 1);
                let cluster: Vec<String> = ports.peers.iter().enumerate().map(place).collect();
                let number = (replica + 1).to_string();
                skink_command().with(["--replica".to_owned(), number, "--cluster".to_owned(), cluster.join(",")])
            }
            Self::RedisAlone => redis_server::command(),
            Self::RedisWait if replica == 0 => redis_server::master_command(),
            Self::RedisWait => redis_server::replica_command(ports.clients.first().copied().unwrap_or_default()),
            Self::Etcd => etcd_server::command(replica, &ports.peers),
        }
    }

    /// `load` in this contender's terms: what stands behind its writes, and transactions in place of pipelines.
    pub fn shape(self, load: Load) -> Load {
        let is_pipelined = load.pipeline > 1;
        match self {
            Self::RedisWait if is_pipelined => Load { wait: Wait::AfterBatch, ..load },
            Self::RedisWait => Load { wait: Wait::AfterEach, ..load },
            Self::Etcd if is_pipelined => load.connections(ETCD_TRANSACTION_CLIENTS),
            _ => load,
        }
    }

    /// Runs `load` in its protocol until its end or until `control` stops it.
    pub fn run(self, load: &Load, workload: &Workload, control: &Control) -> Result<Outcome, LoadError> {
        #[cfg(feature = "etcd")]
        if !self.speaks_redis() {
            return load::etcd::run_until(load, workload, control);
        }
        load::run_until(load, workload, control)
    }
}

/// Whether a program exists, as a path or somewhere on the search path.
fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<PathBuf>>());
    folders.unwrap_or_default().iter().any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_an_obstacle() {
        let missing = Path::new("./no/such/skink");
        assert_eq!(Contender::Skink.obstacle(missing), Some("./no/such/skink is not there".to_owned()));
        let present = env::current_exe().unwrap();
        assert_eq!(Contender::SkinkAlone.obstacle(&present), None);
        assert!(is_there(Path::new("ls")) && !is_there(Path::new("no-such-program")));
    }

    #[test]
    fn redis_waits_once_a_pipeline_and_etcd_has_transactions() {
        let load = Load::updates("127.0.0.1:1".parse().unwrap()).connections(64);
        assert_eq!(Contender::RedisWait.shape(load.clone()).wait, Wait::AfterEach);
        assert_eq!(Contender::RedisWait.shape(load.clone().pipeline(50)).wait, Wait::AfterBatch);
        assert_eq!(Contender::RedisAlone.shape(load.clone().pipeline(50)).wait, Wait::Never);
        assert_eq!(Contender::Etcd.shape(load.clone().pipeline(50)).connections, ETCD_TRANSACTION_CLIENTS);
        assert_eq!(Contender::Etcd.shape(load).connections, 64);
    }
}
