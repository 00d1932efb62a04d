//! The command line.

use crate::client::DEFAULT_ADDRESS;
use crate::settings::{AddressError, NewMember, PeerAddress, Settings};
use clap::{Args, Parser, Subcommand};
use skink_replication::paxos::ReplicaId;
use std::ffi::OsString;
use std::path::PathBuf;

/// Skink, a durable key-value database that speaks the protocol of Redis.
#[derive(Debug, Parser)]
#[command(name = "skink", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server on a data directory, until SIGINT or SIGTERM.
    Serve(ServeArguments),
    /// Talk to a server, in statements or commands of Redis.
    Shell(ShellArguments),
    /// Check every checksum of a data directory or a backup.
    Verify(VerifyArguments),
    /// Look into a data directory.
    Inspect(InspectArguments),
    /// Make a data directory from a backup.
    Restore(RestoreArguments),
    /// Show how the replicas of a cluster stand.
    Status(StatusArguments),
    /// Let replicas of a cluster come in, go, or come back without their disk.
    Replica(ReplicaArguments),
    /// Load three replicas, kill one of them and then another, and check that nothing is lost.
    Demo(DemoArguments),
}

/// `skink serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// A file with settings, in TOML; flags come before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// `skink shell`.
#[derive(Debug, Args)]
pub struct ShellArguments {
    /// Start a server on this data directory, for this shell alone.
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub data: Option<PathBuf>,
    /// The server to talk to.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDRESS)]
    pub connect: String,
    /// Run this text and exit: with 0 if all of it worked, with 1 at the first error.
    #[arg(short = 'c', long = "command", value_name = "TEXT")]
    pub text: Option<OsString>,
}

/// `skink status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Servers of the cluster; the first that answers is asked.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', default_value = DEFAULT_ADDRESS, value_parser = server_address)]
    pub connect: Vec<String>,
    /// Look again and again, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Time between two looks.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(50..=3_600_000))]
    pub interval_ms: u32,
}

/// `skink verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// A data directory, or a backup.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `skink inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// What to look at.
    #[command(subcommand)]
    pub command: InspectCommand,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum InspectCommand {
    /// The dependency log: which keys the batches touch that the newest checkpoint doesn't have.
    Deplog {
        /// A data directory.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Batches to show, the oldest ones first; 0 for the sums alone.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
}

/// `skink restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The backup: a checkpoint's folder, or a copy of one.
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// The data directory to make; an empty folder, or none.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Length of a log file, in MiB [default: 64, or what the longest value needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub log_file_mb: Option<u32>,
}

/// `skink replica`.
#[derive(Debug, Args)]
pub struct ReplicaArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ReplicaCommand,
    /// Any server of the cluster.
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = DEFAULT_ADDRESS)]
    pub connect: String,
}

/// What becomes of a replica.
#[derive(Debug, Subcommand)]
pub enum ReplicaCommand {
    /// Let a replica come in, and wait until it serves.
    Add {
        /// Its number, and where the others reach it.
        #[arg(value_name = "N=HOST:PORT")]
        member: NewMember,
        /// Don't wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a replica go.
    Remove {
        /// Its number.
        #[arg(value_name = "N", value_parser = replica_number)]
        replica: ReplicaId,
    },
    /// Wait for a replica that comes back with an empty folder, as its disk is lost.
    Replace {
        /// Its number.
        #[arg(value_name = "N", value_parser = replica_number)]
        replica: ReplicaId,
    },
}

fn replica_number(text: &str) -> Result<ReplicaId, String> {
    let number = text.parse().ok().and_then(ReplicaId::new);
    number.ok_or_else(|| format!("replicas' numbers are from 1 to {}", ReplicaId::MAX))
}

/// `skink demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// One server in place of three replicas.
    #[arg(long)]
    pub single: bool,
    /// Keys that are written.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub keys: u32,
    /// Seconds of load before each kill.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
}

