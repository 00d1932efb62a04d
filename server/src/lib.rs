//! The server of Skink: what stands between clients and the ordered commands.

pub mod redis;
pub mod resp;
pub mod statement;
