//! A contender that runs: its replicas as processes, who leads, and what is done to them.
//!
//! ```text
//!  start ──► ready ◄──► load
//!              ├── kill ──► restart ──► await_ready
//!              └── pause ──► resume ──► await_ready
//! ```
//!
//! *Ready* means that every replica answers a read and says that it is in step, so that what one scenario did to
//! a cluster is over before the next one measures it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`contender`] | who takes part, and what a load is in its terms |
//! | [`steady`] | throughput, latency and processor time while all goes well |
//! | [`failover`] | the leader is killed |
//! | [`outage`] | another replica is killed and comes back |
//! | [`recovery`] | the same, after it missed many commands: how it answers |
//! | [`memory`] | overload, and a replica that stands still |
//! | [`intervals`] | checkpoints under load |
//! | [`comeback`] | the same load for all contenders, and a follower that comes back |

pub mod comeback;
pub mod contender;
pub mod failover;
pub mod intervals;
pub mod memory;
pub mod outage;
mod ports;
pub mod recovery;
pub mod steady;

use crate::load::{Control, Load, LoadError, OnLoss, Outcome, Wait};
use crate::peers::redis_server;
use crate::peers::server::{PATIENCE, Server, ServerCommand, ServerError};
use crate::resp::{Client, Reply};
use crate::workload::Workload;
use contender::{Contender, Ports};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// How long a single question may take before it is asked again.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks at a cluster that isn't ready.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a load goes without any reply before it fails; elections take etcd seconds.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);
/// A replica of etcd is in step when it lacks fewer log entries than this.
#[cfg(feature = "etcd")]
const ETCD_STEP: u64 = 1000;

/// A scenario couldn't be carried out.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A replica.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The load.
    #[error("{contender}: {source}")]
    Load {
        /// Under which contender.
        contender: &'static str,
        /// Why.
        source: LoadError,
    },
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The cluster isn't what the scenario needs.
    #[error("{contender}: {what}")]
    State {
        /// Which contender.
        contender: &'static str,
        /// What is the matter.
        what: String,
    },
}

/// A contender's replicas.
#[derive(Debug)]
pub struct Cluster {
    contender: Contender,
    replicas: Vec<Replica>,
    // Last, so that the processes end before their data goes.
    _folder: TempDir,
}

#[derive(Debug)]
struct Replica {
    command: ServerCommand,
    address: SocketAddr,
    folder: PathBuf,
    /// None while it is down.
    server: Option<Server>,
}

impl Cluster {
    /// Starts all replicas in `folder` and waits until they are ready. `skink` is Skink's binary.
    pub fn start(contender: Contender, skink: &Path, folder: TempDir) -> Result<Self, ClusterError> {
        Self::start_with(contender, skink, folder, &[])
    }

