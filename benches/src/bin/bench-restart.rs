//! Restarts: from the start of the process until the first correct answer, after a clean stop and after kill -9
//! under load, with a warm page cache.
//!
//! Each round of a server: start (measured: clean), run SETs from 64 clients, kill, start (measured: kill),
//! compact, stop cleanly. Compacting means what spares the server work at its next start: for redis-server a
//! rewrite of its log, for others the request given by `--compact`. The time to replay is the whole time to the
//! first answer; what a server still replays after it has answered isn't seen here.
//!
//! Embedded engines run in child processes: one is killed while 64 threads update durably, another opens the
//! folder and reads a key.

use clap::Parser;
use skink_benches::child::{self, Subject, Task};
use skink_benches::cli::{Common, Engines, Servers};
use skink_benches::load::{self, Load, OnLoss, Outcome};
use skink_benches::peers::redis_server;
use skink_benches::peers::server::{Server, ServerCommand, ServerError};
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::resp::Reply;
use skink_benches::workload::{Random, Workload};
use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Clients of the load under which servers are killed.
const CLIENTS: usize = 64;

/// Measures restarts.
#[derive(Parser)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    engines: Engines,
    /// Sizes of the state in MB (values only), separated by commas; takes the place of --keys.
    #[arg(long, value_delimiter = ',', default_value = "512")]
    sizes_mb: Vec<u64>,
    /// Request that makes a server other than redis-server spare itself work at its next start.
    #[arg(long, default_value = "CHECKPOINT")]
    compact: String,
    #[command(subcommand)]
    child: Option<Task>,
}

enum Kind {
    Server(ServerCommand),
    Engine(Subject),
}

struct Contender {
    name: String,
    kind: Kind,
    folder: TempDir,
}

/// What restarts are measured with.
struct Setting<'a> {
    workload: &'a Workload,
    stretch: Duration,
    compact: &'a str,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(task) = &arguments.child {
        return child::perform(task);
    }
    let common = &arguments.common;
    let mut report = Report::new("restart");
    let sizes = if common.quick { &arguments.sizes_mb[..1] } else { &arguments.sizes_mb };
    for size_mb in sizes {
        let workload = common.workload_of((size_mb * 1_000_000 / common.value_bytes() as u64).max(1));
        report.note(format!("{size_mb} MB: {}", common.describe(&workload)));
        let setting = Setting { workload: &workload, stretch: common.stretch(), compact: &arguments.compact };
        let contenders = prepare(&arguments, &setting)?;
        interleave(&contenders, common.rounds(), |contender, round| {
            eprintln!("{size_mb} MB, round {round}: {}", contender.name);
            let number = Random::new(common.seed() + round as u64).below(workload.keys());
            for measurement in measure(contender, &setting, round as u64 + 1, number)? {
                let metric = format!("{size_mb} MB, {}", measurement.metric);
                report.add(&contender.name, round, Measurement { metric, ..measurement });
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
    }
    report.publish(common.out.as_deref())?;
    Ok(())
}

/// Fills every contender and stops it cleanly.
fn prepare(arguments: &Arguments, setting: &Setting<'_>) -> Result<Vec<Contender>, Box<dyn Error>> {
    let mut contenders = Vec::new();
    for command in arguments.servers.commands() {
        eprintln!("loading {}", command.name());
        let folder = arguments.common.temporary_folder(command.name())?;
        let server = command.start(folder.path())?;
        load::run(&Load::fill(server.address()), setting.workload)?;
        compact(&server, command.name(), setting.compact)?;
        server.stop()?;
        contenders.push(Contender { name: command.name().to_owned(), kind: Kind::Server(command), folder });
    }
    for engine in arguments.engines.chosen()? {
        eprintln!("loading {}", engine.name);
        let folder = arguments.common.temporary_folder(engine.name)?;
        child::fill_and_close(engine.name, folder.path(), setting.workload)?;
        let subject = Subject::new(engine.name, folder.path(), setting.workload);
        contenders.push(Contender { name: engine.name.to_owned(), kind: Kind::Engine(subject), folder });
    }
    Ok(contenders)
}

fn measure(
    contender: &Contender,
    setting: &Setting<'_>,
    stretch: u64,
    number: u64,
) -> Result<Vec<Measurement>, Box<dyn Error>> {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (clean, killed, replayed) = match &contender.kind {
        Kind::Server(command) => {
            let (clean, killed, outcome) = restart_server(command, contender.folder.path(), setting, stretch, number)?;
            (clean, killed, Some(outcome.requests))
        }
        Kind::Engine(subject) => {
            let clean = subject.time_open(number)?;
            subject.kill_under_load(stretch, setting.stretch)?;
            let killed = subject.time_open(number)?;
            // Whatever the recovery left undone, a second open does before the next clean measurement.
            subject.time_open(number)?;
            (clean, killed, None)
        }
    };
    let mut measurements = vec![
        Measurement::lower("clean stop: first answer", "ms", ms(clean)),
        Measurement::lower("kill -9: first answer", "ms", ms(killed)),
    ];
    if let Some(commands) = replayed {
        let commands = commands as f64 / 1e3;
        measurements.push(Measurement::higher("kill -9: commands since compacting", "k", commands));
        let rate = commands / killed.as_secs_f64();
        measurements.push(Measurement::higher("kill -9: those commands by the time to the answer", "k/s", rate));
    }
    Ok(measurements)
}

fn restart_server(
    command: &ServerCommand,
    folder: &Path,
    setting: &Setting<'_>,
    stretch: u64,
    number: u64,
) -> Result<(Duration, Duration, Outcome), Box<dyn Error>> {
    let mut server = command.spawn(folder)?;
    let clean = await_value(&mut server, setting.workload, number)?;
    let load = Load { on_loss: OnLoss::End, ..Load::updates(server.address()) }
        .connections(CLIENTS)
        .first_version(stretch << 40)
        // The kill ends it; this is the bound in case the kill fails.
        .duration(setting.stretch + Duration::from_secs(60));
    let outcome = thread::scope(|scope| -> Result<Outcome, Box<dyn Error>> {
        let running = scope.spawn(|| load::run(&load, setting.workload));
        thread::sleep(setting.stretch);
        server.kill()?;
        Ok(running.join().expect("the load generator panicked")?)
    })?;
    let mut server = command.spawn(folder)?;
    let killed = await_value(&mut server, setting.workload, number)?;
    // A server may answer while it still replays; the reply to this request must come after that.
    compact(&server, command.name(), setting.compact)?;
    server.stop()?;
    Ok((clean, killed, outcome))
}

/// Time since the start of the process until a GET returns the key's own unaltered value.
fn await_value(server: &mut Server, workload: &Workload, number: u64) -> Result<Duration, ServerError> {
    let is_correct = |reply: Reply<'_>| match reply {
        Reply::Bulk(value) => workload.check_value(number, value).is_some(),
        _ => false,
    };
    server.await_reply(&[b"GET", &workload.key(number)], is_correct)
}

fn compact(server: &Server, name: &str, request: &str) -> Result<(), ServerError> {
    if name == redis_server::NAME {
        return redis_server::rewrite_log(server);
    }
    server.ask(&mut server.client()?, request)
}
