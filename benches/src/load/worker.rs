//! One thread of the generator: its connections, its epoll, its share of the keys and of the count.

use super::connection::Connection;
use super::{Keys, Load, LoadError, Outcome, Timeline};
use crate::histogram::Latencies;
use crate::workload::{Picker, Random, Workload};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a read; a pipeline of 16 values of 1 KiB fits four times.
const CHUNK_BYTES: usize = 64 << 10;
/// How long epoll sleeps at most, so that an ended or stalled run is noticed.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

pub(super) struct Worker<'a> {
    load: &'a Load,
    workload: &'a Workload,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    picker: Picker,
    reads: Random,
    remaining: Option<u64>,
    next_version: u64,
    version_step: u64,
}

impl<'a> Worker<'a> {
    /// Worker `index` of `workers`, with its connections established.
    pub fn connect(load: &'a Load, workload: &'a Workload, index: usize, workers: usize) -> Result<Self, LoadError> {
        let (index_u64, workers_u64) = (index as u64, workers as u64);
        let share_of = |total: u64| total / workers_u64 + u64::from(index_u64 < total % workers_u64);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut connections = Vec::new();
        for slot in 0..share_of(load.connections as u64) {
            let connection = Connection::connect(load.address, workload.value_bytes(), load.patience)?;
            epoll::add(&epoll, connection.stream(), EventData::new_u64(slot), EventFlags::IN)
                .map_err(io::Error::from)?;
            connections.push(connection);
        }
        let picker = match load.keys {
            Keys::EachOnce => {
                let start = index_u64 * workload.keys() / workers_u64;
                Picker::Sequence(start..(index_u64 + 1) * workload.keys() / workers_u64)
            }
            Keys::Random(pick) => Picker::new(pick, workload, load.first_version.wrapping_mul(1024) + index_u64),
        };
        let once = load.keys == Keys::EachOnce;
        Ok(Self {
            load,
            workload,
            epoll,
            connections,
            picker,
            reads: Random::new(index_u64 ^ 0x7265_6164),
            remaining: load.count.map(share_of),
            // Workers interleave their versions; of keys that are written once there is only one.
            next_version: if once { load.first_version } else { load.first_version + index_u64 },
            version_step: if once { 0 } else { workers_u64 },
        })
    }

    pub fn run(mut self, start: Instant, stop: &AtomicBool) -> Result<Outcome, LoadError> {
        let deadline = self.load.duration.map(|duration| start + duration);
        let ended = |now: Instant| deadline.is_some_and(|deadline| now >= deadline) || stop.load(Ordering::Relaxed);
        let mut outcome = Outcome {
            start,
            elapsed: Duration::ZERO,
            requests: 0,
            missing: 0,
            latencies: Latencies::new(),
            timeline: Timeline::default(),
            disconnected: false,
        };
        let mut busy = 0usize;
        for slot in 0..self.connections.len() {
            match self.start_batch(slot) {
                Ok(sent) => busy += usize::from(sent),
                Err(error) => self.lost(error.into(), &mut outcome)?,
            }
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut events: Vec<Event> = Vec::with_capacity(self.connections.len().max(1));
        let mut last_reply = Instant::now();
        while busy > 0 && !outcome.disconnected {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&TICK)) {
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
                let step = self.step(slot, flags, &mut chunk, &mut outcome, &mut last_reply);
                match step {
                    Ok(false) => {}
                    Ok(true) if ended(last_reply) => busy -= 1,
                    Ok(true) => match self.start_batch(slot) {
                        Ok(true) => {}
                        Ok(false) => busy -= 1,
                        Err(error) => self.lost(error.into(), &mut outcome)?,
                    },
                    Err(error) => self.lost(error, &mut outcome)?,
                }
                if outcome.disconnected {
                    break;
                }
            }
        }
        outcome.elapsed = last_reply.saturating_duration_since(start);
        Ok(outcome)
    }

    /// Handles one event. True when the connection's batch is complete.
    fn step(
        &mut self,
        slot: usize,
        flags: EventFlags,
        chunk: &mut [u8],
        outcome: &mut Outcome,
        last_reply: &mut Instant,
    ) -> Result<bool, LoadError> {
        let connection = &mut self.connections[slot];
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
        let latency = now.saturating_duration_since(connection.batch_sent());
        outcome.requests += progress.replies;
        outcome.missing += progress.missing;
        outcome.latencies.record(latency, progress.replies);
        outcome.timeline.record(now.saturating_duration_since(outcome.start), latency, progress.replies);
        Ok(connection.is_idle())
    }

    /// Sends the next batch of a connection. False when nothing is left to send.
    fn start_batch(&mut self, slot: usize) -> io::Result<bool> {
        let connection = &mut self.connections[slot];
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
                connection.append_set(self.workload, number, self.next_version);
                self.next_version += self.version_step;
            }
        }
        if connection.is_idle() {
            return Ok(false);
        }
        if !connection.send_batch()? {
            watch(&self.epoll, connection, slot, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(true)
    }

    /// A connection failed: the end of the run where that is expected, else its failure.
    fn lost(&self, error: LoadError, outcome: &mut Outcome) -> Result<(), LoadError> {
        match error {
            LoadError::Io(_) if self.load.expect_disconnect => outcome.disconnected = true,
            error => return Err(error),
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, connection: &Connection, slot: usize, flags: EventFlags) -> io::Result<()> {
    Ok(epoll::modify(epoll, connection.stream(), EventData::new_u64(slot as u64), flags)?)
}
