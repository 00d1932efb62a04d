//! The server of Skink: what stands between clients and the ordered commands.

mod config;
mod connection;
mod information;
mod io_thread;
mod proxy;
pub mod redis;
pub mod resp;
mod server;
pub mod statement;

pub use config::ServerConfig;
pub use server::{RunningServer, StartError, Stopper, start};
