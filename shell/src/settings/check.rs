//! Settings that go together, as the server's configuration; and what is allowed and still worth a warning.

use super::address::PeerAddress;
use super::file::FileError;
use super::secret::{self, SecretError};
use super::{ClusterSettings, LogLevel, Recovery, Scheduler, Settings};
use crate::client::DEFAULT_ADDRESS;
use skink_replication::paxos::ReplicaId;
use skink_replication::recovery::RecoveryMode;
use skink_replication::replica::ClusterOptions;
use skink_replication::scheduler::{DEFAULT_BITMAP_BITS, Kind};
use skink_server::ServerConfig;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long a client waits for a majority unless something else is said.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no data directory.
    #[error("no data directory is named: give --data DIR, or data = \"DIR\" in the configuration file")]
    NoData,
    /// One without the other.
    #[error("{given} needs {missing}: a replica of a cluster is started with both --replica and --cluster")]
    Incomplete {
        /// What is given.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The replica is no member.
    #[error(
        "replica {own} is not in the cluster, which has {members}: add {own}=HOST:PORT to --cluster, or correct --replica"
    )]
    NotAMember {
        /// Which replica it is to be.
        own: ReplicaId,
        /// The members' numbers.
        members: String,
    },
    /// The address to listen on is none of this machine's.
    #[error(
        "replica {own} can't tell where to listen for the others: {address} is not known; name an IP address of this machine with --peer-listen"
    )]
    Unresolved {
        /// Which replica it is.
        own: ReplicaId,
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Clients and replicas in one place.
    #[error("replica {own} would listen on {address} for clients and for other replicas: give --listen another port")]
    SamePort {
        /// Which replica it is.
        own: ReplicaId,
        /// Where.
        address: SocketAddr,
    },
    /// Without a secret, other machines could join.
    #[error(
        "{what} is not on this machine, and without a secret anybody could join the cluster: name a file with --secret-file, or use loopback addresses (127.0.0.1)"
    )]
    NoSecret {
        /// Which address.
        what: String,
    },
    /// The secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// What is allowed, and likely not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Two are no majority without each other.
    TwoReplicas,
    /// Others can read the secret.
    OpenSecret {
        /// Its file.
        path: PathBuf,
        /// The file's mode.
        mode: u32,
    },
    /// The own name stands for a loopback address, as it often does on its own machine.
    ListensOnLoopback {
        /// Where the replica listens.
        listen: SocketAddr,
        /// The name.
        name: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::TwoReplicas => {
                f.write_str("a cluster of two replicas tolerates no failure: without either, nothing can be written")
            }
            Warning::OpenSecret { path, mode } => {
                let path = path.display();
                write!(f, "others can read the secret in {path} (mode {mode:o}): do chmod 600 {path}")
            }
            Warning::ListensOnLoopback { listen, name } => write!(
                f,
                "{name} stands for {listen} on this machine, where other machines can't reach this replica: name \
                 where it is to listen with --peer-listen, such as 0.0.0.0:{}",
                listen.port()
            ),
        }
    }
}

/// Settings that were checked.
#[derive(Debug)]
pub struct Checked {
    /// The server's configuration.
    pub config: ServerConfig,
    /// What to log.
    pub log: Option<LogLevel>,
    /// What to warn of.
    pub warnings: Vec<Warning>,
}

