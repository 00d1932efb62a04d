//! Load: many clients at all replicas, while something goes wrong.

use crate::client::Client;
use crate::counter::{self, Counter};
use skink_tests::Cluster;
use skink_tests::cluster::{REPLICAS, wait_until};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Clients of all replicas.
pub struct Load {
    clients: Vec<Client>,
    counter: Counter,
}

/// How far the clients of each replica have got.
pub struct Progress {
    acknowledged: [AtomicU64; 3],
}

impl Progress {
    /// Writes that a replica has acknowledged.
    pub fn of(&self, replica: usize) -> u64 {
        self.acknowledged[replica - 1].load(Ordering::Relaxed)
    }

    /// Waits until each of these replicas has acknowledged so many more writes.
    pub fn wait_for(&self, replicas: &[usize], more: u64) {
        for (replica, before) in replicas.iter().map(|replica| (*replica, self.of(*replica))).collect::<Vec<_>>() {
            let is_there = || self.of(replica) >= before + more;
            wait_until(&format!("writes at replica {replica}"), is_there, || {
                format!("{} more", self.of(replica) - before)
            });
        }
    }
}

/// Ends the clients, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// So many clients for each replica.
    pub fn new(cluster: &Cluster, clients: usize, seed: u64) -> Load {
        let client = |number: usize| {
            let replica = REPLICAS[number % REPLICAS.len()];
            Client::new(number, replica, cluster.addresses().client(replica), seed)
        };
        Load { clients: (0..clients * REPLICAS.len()).map(client).collect(), counter: Counter::default() }
    }

    /// Runs the clients while something happens.
    pub fn during<T>(&mut self, something: impl FnOnce(&Progress) -> T) -> T {
        let (counter, must_stop) = (&self.counter, AtomicBool::new(false));
        let progress = Progress { acknowledged: Default::default() };
        std::thread::scope(|scope| {
            let _stop = Stop(&must_stop);
            for client in &mut self.clients {
                let acknowledged = &progress.acknowledged[client.replica() - 1];
                let must_stop = &must_stop;
                scope.spawn(move || client.run(counter, acknowledged, must_stop));
            }
            something(&progress)
        })
    }

    /// Checks that all replicas have what was acknowledged.
    pub fn check(&mut self, cluster: &Cluster) {
        // Whoever asks right after a failure may be told that there is no majority yet.
        for replica in REPLICAS {
            let answer = || cluster.wire(replica).say("GET none");
            wait_until(&format!("replica {replica} to answer"), || answer() == "$-1\\r\\n", answer);
            let mut wire = cluster.wire(replica);
            self.clients.iter_mut().for_each(|client| client.check(&mut wire));
            let count = wire.say(&format!("INCRBY {} 0", counter::KEY));
            let number = count.trim_start_matches(':').trim_end_matches("\\r\\n").parse();
            self.counter.check(number.unwrap_or_else(|_| panic!("the counter at replica {replica}: {count}")));
        }
        eprintln!("{} increments were answered", self.counter.answered());
    }
}
