//! One thread of the generator: its connections, its epoll, its share of the keys and of the count.
//!
//! ```text
//!  connected ── batch sent ── replies in ── next batch …
//!      ▲  └── lost, refused or given up ── waits for its turn in `retries` ──┐      (with OnLoss::Retry)
//!      └──────────── at the next address ◄──────────────────────────────────┘
//! ```

use super::connection::Connection;
use super::{Control, Keys, Load, LoadError, OnLoss, Outcome, Wait};
use crate::workload::{Picker, Random, Workload};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes of a read; a pipeline of 16 values of 1 KiB fits four times.
const CHUNK_BYTES: usize = 64 << 10;
/// How long epoll sleeps at most, so that an ended or stalled run is noticed.
const TICK: Duration = Duration::from_millis(50);
/// How long a client that was lost or refused waits before it goes on.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How much later than its turn a batch may be before turns are left out.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// What a server says at the start of a refusal that won't last: it is no leader, has none, or isn't ready.
const PASSING_REFUSALS: [&str; 6] = ["READONLY", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS"];

pub(super) struct Worker<'a> {
    load: &'a Load,
    workload: &'a Workload,
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// When which clients go on; the pause is the same for all, so the first is the next.
    retries: VecDeque<(Instant, usize)>,
    /// Clients whose turn has not come.
    paced: BinaryHeap<Reverse<(Instant, usize)>>,
    /// When overdue replies were last looked for.
    last_look: Instant,
    picker: Picker,
    reads: Random,
    remaining: Option<u64>,
    next_version: u64,
    version_step: u64,
}

/// One closed loop.
struct Client {
    /// Index of its server.
    at: usize,
    /// None while it waits for a retry.
    connection: Option<Connection>,
    /// When its next batch's turn is, if there is a rate.
    due: Option<Instant>,
}

impl<'a> Worker<'a> {
    /// Worker `index` of `workers`, with its connections established.
    pub fn connect(load: &'a Load, workload: &'a Workload, index: usize, workers: usize) -> Result<Self, LoadError> {
        let (index_u64, workers_u64) = (index as u64, workers as u64);
        let share_of = |total: u64| total / workers_u64 + u64::from(index_u64 < total % workers_u64);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let clients = (0..share_of(load.connections as u64) as usize)
            .map(|slot| Client { at: (index + slot * workers) % load.addresses.len(), connection: None, due: None })
            .collect();
        let picker = match load.keys {
            Keys::EachOnce => {
                let start = index_u64 * workload.keys() / workers_u64;
                Picker::Sequence(start..(index_u64 + 1) * workload.keys() / workers_u64)
            }
            Keys::Random(pick) => Picker::new(pick, workload, load.first_version.wrapping_mul(1024) + index_u64),
        };
        let once = load.keys == Keys::EachOnce;
        let mut worker = Self {
            load,
            workload,
            epoll,
            clients,
            retries: VecDeque::new(),
            paced: BinaryHeap::new(),
            last_look: Instant::now(),
            picker,
            reads: Random::new(index_u64 ^ 0x7265_6164),
            remaining: load.count.map(share_of),
            // Workers interleave their versions; of keys that are written once there is only one.
            next_version: if once { load.first_version } else { load.first_version + index_u64 },
            version_step: if once { 0 } else { workers_u64 },
        };
        for slot in 0..worker.clients.len() {
            worker.connect_client(slot)?;
        }
        Ok(worker)
    }

    fn connect_client(&mut self, slot: usize) -> io::Result<()> {
        let client = &mut self.clients[slot];
        let address: SocketAddr = self.load.addresses[client.at];
        let connection = Connection::connect(address, self.workload.value_bytes(), self.load.patience)?;
        epoll::add(&self.epoll, connection.stream(), EventData::new_u64(slot as u64), EventFlags::IN)?;
        client.connection = Some(connection);
        Ok(())
    }

