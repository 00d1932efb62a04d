//! The command line.

use crate::client::DEFAULT_ADDRESS;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
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
    /// Make a data directory from a backup.
    Restore(RestoreArguments),
    /// Load a server, kill it, start it again, and check that nothing is lost.
    Demo(DemoArguments),
}

/// `skink serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The data directory; it is made where there is none.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address and port to listen on; with port 0, any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = DEFAULT_ADDRESS, value_parser = loopback)]
    pub listen: SocketAddr,
    /// Segments of a new data directory [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub segments: Option<u16>,
    /// Length of a log file of a new data directory, in MiB [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub log_file_mb: Option<u32>,
    /// Longest value, in MiB [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub max_value_mb: Option<u32>,
    /// Take a checkpoint when the log has grown by this much, in MiB
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_log_mb: Option<u32>,
    /// Take a checkpoint after so many seconds with writes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_seconds: Option<u32>,
    /// Threads that talk to clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub io_threads: Option<u16>,
    /// What to log on stderr; without it, what RUST_LOG says, or else info
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<LogLevel>,
}

impl ServeArguments {
    /// With all defaults.
    pub fn new(data: PathBuf, listen: SocketAddr) -> ServeArguments {
        ServeArguments {
            data,
            listen,
            segments: None,
            log_file_mb: None,
            max_value_mb: None,
            checkpoint_log_mb: None,
            checkpoint_seconds: None,
            io_threads: None,
            log: None,
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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

/// `skink verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// A data directory, or a backup.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
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

/// `skink demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Keys that are written.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub keys: u32,
    /// Seconds of load before the kill.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
}

/// An address of this machine that others can't reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_string(),
    };
    let address: SocketAddr =
        text.parse().map_err(|_| format!("expected an IP address and a port, such as {DEFAULT_ADDRESS}"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("this version has no authentication, so it listens only where other machines can't reach it \
         (127.0.0.1 or [::1]); tunnel to it, by SSH for example, from elsewhere"
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, LogLevel};
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
        assert_eq!(serve.listen.to_string(), "127.0.0.1:0");
        assert_eq!((serve.segments, serve.io_threads, serve.log), (Some(16), Some(2), Some(LogLevel::Debug)));
        let Ok(Command::Serve(serve)) = parsed("skink serve --data d") else { panic!("not parsed") };
        assert_eq!(serve.listen.to_string(), "127.0.0.1:7379");
    }

    #[test]
    fn only_loopback_can_be_listened_on() {
        for address in ["0.0.0.0:7379", "192.168.1.1:7379", "[::]:7379"] {
            let error = parsed(&format!("skink serve --data d --listen {address}")).unwrap_err();
            assert!(error.to_string().contains("no authentication"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        assert!(parsed("skink serve --data d --listen [::1]:7379").is_ok());
        assert!(parsed("skink serve --data d --listen 7379").unwrap_err().to_string().contains("expected an IP"));
    }

    #[test]
    fn a_shell_has_one_server() {
        assert!(matches!(parsed("skink shell -c PING"), Ok(Command::Shell(_))));
        let error = parsed("skink shell --data d --connect h:1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
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
    fn numbers_are_within_reason() {
        for line in
            ["serve --data d --segments 0", "serve --data d --max-value-mb 4096", "demo --keys 3", "demo --seconds 0"]
        {
            assert_eq!(parsed(&format!("skink {line}")).unwrap_err().kind(), ErrorKind::ValueValidation, "{line}");
        }
    }
}
