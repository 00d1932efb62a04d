//! A machine: what outlives a process, its disk and its clock, and the process on it.

use crate::clock::WallClock;
use crate::disk_log::DiskLog;
use crate::mistakes::{HastyDisk, Mistake};
use crate::plan::{MAX_FILE_LEN, Plan, replica};
use crate::process::Process;
use skink_engine::catalog::Catalog;
use skink_engine::engine::Engine;
use skink_engine::env::sim::SimDisk;
use skink_engine::env::{Disk, Environment};
use skink_engine::error::Fault;
use skink_engine::log::{self, FrameKind, LogScan};
use skink_engine::position::Instance;
use skink_replication::crew::OnEngine;
use skink_replication::crew::simulated::Simulated;
use skink_replication::node::{Jump, Membership, Node, OrderingFacts};
use skink_replication::paxos::Ballot;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub fn root() -> &'static Path {
    Path::new("/data")
}

/// Why a process did not start.
pub enum StartError {
    Fault(Fault),
    Wrong(String),
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> StartError {
        StartError::Fault(fault)
    }
}

pub struct Machine {
    pub index: usize,
    pub disk: SimDisk,
    pub clock: WallClock,
    /// Seed of the numbers that the machine draws: of its own, so that runs are equal however often it starts.
    random: Arc<AtomicU64>,
    pub process: Option<Process>,
    /// Counts starts and ends: what was planned for an earlier life does not happen.
    pub life: u64,
    /// What the disk is known by in the order.
    pub incarnation: u64,
    pub is_founder: bool,
    /// The durable log, as the checkers read it.
    pub log: DiskLog,
    /// Up to here, what its log says is decided was compared with what all others say.
    pub verified: Instance,
    /// Log writes end no earlier.
    pub slow_until: u64,
    /// The process does nothing until then, and does not know it.
    pub paused_until: u64,
    /// The disk has only little room until then.
    pub full_until: u64,
    /// The disk was told to fail: what it does is no fault of the replica.
    pub is_faulty: bool,
    /// Something on it is not what was written.
    pub is_damaged: bool,
}

impl Machine {
    pub fn new(index: usize, plan: &Plan, clock: WallClock) -> Machine {
        let seed = plan.seed.wrapping_mul(31).wrapping_add(index as u64);
        Machine {
            index,
            disk: SimDisk::new(seed, MAX_FILE_LEN),
            clock,
            random: Arc::new(AtomicU64::new(seed << 8)),
            process: None,
            life: 0,
            incarnation: 1,
            is_founder: true,
            log: DiskLog::default(),
            verified: Instance::ZERO,
            slow_until: 0,
            paused_until: 0,
            full_until: 0,
            is_faulty: false,
            is_damaged: false,
        }
    }

    fn environment(&self, plan: &Plan) -> Environment {
        let random = Arc::clone(&self.random);
        let disk: Arc<dyn Disk> = match plan.mistake {
            Some(Mistake::LogIsNotDurable) => Arc::new(HastyDisk(self.disk.clone())),
            _ => Arc::new(self.disk.clone()),
        };
        let random = move || random.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        Environment { disk, clock: Arc::new(self.clock.clone()), random: Arc::new(random) }
    }

    pub fn membership(&self, plan: &Plan) -> Membership {
        Membership {
            own: replica(self.index),
            incarnation: self.incarnation,
            is_founder: self.is_founder || plan.mistake == Some(Mistake::LostDiskIsNotTold),
            configuration: plan.configuration(),
        }
    }

    /// Starts a process from what is on the disk.
    pub fn start(&mut self, plan: &Plan) -> Result<(), StartError> {
        let (engine, opened) = Engine::open(self.environment(plan), root(), plan.engine_options())?;
        let engine = Arc::new(engine);
        let before = (self.log.promise, self.log.end());
        let start = engine.log_files().start()?;
        // The log itself, also where the start took it from what is noted of it.
        let scan = log::scan(engine.log_files(), opened.manifest.log_position, opened.manifest.is_clean_stop)?;
        check_outline(&scan, &opened.log).map_err(StartError::Wrong)?;
        self.log.read(&scan, start, engine.last_checkpoint()).map_err(StartError::Wrong)?;
        self.checkpoint_changed(&engine)?;
        crate::checkers::o2::check_kept(before, &self.log).map_err(StartError::Wrong)?;
        let mut node = Node::start(Arc::clone(&engine), opened, &self.membership(plan), plan.node_options())?;
        if let Some((kind, workers)) = plan.crew(self.index) {
            let hashes = Arc::clone(&engine);
            let executor = OnEngine::new(&engine);
            let seed = plan.seed.wrapping_mul(31).wrapping_add(self.life);
            let crew = Simulated::new(kind, workers, seed, executor, move |key: &[u8]| hashes.hash(key));
            node.set_crew(Box::new(crew));
        }
        self.life += 1;
        self.verified = self.log.floor();
        self.process = Some(Process::new(engine, node));
        Ok(())
    }

    /// The process ends; what it had under way is lost with it.
    pub fn end_process(&mut self) {
        self.life += 1;
        self.process = None;
    }

    /// An empty disk in the place of the one that was there.
    pub fn lose_disk(&mut self, plan: &Plan) {
        assert!(self.process.is_none(), "disks are changed while nothing runs");
        self.incarnation += 1;
        (self.is_founder, self.is_damaged) = (false, false);
        let seed = plan.seed.wrapping_mul(37).wrapping_add(self.incarnation << 8 | self.index as u64);
        self.disk = SimDisk::new(seed, MAX_FILE_LEN);
        self.log = DiskLog::default();
        self.verified = Instance::ZERO;
    }

    /// A checkpoint became durable, of its own or of a donor.
    pub fn checkpoint_changed(&mut self, engine: &Engine) -> Result<(), Fault> {
        let newest = engine.newest_checkpoint()?;
        let facts = OrderingFacts::decode(&newest.manifest().ordering).unwrap_or_default();
        self.log.checkpoint = newest.manifest().instance;
        self.log.checkpoint_promise = facts.map_or(Ballot::NONE, |facts| facts.promise);
        self.log.dropped(engine.log_files().start()?);
        self.jumped(engine)
    }

    /// It may have left out what it had missed.
    pub fn jumped(&mut self, engine: &Engine) -> Result<(), Fault> {
        let catalog = Catalog::open(engine.environment(), &engine.directory().catalog())?;
        if let Ok(Some(jump)) = Jump::load(&catalog, self.log.checkpoint) {
            self.log.jumped = jump.instance;
            self.log.jump_promise = jump.facts().map_or(Ballot::NONE, |facts| facts.promise);
        }
        Ok(())
    }
}

/// What is noted of a log is what is in it.
fn check_outline(log: &LogScan, noted: &LogScan) -> Result<(), String> {
    let ordering = |scan: &LogScan| -> Vec<_> {
        scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering).cloned().collect()
    };
    if ordering(log) == ordering(noted) && log.end == noted.end {
        return Ok(());
    }
    Err(format!("OUTLINE: the log ends at {}, what is noted of it at {}, or differs before", log.end, noted.end))
}