    pub fn run(mut self, start: Instant, control: &Control) -> Result<Outcome, LoadError> {
        let deadline = self.load.duration.map(|duration| start + duration);
        let ended = |now: Instant| deadline.is_some_and(|deadline| now >= deadline) || control.is_stopped();
        let mut outcome = Outcome::new(start);
        if let Some(interval) = self.load.interval() {
            // One after the other.
            let count = self.clients.len().max(1) as u32;
            for (slot, client) in self.clients.iter_mut().enumerate() {
                client.due = Some(start + interval * slot as u32 / count);
            }
        }
        // Clients that have something under way or will go on.
        let mut busy = 0usize;
        for slot in 0..self.clients.len() {
            match self.start_batch(slot) {
                Ok(is_sent) => busy += usize::from(is_sent),
                Err(error) => busy += usize::from(self.lost(slot, error.into(), &mut outcome)?),
            }
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut events: Vec<Event> = Vec::with_capacity(self.clients.len().max(1));
        let mut last_reply = Instant::now();
        while busy > 0 && !self.is_cut_short(&outcome) {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&self.sleep())) {
                Ok(_) => {}
                Err(error) if io::Error::from(error).kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if events.is_empty() && last_reply.elapsed() > self.load.patience {
                return Err(LoadError::Stalled(self.load.patience));
            }
            for event in &events {
                let (flags, data) = (event.flags, event.data);
                let slot = data.u64() as usize;
                let goes_on = match self.step(slot, flags, &mut chunk, &mut outcome, &mut last_reply, control) {
                    Ok(false) => true,
                    Ok(true) if ended(last_reply) => false,
                    Ok(true) => match self.start_batch(slot) {
                        Ok(is_sent) => is_sent,
                        Err(error) => self.lost(slot, error.into(), &mut outcome)?,
                    },
                    Err(error) => self.lost(slot, error, &mut outcome)?,
                };
                if !goes_on {
                    // Closed, so that nothing more comes from a client that has ended.
                    self.clients[slot].connection = None;
                    busy -= 1;
                }
                if self.is_cut_short(&outcome) {
                    break;
                }
            }
            self.give_up(&mut outcome)?;
            busy -= self.retry(ended(Instant::now()), &mut outcome)?;
            busy -= self.take_turns(ended(Instant::now()), &mut outcome)?;
        }
        outcome.elapsed = last_reply.saturating_duration_since(start);
        Ok(outcome)
    }

    fn is_cut_short(&self, outcome: &Outcome) -> bool {
        self.load.on_loss == OnLoss::End && outcome.lost > 0
    }

    /// How long to wait for events.
    fn sleep(&self) -> Timespec {
        let until_retry = self.retries.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        let until_turn = self.paced.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        let sleep = until_retry.into_iter().chain(until_turn).fold(TICK, Duration::min);
        Timespec { tv_sec: 0, tv_nsec: i64::from(sleep.subsec_nanos()) }
    }

    /// Takes clients whose replies are overdue from their servers. Looks at them once in a tick, as precise as is needed.
    fn give_up(&mut self, outcome: &mut Outcome) -> Result<(), LoadError> {
        let Some(limit) = self.load.give_up_after.filter(|_| self.load.on_loss == OnLoss::Retry) else { return Ok(()) };
        if self.last_look.elapsed() < TICK {
            return Ok(());
        }
        self.last_look = Instant::now();
        for slot in 0..self.clients.len() {
            let connection = self.clients[slot].connection.as_ref();
            if connection.is_some_and(|it| !it.is_idle() && it.batch_sent().elapsed() > limit) {
                self.lost(slot, io::Error::from(ErrorKind::TimedOut).into(), outcome)?;
            }
        }
        Ok(())
    }

    /// Lets clients whose pause is over go on at their next server, or all of them end. Returns how many ended.
    fn retry(&mut self, ended: bool, outcome: &mut Outcome) -> Result<usize, LoadError> {
        if ended {
            return Ok(self.retries.drain(..).count());
        }
        let mut finished = 0;
        let now = Instant::now();
        while let Some((_, slot)) = self.retries.pop_front_if(|(at, _)| *at <= now) {
            self.clients[slot].at = (self.clients[slot].at + 1) % self.load.addresses.len();
            let goes_on = match self.connect_client(slot).and_then(|()| self.start_batch(slot)) {
                Ok(is_sent) => is_sent,
                Err(error) => self.lost(slot, error.into(), outcome)?,
            };
            finished += usize::from(!goes_on);
        }
        Ok(finished)
    }

    /// Sends what has its turn, or ends all that wait for one. Returns how many ended.
    fn take_turns(&mut self, ended: bool, outcome: &mut Outcome) -> Result<usize, LoadError> {
        let mut finished = 0;
        while let Some(Reverse((at, _))) = self.paced.peek() {
            if !ended && *at > Instant::now() {
                break;
            }
            let Some(Reverse((_, slot))) = self.paced.pop() else { break };
            if ended {
                self.clients[slot].connection = None;
                finished += 1;
                continue;
            }
            let goes_on = match self.start_batch(slot) {
                Ok(is_sent) => is_sent,
                Err(error) => self.lost(slot, error.into(), outcome)?,
            };
            finished += usize::from(!goes_on);
        }
        Ok(finished)
    }

