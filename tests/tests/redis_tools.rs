//! What people use with Redis, used with Skink: its tools, client libraries, and Redis itself to compare with.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

#[path = "redis_tools/benchmark.rs"]
mod benchmark;
#[path = "redis_tools/cli.rs"]
mod cli;
#[path = "redis_tools/equality.rs"]
mod equality;
#[path = "redis_tools/libraries.rs"]
mod libraries;
#[path = "redis_tools/random.rs"]
mod random;
