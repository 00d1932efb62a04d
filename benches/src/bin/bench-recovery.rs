//! A replica of three comes back after it missed many commands, in each of the ways that there are.
//!
//! Each round of a way of recovery: a new cluster, all keys written once, a checkpoint, updates in pipelines of 50 at two
//! replicas, `kill -9` of the third, its restart when it has missed so many commands. See [`recovery`].

use clap::Parser;
use skink_benches::cli::Common;
use skink_benches::cluster::Cluster;
use skink_benches::cluster::contender::Contender;
use skink_benches::cluster::recovery::{self, Absence};
use skink_benches::report::{Report, interleave};
use std::error::Error;
use std::path::PathBuf;

/// Measures how replicas come back.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Skink's binary [default: the one beside this program].
    #[arg(long)]
    skink: Option<PathBuf>,
    /// Ways of recovery, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "classic,speedy,on-demand,handoff")]
    modes: Vec<String>,
    /// Commands that the replica misses [default: 1000000; 2000 with --quick].
    #[arg(long)]
    missing: Option<u64>,
    /// Connections of the load.
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let missing = arguments.missing.unwrap_or(if common.quick { 2_000 } else { 1_000_000 });
    let skink = match &arguments.skink {
        Some(skink) => skink.clone(),
        None => std::env::current_exe()?.with_file_name("skink"),
    };
    let absence = Absence { missing, connections: arguments.connections, stretch: common.stretch() };
    let mut report = Report::new("recovery");
    report.note(common.describe(&workload));
    report.note(format!("{} connections with pipelines of 50 at the other replicas", arguments.connections));
    interleave(&arguments.modes, common.rounds(), |mode, round| {
        eprintln!("round {round}: {mode}");
        let folder = common.temporary_folder(mode)?;
        let more = ["--recovery".to_owned(), mode.clone()];
        let mut cluster = Cluster::start_with(Contender::Skink, &skink, folder, &more)?;
        cluster.fill(&workload)?;
        for measurement in recovery::measure(&mut cluster, absence, &workload, (round as u64 + 1) << 40)? {
            report.add(mode, round, measurement);
        }
        cluster.stop()?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    report.publish(common.out.as_deref())?;
    Ok(())
}
