//! How a replica's way back grows: with the state, with what it missed, with the number of segments, the length of values,
//! skewed keys, and transactions. The rest is as in `bench-recovery`.
//!
//! A point differs from the base in one thing alone. A contender is a point with a way of recovery.

use clap::Parser;
use skink_benches::cli::{Binary, Common};
use skink_benches::cluster::Cluster;
use skink_benches::cluster::contender::Contender;
use skink_benches::cluster::recovery::{self, Absence};
use skink_benches::report::{Report, interleave};
use skink_benches::workload::{Pick, Workload};
use std::error::Error;

/// MB of the base's state, with values as long as the arguments say.
const STATE_MB: u64 = 512;
/// Commands that are missed at the base.
const MISSING: u64 = 200_000;
/// MB that are missed at the most: of long values fewer are missed.
const MISSING_MB: u64 = 1_000;

/// Measures how it grows.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// Ways of recovery, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "handoff")]
    modes: Vec<String>,
    /// Sizes of the state, in MB, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "128,512,2048")]
    states: Vec<u64>,
    /// Numbers of missed commands, in thousands, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,4000")]
    missing: Vec<u64>,
    /// Numbers of segments, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "16,256,4096")]
    segments: Vec<u64>,
    /// Lengths of values, in bytes, separated by commas; all for the base's state.
    #[arg(long, value_delimiter = ',', default_value = "64,65536")]
    values: Vec<u64>,
    /// Leave out skewed keys and transactions.
    #[arg(long)]
    no_others: bool,
    /// The load, as a share of its peak.
    #[arg(long, default_value_t = 0.7)]
    share: f64,
}

/// What differs from the base.
#[derive(Clone, Copy)]
enum Point {
    StateMb(u64),
    MissingThousands(u64),
    Segments(u64),
    ValueBytes(u64),
    Zipf,
    Transactions,
}

impl Point {
    fn name(self) -> String {
        match self {
            Point::StateMb(mb) => format!("state of {mb} MB"),
            Point::MissingThousands(count) => format!("{count} k missed"),
            Point::Segments(count) => format!("{count} segments"),
            Point::ValueBytes(length) => format!("values of {length} B"),
            Point::Zipf => "Zipf 0.99".to_owned(),
            Point::Transactions => "transactions of 10 keys".to_owned(),
        }
    }

    fn state_mb(self) -> u64 {
        if let Point::StateMb(mb) = self { mb } else { STATE_MB }
    }

    fn value_bytes(self, base: u64) -> u64 {
        if let Point::ValueBytes(length) = self { length } else { base }
    }

    fn missing(self, value_bytes: u64) -> u64 {
        let count = if let Point::MissingThousands(count) = self { count * 1_000 } else { MISSING };
        // Of these the paper's values count.
        let most = MISSING_MB * 1_000_000 / value_bytes;
        if let Point::ValueBytes(_) = self { count.min(most) } else { count }
    }
}

fn points(arguments: &Arguments) -> Vec<Point> {
    let mut points = Vec::new();
    points.extend(arguments.states.iter().map(|mb| Point::StateMb(*mb)));
    points.extend(arguments.missing.iter().map(|count| Point::MissingThousands(*count)));
    points.extend(arguments.segments.iter().map(|count| Point::Segments(*count)));
    points.extend(arguments.values.iter().map(|length| Point::ValueBytes(*length)));
    if !arguments.no_others {
        points.extend([Point::Zipf, Point::Transactions]);
    }
    points
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let skink = arguments.binary.path()?;
    let mut report = Report::new("growth");
    report.note(format!(
        "the base: a state of {STATE_MB} MB, values of {} bytes, {} k missed, load at {} of its peak, uniform keys; \
         stretches of {:.1} s",
        common.value_bytes(),
        MISSING / 1_000,
        arguments.share,
        common.stretch().as_secs_f64()
    ));
    let mut cases: Vec<(Point, &String)> = Vec::new();
    for point in points(&arguments) {
        cases.extend(arguments.modes.iter().map(|mode| (point, mode)));
    }
    if common.quick {
        cases.truncate(1);
        cases.extend(arguments.modes.first().map(|mode| (Point::Transactions, mode)));
    }
    let mut failures = 0;
    interleave(&cases, common.rounds(), |(point, mode), round| {
        let name = format!("{}, {mode}", point.name());
        eprintln!("round {round}: {name}");
        let value_bytes = point.value_bytes(common.value_bytes() as u64);
        let keys = point.state_mb() * 1_000_000 / (value_bytes + skink_benches::workload::KEY_BYTES as u64);
        let keys = if common.quick { keys.min(2_000) } else { keys };
        let workload = Workload::new(keys, value_bytes as usize, common.seed());
        let mut more = vec!["--recovery".to_owned(), (*mode).clone()];
        // So much that none falls into the recovery.
        more.extend(["--checkpoint-log-mb", "6000", "--log-file-mb", "512"].map(str::to_owned));
        if let Point::Segments(count) = point {
            more.extend(["--segments".to_owned(), count.to_string()]);
        }
        let folder = common.temporary_folder("growth")?;
        let mut cluster = Cluster::start_with(Contender::Skink, &skink, folder, &more)?;
        cluster.fill(&workload)?;
        let absence = Absence {
            missing: if common.quick { 2_000 } else { point.missing(value_bytes) },
            connections: 4,
            share: arguments.share,
            dependency: 1.0,
            keys_of_own: if let Point::Transactions = point { 10 } else { 1 },
            pick: if let Point::Zipf = point { Pick::Zipf(0.99) } else { Pick::Uniform },
            stretch: common.stretch(),
        };
        match recovery::measure(&mut cluster, absence, &workload, (round as u64 + 1) << 40) {
            Ok(recovery) => {
                recovery.measurements.into_iter().for_each(|measurement| report.add(&name, round, measurement));
                cluster.stop()?;
            }
            // The figures of the other points are worth having; the program fails in the end.
            Err(error) => {
                eprintln!("round {round}: {name} has no figures: {error}");
                failures += 1;
            }
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    report.publish(common.out.as_deref())?;
    match failures {
        0 => Ok(()),
        count => Err(format!("{count} points could not be measured").into()),
    }
}