    /// The turn of a client's next batch: `Err` if it has not come. One that was kept from many turns leaves them out.
    fn turn(&mut self, slot: usize) -> Result<Option<Instant>, Instant> {
        let (Some(interval), Some(due)) = (self.load.interval(), self.clients[slot].due) else { return Ok(None) };
        let now = Instant::now();
        if due > now {
            return Err(due);
        }
        let due = due.max(now.checked_sub(LONGEST_DELAY).unwrap_or(now));
        self.clients[slot].due = Some(due + interval);
        Ok(Some(due))
    }

    /// Handles one event. True when the client's batch is complete.
    fn step(
        &mut self,
        slot: usize,
        flags: EventFlags,
        chunk: &mut [u8],
        outcome: &mut Outcome,
        last_reply: &mut Instant,
        control: &Control,
    ) -> Result<bool, LoadError> {
        let Some(connection) = &mut self.clients[slot].connection else { return Ok(false) };
        if flags.contains(EventFlags::OUT) && connection.continue_sending()? {
            watch(&self.epoll, connection, slot, EventFlags::IN)?;
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(false);
        }
        let progress = connection.receive(self.workload, chunk)?;
        if progress.closed {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        if progress.replies == 0 {
            return Ok(false);
        }
        let now = Instant::now();
        *last_reply = now;
        control.add_answered(progress.replies);
        outcome.record(connection.batch_sent(), now, progress.replies, progress.missing);
        if self.load.rate.is_some() {
            let (at, latency) = (now - outcome.start, now - connection.batch_sent());
            outcome.samples.push((at, latency, progress.replies));
        }
        Ok(connection.is_idle())
    }

    /// Sends the next batch of a client. False when nothing is left to send.
    fn start_batch(&mut self, slot: usize) -> io::Result<bool> {
        let due = match self.turn(slot) {
            Ok(due) => due,
            Err(at) => {
                self.paced.push(Reverse((at, slot)));
                return Ok(true);
            }
        };
        let Some(connection) = &mut self.clients[slot].connection else { return Ok(false) };
        for _ in 0..self.load.pipeline {
            if self.remaining == Some(0) {
                break;
            }
            let Some(number) = self.picker.next_number() else { break };
            self.remaining = self.remaining.map(|remaining| remaining - 1);
            let reads =
                self.load.read_share >= 1.0 || (self.load.read_share > 0.0 && self.reads.unit() < self.load.read_share);
            if reads {
                connection.append_get(self.workload, number);
            } else {
                connection.append_set(self.workload, number, self.next_version, self.load.wait);
                self.next_version += self.version_step;
            }
        }
        if self.load.wait == Wait::AfterBatch {
            connection.append_wait();
        }
        if connection.is_idle() {
            return Ok(false);
        }
        if !connection.send_batch(due)? {
            watch(&self.epoll, connection, slot, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(true)
    }

    /// A client's connection failed or was refused. True if the client goes on later.
    fn lost(&mut self, slot: usize, error: LoadError, outcome: &mut Outcome) -> Result<bool, LoadError> {
        let is_passing = match &error {
            LoadError::Io(_) => true,
            LoadError::Refused(text) => {
                self.load.on_loss == OnLoss::Retry && PASSING_REFUSALS.iter().any(|refusal| text.starts_with(refusal))
            }
            _ => false,
        };
        if !is_passing || self.load.on_loss == OnLoss::Fail {
            return Err(error);
        }
        outcome.lost += 1;
        // Closing it takes it out of epoll; replies that may still be on their way go with it.
        self.clients[slot].connection = None;
        self.paced.retain(|Reverse((_, waiting))| *waiting != slot);
        if self.load.on_loss == OnLoss::Retry {
            self.retries.push_back((Instant::now() + RETRY_PAUSE, slot));
        }
        Ok(self.load.on_loss == OnLoss::Retry)
    }
}

fn watch(epoll: &OwnedFd, connection: &Connection, slot: usize, flags: EventFlags) -> io::Result<()> {
    Ok(epoll::modify(epoll, connection.stream(), EventData::new_u64(slot as u64), flags)?)
}
