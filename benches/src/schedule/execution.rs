//! Commands that take a certain time, executed through the worker pool and one by one in the caller's thread.
//!
//! A command spins: it does so many multiplications, as many as were found to take its time on a core of its own. So two
//! threads on one core take twice as long, as real work would.

use super::batches::{Draw, Mix};
use skink_engine::command::{Command, Put, PutMode, Reply};
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::position::{Instance, Revision};
use skink_replication::batch::LocalCommand;
use skink_replication::executor::{self, Executor, execute_in_order};
use skink_replication::workers::{Options, Pool, Work};
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Batches under way at the pool.
const IN_FLIGHT: usize = 64;
/// The longest that a batch may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many multiplications take a microsecond here.
#[derive(Debug, Clone, Copy)]
pub struct Spin {
    steps_per_us: f64,
}

fn spin(steps: u64) -> u64 {
    (0..steps).fold(black_box(1), |sum: u64, step| (sum ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Spin {
    /// Measures it: the fastest of some runs, as nothing makes one too fast.
    pub fn calibrate() -> Spin {
        const STEPS: u64 = 200_000;
        let run = |_| {
            let begin = Instant::now();
            black_box(spin(STEPS));
            begin.elapsed().as_secs_f64() * 1e6
        };
        let fastest = (0..50).map(run).fold(f64::INFINITY, f64::min);
        Spin { steps_per_us: STEPS as f64 / fastest }
    }
}

struct Spinning {
    steps: u64,
}

impl Executor for Spinning {
    fn execute(&self, _command: &Command, _revision: Revision, _time_ms: u64) -> Result<Reply, Fault> {
        if self.steps > 0 {
            black_box(spin(self.steps));
        }
        Ok(Reply::Done)
    }
}

/// How commands are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// One after the other, in the caller's thread, without a pool.
    InOrder,
    /// Through a pool of so many threads, as it is meant to be used.
    Pool(usize),
    /// The same, but never in the caller's thread.
    Threads(usize),
}

impl How {
    /// What it is called.
    pub fn name(self) -> String {
        match self {
            How::InOrder => "one by one".to_owned(),
            How::Pool(0) => "pool, no threads".to_owned(),
            How::Pool(workers) => format!("pool, {workers} threads"),
            How::Threads(workers) => format!("pool, {workers} threads, never inline"),
        }
    }
}

fn hash(key: &[u8]) -> KeyHash {
    KeyHash::of(key, 1)
}

/// So many batches of a mix.
fn works(mix: Mix, batches: u64, seed: u64) -> Vec<Work> {
    let mut draw = Draw::new(mix, seed);
    let mut command = || {
        let keys = draw.keys();
        let put = |key: &u64| (key.to_be_bytes().to_vec().into(), Default::default());
        let command = match keys.as_slice() {
            [key] => Command::Put(Put::new(PutMode::Upsert, key.to_be_bytes().to_vec(), "")),
            keys => Command::PutMany { entries: keys.iter().map(put).collect(), only_if_none_exists: false },
        };
        LocalCommand { command, is_ordered: true }
    };
    (1..=batches)
        .filter_map(|number| {
            let commands = (0..super::batches::COMMANDS).map(|_| command()).collect();
            Some(Work { instance: Instance::new(number)?, time_ms: 0, commands })
        })
        .collect()
}

/// Executes so many batches whose commands take so long, and answers with commands in a second.
///
/// # Errors
/// What the pool stopped at.
pub fn throughput(how: How, mix: Mix, cost_us: u64, batches: u64, calibrated: Spin) -> Result<f64, Fault> {
    let works = works(mix, batches, 1);
    let executor = Spinning { steps: (cost_us as f64 * calibrated.steps_per_us) as u64 };
    let commands = (batches as usize * super::batches::COMMANDS) as f64;
    let (workers, inline_below_ns) = match how {
        How::InOrder => return Ok(commands / in_order(works, &executor)?.as_secs_f64()),
        How::Pool(workers) => (workers, Options::default().inline_below_ns),
        How::Threads(workers) => (workers, 0),
    };
    let options = Options { workers, inline_below_ns, ..Options::default() };
    let owner = thread::current();
    let pool = Pool::start(&options, Arc::new(executor), move || owner.unpark())?;
    Ok(commands / through(pool, works)?.as_secs_f64())
}

fn in_order(works: Vec<Work>, executor: &dyn Executor) -> Result<Duration, Fault> {
    let begin = Instant::now();
    for work in works {
        let mut replies = Vec::new();
        let view = executor::Work { instance: work.instance, time_ms: work.time_ms, commands: &work.commands };
        execute_in_order(&view, executor, &mut replies)?;
        black_box(replies);
    }
    Ok(begin.elapsed())
}

fn through(mut pool: Pool, works: Vec<Work>) -> Result<Duration, Fault> {
    let begin = Instant::now();
    let mut done = Vec::new();
    let mut waiting = works.into_iter();
    loop {
        while pool.in_flight() < IN_FLIGHT
            && let Some(work) = waiting.next()
        {
            pool.submit(work, hash);
        }
        done.clear();
        pool.drain_completed(&mut done)?;
        if pool.in_flight() == 0 && waiting.len() == 0 {
            return Ok(begin.elapsed());
        }
        if done.is_empty() {
            thread::park_timeout(PATIENCE);
            if begin.elapsed() > PATIENCE {
                return Err(Fault::Refused("the pool takes too long".into()));
            }
        }
    }
}

/// Wakes a thread that waits, and is woken by it: the median time of one such wake, in nanoseconds.
pub fn wake_ns() -> f64 {
    const ROUNDS: usize = 400;
    let (here, there) = (std::sync::mpsc::sync_channel::<()>(1), std::sync::mpsc::sync_channel::<()>(1));
    let (to_peer, at_peer) = here;
    let (to_owner, at_owner) = there;
    let peer = thread::spawn(move || while at_peer.recv().is_ok() && to_owner.send(()).is_ok() {});
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        // Long enough for the other thread to sleep.
        thread::sleep(Duration::from_micros(100));
        let begin = Instant::now();
        if to_peer.send(()).is_err() || at_owner.recv().is_err() {
            break;
        }
        times.push(begin.elapsed().as_secs_f64() * 1e9 / 2.0);
    }
    drop(to_peer);
    drop(peer.join());
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{How, Spin, throughput, wake_ns};
    use crate::schedule::batches::Mix;

    #[test]
    fn commands_take_the_time_that_they_are_to_take() {
        let spin = Spin::calibrate();
        for how in [How::InOrder, How::Pool(0), How::Pool(2), How::Threads(2)] {
            for mix in [Mix::Conflicts(5), Mix::Transactions] {
                // One core or two, of a machine that has other things to do.
                let in_second = throughput(how, mix, 20, 10, spin).unwrap();
                assert!((1e6 / 20.0 / 100.0..4e6 / 20.0).contains(&in_second), "{how:?}: {in_second}");
                assert!(throughput(how, mix, 0, 10, spin).unwrap() > 0.0);
            }
        }
        assert!(wake_ns() > 0.0);
    }
}
