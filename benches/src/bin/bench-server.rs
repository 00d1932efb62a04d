//! Servers over loopback TCP, every write durable before its reply: SETs from 1, 64 and 512 clients, SETs in
//! pipelines, GETs.
//!
//! All servers run from the start and hold all keys; in every round each scenario is measured on one server after
//! the other, so that the values that are compared lie seconds apart. A pause before each lets the previous
//! server finish what it does in the background.

use clap::Parser;
use skink_benches::cli::{Common, Servers};
use skink_benches::load::{self, Keys, Load, Outcome};
use skink_benches::peers::server::Server;
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::workload::{Pick, Workload};
use std::error::Error;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Measures servers.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    servers: Servers,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    load_threads: usize,
    /// Only scenarios whose label contains this text, such as "GET" or "64 clients".
    #[arg(long, default_value = "")]
    only: String,
    /// Draw keys by Zipf's law with this exponent, between 0 and 1, instead of uniformly.
    #[arg(long, value_parser = parse_exponent)]
    zipf: Option<f64>,
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if exponent > 0.0 && exponent < 1.0 => Ok(exponent),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}

struct Scenario {
    label: &'static str,
    connections: usize,
    pipeline: usize,
    read_share: f64,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { label: "SET, 1 client", connections: 1, pipeline: 1, read_share: 0.0 },
    Scenario { label: "SET, 64 clients", connections: 64, pipeline: 1, read_share: 0.0 },
    Scenario { label: "SET, 512 clients", connections: 512, pipeline: 1, read_share: 0.0 },
    Scenario { label: "SET, 64 clients, pipeline 16", connections: 64, pipeline: 16, read_share: 0.0 },
    Scenario { label: "GET, 64 clients", connections: 64, pipeline: 1, read_share: 1.0 },
];

struct Contender {
    name: String,
    server: Server,
    _folder: TempDir,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let mut report = Report::new("server");
    report.note(common.describe(&workload));
    report.note(
        arguments.zipf.map_or("keys uniform".to_owned(), |exponent| format!("keys by Zipf, exponent {exponent}")),
    );
    let mut contenders = Vec::new();
    for command in arguments.servers.commands() {
        eprintln!("loading {}", command.name());
        let folder = common.temporary_folder(command.name())?;
        let server = command.start(folder.path())?;
        load::run(&Load::fill(server.address()), &workload)?;
        contenders.push(Contender { name: command.name().to_owned(), server, _folder: folder });
    }
    for round in 0..common.rounds() {
        let chosen = |(_, scenario): &(usize, &Scenario)| scenario.label.contains(&arguments.only);
        for (index, scenario) in SCENARIOS.iter().enumerate().filter(chosen) {
            eprintln!("round {round}: {}", scenario.label);
            let first_version = ((round * SCENARIOS.len() + index + 1) as u64) << 40;
            let in_turn: Vec<_> = (0..contenders.len()).map(|turn| (round + turn) % contenders.len()).collect();
            interleave(&in_turn, 1, |contender, _| {
                let contender = &contenders[*contender];
                let outcome = measure(scenario, contender, &arguments, &workload, first_version)?;
                add(&mut report, scenario.label, &contender.name, round, &outcome);
                Ok::<_, Box<dyn Error>>(())
            })?;
        }
    }
    for contender in contenders {
        contender.server.stop()?;
    }
    report.publish(common.out.as_deref())?;
    Ok(())
}

fn measure(
    scenario: &Scenario,
    contender: &Contender,
    arguments: &Arguments,
    workload: &Workload,
    first_version: u64,
) -> Result<Outcome, Box<dyn Error>> {
    let stretch = arguments.common.stretch();
    let keys = Keys::Random(arguments.zipf.map_or(Pick::Uniform, Pick::Zipf));
    let load = Load { keys, threads: arguments.load_threads, ..Load::updates(contender.server.address()) }
        .connections(scenario.connections)
        .pipeline(scenario.pipeline)
        .read_share(scenario.read_share)
        .first_version(first_version)
        .duration(stretch);
    thread::sleep(stretch.min(Duration::from_secs(1)));
    let warm_up = Load { duration: Some(stretch / 10), ..load.clone() };
    load::run(&warm_up, workload)?;
    let outcome = load::run(&load, workload)?;
    if outcome.missing > 0 {
        return Err(format!("{}: {} keys are missing", contender.name, outcome.missing).into());
    }
    Ok(outcome)
}

fn add(report: &mut Report, label: &str, contender: &str, round: usize, outcome: &Outcome) {
    let throughput = outcome.throughput() / 1e3;
    report.add(contender, round, Measurement::higher(format!("{label}: throughput"), "k/s", throughput));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let latency = outcome.latencies.quantile(quantile).as_secs_f64() * 1e3;
        report.add(contender, round, Measurement::lower(format!("{label}: {name}"), "ms", latency));
    }
}
