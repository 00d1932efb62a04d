//! redis-server with its log (AOF) synced before every reply, and no snapshots of its own accord.

use super::server::ServerCommand;

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

/// Name of the contender.
pub const NAME: &str = "redis";

/// How to start it.
pub fn command() -> ServerCommand {
    ServerCommand::new(NAME, "redis-server", ARGUMENTS.iter().map(|argument| (*argument).to_owned()))
}
