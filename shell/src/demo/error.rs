//! Why the demo fails.

use super::server::ServerError;
use crate::client::ClientError;
use crate::replicas::ReplicasError;
use skink_engine::error::Fault;
use std::io;
use thiserror::Error;

/// Why the demo failed.
#[derive(Debug, Error)]
pub enum DemoError {
    /// There is no place for the data.
    #[error("can't make a temporary folder")]
    Folder(#[source] io::Error),
    /// The system does not let signals be taken.
    #[error("can't take signals")]
    Signals(#[source] io::Error),
    /// There are no ports to listen on.
    #[error("can't find a free port on 127.0.0.1")]
    Ports,
    /// The server process fails.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A client's connection fails while the server should be up.
    #[error("a client failed while the server should have been up")]
    Client(#[from] ClientError),
    /// A replica does not tell how the others stand, while it should.
    #[error("a replica does not tell how the others stand")]
    Replicas(#[from] ReplicasError),
    /// The server answers something else than it should.
    #[error("the server answered {request} with {reply}")]
    Unexpected {
        /// What was asked.
        request: &'static str,
        /// What it said.
        reply: String,
    },
    /// Something that the replicas should get to does not come.
    #[error("{what} within {seconds} s")]
    TooLate {
        /// What did not happen.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A read does not see a write that was acknowledged before it.
    #[error("STALE: replica {replica} answered a read with {found} after {acknowledged} was acknowledged")]
    Stale {
        /// Which replica.
        replica: u64,
        /// What it said.
        found: String,
        /// What it should have said.
        acknowledged: String,
    },
    /// A thread of the demo's panicked, which is a bug.
    #[error("a client's thread panicked")]
    Panicked,
    /// Nothing was acknowledged before the kill.
    #[error("not one write was acknowledged; there is nothing to check")]
    NothingWritten,
    /// What was acknowledged is not there.
    #[error("LOST: of {checked} keys, {count} do not hold what was acknowledged, for example: {examples}")]
    Lost {
        /// How many keys were looked at.
        checked: usize,
        /// How many are wrong.
        count: usize,
        /// Some of them.
        examples: String,
    },
    /// The data directory can't be verified.
    #[error("can't verify the data directory")]
    Verify(#[source] Fault),
    /// The data directory is damaged.
    #[error("the data directory is damaged in {0} places, for example")]
    Damaged(usize, #[source] Fault),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
    /// One of the above, with what the servers logged; their logs go with the folder.
    #[error("the demo failed; what the servers logged ends with:\n{log}")]
    Failed {
        /// The ends of the logs.
        log: String,
        /// What failed.
        source: Box<DemoError>,
    },
}
