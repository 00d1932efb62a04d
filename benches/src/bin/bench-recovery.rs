//! A replica of three comes back after it missed many commands, in each of the ways that there are: the paper's table II
//! and its figures 5 and 6.
//!
//! Each round of a way of recovery: a new cluster, all keys written once, the peak of the load, a checkpoint, updates in
//! pipelines of 50 at two replicas at a share of that peak, `kill -9` of the third, its restart when it has missed so
//! many commands. See [`recovery`]. A contender is a way of recovery with a dependency: how likely a command of the
//! replica's own clients touches a key that the load touches; `uniform` is always, as all draw from the same keys.

use clap::Parser;
use skink_benches::cli::{Binary, Common};
use skink_benches::cluster::Cluster;
use skink_benches::cluster::contender::Contender;
use skink_benches::cluster::recovery::{self, Absence, FIRST_NEW, PING, Recovery, UP_TO_DATE};
use skink_benches::plot::{Bars, Chart, Curve, Scale};
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::workload::Pick;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measures how replicas come back.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// Ways of recovery, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "classic,speedy,on-demand,handoff")]
    modes: Vec<String>,
    /// Dependencies, in per cent, separated by commas; `uniform` is 100.
    #[arg(long, value_delimiter = ',', default_value = "0,5,uniform")]
    dependencies: Vec<String>,
    /// Commands that the replica misses [default: 1000000; 2000 with --quick].
    #[arg(long)]
    missing: Option<u64>,
    /// Connections of the load.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// The load, as a share of its peak.
    #[arg(long, default_value_t = 0.7)]
    share: f64,
    /// MiB of log after which the others take a checkpoint; so much that none falls into the recovery.
    #[arg(long, default_value_t = 2048)]
    checkpoint_log_mb: u64,
    /// Length of a log file, in MiB: a checkpoint is also due when an eighth of one is full of headers.
    #[arg(long, default_value_t = 256)]
    log_file_mb: u64,
    /// Segments of the state [default: the server's].
    #[arg(long)]
    segments: Option<u16>,
    /// Measure nothing: draw the breakdown (figure 7) of an earlier run, whose `recovery.csv` this is, into --out.
    #[arg(long, requires = "out")]
    redraw: Option<PathBuf>,
}

/// A way of recovery with a dependency.
struct Case {
    mode: String,
    dependency: String,
}

impl Case {
    fn name(&self) -> String {
        let percent = if self.dependency == "uniform" { "" } else { " %" };
        format!("{}, {}{percent}", self.mode, self.dependency)
    }

    /// As a part of a file's name.
    fn stem(&self) -> String {
        format!("{}-{}", self.mode, self.dependency)
    }

