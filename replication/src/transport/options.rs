//! How a transport is set up, and how it can fail as a whole.

use super::event::Channel;
use super::secret::Secret;
use crate::paxos::ReplicaId;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Bounds of a channel, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Longest body that is sent and taken. Give all replicas the same.
    pub max_body_len: usize,
    /// What may wait to be written to one peer; frames take 8 bytes more than their bodies.
    pub max_buffered_len: usize,
}

/// Where random numbers come from. They must be unpredictable: nonces are made of them.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a transport is set up.
#[derive(Clone)]
pub struct TransportOptions {
    /// This replica.
    pub own: ReplicaId,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// How this replica reaches the others, as `host:port`; an entry for itself is left out of account.
    pub peers: BTreeMap<ReplicaId, String>,
    /// The cluster's secret; without one, only loopback addresses are used.
    pub secret: Option<Secret>,
    /// Random numbers.
    pub random: Random,
    /// A session ends when nothing came for so long. Each end says something three times in this time.
    pub silence: Duration,
    /// Time that a connection has to be authenticated, and a session to be complete.
    pub handshake_deadline: Duration,
    /// Time for which a refused peer gets no session.
    pub refusal_wait: Duration,
    /// Bounds of heartbeats.
    pub heartbeat: ChannelLimits,
    /// Bounds of control messages.
    pub control: ChannelLimits,
    /// Bounds of payloads.
    pub payload: ChannelLimits,
}

impl TransportOptions {
    /// The usual ones.
    pub fn new(own: ReplicaId, listen: SocketAddr, random: Random) -> TransportOptions {
        let large = ChannelLimits { max_body_len: (64 << 20) - 8, max_buffered_len: 64 << 20 };
        TransportOptions {
            own,
            listen,
            peers: BTreeMap::new(),
            secret: None,
            random,
            silence: Duration::from_secs(3),
            handshake_deadline: Duration::from_secs(2),
            refusal_wait: Duration::from_secs(5),
            heartbeat: ChannelLimits { max_body_len: 4 << 10, max_buffered_len: 64 << 10 },
            control: large,
            payload: large,
        }
    }

    /// The bounds of a channel.
    pub fn limits(&self, channel: Channel) -> ChannelLimits {
        match channel {
            Channel::Heartbeat => self.heartbeat,
            Channel::Control => self.control,
            Channel::Payload => self.payload,
        }
    }

    /// Whether this transport may talk between these addresses, or why not.
    pub(super) fn check_reach(&self, addresses: &[SocketAddr]) -> Result<(), String> {
        let is_far = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        match addresses.iter().find(is_far) {
            Some(address) if self.secret.is_none() => Err(format!(
                "{} is not a loopback address: set a secret that all replicas of the cluster share",
                address.ip()
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<(), TransportError> {
        self.check_reach(&[self.listen]).map_err(TransportError::Refused)?;
        for channel in Channel::ALL {
            let ChannelLimits { max_body_len, max_buffered_len } = self.limits(channel);
            // A frame's length is 4 bytes.
            if max_buffered_len > u32::MAX as usize || max_body_len.saturating_add(8) > max_buffered_len {
                return Err(TransportError::Refused(format!(
                    "a body of {max_body_len} bytes does not fit a buffer of {max_buffered_len}"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransportOptions { own, listen, peers, secret, .. } = self;
        f.debug_struct("TransportOptions")
            .field("own", own)
            .field("listen", listen)
            .field("peers", peers)
            .field("secret", secret)
            .finish_non_exhaustive()
    }
}

/// Why there is no transport.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The settings can't be used; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// Nobody can listen there: take another address, or end what has it.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system lets this process wait for no sockets. Stop: nothing will be received.
    #[error("can't wait for sockets: {0}")]
    Poll(#[from] io::Error),
}
