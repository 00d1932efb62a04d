//! Memory beyond mapped files and disk space: after loading, and after everything was overwritten some times.
//!
//! Memory is what the kernel calls anonymous: heap, stacks and private copies of file pages. Embedded engines run
//! in a child process; the generator's own part in it is about 2 MiB. Their own caches count as memory, as it is
//! the engine that decides to keep them there.

use clap::Parser;
use skink_benches::child::{self, Subject, Task};
use skink_benches::cli::{Common, Engines, Servers};
use skink_benches::figures::{anonymous_bytes, disk_bytes};
use skink_benches::load::{self, Load};
use skink_benches::peers::server::{Server, ServerCommand};
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::workload::Workload;
use std::error::Error;
use std::thread;

const MIB: f64 = (1 << 20) as f64;

/// Measures space.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    engines: Engines,
    /// How often everything is overwritten.
    #[arg(long, default_value_t = 10)]
    overwrites: u64,
    /// Entries of a server's data folder that hold its log and are left out of "log aside", separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "log,wal,journal")]
    log_entries: Vec<String>,
    #[command(subcommand)]
    child: Option<Task>,
}

enum Contender {
    Server(ServerCommand),
    Engine(&'static str),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(task) = &arguments.child {
        return child::perform(task);
    }
    let common = &arguments.common;
    let workload = common.workload();
    let mut report = Report::new("space");
    report.note(common.describe(&workload));
    report.note(format!(
        "{} MB of keys and values, overwritten {} times",
        workload.live_bytes() / 1_000_000,
        arguments.overwrites
    ));
    let mut contenders: Vec<_> = arguments.servers.commands().into_iter().map(Contender::Server).collect();
    contenders.extend(arguments.engines.chosen()?.iter().map(|engine| Contender::Engine(engine.name)));
    interleave(&contenders, common.rounds(), |contender, round| match contender {
        Contender::Server(command) => server(command, &arguments, &workload, round, &mut report),
        Contender::Engine(name) => engine(name, &arguments, &workload, round, &mut report),
    })?;
    report.publish(common.out.as_deref())?;
    Ok(())
}

fn memory(when: &str, bytes: f64) -> Measurement {
    Measurement::lower(format!("memory beyond mapped files {when}"), "MiB", bytes / MIB)
}

fn disk(what: &str, bytes: f64, workload: &Workload) -> Measurement {
    Measurement::lower(format!("disk {what}"), "x live data", bytes / workload.live_bytes() as f64)
}

fn server(
    command: &ServerCommand,
    arguments: &Arguments,
    workload: &Workload,
    round: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    eprintln!("round {round}: {}", command.name());
    let folder = arguments.common.temporary_folder(command.name())?;
    let server = command.start(folder.path())?;
    let name = command.name();
    report.add(name, round, memory("when empty", anonymous_bytes(server.pid())? as f64));
    load::run(&Load::fill(server.address()), workload)?;
    add_server(report, name, round, "after loading", &server, arguments, workload)?;
    for version in 1..=arguments.overwrites {
        load::run(&Load::fill(server.address()).first_version(version), workload)?;
    }
    add_server(report, name, round, "after overwriting", &server, arguments, workload)?;
    server.stop()?;
    Ok(())
}

fn add_server(
    report: &mut Report,
    name: &str,
    round: usize,
    when: &str,
    server: &Server,
    arguments: &Arguments,
    workload: &Workload,
) -> Result<(), Box<dyn Error>> {
    // Merging and freeing go on in the background; what is measured is the state that they reach soon.
    thread::sleep(arguments.common.stretch());
    report.add(name, round, memory(when, anonymous_bytes(server.pid())? as f64));
    let entries = disk_bytes(server.data())?;
    let total: u64 = entries.values().sum();
    let log: u64 = arguments.log_entries.iter().filter_map(|entry| entries.get(entry)).sum();
    report.add(name, round, disk(when, total as f64, workload));
    report.add(name, round, disk(&format!("{when}, log aside"), (total - log) as f64, workload));
    Ok(())
}

fn engine(
    name: &str,
    arguments: &Arguments,
    workload: &Workload,
    round: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    eprintln!("round {round}: {name}");
    let folder = arguments.common.temporary_folder(name)?;
    for (figure, value) in Subject::new(name, folder.path(), workload).space(arguments.overwrites)? {
        let measurement = match figure.strip_prefix("disk ") {
            Some(when) => disk(when, value, workload),
            None => Measurement::lower(figure, "MiB", value / MIB),
        };
        report.add(name, round, measurement);
    }
    Ok(())
}
