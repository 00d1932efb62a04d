//! Clients that write new keys at whichever replica takes them, and remember what was acknowledged.

use super::cluster::{Clients, connect_any};
use skink_tests::wire::request;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const WRITERS: usize = 6;
/// Writes that must be acknowledged before a test goes on.
const STEP: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// Clients at work.
pub struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets them begin.
    pub fn start(clients: Clients) -> Load {
        let mut load =
            Load { is_over: Arc::default(), done: Arc::default(), acknowledged: Arc::default(), writers: Vec::new() };
        for writer in 0..WRITERS {
            let (clients, is_over) = (Arc::clone(&clients), Arc::clone(&load.is_over));
            let (done, acknowledged) = (Arc::clone(&load.done), Arc::clone(&load.acknowledged));
            load.writers.push(std::thread::spawn(move || {
                let mut own = Vec::new();
                write(writer, &clients, &is_over, &done, &mut own);
                acknowledged.lock().unwrap().append(&mut own);
            }));
        }
        load
    }

    /// Writes go on.
    pub fn goes_on(&self) {
        let (began, before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        while self.done.load(Ordering::Relaxed) < before + STEP {
            assert!(began.elapsed() < PATIENCE, "nothing is written any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets them end; the keys that were acknowledged.
    pub fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

fn write(writer: usize, clients: &Clients, is_over: &AtomicBool, done: &AtomicUsize, acknowledged: &mut Vec<String>) {
    let (mut number, mut turn, mut wire) = (0, writer, None);
    while !is_over.load(Ordering::Relaxed) {
        let Some(connection) = wire.as_mut() else {
            turn += 1;
            wire = connect_any(clients, turn);
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        number += 1;
        let key = format!("{writer}-{number}");
        let sent = connection.try_send(&request(&[b"SET", key.as_bytes(), key.as_bytes()]));
        match sent.and_then(|()| connection.try_reply()) {
            Ok(reply) if reply == b"+OK\r\n" => {
                acknowledged.push(key);
                done.fetch_add(1, Ordering::Relaxed);
            }
            // The replica was killed or removed, or finds no majority: another one may do better.
            Ok(reply) => {
                assert!(reply.starts_with(b"-CLUSTERDOWN") || reply.starts_with(b"-ERR the server is"), "{reply:?}");
                wire = None;
            }
            Err(_) => wire = None,
        }
    }
}
