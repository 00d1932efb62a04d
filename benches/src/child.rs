//! An embedded engine in a process of its own: the program starts itself again, so that a restart includes all
//! that a process start costs, a kill hits the engine alone, and memory is the engine's.
//!
//! | subcommand | does | prints |
//! | --- | --- | --- |
//! | `child-open` | opens, reads one key, checks it, closes | `answered` after the check |
//! | `child-load` | opens, updates durably from many threads until killed or its time is over | `loading` once it is open |
//! | `child-space` | fills, overwrites everything some times | a figure a line: its name, a tab, its value |

use crate::cli::engine;
use crate::embedded::{self, EmbeddedError, Operation, Plan};
use crate::figures;
use crate::peers::{Embedded, EngineError, Options};
use crate::workload::Workload;
use clap::{Args, Subcommand};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Threads of `child-load`.
const LOAD_THREADS: u64 = 64;

/// What a child works on.
#[derive(Debug, Clone, Args)]
pub struct Subject {
    engine: String,
    folder: PathBuf,
    keys: u64,
    value_bytes: usize,
    seed: u64,
}

/// What a child does. Not for use by hand.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Opens and reads one key.
    #[command(hide = true)]
    ChildOpen {
        /// On what.
        #[command(flatten)]
        subject: Subject,
        /// Which key.
        number: u64,
    },
    /// Updates until killed.
    #[command(hide = true)]
    ChildLoad {
        /// On what.
        #[command(flatten)]
        subject: Subject,
        /// Sets apart the versions of several loads.
        stretch: u64,
        /// Ends by itself after this time.
        limit_seconds: u64,
    },
    /// Fills and overwrites.
    #[command(hide = true)]
    ChildSpace {
        /// On what.
        #[command(flatten)]
        subject: Subject,
        /// How often to overwrite everything.
        overwrites: u64,
    },
}

impl Subject {
    /// An engine with its folder and the workload it holds.
    pub fn new(engine: &str, folder: &Path, workload: &Workload) -> Self {
        Self {
            engine: engine.to_owned(),
            folder: folder.to_owned(),
            keys: workload.keys(),
            value_bytes: workload.value_bytes(),
            seed: workload.seed(),
        }
    }

    fn open(&self, durable: bool) -> Result<(Box<dyn Embedded>, Workload), Box<dyn Error>> {
        let workload = Workload::new(self.keys, self.value_bytes, self.seed);
        let open = engine(&self.engine)?.open;
        Ok((open(&self.folder, &Options::new(workload.live_bytes(), durable))?, workload))
    }

    fn command(&self, task: &str, more: &[u64]) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(task).arg(&self.engine).arg(&self.folder);
        for number in [self.keys, self.value_bytes as u64, self.seed].iter().chain(more) {
            command.arg(number.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    /// Time from the start of a process until it has opened the engine, read the key and checked its value.
    pub fn time_open(&self, number: u64) -> io::Result<Duration> {
        let mut command = self.command("child-open", &[number])?;
        let start = Instant::now();
        let mut child = Running(command.spawn()?);
        child.await_line("answered")?;
        let elapsed = start.elapsed();
        child.finish()?;
        Ok(elapsed)
    }

    /// Opens the engine in a process that updates, and kills that process after `duration`.
    pub fn kill_under_load(&self, stretch: u64, duration: Duration) -> io::Result<()> {
        let limit = duration.as_secs() + 30;
        let mut child = Running(self.command("child-load", &[stretch, limit])?.spawn()?);
        child.await_line("loading")?;
        std::thread::sleep(duration);
        child.0.kill()
    }

    /// Figures of an engine that was filled and overwritten, by name.
    pub fn space(&self, overwrites: u64) -> io::Result<Vec<(String, f64)>> {
        let mut child = Running(self.command("child-space", &[overwrites])?.spawn()?);
        let output = child.0.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;
        let mut figures = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            let figure = line.split_once('\t').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
            figures.push(figure.ok_or_else(|| io::Error::other(format!("not a figure: {line}")))?);
        }
        child.finish()?;
        Ok(figures)
    }
}

/// A child, killed when dropped.
struct Running(Child);

impl Running {
    fn await_line(&mut self, expected: &str) -> io::Result<()> {
        let output = self.0.stdout.as_mut().ok_or_else(|| io::Error::other("the child has no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim_end() == expected { Ok(()) } else { Err(io::Error::other(format!("a child failed: {line:?}"))) }
    }

    fn finish(&mut self) -> io::Result<()> {
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("a child failed: {status}"))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already, both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Carries out a child's task within this process.
pub fn perform(task: &Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::ChildOpen { subject, number } => {
            let (engine, workload) = subject.open(true)?;
            embedded::read_checked(engine.as_ref(), &workload, *number)?;
            say("answered")?;
        }
        Task::ChildLoad { subject, stretch, limit_seconds } => {
            let (engine, workload) = subject.open(true)?;
            say("loading")?;
            let duration = Duration::from_secs(*limit_seconds);
            let (operation, threads) = (Operation::Update, LOAD_THREADS);
            let plan = Plan { operation, threads, duration, timed: false, stretch: *stretch };
            embedded::run(engine.as_ref(), &workload, &plan)?;
        }
        Task::ChildSpace { subject, overwrites } => {
            let (engine, workload) = subject.open(false)?;
            embedded::fill(engine.as_ref(), &workload, 0)?;
            say_space("after loading", &subject.folder)?;
            for version in 1..=*overwrites {
                embedded::fill(engine.as_ref(), &workload, version)?;
            }
            check_some(engine.as_ref(), &workload, *overwrites)?;
            say_space("after overwriting", &subject.folder)?;
        }
    }
    Ok(())
}

fn check_some(engine: &dyn Embedded, workload: &Workload, version: u64) -> Result<(), EmbeddedError> {
    for number in [0, workload.keys() / 2, workload.keys() - 1] {
        if embedded::read_checked(engine, workload, number)? != version {
            return Err(EmbeddedError::WrongValue(number));
        }
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn say_space(when: &str, folder: &Path) -> io::Result<()> {
    say(&format!("memory beyond mapped files {when}\t{}", figures::anonymous_bytes(std::process::id())?))?;
    say(&format!("disk {when}\t{}", figures::tree_bytes(folder)?))
}

/// Fills an engine in `folder` within this process and closes it.
pub fn fill_and_close(name: &str, folder: &Path, workload: &Workload) -> Result<(), Box<dyn Error>> {
    let open = engine(name)?.open;
    let engine = open(folder, &Options::new(workload.live_bytes(), false))?;
    embedded::fill(engine.as_ref(), workload, 0).map_err(|error: EngineError| error.into())
}
