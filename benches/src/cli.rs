//! Arguments that all programs share, and what follows from them.

use crate::peers::server::ServerCommand;
use crate::peers::{ENGINES, Engine, redis_server};
use crate::workload::Workload;
use clap::Args;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// The workload, the rounds and the places.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Only see that everything runs: little data, one round, fractions of a second. The figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// Rounds; in each, every contender is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Number of keys.
    #[arg(long, default_value_t = 500_000)]
    keys: u64,
    /// Length of values in bytes.
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Seconds of each measured stretch.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seed of keys, values and pickers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the contenders' data; must be on the disk that is to be measured. Each contender gets a
    /// temporary folder in it.
    #[arg(long, default_value = "target/bench-data")]
    data_folder: PathBuf,
    /// Folder for the results as Markdown and CSV.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl Common {
    /// Rounds to run.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// Length of a measured stretch.
    pub fn stretch(&self) -> Duration {
        if self.quick { Duration::from_millis(100) } else { Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0)) }
    }

    /// The workload.
    pub fn workload(&self) -> Workload {
        self.workload_of(self.keys)
    }

    /// The workload with another number of keys.
    pub fn workload_of(&self, keys: u64) -> Workload {
        Workload::new(if self.quick { keys.min(2_000) } else { keys }, self.value_bytes, self.seed)
    }

    /// Length of values.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A folder that goes away with its guard.
    pub fn temporary_folder(&self, contender: &str) -> io::Result<TempDir> {
        fs::create_dir_all(&self.data_folder)?;
        if rustix::fs::statfs(&self.data_folder)?.f_type == TMPFS_MAGIC {
            eprintln!("{} is in memory: what is durable there costs nothing", self.data_folder.display());
        }
        tempfile::Builder::new().prefix(&format!("{contender}-")).tempdir_in(&self.data_folder)
    }

    /// A line for the report that says what was run.
    pub fn describe(&self, workload: &Workload) -> String {
        format!(
            "{} keys, values of {} bytes, stretches of {:.1} s, seed {}{}",
            workload.keys(),
            workload.value_bytes(),
            self.stretch().as_secs_f64(),
            self.seed,
            if self.quick { "; QUICK: figures mean nothing" } else { "" },
        )
    }
}

/// Skink's program, for those who start whole clusters of it.
#[derive(Debug, Clone, Args)]
pub struct Binary {
    /// Skink's binary [default: the one beside this program].
    #[arg(long)]
    skink: Option<PathBuf>,
}

impl Binary {
    /// Where it is; it need not be there.
    pub fn path(&self) -> io::Result<PathBuf> {
        match &self.skink {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("skink")),
        }
    }
}

/// Which servers take part.
#[derive(Debug, Clone, Args)]
pub struct Servers {
    /// A server, as NAME=COMMAND. `{port}` and `{dir}` in the command stand for the port and the data folder;
    /// words are split at spaces, quoting has no meaning. Default: `skink` beside this program, if it was built.
    #[arg(long = "contender", value_name = "NAME=COMMAND")]
    contenders: Vec<ServerCommand>,
    /// Leave out redis-server.
    #[arg(long)]
    no_redis: bool,
}

impl Servers {
    /// The servers under test first, redis-server last.
    pub fn commands(&self) -> Vec<ServerCommand> {
        let mut commands = self.contenders.clone();
        if commands.is_empty() {
            commands.extend(skink_beside_this_program());
        }
        if !self.no_redis {
            commands.push(redis_server::command());
        }
        commands
    }
}

fn skink_beside_this_program() -> Option<ServerCommand> {
    let binary = std::env::current_exe().ok()?.with_file_name("skink");
    if !binary.is_file() {
        eprintln!("no --contender given and {} doesn't exist: measuring peers only", binary.display());
        return None;
    }
    let arguments = ["serve", "--data", "{dir}", "--listen", "127.0.0.1:{port}"].map(str::to_owned);
    Some(ServerCommand::new("skink", binary, arguments))
}

/// Which embedded engines take part.
#[derive(Debug, Clone, Args)]
pub struct Engines {
    /// Engines to measure, separated by commas; all that were built in by default.
    #[arg(long = "engines", value_delimiter = ',', value_name = "NAME")]
    names: Vec<String>,
}

impl Engines {
    /// The chosen engines.
    pub fn chosen(&self) -> io::Result<Vec<&'static Engine>> {
        if self.names.is_empty() {
            return Ok(ENGINES.iter().collect());
        }
        self.names.iter().filter(|name| *name != "none").map(|name| engine(name)).collect()
    }
}

/// The engine with this name.
pub fn engine(name: &str) -> io::Result<&'static Engine> {
    ENGINES.iter().find(|engine| engine.name == name).ok_or_else(|| {
        let known: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
        io::Error::other(format!("no engine named {name}; there are {}", known.join(", ")))
    })
}
