//! Clients that write as fast as they are answered, each at its own replica, and elsewhere while that one is dead.
//!
//! A write without an answer may have happened. The client sends the same write again, at the next replica, until it
//! is acknowledged, and then leaves the key alone: see the ledger.

use super::members::{MEMBERS, TIMEOUTS};
use super::pace::Pace;
use crate::client::{Client, ClientError, Reply};
use crate::demo::ledger::Ledger;
use crate::demo::{DemoError, is_not_ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a client tries one write.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two tries, where nothing else makes a client wait.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
/// How long a client stays away from its own replica, where that did not acknowledge a write.
const AWAY: Duration = Duration::from_secs(1);

/// What the clients share.
#[derive(Debug)]
pub struct Load {
    addresses: Vec<String>,
    /// Whether clients can use a replica.
    is_up: [AtomicBool; MEMBERS],
    /// Whether there is a process.
    is_alive: [AtomicBool; MEMBERS],
    /// How it goes.
    pub pace: Pace,
    /// The clients are to end with the write that they are at.
    is_finished: AtomicBool,
    /// The clients are to end at once.
    is_aborted: AtomicBool,
}

/// Ends the clients when it is dropped.
pub struct EndOnDrop<'a>(&'a Load);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Load {
    /// On these replicas, all of which are up.
    pub fn new(addresses: Vec<String>) -> Load {
        Load {
            addresses,
            is_up: [const { AtomicBool::new(true) }; MEMBERS],
            is_alive: [const { AtomicBool::new(true) }; MEMBERS],
            pace: Pace::new(),
            is_finished: AtomicBool::new(false),
            is_aborted: AtomicBool::new(false),
        }
    }

    /// A replica's address.
    pub fn address(&self, member: usize) -> &str {
        &self.addresses[member]
    }

    /// Whether clients can use a replica.
    pub fn is_up(&self, member: usize) -> bool {
        self.is_up[member].load(Ordering::SeqCst)
    }

    /// Whether a replica has a process, which may not be of use yet.
    pub fn is_alive(&self, member: usize) -> bool {
        self.is_alive[member].load(Ordering::SeqCst)
    }

    /// A replica is about to be killed.
    pub fn set_dead(&self, member: usize) {
        self.is_up[member].store(false, Ordering::SeqCst);
        self.is_alive[member].store(false, Ordering::SeqCst);
    }

    /// A replica was started again.
    pub fn set_alive(&self, member: usize) {
        self.is_alive[member].store(true, Ordering::SeqCst);
    }

    /// Clients can use a replica again.
    pub fn set_up(&self, member: usize) {
        self.is_up[member].store(true, Ordering::SeqCst);
    }

    /// Writes that were acknowledged to all clients so far.
    pub fn acknowledged(&self) -> u64 {
        (0..MEMBERS).map(|member| self.pace.acknowledged(member)).sum()
    }

    /// Since the load began.
    pub fn elapsed(&self) -> Duration {
        self.pace.elapsed()
    }

    /// Lets the clients end once their writes are acknowledged.
    pub fn finish(&self) {
        self.is_finished.store(true, Ordering::Relaxed);
    }

    /// Ends the clients.
    pub fn abort(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
    }

    /// Whether the clients end.
    pub fn is_over(&self) -> bool {
        self.is_finished.load(Ordering::Relaxed) || self.is_aborted.load(Ordering::Relaxed)
    }

    /// Ends the clients when the answer is dropped.
    pub fn end_on_drop(&self) -> EndOnDrop<'_> {
        EndOnDrop(self)
    }

    /// One client: writes its keys over and over, and notes what is sent and what is acknowledged.
    ///
    /// # Errors
    /// A write is refused for good, or not acknowledged for a long time.
    pub fn write(&self, home: usize, mut ledger: Ledger) -> Result<Ledger, DemoError> {
        let mut connection = Connection { load: self, home, next: home, away_until: Instant::now(), client: None };
        loop {
            let writable = ledger.writable();
            if writable.is_empty() {
                // It has no keys, or none that it knows enough of: others go on.
                if self.is_over() {
                    return Ok(ledger);
                }
                std::thread::sleep(BETWEEN_TRIES);
            }
            for index in writable {
                if self.is_over() {
                    return Ok(ledger);
                }
                let (key, value) = (ledger.key_name(index), ledger.send(index));
                match connection.set(key.as_bytes(), &value)? {
                    Outcome::Acknowledged { was_in_doubt } => {
                        ledger.acknowledge(index);
                        if was_in_doubt {
                            ledger.retire(index);
                        }
                    }
                    Outcome::Aborted => return Ok(ledger),
                }
            }
        }
    }
}

/// What became of a write.
enum Outcome {
    /// It happened.
    Acknowledged {
        /// An earlier try may have happened, too, or may yet.
        was_in_doubt: bool,
    },
    /// The clients are to end.
    Aborted,
}

/// A client's connection to one replica or another.
struct Connection<'a> {
    load: &'a Load,
    home: usize,
    /// The replica that is tried next.
    next: usize,
    /// Its own replica did not acknowledge a write: it stays away until then.
    away_until: Instant,
    client: Option<(usize, Client)>,
}

impl Connection<'_> {
    /// Sends one write until it is acknowledged.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<Outcome, DemoError> {
        let (began, mut was_in_doubt) = (Instant::now(), false);
        let mut last = String::new();
        while began.elapsed() < PATIENCE {
            if self.load.is_aborted.load(Ordering::Relaxed) {
                return Ok(Outcome::Aborted);
            }
            let Some((member, client)) = self.client() else {
                std::thread::sleep(BETWEEN_TRIES);
                continue;
            };
            match client.request(&[b"SET", key, value]) {
                Ok(Reply::Status(status)) if status == "OK" => {
                    self.load.pace.acknowledge(member, began.elapsed());
                    if was_in_doubt {
                        self.load.pace.retried.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(Outcome::Acknowledged { was_in_doubt });
                }
                Ok(Reply::Error(error)) if is_not_ready(&error) => last = error,
                Ok(reply) => return Err(DemoError::Unexpected { request: "SET", reply: format!("{reply:?}") }),
                Err(error @ (ClientError::Garbled { .. } | ClientError::Refused { .. })) => return Err(error.into()),
                Err(error) => last = error.to_string(),
            }
            was_in_doubt = true;
            self.client = None;
            self.next = (member + 1) % MEMBERS;
            self.away_until = Instant::now() + AWAY;
        }
        let what = format!("a write was not acknowledged at any replica (the last answer: {last})");
        Err(DemoError::TooLate { what, seconds: PATIENCE.as_secs() })
    }

    /// A connection to its own replica if that is up, else to another.
    fn client(&mut self) -> Option<(usize, &mut Client)> {
        let is_away = self.client.as_ref().is_some_and(|(member, _)| *member != self.home);
        if is_away && self.load.is_up(self.home) && Instant::now() >= self.away_until {
            self.client = None;
            self.next = self.home;
        }
        if self.client.is_none() {
            let candidates = (0..MEMBERS).map(|step| (self.next + step) % MEMBERS).filter(|at| self.load.is_up(*at));
            let connected = candidates.into_iter().find_map(|member| {
                Client::connect(self.load.address(member), TIMEOUTS).ok().map(|client| (member, client))
            });
            self.client = connected;
        }
        self.client.as_mut().map(|(member, client)| (*member, client))
    }
}