    /// The same, with more arguments for each replica.
    pub fn start_with(
        contender: Contender,
        skink: &Path,
        folder: TempDir,
        more: &[String],
    ) -> Result<Self, ClusterError> {
        let count = contender.replicas();
        let mut clients = ports::free_ports(2 * count)?;
        let peers = clients.split_off(count);
        let ports = Ports { clients, peers };
        let mut replicas = Vec::new();
        for (index, port) in ports.clients.iter().enumerate() {
            let command = contender.command(skink, index, &ports).with(more.iter().cloned());
            let folder = folder.path().join(format!("replica-{}", index + 1));
            let server = Some(command.spawn_on(&folder, *port)?);
            replicas.push(Replica { command, address: SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), folder, server });
        }
        let mut cluster = Self { contender, replicas, _folder: folder };
        cluster.await_ready()?;
        Ok(cluster)
    }

    /// Who it is.
    pub fn contender(&self) -> Contender {
        self.contender
    }

    /// Process ids of the replicas that run.
    pub fn pids(&self) -> Vec<u32> {
        self.servers().map(Server::pid).collect()
    }

    /// Those of all but one.
    fn pids_without(&self, replica: usize) -> Vec<u32> {
        let others = self.replicas.iter().enumerate().filter(|(index, _)| *index != replica);
        others.filter_map(|(_, replica)| replica.server.as_ref()).map(Server::pid).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        self.replicas.iter().filter_map(|replica| replica.server.as_ref())
    }

    /// Where clients go.
    fn addresses(&self) -> Vec<SocketAddr> {
        let takes_requests = if self.contender.is_led_by_any() { self.replicas.len() } else { 1 };
        self.replicas.iter().take(takes_requests).map(|replica| replica.address).collect()
    }

    /// Where clients go who stay clear of a follower.
    fn addresses_without(&self, follower: usize) -> Vec<SocketAddr> {
        let avoided = self.replicas[follower].address;
        self.addresses().into_iter().filter(|address| *address != avoided).collect()
    }

    /// Uniform updates over all replicas, without bound yet and not yet in the contender's terms.
    pub fn updates(&self) -> Load {
        let load = Load::updates(self.replicas[0].address).over(self.addresses());
        Load { patience: LOAD_PATIENCE, ..load }
    }

    /// Writes every key once.
    pub fn fill(&self, workload: &Workload) -> Result<(), ClusterError> {
        let load = Load::fill(self.replicas[0].address).over(self.addresses());
        let wait = if self.contender == Contender::RedisWait { Wait::AfterBatch } else { Wait::Never };
        self.run(&Load { wait, ..load }, workload).map(drop)
    }

    /// Runs `load` to its end.
    pub fn run(&self, load: &Load, workload: &Workload) -> Result<Outcome, ClusterError> {
        let outcome = self.contender.run(load, workload, &Control::default());
        outcome.map_err(|source| ClusterError::Load { contender: self.contender.name(), source })
    }

    /// Does `action` while `load` runs; the load ends with it.
    fn under_load<T>(
        &mut self,
        load: &Load,
        workload: &Workload,
        action: impl FnOnce(&mut Self, &Control) -> Result<T, ClusterError>,
    ) -> Result<(Outcome, T), ClusterError> {
        let contender = self.contender;
        let control = Control::default();
        let (outcome, result) = thread::scope(|scope| {
            let running = scope.spawn(|| contender.run(load, workload, &control));
            let result = action(self, &control);
            control.stop();
            (running.join().expect("the load generator panicked"), result)
        });
        // What the load says comes first: it is why the action saw nothing.
        let outcome = outcome.map_err(|source| ClusterError::Load { contender: contender.name(), source })?;
        Ok((outcome, result?))
    }

    /// The replica that leads. Waits for one.
    pub fn leader(&mut self) -> Result<usize, ClusterError> {
        if !self.contender.is_led_by_any() {
            return Ok(0);
        }
        let mut leader = None;
        self.poll("no leader", |cluster| {
            leader = (0..cluster.replicas.len()).find(|index| cluster.leads(*index));
            Ok(leader.is_some())
        })?;
        leader.ok_or_else(|| self.state("no leader"))
    }

    /// A replica that doesn't lead.
    pub fn follower(&mut self) -> Result<usize, ClusterError> {
        let count = self.replicas.len();
        if count < 2 { Err(self.state("there is no follower")) } else { Ok((self.leader()? + 1) % count) }
    }

    /// Ends a replica without warning (SIGKILL).
    pub fn kill(&mut self, replica: usize) -> Result<(), ClusterError> {
        Ok(self.replicas[replica].server.take().map_or(Ok(()), Server::kill)?)
    }

    /// Starts a replica that is down; doesn't wait until it is ready.
    pub fn restart(&mut self, replica: usize) -> Result<(), ClusterError> {
        let replica = &mut self.replicas[replica];
        replica.server = Some(replica.command.spawn_on(&replica.folder, replica.address.port())?);
        Ok(())
    }

    /// Lets a replica stand still.
    pub fn pause(&self, replica: usize) -> Result<(), ClusterError> {
        Ok(self.replicas[replica].server.as_ref().map_or(Ok(()), Server::pause)?)
    }

    /// Lets it go on.
    pub fn resume(&self, replica: usize) -> Result<(), ClusterError> {
        Ok(self.replicas[replica].server.as_ref().map_or(Ok(()), Server::resume)?)
    }

    /// Spares replicas that will be started again what their programs can be spared: Redis the log of all that was
    /// ever written.
    pub fn tidy(&self) -> Result<(), ClusterError> {
        if self.contender == Contender::RedisWait {
            self.servers().try_for_each(redis_server::rewrite_log)?;
        }
        Ok(())
    }

    /// Waits until every replica runs, answers, and is in step.
    pub fn await_ready(&mut self) -> Result<(), ClusterError> {
        self.poll("not ready", |cluster| {
            for replica in &mut cluster.replicas {
                match &mut replica.server {
                    Some(server) => server.check_alive()?,
                    None => return Ok(false),
                }
            }
            Ok(cluster.is_ready())
        })
    }

    /// Ends all replicas.
    pub fn stop(self) -> Result<(), ClusterError> {
        for server in self.replicas.into_iter().filter_map(|replica| replica.server) {
            server.stop()?;
        }
        Ok(())
    }

    fn poll(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if is_so(self)? {
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Err(self.state(&format!("{what} for {PATIENCE:?}")))
    }

    fn state(&self, what: &str) -> ClusterError {
        ClusterError::State { contender: self.contender.name(), what: what.to_owned() }
    }

    #[cfg(feature = "etcd")]
    fn etcd_status(&self, replica: usize) -> Option<crate::etcd::MemberStatus> {
        let address = self.replicas[replica].address;
        crate::etcd::BlockingClient::connect(address, QUESTION_TIMEOUT).ok()?.status().ok()
    }

    /// Whether a replica says that it leads. One that can't be asked doesn't.
    fn leads(&self, replica: usize) -> bool {
        #[cfg(feature = "etcd")]
        if !self.contender.speaks_redis() {
            return self.replicas[replica].server.is_some()
                && self.etcd_status(replica).is_some_and(|status| status.is_leader);
        }
        let role = || -> Option<String> {
            let server = self.replicas[replica].server.as_ref()?;
            let mut client = Client::connect(server.address(), QUESTION_TIMEOUT).ok()?;
            server.info(&mut client, "role").ok()?
        };
        role().is_some_and(|role| role == "master")
    }

    fn is_ready(&self) -> bool {
        #[cfg(feature = "etcd")]
        if !self.contender.speaks_redis() {
            return self.is_etcd_ready();
        }
        let is_led = !self.contender.is_led_by_any() || (0..self.replicas.len()).any(|replica| self.leads(replica));
        is_led && self.servers().all(|server| is_in_step(server).unwrap_or(false))
    }

    #[cfg(feature = "etcd")]
    fn is_etcd_ready(&self) -> bool {
        let all: Option<Vec<_>> = (0..self.replicas.len()).map(|replica| self.etcd_status(replica)).collect();
        let Some(all) = all else { return false };
        let newest = all.iter().map(|status| status.applied).max().unwrap_or_default();
        let answers = |replica: &Replica| {
            let client = crate::etcd::BlockingClient::connect(replica.address, QUESTION_TIMEOUT);
            client.is_ok_and(|mut client| client.read(b"ready").is_ok())
        };
        all.iter().all(|status| status.has_leader && newest - status.applied < ETCD_STEP)
            && all.iter().any(|status| status.is_leader)
            && self.replicas.iter().all(answers)
    }
}

/// Whether a server that speaks the Redis protocol answers and says of itself that it has all that its master has. A
/// field that it doesn't have says nothing.
fn is_in_step(server: &Server) -> Result<bool, ServerError> {
    let Ok(mut client) = Client::connect(server.address(), QUESTION_TIMEOUT) else { return Ok(false) };
    let is_answered = matches!(client.request(&[b"GET", b"ready"]), Ok(Reply::Null | Reply::Bulk(_)));
    let mut is = |field: &str, good: &str| -> Result<bool, ServerError> {
        Ok(server.info(&mut client, field)?.is_none_or(|value| value == good))
    };
    Ok(is_answered && is("loading", "0")? && is("async_loading", "0")? && is("master_link_status", "up")?)
}

/// A load for scenarios in which servers go: clients find another one.
fn resilient(load: Load) -> Load {
    Load { on_loss: OnLoss::Retry, ..load }
}
