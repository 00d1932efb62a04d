//! Redis itself, to compare with.

use crate::{Wire, watchdog};
use rustix::process::Pid;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` that keeps nothing, which ends with this value.
pub struct RedisServer {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl RedisServer {
    /// Starts it with one database, as Skink has.
    ///
    /// # Panics
    /// It can't be run, or does not start.
    pub fn start() -> RedisServer {
        let folder = tempfile::tempdir().expect("a folder for it");
        // Somebody may take the port in between: then the next one.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let address = free.expect("there are free ports");
            let mut child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--databases", "1"])
                .args(["--save", "", "--appendonly", "no", "--slowlog-log-slower-than", "-1", "--dir"])
                .arg(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server can be run");
            watchdog::adopt(Pid::from_child(&child));
            let asked = Instant::now();
            while child.try_wait().expect("a child can be watched").is_none() {
                if Wire::try_connect(&address.to_string()).is_ok() {
                    return RedisServer { child, address: address.to_string(), _folder: folder };
                }
                assert!(asked.elapsed() < PATIENCE, "redis-server does not get ready");
                std::thread::sleep(Duration::from_millis(5));
            }
            watchdog::forget(Pid::from_child(&child));
        }
        panic!("redis-server does not start");
    }

    /// A client down to bytes.
    ///
    /// # Panics
    /// It does not take it.
    pub fn wire(&self) -> Wire {
        Wire::connect(&self.address)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        watchdog::forget(Pid::from_child(&self.child));
    }
}
