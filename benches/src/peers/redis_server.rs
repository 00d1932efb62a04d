//! redis-server with its log (AOF) synced before every reply, and no snapshots of its own accord.

use super::server::{PATIENCE, Server, ServerCommand, ServerError};
use crate::resp::Client;
use std::thread;
use std::time::{Duration, Instant};

/// `--auto-aof-rewrite-percentage 0` spares Redis rewrites in the middle of a measured stretch; programs that
/// measure a restart ask for the rewrite themselves, which is Redis' best case.
const ARGUMENTS: &[&str] = &[
    "--port",
    "{port}",
    "--bind",
    "127.0.0.1",
    "--dir",
    "{dir}",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--auto-aof-rewrite-percentage",
    "0",
    "--save",
    "",
    "--rdbcompression",
    "no",
];

/// Each poll is a command between those of the measured load, so rarely; snapshots take seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Name of the contender.
pub const NAME: &str = "redis";
/// The program.
pub const PROGRAM: &str = "redis-server";

/// How to start it.
pub fn command() -> ServerCommand {
    ServerCommand::new(NAME, PROGRAM, ARGUMENTS.iter().map(|argument| (*argument).to_owned()))
}

/// How to start a replica of the server on this port.
pub fn replica_command(master_port: u16) -> ServerCommand {
    command().with(["--replicaof", "127.0.0.1", &master_port.to_string()].map(str::to_owned))
}

/// How to start a server that has replicas. It sends them its state without waiting for more of them to come.
pub fn master_command() -> ServerCommand {
    command().with(["--repl-diskless-sync-delay", "0"].map(str::to_owned))
}

/// Saves a snapshot and waits until it is written.
pub fn save_snapshot(server: &Server) -> Result<(), ServerError> {
    background(server, "BGSAVE", &["rdb_bgsave_in_progress"])
}

/// Rewrites the log to its shortest form and waits until that is done.
pub fn rewrite_log(server: &Server) -> Result<(), ServerError> {
    background(server, "BGREWRITEAOF", &["aof_rewrite_in_progress", "aof_rewrite_scheduled"])
}

/// Redis forks before it replies, so the fields of INFO say "in progress" from the reply on.
fn background(server: &Server, request: &str, busy_fields: &[&str]) -> Result<(), ServerError> {
    let mut client = server.client()?;
    // One that Redis began by itself is not the one that is asked for, and stands in its way.
    wait_while(server, &mut client, busy_fields)?;
    server.ask(&mut client, request)?;
    wait_while(server, &mut client, busy_fields)
}

fn wait_while(server: &Server, client: &mut Client, busy_fields: &[&str]) -> Result<(), ServerError> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let mut busy = false;
        for field in busy_fields {
            busy |= server.info(client, field)?.is_some_and(|value| value != "0");
        }
        if !busy {
            return Ok(());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Err(server.timeout())
}
