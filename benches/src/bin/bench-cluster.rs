//! Three replicas over loopback TCP: Skink beside etcd and beside Redis with replicas and `WAIT 1`, and each of Skink
//! and Redis alone.
//!
//! All contenders run from the start and hold all keys. In every round, one scenario after the other is measured on
//! all contenders in turn, so that values that are compared lie seconds apart: first the steady ones, then those that kill
//! or stop replicas, after each of which a cluster is whole again before anything else happens. One that can't
//! take part, as its program isn't there, is left out with a message.

use clap::Parser;
use skink_benches::cli::{Binary, Common};
use skink_benches::cluster::contender::{CONTENDERS, Contender};
use skink_benches::cluster::steady::{self, Scenario, updates_label};
use skink_benches::cluster::{Cluster, ClusterError, failover, memory, outage};
use skink_benches::plot::{Chart, Curve, Scale};
use skink_benches::report::{Goal, Measurement, Reach, Report, interleave};
use skink_benches::workload::Workload;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

const PIPELINED: &str = "SET, 64 clients, pipeline 50 (etcd: 8 clients, transactions of 50)";
const READS: &str = "linearizable GET, 64 clients (Redis: at the master)";
/// Clients of plain updates; with plots, of their points.
const CLIENTS: &[usize] = &[1, 64, 512];
const CLIENTS_OF_PLOTS: &[usize] = &[1, 4, 16, 64, 256, 512];

/// Measures three replicas.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// Leave out etcd.
    #[arg(long)]
    no_etcd: bool,
    /// Leave out Redis, with and without replicas.
    #[arg(long)]
    no_redis: bool,
    /// Leave out contenders, by name, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    without: Vec<String>,
    /// Only scenarios whose label contains this text, such as "SET", "64 clients", "leader", "follower" or "memory".
    #[arg(long, default_value = "")]
    only: String,
    /// Threads of the load generator; etcd's always has one.
    #[arg(long, default_value_t = 1)]
    load_threads: usize,
    /// Seconds of overload, and of a follower standing still.
    #[arg(long, default_value_t = 5.0)]
    overload_seconds: f64,
    /// Folder for plots over the number of clients, as SVG and CSV; more numbers of clients are measured for them.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

/// What is done in every round, in this order.
enum Step {
    Steady(Scenario),
    Failover,
    Outage,
    Memory,
}

impl Step {
    fn label(&self) -> &str {
        match self {
            Self::Steady(scenario) => &scenario.label,
            Self::Failover => "kill -9 of the leader",
            Self::Outage => "a follower goes and comes back",
            Self::Memory => "memory under overload, and with a stopped follower",
        }
    }

    fn concerns(&self, contender: Contender) -> bool {
        match self {
            Self::Steady(_) => true,
            Self::Failover => contender.is_led_by_any(),
            Self::Outage | Self::Memory => contender.replicas() > 1,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let mut report = Report::new("cluster");
    report.note(common.describe(&workload));
    report.note(format!("overload for {:.1} s", arguments.overload().as_secs_f64()));
    goals().into_iter().for_each(|goal| report.goal(goal));
    let mut clusters = start(&arguments, &workload)?;
    let steps = arguments.steps();
    for round in 0..common.rounds() {
        for (index, step) in steps.iter().enumerate() {
            eprintln!("round {round}: {}", step.label());
            let first_version = ((round * steps.len() + index + 1) as u64) << 40;
            let in_turn: Vec<usize> = (0..clusters.len()).map(|turn| (round + turn) % clusters.len()).collect();
            interleave(&in_turn, 1, |number, _| {
                let cluster = &mut clusters[*number];
                for measurement in perform(step, cluster, &arguments, &workload, first_version)? {
                    report.add(cluster.contender().name(), round, measurement);
                }
                Ok::<_, ClusterError>(())
            })?;
        }
    }
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.contender().name()).collect();
    if let Some(folder) = &arguments.plots {
        for (figure, unit) in [("throughput", "k/s"), ("p50", "ms"), ("p99", "ms")] {
            chart(&report, &names, figure, unit).write(folder, &format!("cluster-{figure}"))?;
        }
    }
    clusters.into_iter().try_for_each(Cluster::stop)?;
    report.publish(common.out.as_deref())?;
    Ok(())
}

impl Arguments {
    fn overload(&self) -> Duration {
        let asked = Duration::from_secs_f64(self.overload_seconds.clamp(0.01, 3600.0));
        if self.common.quick { asked.min(self.common.stretch()) } else { asked }
    }

    fn steps(&self) -> Vec<Step> {
        let clients = if self.plots.is_some() { CLIENTS_OF_PLOTS } else { CLIENTS };
        let steady = |label: &str, pipeline: usize, read_share: f64| Scenario {
            label: label.to_owned(),
            clients: 64,
            pipeline,
            read_share,
        };
        let mut steps: Vec<Step> = clients.iter().map(|clients| Step::Steady(Scenario::updates(*clients))).collect();
        steps.push(Step::Steady(steady(READS, 1, 1.0)));
        steps.push(Step::Steady(steady(PIPELINED, 50, 0.0)));
        steps.extend([Step::Failover, Step::Outage, Step::Memory]);
        steps.retain(|step| step.label().contains(&self.only));
        steps
    }

