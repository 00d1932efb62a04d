//! The replica's own clients: reads of a key and writes of one, or of several at once, in turns, each as soon as the one before is answered and a
//! short pause is over.

use super::progress::{self, Step};
use super::{ClusterError, LIMIT};
use crate::resp::{Client, Reply};
use crate::workload::{Random, Workload};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Whether a refusal says that it took too long: such an answer counts with the time after which it came.
fn is_late(refusal: &[u8]) -> bool {
    let text = String::from_utf8_lossy(refusal);
    text.starts_with("TRYAGAIN") || text.contains("is catching up")
}

/// How many there are.
const CLIENTS: u64 = 4;
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// When, since the clients or the replica's process began.
    pub at: Duration,
    /// After which time.
    pub latency: Duration,
}

/// What was answered until the replica was up to date, and a while after that.
pub(super) struct Answers {
    pub all: Vec<Own>,
    pub steps: Vec<Step>,
    pub up_to_date: Duration,
}

/// Clients that are about to begin.
pub(super) struct OwnClients<'a> {
    pub address: SocketAddr,
    pub dependency: f64,
    /// Of a write.
    pub keys: usize,
    pub first_version: u64,
    pub workload: &'a Workload,
}

impl OwnClients<'_> {
    /// Lets them run for a time.
    pub fn run_for(&self, time: Duration) -> Result<Vec<Own>, ClusterError> {
        let must_stop = AtomicBool::new(false);
        let begin = Instant::now();
        self.while_they_run(begin, &must_stop, || thread::sleep(time)).map(|(all, ())| all)
    }

    /// Lets them run until the replica is up to date, and a while more.
    pub fn run_until_up_to_date(&self, begin: Instant, more: Duration) -> Result<Answers, ClusterError> {
        let must_stop = AtomicBool::new(false);
        let (all, steps) = self.while_they_run(begin, &must_stop, || {
            let steps = progress::follow(self.address, begin, LIMIT);
            thread::sleep(more);
            steps
        })?;
        let steps = steps?;
        let up_to_date = steps.last().map(|step| step.at).unwrap_or_default();
        Ok(Answers { all, steps, up_to_date })
    }

    fn while_they_run<T>(
        &self,
        begin: Instant,
        must_stop: &AtomicBool,
        something: impl FnOnce() -> T,
    ) -> Result<(Vec<Own>, T), ClusterError> {
        thread::scope(|scope| {
            let running: Vec<_> =
                (0..CLIENTS).map(|client| scope.spawn(move || self.run_one(client, begin, must_stop))).collect();
            let done = something();
            must_stop.store(true, Ordering::Relaxed);
            let mut all = Vec::new();
            for client in running {
                all.extend(client.join().expect("a client panicked")?);
            }
            all.sort_unstable_by_key(|answer| answer.at);
            Ok((all, done))
        })
    }

    fn run_one(&self, client: u64, begin: Instant, must_stop: &AtomicBool) -> Result<Vec<Own>, ClusterError> {
        let mut connection = Client::connect(self.address, LIMIT)?;
        let mut random = Random::new(self.workload.seed() ^ self.first_version ^ client);
        let mut answers = Vec::new();
        for number in 0_u64.. {
            if must_stop.load(Ordering::Relaxed) {
                break;
            }
            let is_dependent = random.unit() < self.dependency;
            // Keys beyond those of the workload are touched by nobody else.
            let beyond = if is_dependent { 0 } else { self.workload.keys() };
            let mut pick = || random.below(self.workload.keys()) + beyond;
            let sent = Instant::now();
            if number % 2 == 0 {
                self.read(&mut connection, pick(), is_dependent)?;
            } else {
                let keys: Vec<u64> = std::iter::repeat_with(pick).take(self.keys).collect();
                self.write(&mut connection, &keys, self.first_version + (1 << 39) + (client << 32) + number)?;
            }
            answers.push(Own { at: begin.elapsed(), latency: sent.elapsed() });
            thread::sleep(PAUSE);
        }
        Ok(answers)
    }

    /// Reads a key, and sees that it has what some write wrote.
    fn read(&self, connection: &mut Client, number: u64, must_be_there: bool) -> Result<(), ClusterError> {
        let wrong = match connection.request(&[b"GET", &self.workload.key(number)])? {
            Reply::Bulk(found) if self.workload.check_value(number, found).is_some() => return Ok(()),
            Reply::Null if !must_be_there => return Ok(()),
            Reply::Error(text) if is_late(text) => return Ok(()),
            Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
            Reply::Null => "nothing".to_owned(),
            _ => "what no write wrote".to_owned(),
        };
        Err(io::Error::other(format!("a read of key {number} was answered with {wrong}")).into())
    }

    /// Writes keys, all or none.
    fn write(&self, connection: &mut Client, numbers: &[u64], version: u64) -> Result<(), ClusterError> {
        let value = |number: &u64| {
            let mut value = Vec::new();
            self.workload.append_value(*number, version, &mut value);
            value
        };
        let pairs: Vec<_> = numbers.iter().map(|number| (self.workload.key(*number), value(number))).collect();
        let name = if let [_] = numbers { &b"SET"[..] } else { b"MSET" };
        let mut request = vec![name];
        request.extend(pairs.iter().flat_map(|(key, value)| [&key[..], value]));
        match connection.request(&request)? {
            Reply::Error(error) if !is_late(error) => {
                Err(io::Error::other(String::from_utf8_lossy(error).into_owned()).into())
            }
            _ => Ok(()),
        }
    }
}
