//! Schedulers: what scheduling costs on one core, what commands of a certain cost gain on this machine's cores and on simulated
//! ones, batches that wait in vain, and memory.

use clap::{Parser, ValueEnum};
use skink_benches::plot::{Chart, Curve, Scale};
use skink_benches::report::{Goal, Measurement, Reach, Report, interleave};
use skink_benches::schedule::batches::{COMMANDS, Mix, digest};
use skink_benches::schedule::contender::{self, ALL, Contender, Costs, Supply, TAKE};
use skink_benches::schedule::execution::{self, How, Spin};
use skink_benches::schedule::{false_conflicts, simulation};
use skink_engine::command::Access;
use skink_replication::scheduler::{BatchNumber, Footprints, Scheduler, TableScheduler, Touch};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Commands scheduled in a second on one core.
    Schedule,
    /// Commands that take a certain time, on this machine's cores.
    Execute,
    /// The same on simulated cores.
    Simulate,
    /// Batches that meet without a common key.
    FalseConflicts,
    /// Memory of the table.
    Memory,
    /// Popular keys, and transactions.
    Mixes,
}

/// Measures schedulers.
#[derive(Parser)]
struct Arguments {
    /// Only see that everything runs. The figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only these parts, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Rounds; in each, every contender is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds of each stretch of scheduling.
    #[arg(long, default_value_t = 50)]
    stretch_ms: u64,
    /// Folder for the results as Markdown and CSV, and for plots as SVG.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Arguments {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    fn stretch(&self) -> Duration {
        Duration::from_millis(if self.quick { 1 } else { self.stretch_ms })
    }

    fn workers(&self) -> &'static [usize] {
        if self.quick { &[1, 4] } else { &[1, 2, 4, 8, 16, 32, 64] }
    }

    /// Batches that a contender gets again and again. The more, the longer ago the table has last seen a key; of bitmaps, as many as
    /// go into the processor's cache.
    fn supply(&self, contender: Contender, mix: Mix) -> Supply {
        let batches = match contender {
            _ if self.quick => 40,
            Contender::Bitmap(_) => 300,
            _ => 10_000,
        };
        Supply::new(contender, mix, batches, 1)
    }
}

const CONFLICTS: [Mix; 3] = [Mix::Conflicts(0), Mix::Conflicts(5), Mix::Conflicts(50)];
const TABLE: &str = "table";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut report = Report::new("schedule");
    report.note(format!(
        "batches of {COMMANDS} commands{}",
        if arguments.quick { "; QUICK: figures mean nothing" } else { "" }
    ));
    if arguments.has(Part::Schedule) {
        schedule(&arguments, &mut report)?;
    }
    if arguments.has(Part::Mixes) {
        mixes(&arguments, &mut report)?;
    }
    if arguments.has(Part::Execute) {
        execute(&arguments, &mut report)?;
    }
    if arguments.has(Part::Simulate) {
        simulate(&arguments, &mut report)?;
    }
    if arguments.has(Part::FalseConflicts) {
        measure_false_conflicts(&arguments, &mut report);
    }
    if arguments.has(Part::Memory) {
        memory(&arguments, &mut report);
    }
    report.publish(arguments.out.as_deref())?;
    Ok(())
}

fn scheduled(mix: Mix, workers: usize) -> String {
    format!("scheduled, {}, workers: {workers}", mix.name())
}

fn schedule(arguments: &Arguments, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for mix in CONFLICTS {
        measure_scheduling(arguments, mix, arguments.workers(), report)?;
        for workers in arguments.workers() {
            for other in ["bitmap 1e5", "bitmap 1e6", "graph"] {
                let metric = scheduled(mix, *workers);
                report.goal(Goal { metric, contender: TABLE, against: Some(other), reach: Reach::AtLeast(1.0) });
            }
            if mix == Mix::Conflicts(0) {
                let metric = scheduled(mix, *workers);
                report.goal(Goal { metric, contender: TABLE, against: None, reach: Reach::AtLeast(10.0) });
            }
        }
        let curve = |contender: &Contender| {
            let name = contender.name();
            let median = |workers: &usize| Some((*workers as f64, report.median(&scheduled(mix, *workers), &name)?));
            Curve { points: arguments.workers().iter().filter_map(median).collect(), name }
        };
        let chart = Chart {
            title: format!("scheduled on one core, {}, M/s", mix.name()),
            x: "workers".to_owned(),
            curves: ALL.iter().map(curve).collect(),
            scale: Scale::Logarithmic,
        };
        write_chart(arguments, &chart, &format!("scheduled-{}", stem(mix)))?;
    }
    Ok(())
}