/// Checks what is given; what is not stays at its default.
pub(super) fn check(settings: Settings) -> Result<Checked, SettingsError> {
    let data = settings.data.ok_or(SettingsError::NoData)?;
    let listen = match settings.listen {
        Some(listen) => listen.get(),
        None => default_listen(),
    };
    let mut config = ServerConfig::new(data, listen);
    if let Some(segments) = settings.segments {
        config.engine.segments = u16::try_from(segments.get()).unwrap_or(u16::MAX);
    }
    if let Some(mb) = settings.log_file_mb {
        config.engine.log_file_len = u64::from(mb.get()) << 20;
    }
    if let Some(mb) = settings.max_value_mb {
        config.engine.max_value_len = mb.get() << 20;
    }
    if let Some(mb) = settings.checkpoint_log_mb {
        config.replica.checkpoint_log_bytes = u64::from(mb.get()) << 20;
    }
    if let Some(seconds) = settings.checkpoint_seconds {
        config.replica.checkpoint_interval = Duration::from_secs(u64::from(seconds.get()));
    }
    if let Some(threads) = settings.io_threads {
        config.io_threads = threads.get() as usize;
    }
    if let Some(scheduler) = settings.scheduler {
        config.replica.scheduler = match scheduler {
            Scheduler::Table => Kind::Table,
            Scheduler::Bitmap => Kind::Bitmap { bits: DEFAULT_BITMAP_BITS },
            Scheduler::Graph => Kind::Graph,
            Scheduler::Sequential => Kind::Sequential,
        };
    }
    config.replica.workers =
        settings.workers.map_or_else(|| config.default_workers(), |workers| workers.get() as usize);
    config.replica.pin_workers = settings.pin_workers.unwrap_or(false);
    if let Some(recovery) = settings.recovery {
        config.replica.recovery = match recovery {
            Recovery::Classic => RecoveryMode::Classic,
            Recovery::Speedy => RecoveryMode::Speedy,
            Recovery::OnDemand => RecoveryMode::OnDemand,
            Recovery::Handoff => RecoveryMode::Handoff,
        };
    }
    let mut warnings = Vec::new();
    config.replica.cluster = cluster(settings.cluster, listen, &mut warnings)?;
    Ok(Checked { config, log: settings.log, warnings })
}

fn default_listen() -> SocketAddr {
    match DEFAULT_ADDRESS.parse() {
        Ok(address) => address,
        Err(_) => unreachable!("the default address is one"),
    }
}

fn cluster(
    settings: ClusterSettings,
    clients: SocketAddr,
    warnings: &mut Vec<Warning>,
) -> Result<Option<ClusterOptions>, SettingsError> {
    let Some(given) = settings.first_given() else { return Ok(None) };
    let incomplete = |missing| SettingsError::Incomplete { given, missing };
    let (own, members) = match (settings.replica, settings.members) {
        (Some(own), Some(members)) => (own, members),
        (None, Some(_)) => return Err(incomplete("--replica")),
        (Some(_), None) => return Err(incomplete("--cluster")),
        (None, None) => return Err(incomplete("--replica and --cluster")),
    };
    let members = members.addresses();
    let own = u8::try_from(own.get()).ok().and_then(ReplicaId::new);
    let Some(own) = own else { unreachable!("replicas' numbers are within their bounds") };
    let Some(own_address) = members.get(&own) else {
        let numbers: Vec<String> = members.keys().map(ToString::to_string).collect();
        return Err(SettingsError::NotAMember { own, members: numbers.join(", ") });
    };
    let listen_address = settings.peer_listen.as_ref().unwrap_or(own_address);
    let listen = listen_address.resolve().map_err(|source| SettingsError::Unresolved {
        own,
        address: listen_address.to_string(),
        source,
    })?;
    if clients.port() == listen.port() && (listen.ip() == clients.ip() || listen.ip().is_unspecified()) {
        return Err(SettingsError::SamePort { own, address: clients });
    }
    let secret = settings.secret_file.map(|path| secret::read(&path).map(|secret| (path, secret))).transpose()?;
    if secret.is_none() {
        need_loopback(own, listen, members.iter())?;
    }
    if members.len() == 2 {
        warnings.push(Warning::TwoReplicas);
    }
    if listen.ip().is_loopback() && members.values().any(|address| !address.is_loopback()) {
        warnings.push(Warning::ListensOnLoopback { listen, name: listen_address.to_string() });
    }
    let secret = secret.map(|(path, secret)| {
        if let Some(mode) = secret.open_mode {
            warnings.push(Warning::OpenSecret { path, mode });
        }
        secret.bytes
    });
    let request_timeout = settings.request_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms.get())));
    Ok(Some(ClusterOptions {
        own,
        listen,
        peers: members.iter().map(|(replica, address)| (*replica, address.to_string())).collect(),
        secret,
        request_timeout: request_timeout.unwrap_or(REQUEST_TIMEOUT),
    }))
}

/// Without a secret, all that a replica talks to is on this machine.
fn need_loopback<'a>(
    own: ReplicaId,
    listen: SocketAddr,
    mut members: impl Iterator<Item = (&'a ReplicaId, &'a PeerAddress)>,
) -> Result<(), SettingsError> {
    if let Some((replica, address)) = members.find(|(_, address)| !address.is_loopback()) {
        return Err(SettingsError::NoSecret { what: format!("replica {replica} ({address})") });
    }
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(SettingsError::NoSecret { what: format!("where replica {own} would listen ({listen})") })
}
