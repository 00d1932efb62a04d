//! A stand-in for the server's runtime, with the form that it will have: starting always fails.
//!
//! To be deleted when `skink_server::start` is there; `serve.rs` and `shell.rs` then import from `skink_server`.

use skink_engine::engine::EngineOptions;
use skink_engine::error::Fault;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "nothing reads it until the server is there")]
pub struct ServerConfig {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub engine: EngineOptions,
    pub replica: ReplicaOptions,
    pub io_threads: usize,
}

#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    pub checkpoint_log_bytes: u64,
    pub checkpoint_interval: Duration,
}

impl ServerConfig {
    pub fn new(data: PathBuf, listen: SocketAddr) -> ServerConfig {
        let replica = ReplicaOptions { checkpoint_log_bytes: 512 << 20, checkpoint_interval: Duration::from_secs(300) };
        ServerConfig { data, listen, engine: EngineOptions::default(), replica, io_threads: 0 }
    }
}

#[derive(Debug, Error)]
#[error("this build has no server yet")]
pub struct StartError;

pub fn start(_: ServerConfig) -> Result<RunningServer, StartError> {
    Err(StartError)
}

#[derive(Debug)]
pub struct RunningServer(Infallible);

impl RunningServer {
    pub fn address(&self) -> SocketAddr {
        match self.0 {}
    }

    pub fn stopper(&self) -> Stopper {
        match self.0 {}
    }

    pub fn wait(self) -> Result<(), Fault> {
        match self.0 {}
    }
}

#[derive(Clone, Debug)]
pub struct Stopper(Infallible);

impl Stopper {
    pub fn stop(&self) {
        match self.0 {}
    }
}
