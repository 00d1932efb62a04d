//! Checkpoints of three replicas under load: the paper's figure 1 (throughput against the time between two of them) and
//! table I (how long one takes, and the shortest log, for states of several sizes). See [`intervals`].

use clap::Parser;
use skink_benches::cli::{Binary, Common};
use skink_benches::cluster::Cluster;
use skink_benches::cluster::contender::Contender;
use skink_benches::cluster::intervals::{self, Beside};
use skink_benches::plot::{Chart, Curve, Scale};
use skink_benches::report::{Measurement, Report, interleave};
use std::error::Error;
use std::time::Duration;

/// Measures checkpoints of replicas under load.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// Sizes of the state for table I, in MB, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "128,256,512,1024")]
    sizes: Vec<u64>,
    /// Seconds between checkpoints for figure 1, separated by commas; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,5,10")]
    intervals: Vec<f64>,
    /// Connections of the load.
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

impl Arguments {
    /// A new cluster that takes no checkpoint by itself.
    fn cluster(&self, name: &str) -> Result<Cluster, Box<dyn Error>> {
        let skink = self.binary.path()?;
        // Nor is one due because an eighth of a log file is full of headers.
        let more = ["--checkpoint-log-mb", "1000000", "--log-file-mb", "512"].map(str::to_owned);
        Ok(Cluster::start_with(Contender::Skink, &skink, self.common.temporary_folder(name)?, &more)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let beside = Beside { connections: arguments.connections, stretch: common.stretch() };
    let mut report = Report::new("intervals");
    let workload = common.workload();
    report.note(common.describe(&workload));
    let (sizes, seconds) = match common.quick {
        true => (&arguments.sizes[..1], &arguments.intervals[..1]),
        false => (&arguments.sizes[..], &arguments.intervals[..]),
    };
    interleave(sizes, common.rounds(), |mb, round| {
        let workload = common.workload_of(mb * 1_000_000 / (common.value_bytes() as u64 + 8));
        let mut cluster = arguments.cluster("sizes")?;
        cluster.fill(&workload)?;
        for measurement in intervals::one(&mut cluster, beside, &workload, (round as u64 + 1) << 40)? {
            report.add(&format!("{mb} MB"), round, measurement);
        }
        cluster.stop()?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    let name = |seconds: &f64| if *seconds > 0.0 { format!("every {seconds} s") } else { "none".to_owned() };
    const METRIC: &str = "throughput with checkpoints";
    // One cluster a round: what differs is the interval alone.
    for round in 0..common.rounds() {
        let mut cluster = arguments.cluster("intervals")?;
        cluster.fill(&workload)?;
        for (number, seconds) in seconds.iter().enumerate() {
            let interval = Some(*seconds).filter(|seconds| *seconds > 0.0).map(Duration::from_secs_f64);
            let version = ((round * 100 + number) as u64 + 1) << 32;
            let throughput = intervals::every(&mut cluster, beside, interval, &workload, version)?;
            report.add(&name(seconds), round, Measurement::higher(METRIC, "k/s", throughput / 1e3));
        }
        cluster.stop()?;
    }
    if let Some(out) = &common.out {
        let point = |seconds: &f64| Some((*seconds, report.median(METRIC, &name(seconds))?));
        let with = seconds.iter().filter(|seconds| **seconds > 0.0).filter_map(point).collect();
        let mut curves = vec![Curve { name: "with checkpoints".to_owned(), points: with }];
        if let Some(none) = report.median(METRIC, "none") {
            let last = seconds.iter().copied().fold(1.0, f64::max);
            curves.push(Curve { name: "without".to_owned(), points: vec![(0.0, none), (last, none)] });
        }
        let chart = Chart {
            title: "throughput, k/s".to_owned(),
            x: "seconds between checkpoints".to_owned(),
            curves,
            scale: Scale::Linear,
        };
        chart.write(out, "intervals")?;
    }
    report.publish(common.out.as_deref())?;
    Ok(())
}
