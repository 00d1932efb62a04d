//! Why a server can't be talked to.

use super::{DEFAULT_ADDRESS, DecodeError};
use std::io;
use thiserror::Error;

/// A failure of the connection, not of the server.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No process has the port.
    #[error("nothing listens on {address}; start a server with: skink serve --data DIR{}", listen_option(.address))]
    NothingListens {
        /// Where.
        address: String,
    },
    /// The address stands for no host and port.
    #[error("{address} is no address to connect to; it is a host and a port, such as {DEFAULT_ADDRESS}")]
    UnknownHost {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The host does not answer.
    #[error("can't connect to {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server does not want this client.
    #[error("{address} refuses the connection: {text}")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        text: String,
    },
    /// No answer came in time.
    #[error("no answer from {address} for {seconds} s; whether the request took effect is not known")]
    Silent {
        /// Where.
        address: String,
        /// For how long.
        seconds: u64,
    },
    /// The connection ended.
    #[error("{address} closed the connection; whether a request without an answer took effect is not known")]
    Closed {
        /// Where.
        address: String,
    },
    /// The connection failed otherwise.
    #[error("the connection to {address} failed; whether a request without an answer took effect is not known")]
    Lost {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// What came back is no reply.
    #[error("what listens on {address} does not speak the protocol of Redis, or the answer is damaged")]
    Garbled {
        /// Where.
        address: String,
        /// What is wrong with the reply.
        source: DecodeError,
    },
}

/// The option with which a server would listen there.
fn listen_option(address: &str) -> String {
    if address == DEFAULT_ADDRESS { String::new() } else { format!(" --listen {address}") }
}
