//! What checkpoints cost those who use the server meanwhile: stalls, throughput, bytes written.
//!
//! In every round, each contender is under load from 64 clients for a while and goes through these windows:
//!
//! ```text
//!  quiet ──────────► one checkpoint ──► quiet ──────────► checkpoints one after another
//!  normal maximum    its maximum        throughput        throughput
//! ```
//!
//! The longest of many latencies grows with their number, so the normal maximum is the median over pieces of the
//! quiet window that are as long as the checkpoint took. Then, without load, 1 % of the keys are changed and the
//! bytes of one more checkpoint are counted. The device's count includes what others write meanwhile, the
//! process' own leaves out its children (as Redis uses them) and counts mapped pages when they are dirtied, not
//! when they are written: each tells the truth where the other doesn't.

use clap::Parser;
use skink_benches::cli::{Common, Servers};
use skink_benches::figures::{device_written_bytes, written_bytes};
use skink_benches::load::{self, Control, Load, Timeline};
use skink_benches::peers::redis_server;
use skink_benches::peers::server::{Server, ServerError};
use skink_benches::report::{Measurement, Report, interleave};
use skink_benches::workload::Workload;
use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bound of a round's load, in case a checkpoint never ends.
const LONGEST_ROUND: Duration = Duration::from_secs(1800);
/// Changed before the bytes of a checkpoint are counted: one key in this many.
const CHANGED_ONE_IN: u64 = 100;
/// Replies to requests that a checkpoint delayed come until a little after its end.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Measures checkpoints.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    servers: Servers,
    /// Clients of the load.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Request that makes a server other than redis-server take a checkpoint; its reply means that it is done.
    #[arg(long, default_value = "CHECKPOINT")]
    checkpoint: String,
}

#[derive(Debug, Clone)]
enum Checkpoint {
    Request(String),
    RedisSnapshot,
    RedisRewrite,
}

struct Contender {
    name: String,
    checkpoint: Checkpoint,
    server: Server,
    folder: TempDir,
}