    fn leaves_out(&self, contender: Contender) -> bool {
        let by_flag = match contender {
            Contender::Etcd => self.no_etcd,
            Contender::RedisWait | Contender::RedisAlone => self.no_redis,
            Contender::Skink | Contender::SkinkAlone => false,
        };
        by_flag || self.without.iter().any(|name| name == contender.name())
    }
}

/// Starts and fills all contenders that can take part.
fn start(arguments: &Arguments, workload: &Workload) -> Result<Vec<Cluster>, Box<dyn Error>> {
    let known = |name: &&String| !CONTENDERS.iter().any(|contender| contender.name() == *name);
    if let Some(unknown) = arguments.without.iter().find(known) {
        return Err(
            format!("no contender named {unknown}; there are {}", CONTENDERS.map(Contender::name).join(", ")).into()
        );
    }
    let skink = arguments.binary.path()?;
    let mut clusters = Vec::new();
    for contender in CONTENDERS.into_iter().filter(|contender| !arguments.leaves_out(*contender)) {
        if let Some(obstacle) = contender.obstacle(&skink) {
            eprintln!("leaving out {}: {obstacle}", contender.name());
            continue;
        }
        eprintln!("loading {}", contender.name());
        let folder = arguments.common.temporary_folder(contender.name())?;
        let cluster = Cluster::start(contender, &skink, folder)?;
        cluster.fill(workload)?;
        clusters.push(cluster);
    }
    if clusters.is_empty() { Err("nobody takes part".into()) } else { Ok(clusters) }
}

fn perform(
    step: &Step,
    cluster: &mut Cluster,
    arguments: &Arguments,
    workload: &Workload,
    first_version: u64,
) -> Result<Vec<Measurement>, ClusterError> {
    if !step.concerns(cluster.contender()) {
        return Ok(Vec::new());
    }
    let stretch = arguments.common.stretch();
    match step {
        Step::Steady(scenario) => {
            steady::measure(cluster, scenario, arguments.load_threads, stretch, workload, first_version)
        }
        Step::Failover => failover::measure(cluster, stretch, workload, first_version),
        Step::Outage => outage::measure(cluster, stretch, workload, first_version),
        Step::Memory => memory::measure(cluster, arguments.overload(), workload, first_version),
    }
}

/// What three replicas of Skink are meant to reach.
fn goals() -> Vec<Goal> {
    let [etcd, redis, redis_alone, skink_alone] =
        [Contender::Etcd, Contender::RedisWait, Contender::RedisAlone, Contender::SkinkAlone].map(Contender::name);
    let goal = |label: &str, figure: &str, against: Option<&'static str>, reach: Reach| Goal {
        metric: if figure.is_empty() { label.to_owned() } else { format!("{label}: {figure}") },
        contender: Contender::Skink.name(),
        against,
        reach,
    };
    let (one, some, many) = (updates_label(1), updates_label(64), updates_label(512));
    vec![
        goal(&some, "throughput", Some(etcd), Reach::AtLeast(6.0)),
        goal(&many, "throughput", Some(etcd), Reach::AtLeast(6.0)),
        goal(&some, "throughput", Some(redis), Reach::AtLeast(1.5)),
        goal(&many, "throughput", Some(redis), Reach::AtLeast(2.0)),
        goal(&one, "p50", Some(redis), Reach::AtMost(1.0)),
        goal(&some, "p99", Some(etcd), Reach::AtMost(0.3)),
        goal(READS, "throughput", Some(etcd), Reach::AtLeast(10.0)),
        goal(PIPELINED, "throughput", Some(redis), Reach::AtLeast(3.0)),
        goal(PIPELINED, "throughput", Some(etcd), Reach::AtLeast(4.0)),
        goal(PIPELINED, "throughput", Some(redis_alone), Reach::AtLeast(0.7)),
        goal(&some, steady::PROCESSOR_FIGURE, Some(skink_alone), Reach::AtMost(3.2)),
        goal(failover::METRIC, "", None, Reach::AtMost(1.0)),
        goal(failover::METRIC, "", Some(etcd), Reach::AtMost(0.5)),
        goal(outage::DOWN_METRIC, "", None, Reach::AtLeast(0.9)),
        goal(outage::CATCHING_UP_METRIC, "", None, Reach::AtLeast(0.9)),
    ]
}

/// Medians of plain updates over the number of clients.
fn chart(report: &Report, contenders: &[&str], figure: &str, unit: &str) -> Chart {
    let curve = |name: &&str| {
        let point = |clients: &usize| {
            let median = report.median(&format!("{}: {figure}", updates_label(*clients)), name)?;
            Some((*clients as f64, median))
        };
        Curve { name: (*name).to_owned(), points: CLIENTS_OF_PLOTS.iter().filter_map(point).collect() }
    };
    let curves = contenders.iter().map(curve).collect();
    Chart { title: format!("SET {figure} ({unit})"), x: "clients".to_owned(), curves, scale: Scale::Logarithmic }
}
