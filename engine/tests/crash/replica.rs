//! A replica as small as can be: batches into the log, acknowledged when durable, then executed.
//!
//! What its methods return is the fault that ended it; a full disk does not.

use crate::oracle::{Batch, Header, MAX_VALUE_LEN, Oracle, context};
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use skink_engine::command::{Command, Range, RangeQuery, Reply};
use skink_engine::engine::{Cut, Engine, EngineOptions};
use skink_engine::env::sim::{Faults, SimDisk, environment};
use skink_engine::env::{Disk, Environment};
use skink_engine::error::Fault;
use skink_engine::log::{BodyReader, FrameKind, LogWriter, MAX_FRAME_OVERHEAD};
use skink_engine::position::{Instance, LogPosition};
use skink_engine::testing::model::agree;
use skink_engine::testing::state::scan_all;
use skink_engine::verify::verify;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// What outlives the process.
pub struct Machine {
    pub environment: Environment,
    pub disk: SimDisk,
    options: EngineOptions,
}

/// The process.
pub struct Replica {
    engine: Engine,
    writer: LogWriter,
    instance: Instance,
    time_ms: u64,
    /// Cuts whose checkpoints are still to be made, in their order.
    cuts: VecDeque<Cut>,
    /// From the first to past the last byte of the last write, if nothing sealed it.
    pub last_write: Option<(LogPosition, LogPosition)>,
}

pub fn root() -> &'static Path {
    Path::new("/data")
}

impl Machine {
    pub fn new(seed: u64, random: &mut StdRng) -> Machine {
        let (environment, disk, _) = environment(seed, 8 << 20);
        let segments = random.random_range(1..5);
        let options = EngineOptions {
            segments,
            log_file_len: 128 << 10,
            max_value_len: MAX_VALUE_LEN as u32,
            ..EngineOptions::default()
        };
        Machine { environment, disk, options }
    }

    /// Opens the directory and replays the log.
    pub fn open(&self) -> Result<Replica, Fault> {
        let (engine, opened) = Engine::open(self.environment.clone(), root(), self.options)?;
        let (mut instance, mut time_ms) = (opened.manifest.instance, opened.manifest.time_ms);
        for frame in opened.log.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering) {
            let header: Header = postcard::from_bytes(&frame.body).unwrap();
            let payload = BodyReader::new(engine.log_files()).read(LogPosition::new(header.payload))?;
            let commands: Vec<Command> = postcard::from_bytes(&payload).unwrap();
            instance = instance.next();
            time_ms = header.time_ms;
            assert_eq!(instance.get(), header.instance, "the log goes on where the checkpoint ends, without gaps");
            for (index, command) in commands.iter().enumerate() {
                engine.execute(command, context(instance, index, time_ms))?;
            }
        }
        let writer = opened.writer;
        Ok(Replica { engine, writer, instance, time_ms, cuts: VecDeque::new(), last_write: None })
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.disk.paths().iter().filter_map(|path| self.disk.metadata(path).ok()).map(|metadata| metadata.len).sum()
    }

    /// All files with their bytes.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = self.disk.paths().into_iter();
        paths.map(|path| (path.clone(), self.disk.read(&path, u64::MAX).unwrap_or_default())).collect()
    }

    pub fn expect_clean(&self) {
        match verify(&self.environment, root()) {
            Ok(report) => assert!(report.is_clean(), "{:?}", report.damage),
            Err(fault) => panic!("verify: {fault}"),
        }
    }
}

impl Replica {
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Writes batches in as few writes as can be, acknowledges and executes them.
    pub fn submit(&mut self, machine: &Machine, oracle: &mut Oracle, batches: Vec<Batch>) -> Result<(), Fault> {
        let mut acknowledged = Vec::new();
        for batch in batches {
            let payload = postcard::to_stdvec(&batch.commands).unwrap();
            let before = self.writer.durable();
            // A header takes less than 40 bytes.
            let room = self.writer.reserve((payload.len() + 40 + 2 * MAX_FRAME_OVERHEAD) as u64);
            if self.writer.durable() != before {
                acknowledged.extend(oracle.acknowledge());
            }
            let appended = room.and_then(|()| self.append(&batch, &payload));
            match appended {
                Ok(()) => oracle.in_flight.push(batch),
                Err(fault) if fault.is_transient() => break,
                Err(fault) => return Err(fault),
            }
        }
        let start = self.writer.durable();
        let end = self.writer.flush()?;
        if end != start {
            self.last_write = Some((start, end));
        }
        acknowledged.extend(oracle.acknowledge());
        for (batch, replies) in acknowledged {
            self.execute(machine, &batch, &replies)?;
        }
        Ok(())
    }