/// A host and a port; whether there is such a host is seen later.
fn server_address(text: &str) -> Result<String, AddressError> {
    text.trim().parse().map(|address: PeerAddress| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, ReplicaCommand};
    use crate::settings::LogLevel;
    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_its_options() {
        let line = "skink serve --data d --listen localhost:0 --segments 16 --log-file-mb 8 --max-value-mb 1 \
                    --checkpoint-log-mb 32 --checkpoint-seconds 9 --io-threads 2 --log debug";
        let Ok(Command::Serve(serve)) = parsed(line) else { panic!("not parsed") };
        let settings = serve.settings;
        assert_eq!(settings.listen.map(|listen| listen.get().to_string()).as_deref(), Some("127.0.0.1:0"));
        assert_eq!(settings.segments.map(|segments| segments.get()), Some(16));
        assert_eq!((settings.log, serve.config), (Some(LogLevel::Debug), None));
    }

    #[test]
    fn serve_needs_a_data_directory_or_a_file_that_may_name_one() {
        assert_eq!(parsed("skink serve").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        assert!(matches!(parsed("skink serve --config f"), Ok(Command::Serve(_))));
    }

    #[test]
    fn only_loopback_can_be_listened_on() {
        let error = parsed("skink serve --data d --listen 0.0.0.0:7379").unwrap_err();
        assert!(error.to_string().contains("no authentication"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_wrong_member_is_a_wrong_command_line() {
        let error = parsed("skink serve --data d --replica 1 --cluster 1=a:1,2=b").unwrap_err();
        assert!(error.to_string().contains("replica 2: `b` has no port"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_shell_has_one_server() {
        assert!(matches!(parsed("skink shell -c PING"), Ok(Command::Shell(_))));
        let error = parsed("skink shell --data d --connect h:1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn status_asks_one_server_or_several() {
        let Ok(Command::Status(status)) = parsed("skink status") else { panic!("not parsed") };
        assert_eq!(
            (status.connect, status.watch, status.interval_ms),
            (vec!["127.0.0.1:7379".to_string()], false, 1000)
        );
        let Ok(Command::Status(status)) = parsed("skink status --connect a:1,b:2 --watch --interval-ms 50") else {
            panic!("not parsed")
        };
        assert_eq!((status.connect, status.watch), (vec!["a:1".to_string(), "b:2".to_string()], true));
        for line in ["skink status --connect a:1,b", "skink status --connect a:1,", "skink status --interval-ms 49"] {
            assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn restore_needs_to_be_told_from_where_and_to_where() {
        let Ok(Command::Restore(restore)) = parsed("skink restore b --data d --log-file-mb 8") else {
            panic!("not parsed")
        };
        assert_eq!((restore.backup.to_str(), restore.data.to_str()), (Some("b"), Some("d")));
        assert_eq!(restore.log_file_mb, Some(8));
        for line in ["skink restore b", "skink restore --data d"] {
            assert_eq!(parsed(line).unwrap_err().kind(), ErrorKind::MissingRequiredArgument, "{line}");
        }
    }

    #[test]
    fn replicas_come_and_go_by_their_numbers() {
        let Ok(Command::Replica(replica)) = parsed("skink replica add 4=h:7380 --connect i:1") else {
            panic!("not parsed")
        };
        let ReplicaCommand::Add { member, no_wait: false } = replica.command else { panic!("not an addition") };
        assert_eq!((member.replica.get(), member.address.to_string().as_str()), (4, "h:7380"));
        assert_eq!(replica.connect, "i:1");
        assert!(matches!(parsed("skink replica remove 4"), Ok(Command::Replica(_))));
        for line in ["replica add 4", "replica add 0=h:1", "replica add 4=h", "replica remove 16", "replica replace x"]
        {
            assert_eq!(parsed(&format!("skink {line}")).unwrap_err().kind(), ErrorKind::ValueValidation, "{line}");
        }
    }

    #[test]
    fn numbers_are_within_reason() {
        for line in
            ["serve --data d --segments 0", "serve --data d --max-value-mb 4096", "demo --keys 3", "demo --seconds 0"]
        {
            assert_eq!(parsed(&format!("skink {line}")).unwrap_err().kind(), ErrorKind::ValueValidation, "{line}");
        }
    }
}
