//! Engines within one process: loading, random reads and updates from one and two threads, durable updates from
//! many threads.
//!
//! Each engine is loaded once; then in every round each is opened, its caches filled, measured, flushed and
//! closed before the next has its turn, so that only one engine's threads and dirty pages exist at a time.

use clap::Parser;
use skink_benches::cli::{Common, Engines};
use skink_benches::embedded::{self, Operation, Plan};
use skink_benches::figures::tree_bytes;
use skink_benches::peers::{Engine, Options};
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::workload::Workload;
use std::error::Error;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest time to fill caches before reads are measured.
const WARM_UP_LIMIT: Duration = Duration::from_secs(30);
/// One megabyte as disks count it.
const MB: f64 = 1e6;

/// Measures embedded engines.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    engines: Engines,
    /// Thread counts for reads and unsynced updates, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<u64>,
    /// Threads of the durable updates; 0 leaves them out.
    #[arg(long, default_value_t = 64)]
    durable_threads: u64,
}

struct Contender {
    engine: &'static Engine,
    folder: TempDir,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let mut report = Report::new("embedded");
    report.note(common.describe(&workload));
    let mut contenders = Vec::new();
    for engine in arguments.engines.chosen()? {
        let contender = Contender { engine, folder: common.temporary_folder(engine.name)? };
        load(&contender, &workload, &mut report)?;
        contenders.push(contender);
    }
    interleave(&contenders, common.rounds(), |contender, round| {
        eprintln!("round {round}: {}", contender.engine.name);
        measure(contender, &arguments, &workload, round, &mut report)
    })?;
    for contender in &contenders {
        let disk = tree_bytes(contender.folder.path())? as f64 / MB;
        report.add(contender.engine.name, 0, Measurement::lower("disk after all updates", "MB", disk));
    }
    report.publish(common.out.as_deref())?;
    Ok(())
}

fn load(contender: &Contender, workload: &Workload, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let Engine { name, open } = contender.engine;
    eprintln!("loading {name}");
    let begin = Instant::now();
    let engine = open(contender.folder.path(), &Options::new(workload.live_bytes(), false))?;
    embedded::fill(engine.as_ref(), workload, 0)?;
    drop(engine);
    let throughput = workload.keys() as f64 / begin.elapsed().as_secs_f64();
    report.add(name, 0, Measurement::higher("loading, to disk", "k/s", throughput / 1e3));
    let disk = tree_bytes(contender.folder.path())? as f64 / MB;
    report.add(name, 0, Measurement::lower("disk after loading", "MB", disk));
    Ok(())
}

fn measure(
    contender: &Contender,
    arguments: &Arguments,
    workload: &Workload,
    round: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let Engine { name, open } = contender.engine;
    let duration = arguments.common.stretch();
    let mut stretch = round as u64 * 100;
    let mut plan = |operation, threads, timed| {
        stretch += 1;
        Plan { operation, threads, duration, timed, stretch }
    };
    let engine = open(contender.folder.path(), &Options::new(workload.live_bytes(), false))?;
    embedded::warm_up(engine.as_ref(), workload, WARM_UP_LIMIT)?;
    for (operation, label) in [(Operation::Read, "read"), (Operation::Update, "update, no sync")] {
        for threads in &arguments.threads {
            let outcome = embedded::run(engine.as_ref(), workload, &plan(operation, *threads, false))?;
            let metric = format!("{label}, threads: {threads}");
            report.add(name, round, Measurement::higher(metric, "k/s", outcome.throughput() / 1e3));
        }
    }
    engine.flush()?;
    drop(engine);
    if arguments.durable_threads == 0 {
        return Ok(());
    }
    let engine = open(contender.folder.path(), &Options::new(workload.live_bytes(), true))?;
    let outcome = embedded::run(engine.as_ref(), workload, &plan(Operation::Update, arguments.durable_threads, true))?;
    let label = format!("durable update, threads: {}", arguments.durable_threads);
    report.add(name, round, Measurement::higher(&label, "k/s", outcome.throughput() / 1e3));
    if let Some(latencies) = outcome.latencies {
        let p50 = latencies.quantile(0.5).as_secs_f64() * 1e3;
        report.add(name, round, Measurement::lower(format!("{label}, p50"), "ms", p50));
    }
    Ok(())
}