    fn append(&mut self, batch: &Batch, payload: &[u8]) -> Result<(), Fault> {
        let payload = self.writer.append(FrameKind::Payload, &[payload])?.get();
        let header = Header { instance: batch.instance.get(), time_ms: batch.time_ms, payload };
        self.writer.append(FrameKind::Ordering, &[&postcard::to_stdvec(&header).unwrap()])?;
        Ok(())
    }

    fn execute(&mut self, machine: &Machine, batch: &Batch, replies: &[Reply]) -> Result<(), Fault> {
        for (index, (command, expected)) in batch.commands.iter().zip(replies).enumerate() {
            let reply = match self.engine.execute(command, batch.context(index)) {
                // What is in the log must be executed: once there is room, it is, as if nothing had been.
                Err(fault) if fault.is_transient() => {
                    machine.disk.set_faults(Faults::default());
                    self.engine.execute(command, batch.context(index))?
                }
                result => result?,
            };
            assert!(agree(expected, &reply), "{command:?}\nexpected {expected:?}\nbut got {reply:?}");
        }
        (self.instance, self.time_ms) = (batch.instance, batch.time_ms);
        Ok(())
    }

    pub fn seal(&mut self) -> Result<(), Fault> {
        tolerate_full(self.writer.seal().map(|_| ()))?;
        if self.writer.pending() == 0 {
            self.last_write = None;
        }
        Ok(())
    }

    pub fn prepare_next_file(&self) -> Result<(), Fault> {
        tolerate_full(self.engine.log_files().prepare(self.writer.next_file()))
    }

    pub fn maintain(&self, images: bool) -> Result<(), Fault> {
        for _ in 0..8 {
            match self.engine.maintain(&|_| ()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) if fault.is_transient() => break,
                Err(fault) => return Err(fault),
            }
        }
        if images { tolerate_full(self.engine.refresh_images(0)) } else { Ok(()) }
    }

    pub fn cut(&mut self) {
        self.cuts.push_back(self.engine.cut(self.instance, self.time_ms, self.writer.end(), Vec::new(), Vec::new()));
    }

    pub fn checkpoint(&mut self) -> Result<(), Fault> {
        match self.cuts.pop_front() {
            Some(cut) => tolerate_full(self.engine.checkpoint(&cut, false).map(|_| ())),
            None => Ok(()),
        }
    }

    /// Ends in order; `true` if the disk had room for it.
    pub fn stop(self) -> Result<bool, Fault> {
        tolerate_full(self.engine.refresh_images(1000))?;
        let cut = self.engine.cut(self.instance, self.time_ms, self.writer.end(), Vec::new(), Vec::new());
        match self.engine.checkpoint(&cut, true) {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_transient() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Reads everything in every way and compares it with the model.
    pub fn compare(&self, oracle: &Oracle) -> Result<(), Fault> {
        // At time 0 nothing has expired.
        let context = context(self.instance, 0, 0);
        let reply = self.engine.execute(&Command::ReadRange(RangeQuery::new(Range::all(), u32::MAX)), context)?;
        let Reply::Entries { entries, next: None } = reply else { panic!("{reply:?}") };
        let expected = oracle.model.entries();
        let found: Vec<_> = entries.into_iter().map(|entry| (entry.key.to_vec(), entry.version)).collect();
        let expected_entries: Vec<_> = expected.iter().map(|(key, version)| (key.clone(), version.clone())).collect();
        assert!(found == expected_entries, "found {found:?}\nexpected {expected_entries:?}");
        assert_eq!(self.engine.key_count(), expected.len() as u64, "S3");
        for (key, version) in expected {
            let stored = self.engine.read(key, 0, |stored| stored.map(|stored| stored.to_versioned()))?;
            assert_eq!(stored.as_ref(), Some(version));
        }
        let mut fault = None;
        let mut scanned = scan_all(3, None, |command| match self.engine.execute(command, context) {
            Ok(reply) => reply,
            Err(error) => {
                fault = Some(error);
                Reply::Scanned { keys: Vec::new(), cursor: 0 }
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        scanned.sort();
        let keys: Vec<Bytes> = expected.keys().map(|key| Bytes::copy_from_slice(key)).collect();
        assert_eq!(scanned, keys);
        Ok(())
    }
}

fn tolerate_full(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(fault) if fault.is_transient() => Ok(()),
        result => result,
    }
}