/// When things happened, as times since the start of the load.
struct Windows {
    quiet: Range<Duration>,
    checkpoint: Range<Duration>,
    without: Range<Duration>,
    with: Range<Duration>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let common = &arguments.common;
    let workload = common.workload();
    let mut report = Report::new("checkpoint");
    report.note(format!("{}, {} clients", common.describe(&workload), arguments.clients));
    let mut contenders = Vec::new();
    for command in arguments.servers.commands() {
        let checkpoints = if command.name() == redis_server::NAME {
            vec![("redis BGSAVE", Checkpoint::RedisSnapshot), ("redis BGREWRITEAOF", Checkpoint::RedisRewrite)]
        } else {
            vec![(command.name(), Checkpoint::Request(arguments.checkpoint.clone()))]
        };
        for (name, checkpoint) in checkpoints {
            eprintln!("loading {name}");
            let folder = common.temporary_folder(command.name())?;
            let server = command.start(folder.path())?;
            load::run(&Load::fill(server.address()), &workload)?;
            contenders.push(Contender { name: name.to_owned(), checkpoint, server, folder });
        }
    }
    interleave(&contenders, common.rounds(), |contender, round| {
        eprintln!("round {round}: {}", contender.name);
        for measurement in contender.under_load(&arguments, &workload, round)? {
            report.add(&contender.name, round, measurement);
        }
        for measurement in contender.bytes(&workload, round)? {
            report.add(&contender.name, round, measurement);
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    for contender in contenders {
        contender.server.stop()?;
    }
    report.publish(common.out.as_deref())?;
    Ok(())
}

impl Contender {
    fn checkpoint(&self) -> Result<(), ServerError> {
        match &self.checkpoint {
            Checkpoint::Request(request) => self.server.ask(&mut self.server.client()?, request),
            Checkpoint::RedisSnapshot => redis_server::save_snapshot(&self.server),
            Checkpoint::RedisRewrite => redis_server::rewrite_log(&self.server),
        }
    }

    fn under_load(
        &self,
        arguments: &Arguments,
        workload: &Workload,
        round: usize,
    ) -> Result<Vec<Measurement>, Box<dyn Error>> {
        let load = Load::updates(self.server.address())
            .connections(arguments.clients)
            .first_version((2 * round as u64 + 1) << 40)
            .duration(LONGEST_ROUND);
        let stretch = arguments.common.stretch();
        let control = Control::default();
        let (outcome, windows) = thread::scope(|scope| {
            let running = scope.spawn(|| load::run_until(&load, workload, &control));
            let windows = self.windows(stretch);
            control.stop();
            (running.join().expect("the load generator panicked"), windows)
        });
        let (outcome, (start, windows)) = (outcome?, windows?);
        // The load started a little later than the windows' clock: when its connections were made.
        let offset = outcome.start.saturating_duration_since(start);
        let shifted = |window: &Range<Duration>| window.start.saturating_sub(offset)..window.end.saturating_sub(offset);
        let timeline = &outcome.timeline;
        let mut checkpoint = shifted(&windows.checkpoint);
        let duration = checkpoint.end - checkpoint.start;
        checkpoint.end += AFTERMATH;
        let length = checkpoint.end - checkpoint.start;
        let normal = normal_maximum(timeline, shifted(&windows.quiet), length);
        let during = timeline.longest(checkpoint);
        let share = timeline.throughput(shifted(&windows.with)) / timeline.throughput(shifted(&windows.without));
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Ok(vec![
            Measurement::lower("duration of a checkpoint", "s", duration.as_secs_f64()),
            Measurement::lower("longest latency, normally", "ms", ms(normal)),
            Measurement::lower("longest latency, during a checkpoint", "ms", ms(during)),
            Measurement::lower("stall above the normal maximum", "ms", ms(during) - ms(normal)),
            Measurement::higher("throughput with checkpoints / without", "x", share),
        ])
    }

    /// Goes through the windows while the load runs.
    fn windows(&self, stretch: Duration) -> Result<(Instant, Windows), ServerError> {
        let start = Instant::now();
        // Connecting and the first batches are no part of the normal.
        thread::sleep(stretch / 4);
        let quiet = timed(start, || {
            thread::sleep(stretch);
            Ok(())
        })?;
        let checkpoint = timed(start, || self.checkpoint())?;
        thread::sleep(stretch / 4);
        let without = timed(start, || {
            thread::sleep(stretch);
            Ok(())
        })?;
        let with = timed(start, || {
            let begin = Instant::now();
            while begin.elapsed() < stretch {
                self.checkpoint()?;
            }
            Ok(())
        })?;
        Ok((start, Windows { quiet, checkpoint, without, with }))
    }

    /// Bytes of a checkpoint after some keys changed, as shares of the state.
    fn bytes(&self, workload: &Workload, round: usize) -> Result<Vec<Measurement>, Box<dyn Error>> {
        let sync = || -> Result<(), Box<dyn Error>> { Ok(rustix::fs::syncfs(File::open(self.folder.path())?)?) };
        self.checkpoint()?;
        let changes = Load::updates(self.server.address())
            .connections(16)
            .count(workload.keys().div_ceil(CHANGED_ONE_IN))
            .first_version((2 * round as u64 + 2) << 40);
        load::run(&changes, workload)?;
        sync()?;
        let process_before = written_bytes(self.server.pid())?;
        let device_before = device_written_bytes(self.folder.path());
        self.checkpoint()?;
        sync()?;
        let share = |bytes: u64| 100.0 * bytes as f64 / workload.live_bytes() as f64;
        let process = written_bytes(self.server.pid())?.saturating_sub(process_before);
        let mut measurements =
            vec![Measurement::lower("written by a checkpoint after 1 % changed, by the process", "%", share(process))];
        if let (Some(before), Some(after)) = (device_before, device_written_bytes(self.folder.path())) {
            let metric = "written by a checkpoint after 1 % changed, to the device";
            measurements.push(Measurement::lower(metric, "%", share(after.saturating_sub(before))));
        }
        Ok(measurements)
    }
}

fn timed(start: Instant, action: impl FnOnce() -> Result<(), ServerError>) -> Result<Range<Duration>, ServerError> {
    let begin = start.elapsed();
    action()?;
    Ok(begin..start.elapsed())
}

/// Median of the maxima of the window's pieces of this length; of the whole window, if it is shorter.
fn normal_maximum(timeline: &Timeline, window: Range<Duration>, length: Duration) -> Duration {
    let length = length.max(Duration::from_millis(1));
    let pieces = ((window.end - window.start).as_nanos() / length.as_nanos()).clamp(1, 1000) as u32;
    let length = if pieces == 1 { window.end - window.start } else { length };
    let mut maxima: Vec<Duration> = (0..pieces)
        .map(|piece| {
            let begin = window.start + length * piece;
            timeline.longest(begin..begin + length)
        })
        .collect();
    maxima.sort();
    maxima[maxima.len() / 2]
}
