//! A follower of three comes back under a load that is the same for Skink, for etcd and for Redis with replicas: first
//! correct answer, in step, and what the others' clients notice. See [`comeback`].

use clap::Parser;
use skink_benches::cli::{Binary, Common};
use skink_benches::cluster::Cluster;
use skink_benches::cluster::comeback::{self, Away};
use skink_benches::cluster::contender::Contender;
use skink_benches::report::{Report, interleave};
use std::error::Error;
use std::time::Duration;

/// Measures how followers come back.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// Leave out etcd.
    #[arg(long)]
    no_etcd: bool,
    /// Leave out Redis.
    #[arg(long)]
    no_redis: bool,
    /// Writes a second at the others.
    #[arg(long, default_value_t = 4000.0)]
    rate: f64,
    /// Seconds for which the follower is away.
    #[arg(long, default_value_t = 15.0)]
    away_seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let skink = arguments.binary.path()?;
    let mut contenders = vec![Contender::Skink];
    contenders.extend((!arguments.no_redis).then_some(Contender::RedisWait));
    contenders.extend((!arguments.no_etcd).then_some(Contender::Etcd));
    contenders.retain(|contender| match contender.obstacle(&skink) {
        Some(obstacle) => {
            eprintln!("without {}: {obstacle}", contender.name());
            false
        }
        None => true,
    });
    let mut report = Report::new("comeback");
    report.note(common.describe(&workload));
    let time = if common.quick { common.stretch() } else { Duration::from_secs_f64(arguments.away_seconds) };
    report.note(format!(
        "{} writes a second from 64 clients at the others; away for {:.1} s",
        arguments.rate,
        time.as_secs_f64()
    ));
    interleave(&contenders, common.rounds(), |contender, round| {
        eprintln!("round {round}: {}", contender.name());
        let folder = common.temporary_folder(contender.name())?;
        let mut cluster = Cluster::start(*contender, &skink, folder)?;
        cluster.fill(&workload)?;
        // etcd takes no member back without its data: it must be removed and added first.
        let disks = if *contender == Contender::Etcd { &[false][..] } else { &[false, true][..] };
        for (number, loses_disk) in disks.iter().enumerate() {
            let away = Away { rate: arguments.rate, time, stretch: common.stretch(), loses_disk: *loses_disk };
            let version = ((round * 4 + number) as u64 + 1) << 40;
            for measurement in comeback::measure(&mut cluster, away, &workload, version)? {
                report.add(contender.name(), round, measurement);
            }
        }
        cluster.stop()?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    report.publish(common.out.as_deref())?;
    Ok(())
}