    fn probability(&self) -> Result<f64, Box<dyn Error>> {
        match self.dependency.as_str() {
            "uniform" => Ok(1.0),
            percent => Ok(percent.parse::<f64>()? / 100.0),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let missing = arguments.missing.unwrap_or(if common.quick { 2_000 } else { 1_000_000 });
    let skink = arguments.binary.path()?;
    let dependencies = if common.quick { &arguments.dependencies[..1] } else { &arguments.dependencies[..] };
    let case = |dependency: &String, mode: &String| Case { mode: mode.clone(), dependency: dependency.clone() };
    let cases: Vec<Case> =
        dependencies.iter().flat_map(|dependency| arguments.modes.iter().map(|mode| case(dependency, mode))).collect();
    let mut report = Report::new("recovery");
    report.note(common.describe(&workload));
    report.note(format!(
        "{} connections with pipelines of 50 at the other replicas, at {} of their peak",
        arguments.connections, arguments.share
    ));
    if let (Some(file), Some(out)) = (&arguments.redraw, common.out.as_deref()) {
        break_down(&of_csv(&fs::read_to_string(file)?), &cases, out)?;
        return Ok(());
    }
    let failures = std::cell::Cell::new(0);
    interleave(&cases, common.rounds(), |case, round| {
        eprintln!("round {round}: {}", case.name());
        let folder = common.temporary_folder(&case.mode)?;
        let mut more = vec!["--recovery".to_owned(), case.mode.clone()];
        more.extend(["--checkpoint-log-mb".to_owned(), arguments.checkpoint_log_mb.to_string()]);
        more.extend(["--log-file-mb".to_owned(), arguments.log_file_mb.to_string()]);
        more.extend(arguments.segments.iter().flat_map(|count| ["--segments".to_owned(), count.to_string()]));
        let mut cluster = Cluster::start_with(Contender::Skink, &skink, folder, &more)?;
        cluster.fill(&workload)?;
        let absence = Absence {
            missing,
            connections: arguments.connections,
            share: arguments.share,
            dependency: case.probability()?,
            keys_of_own: 1,
            pick: Pick::Uniform,
            stretch: common.stretch(),
        };
        let recovery = match recovery::measure(&mut cluster, absence, &workload, (round as u64 + 1) << 40) {
            // The figures of the other cases are worth having; the program fails in the end.
            Err(error) => {
                eprintln!("round {round}: {} has no figures: {error}", case.name());
                failures.set(failures.get() + 1);
                return Ok(());
            }
            Ok(recovery) => recovery,
        };
        if let Some(out) = common.out.as_deref().filter(|_| round == 0) {
            draw(&recovery, case, out)?;
        }
        for measurement in recovery.measurements {
            report.add(&case.name(), round, measurement);
        }
        cluster.stop()?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    report.publish(common.out.as_deref())?;
    if let Some(out) = &common.out {
        break_down(&report, &cases, out)?;
    }
    match failures.get() {
        0 => Ok(()),
        count => Err(format!("{count} cases could not be measured").into()),
    }
}

/// The times of an earlier run.
fn of_csv(csv: &str) -> Report {
    let mut report = Report::new("recovery");
    for line in csv.lines().skip(1) {
        // report,metric,unit,better,contender,round,value, where contenders may be in quotes, and these metrics are not.
        let mut fields = line.rsplitn(3, ',');
        let (Some(value), Some(round), Some(rest)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let metric = [PING, FIRST_NEW, UP_TO_DATE].into_iter().find(|metric| rest.split(',').nth(1) == Some(metric));
        let contender = match rest.strip_suffix('"') {
            Some(quoted) => quoted.rsplit('"').next(),
            None => rest.rsplit(',').next(),
        };
        if let (Some(metric), Some(contender), Ok(round), Ok(value)) = (metric, contender, round.parse(), value.parse())
        {
            report.add(contender, round, Measurement::lower(metric, "ms", value));
        }
    }
    report
}

/// What the time until a replica is up to date is made of, as in the paper's figure 7.
fn break_down(report: &Report, cases: &[Case], out: &Path) -> Result<(), Box<dyn Error>> {
    let bar = |case: &Case| {
        let seconds = |metric| report.median(metric, &case.name()).map(|ms| ms / 1e3);
        let (ping, first, last) = (seconds(PING)?, seconds(FIRST_NEW)?, seconds(UP_TO_DATE)?);
        // Where all is executed first, an answer comes after that.
        Some((case.name(), vec![ping, (first - ping).max(0.0), (last - first).max(0.0)]))
    };
    let bars = Bars {
        title: "from the start of the process, seconds".to_owned(),
        parts: ["start, until PING", "until the first new command", "until up to date"].map(str::to_owned).into(),
        bars: cases.iter().filter_map(bar).collect(),
    };
    Ok(bars.write(out, "recovery-breakdown")?)
}

/// Old and new commands over time, as in the paper's figures 5 and 6.
fn draw(recovery: &Recovery, case: &Case, out: &Path) -> Result<(), Box<dyn Error>> {
    let end = recovery.answers.last().map_or(Duration::ZERO, |last| last.at);
    let slot = (end / 60).max(Duration::from_millis(10));
    let slots = (end.as_secs_f64() / slot.as_secs_f64()).ceil() as usize;
    let at = |slot_number: usize| slot.as_secs_f64() * slot_number as f64;
    let new = (0..slots).map(|number| {
        let window = slot * number as u32..slot * (number as u32 + 1);
        let count = recovery.answers.iter().filter(|answer| window.contains(&answer.at)).count();
        (at(number), count as f64 / slot.as_secs_f64() / 1e3)
    });
    let left = recovery.steps.iter().map(|step| (step.at.as_secs_f64(), step.left_batches as f64 / 1e3));
    let chart = |title: &str, curve: Vec<(f64, f64)>, name: &str| Chart {
        title: format!("{title}: {}", case.name()),
        x: "seconds since the process started".to_owned(),
        curves: vec![Curve { name: name.to_owned(), points: curve }],
        scale: Scale::Linear,
    };
    let new = chart("answers of new commands, k/s", new.collect(), "new commands");
    new.write(out, &format!("recovery-{}-new", case.stem()))?;
    let old = chart("old batches that are left, thousands", left.collect(), "old batches");
    old.write(out, &format!("recovery-{}-old", case.stem()))?;
    Ok(())
}
