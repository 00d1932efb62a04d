//! What a server is started with: the same settings as flags and in a file, of which flags come first.
//!
//! ```text
//! flags (clap) ----.
//! file (TOML) -----+--> Settings, each given or not --> check --> ServerConfig, and what to warn of
//! ```
//!
//! One definition serves both: a setting's flag, its name in the file and what it may be are said once, here.

mod address;
mod check;
mod file;
mod members;
mod secret;
mod value;

#[cfg(test)]
mod tests;

pub use address::{AddressError, PeerAddress};
pub use check::{Checked, SettingsError};
pub use members::NewMember;

use clap::{Args, ValueEnum};
use members::Members;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use value::{ClientAddress, Within};

/// The settings of a server, as far as they are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields, expecting = "settings of a server")]
pub struct Settings {
    /// The data directory; it is made where there is none
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// Address and port where clients connect; with port 0, any free one [default: 127.0.0.1:7379]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<ClientAddress>,
    /// Segments of a new data directory [default: 256]
    #[arg(long, value_name = "N")]
    pub segments: Option<Within<1, 4096>>,
    /// Length of a log file of a new data directory, in MiB [default: 64]
    #[arg(long, value_name = "N")]
    pub log_file_mb: Option<Within<1, 4096>>,
    /// Longest value, in MiB [default: 16]
    #[arg(long, value_name = "N")]
    pub max_value_mb: Option<Within<1, 512>>,
    /// Take a checkpoint when the log has grown by this much, in MiB [default: 512]
    #[arg(long, value_name = "N")]
    pub checkpoint_log_mb: Option<Within<1, { u32::MAX }>>,
    /// Take a checkpoint after so many seconds with writes [default: 300]
    #[arg(long, value_name = "N")]
    pub checkpoint_seconds: Option<Within<1, { u32::MAX }>>,
    /// How commands that don't conflict are found, to be executed at the same time [default: table]
    #[arg(long, value_name = "NAME")]
    pub scheduler: Option<Scheduler>,
    /// Threads that execute commands; with 0, the thread that orders them does [default: by the cores, 0 with one or two]
    #[arg(long, value_name = "N")]
    pub workers: Option<Within<0, 256>>,
    /// Keep each of these threads on one processor
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pin_workers: Option<bool>,
    /// What a replica that comes back does before it answers [default: handoff]
    #[arg(long, value_name = "MODE")]
    pub recovery: Option<Recovery>,
    /// Threads that talk to clients [default: half of the cores]
    #[arg(long, value_name = "N")]
    pub io_threads: Option<Within<1, 256>>,
    /// What to log on stderr; without it, what RUST_LOG says, or else info
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<LogLevel>,
    /// Its place among other replicas.
    #[command(flatten)]
    #[serde(default)]
    pub cluster: ClusterSettings,
}

/// A replica's place among others, as far as it is given; `[cluster]` in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields, expecting = "settings of a cluster")]
pub struct ClusterSettings {
    /// Which replica of the cluster this is; with --cluster
    #[arg(long, value_name = "N")]
    pub replica: Option<Within<1, 15>>,
    /// All replicas of the cluster, this one included: its number, and where the others reach it
    #[arg(long = "cluster", value_name = "N=HOST:PORT,...")]
    pub members: Option<Members>,
    /// Where this replica listens for the others, if not where they reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_listen: Option<PeerAddress>,
    /// A file with the cluster's secret, the same for all replicas: 16 to 1024 bytes
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// How long a client waits for a majority before it gets an error [default: 5000]
    #[arg(long, value_name = "N")]
    pub request_timeout_ms: Option<Within<1, 3_600_000>>,
}

/// How commands that don't conflict are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// The last command that touches each key, command by command.
    Table,
    /// A bitmap of the keys of each batch.
    Bitmap,
    /// A graph of the batches.
    Graph,
    /// Nothing at the same time.
    Sequential,
}

/// What a replica that comes back does before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// It installs all segments and executes all that it missed.
    Classic,
    /// It installs all segments; what somebody waits for is executed first.
    Speedy,
    /// Segments are installed when something needs them; what somebody waits for is executed first.
    OnDemand,
    /// What was missed comes from another replica, first what somebody waits for; else as on demand.
    Handoff,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What stops the server.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens now and then.
    Info,
    /// What happens often.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As a filter's directive.
    pub fn directive(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl Settings {
    /// These settings; what they don't give, from the file if one is named; all of it checked.
    ///
    /// # Errors
    /// The file can't be used, or a setting is wrong, or they don't go together.
    pub fn checked(self, file: Option<&Path>) -> Result<Checked, SettingsError> {
        let settings = match file {
            Some(path) => self.or(file::read(path)?),
            None => self,
        };
        check::check(settings)
    }

    /// Taken apart as a whole, so that no setting is forgotten here.
    fn or(self, other: Settings) -> Settings {
        let Settings {
            data,
            listen,
            segments,
            log_file_mb,
            max_value_mb,
            checkpoint_log_mb,
            checkpoint_seconds,
            scheduler,
            workers,
            pin_workers,
            recovery,
            io_threads,
            log,
            cluster,
        } = self;
        Settings {
            data: data.or(other.data),
            listen: listen.or(other.listen),
            segments: segments.or(other.segments),
            log_file_mb: log_file_mb.or(other.log_file_mb),
            max_value_mb: max_value_mb.or(other.max_value_mb),
            checkpoint_log_mb: checkpoint_log_mb.or(other.checkpoint_log_mb),
            checkpoint_seconds: checkpoint_seconds.or(other.checkpoint_seconds),
            scheduler: scheduler.or(other.scheduler),
            workers: workers.or(other.workers),
            pin_workers: pin_workers.or(other.pin_workers),
            recovery: recovery.or(other.recovery),
            io_threads: io_threads.or(other.io_threads),
            log: log.or(other.log),
            cluster: cluster.or(other.cluster),
        }
    }
}

impl ClusterSettings {
    fn or(self, other: ClusterSettings) -> ClusterSettings {
        let ClusterSettings { replica, members, peer_listen, secret_file, request_timeout_ms } = self;
        ClusterSettings {
            replica: replica.or(other.replica),
            members: members.or(other.members),
            peer_listen: peer_listen.or(other.peer_listen),
            secret_file: secret_file.or(other.secret_file),
            request_timeout_ms: request_timeout_ms.or(other.request_timeout_ms),
        }
    }

    /// The flag of one of these that is given, where nothing else says that there is a cluster.
    fn first_given(&self) -> Option<&'static str> {
        let ClusterSettings { replica, members, peer_listen, secret_file, request_timeout_ms } = self;
        [
            (replica.is_some(), "--replica"),
            (members.is_some(), "--cluster"),
            (peer_listen.is_some(), "--peer-listen"),
            (secret_file.is_some(), "--secret-file"),
            (request_timeout_ms.is_some(), "--request-timeout-ms"),
        ]
        .into_iter()
        .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}
