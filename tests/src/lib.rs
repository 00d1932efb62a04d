//! What the tests of the whole system share: the real binary on a data directory of its own, killed and started
//! at will, and clients down to single bytes.
//!
//! ```text
//! binary        builds and finds `skink`
//! server        runs it: start, kill -9, stop, start again; what it refuses; `skink verify`
//! cluster       three of it: the replicas of a cluster, on addresses of their own
//! forwarder     the network between them, where it can be cut
//! small_disk    a disk that is full
//! wire          a client that sends any bytes and sees the exact bytes of each reply
//! watchdog      ends a test that hangs, and the servers with it
//! tools         programs that may not be there
//! redis_server  one of them: Redis
//! ```

pub mod binary;
pub mod cluster;
pub mod forwarder;
pub mod redis_server;
pub mod server;
pub mod small_disk;
pub mod tools;
pub mod watchdog;
pub mod wire;

pub use cluster::Cluster;
pub use redis_server::RedisServer;
pub use server::Server;
pub use watchdog::Watchdog;
pub use wire::Wire;

/// A random number for a test to start from, which is printed: set `SKINK_SEED` to it to repeat the run.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("SKINK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("{test}: SKINK_SEED={seed}");
    seed
}