fn stem(mix: Mix) -> String {
    match mix {
        Mix::Conflicts(percent) => format!("conflicts-{percent}"),
        Mix::Zipf => "zipf".to_owned(),
        Mix::Transactions => "transactions".to_owned(),
    }
}

fn write_chart(arguments: &Arguments, chart: &Chart, stem: &str) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &arguments.out {
        chart.write(folder, stem)?;
    }
    Ok(())
}

fn measure_scheduling(
    arguments: &Arguments,
    mix: Mix,
    workers: &[usize],
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    eprintln!("scheduling: {}", mix.name());
    let supplies: Vec<(Contender, Supply)> =
        ALL.iter().map(|contender| (*contender, arguments.supply(*contender, mix))).collect();
    for workers in workers {
        interleave(&supplies, arguments.rounds(), |(contender, supply), round| {
            let throughput = contender::throughput(*contender, *workers, supply, arguments.stretch());
            let measurement = Measurement::higher(scheduled(mix, *workers), "M/s", throughput / 1e6);
            report.add(&contender.name(), round, measurement);
            Ok::<(), Box<dyn Error>>(())
        })?;
    }
    Ok(())
}

fn mixes(arguments: &Arguments, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for mix in [Mix::Zipf, Mix::Transactions] {
        let workers: &[usize] = if arguments.quick { &[4] } else { &[2, 16, 64] };
        measure_scheduling(arguments, mix, workers, report)?;
        simulate_mix(arguments, mix, 10, report)?;
    }
    Ok(())
}

fn execute(arguments: &Arguments, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let spin = Spin::calibrate();
    let hows = [How::InOrder, How::Pool(0), How::Pool(2), How::Threads(2)];
    for mix in &CONFLICTS[..2] {
        for (cost_us, batches) in [(0, 4_000), (1, 2_000), (10, 400), (100, 40)] {
            eprintln!("executing: {}, {cost_us} us", mix.name());
            let batches = if arguments.quick { 4 } else { batches };
            let metric = format!("executed, {}, {cost_us} us each", mix.name());
            interleave(&hows, arguments.rounds(), |how, round| {
                let throughput = execution::throughput(*how, *mix, cost_us, batches, spin)?;
                report.add(&how.name(), round, Measurement::higher(&metric, "k/s", throughput / 1e3));
                Ok::<(), Box<dyn Error>>(())
            })?;
            let mut goal = |contender, reach| {
                let against = Some("one by one");
                report.goal(Goal { metric: metric.clone(), contender, against, reach: Reach::AtLeast(reach) });
            };
            goal("pool, no threads", 0.95);
            goal("pool, 2 threads", if cost_us >= 10 { 1.8 } else { 0.95 });
        }
    }
    Ok(())
}

fn simulate(arguments: &Arguments, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for mix in CONFLICTS {
        for command_us in [1, 10, 100] {
            simulate_mix(arguments, mix, command_us, report)?;
        }
    }
    Ok(())
}

