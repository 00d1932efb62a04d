//! Skink's engine: mapped append-only segments, and for durable writes its log.

use super::{Embedded, EngineError, Options};
use skink_engine::command::{Command, Put, PutMode};
use skink_engine::engine::Engine;
use skink_engine::env::Environment;
use skink_engine::evaluate::Context;
use skink_engine::position::Revision;
use skink_replication::batch::{BatchEncoder, BatchOutcome, LocalBatch, LocalCommand};
use skink_replication::replica::{Replica, ReplicaOptions};
use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

const NAME: &str = "skink";

struct Skink {
    replica: Replica,
    durable: bool,
    /// Writes that bypass the order count for themselves: no batch is ordered beside them.
    revision: AtomicU64,
    next_proxy: AtomicU32,
}

/// Where a thread waits for its batch.
struct Ticket {
    outcome: Mutex<Option<BatchOutcome>>,
    thread: Thread,
}

thread_local! {
    static PROXY: RefCell<(u32, BatchEncoder)> = RefCell::default();
}

pub(super) fn open(folder: &Path, options: &Options) -> Result<Box<dyn Embedded>, EngineError> {
    let settings = ReplicaOptions { checkpoint_interval: Duration::from_secs(1 << 30), ..ReplicaOptions::default() };
    let replica =
        Replica::start(Environment::real(), &folder.join("skink"), settings).map_err(EngineError::of(NAME))?;
    let revision = AtomicU64::new(replica.last_checkpoint().revision(0).get() + 1);
    Ok(Box::new(Skink { replica, durable: options.durable, revision, next_proxy: AtomicU32::new(1) }))
}

impl Skink {
    fn engine(&self) -> &Arc<Engine> {
        self.replica.engine()
    }

    fn execute(&self, command: &Command) -> Result<(), EngineError> {
        let revision = Revision::from_raw(self.revision.fetch_add(1, Ordering::Relaxed));
        let context = Context { revision, now_ms: 0, max_value_len: 16 << 20 };
        self.engine().execute(command, context).map(drop).map_err(EngineError::of(NAME))
    }

    /// One command a batch, through the log.
    fn submit(&self, command: Command) -> Result<(), EngineError> {
        let commands = vec![LocalCommand { command, is_ordered: true }];
        let ticket = Arc::new(Ticket { outcome: Mutex::default(), thread: std::thread::current() });
        let (proxy, (content, payload)) = PROXY.with_borrow_mut(|(proxy, encoder)| {
            if *proxy == 0 {
                *proxy = self.next_proxy.fetch_add(1, Ordering::Relaxed);
            }
            (*proxy, encoder.encode(&commands, |key| self.engine().hash(key)))
        });
        let batch = LocalBatch { proxy, time_ms: 0, commands, content, payload };
        let theirs = Arc::clone(&ticket);
        self.replica.submit(
            batch,
            Box::new(move |outcome| {
                *theirs.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                theirs.thread.unpark();
            }),
        );
        loop {
            if let Some(outcome) = ticket.outcome.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return outcome.map(drop).map_err(EngineError::of(NAME));
            }
            std::thread::park();
        }
    }
}

impl Embedded for Skink {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let command = Command::Put(Put::new(PutMode::Upsert, key.to_vec(), value.to_vec()));
        if self.durable { self.submit(command) } else { self.execute(&command) }
    }

    fn put_many(&self, pairs: &[([u8; 8], Vec<u8>)]) -> Result<(), EngineError> {
        for (key, value) in pairs {
            self.execute(&Command::Put(Put::new(PutMode::Upsert, key.to_vec(), value.clone())))?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, EngineError> {
        value.clear();
        let found = self.engine().read(key, 0, |stored| stored.map(|stored| value.extend_from_slice(stored.value)));
        found.map(|found| found.is_some()).map_err(EngineError::of(NAME))
    }

    fn flush(&self) -> Result<(), EngineError> {
        let (sender, done) = std::sync::mpsc::channel();
        self.replica.checkpoint(Box::new(move |result| {
            let _ = sender.send(result);
        }));
        match done.recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(what)) => Err(EngineError::of(NAME)(what)),
            Err(error) => Err(EngineError::of(NAME)(error)),
        }
    }
}