/// Simulated throughput, as a share of the ideal.
fn simulate_mix(arguments: &Arguments, mix: Mix, command_us: u64, report: &mut Report) -> Result<(), Box<dyn Error>> {
    eprintln!("simulating: {}, {command_us} us", mix.name());
    let wake_ns = execution::wake_ns();
    let mut curves = vec![Curve { name: "ideal".to_owned(), points: Vec::new() }];
    let all_workers: Vec<usize> = arguments.workers().iter().copied().filter(|workers| *workers > 1).collect();
    let command_ns = command_us as f64 * 1e3;
    for contender in ALL.into_iter().filter(|contender| *contender != Contender::Table(1)) {
        let supply = arguments.supply(contender, mix);
        let mut points = Vec::new();
        for workers in &all_workers {
            let mut measured: Vec<Costs> = (0..arguments.rounds())
                .map(|_| contender::costs(contender, *workers, &supply, arguments.stretch() / 2))
                .collect();
            measured.sort_by(|left, right| right.throughput(COMMANDS).total_cmp(&left.throughput(COMMANDS)));
            let costs = measured[measured.len() / 2];
            let batches = if arguments.quick { 50 } else { 100 * *workers as u64 };
            let setting = simulation::Setting { contender, workers: *workers, command_ns, costs, wake_ns, batches };
            let reached = simulation::throughput(setting, &supply);
            let ideal = simulation::ideal(*workers, command_ns, batches, &supply);
            points.push((*workers as f64, reached / 1e6));
            if contender == Contender::Table(TAKE) {
                curves[0].points.push((*workers as f64, ideal / 1e6));
            }
            let metric = format!("simulated, {}, {command_us} us each, cores: {workers}, of the ideal", mix.name());
            report.add(&contender.name(), 0, Measurement::higher(&metric, "", reached / ideal));
            if contender == Contender::Table(TAKE) && matches!(mix, Mix::Conflicts(_)) {
                report.goal(Goal { metric, contender: TABLE, against: None, reach: Reach::AtLeast(0.9) });
            }
        }
        curves.push(Curve { name: contender.name(), points });
    }
    let title = format!("{command_us} us a command, {}, M/s", mix.name());
    let chart = Chart { title, x: "cores".to_owned(), curves, scale: Scale::Logarithmic };
    write_chart(arguments, &chart, &format!("simulated-{}-{command_us}us", stem(mix)))
}

fn measure_false_conflicts(arguments: &Arguments, report: &mut Report) {
    eprintln!("false conflicts");
    let metric = "pairs of batches that meet without a common key";
    for round in 0..arguments.rounds() {
        let seed = round as u64;
        let (few, many) = if arguments.quick { (200, 2_000) } else { (2_000, 100_000) };
        let mut add = |contender: &str, share: f64| {
            report.add(contender, round, Measurement::lower(metric, "%", share * 100.0));
        };
        add("bitmap 1e5", false_conflicts::by_bitmap(100_000, few, seed));
        add("bitmap 1e6", false_conflicts::by_bitmap(1_000_000, few, seed));
        add(TABLE, false_conflicts::by_digest(many, seed));
    }
    let goal = Goal { metric: metric.to_owned(), contender: TABLE, against: None, reach: Reach::AtMost(0.001) };
    report.goal(goal);
}

/// The most that the table holds while a million commands come in, none of which is complete.
fn memory(arguments: &Arguments, report: &mut Report) {
    eprintln!("memory");
    let batches = if arguments.quick { 200 } else { 20_000 };
    for with_reads in [false, true] {
        let mut scheduler = TableScheduler::default();
        let mut most = 0;
        for batch in 0..batches {
            let mut footprints = Footprints::default();
            for number in batch * COMMANDS as u64..(batch + 1) * COMMANDS as u64 {
                // With reads: two commands a key, of which both read or both write.
                let access = if with_reads && number % 4 < 2 { Access::Read } else { Access::Write };
                let key = if with_reads { number / 2 } else { number };
                footprints.push_keys([Touch { digest: digest(key), access }]);
            }
            scheduler.admit(BatchNumber::new(batch + 1), &footprints);
            most = most.max(scheduler.memory_bytes());
        }
        let what = if with_reads { "half of them reads, two a key" } else { "writes of a key each" };
        let metric = format!("memory with {} commands outstanding, {what}", scheduler.outstanding());
        report.add(TABLE, 0, Measurement::lower(&metric, "MiB", most as f64 / f64::from(1 << 20)));
        report.goal(Goal { metric, contender: TABLE, against: None, reach: Reach::AtMost(32.0) });
    }
}
