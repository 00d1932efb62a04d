//! A connection that this end dialed, up to the end of its handshake; and how long to wait between two tries.

use super::handshake::{Claim, Hello, Purpose, Terms};
use super::host::Host;
use super::negotiation::{Dialer, DialerStep, Failure};
use super::stream::{Stream, StreamError};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why a dial came to nothing.
#[derive(Debug, Error)]
pub(super) enum DialError {
    /// The connection broke, or did not come about.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// The other end isn't whom it should be, or refused.
    #[error("{0}")]
    Failure(#[from] Failure),
    /// Nothing came.
    #[error("it did not answer in time")]
    Late,
}

/// A connection in its handshake.
#[derive(Debug)]
pub(super) struct Dial {
    stream: Stream,
    dialer: Dialer,
    purpose: Purpose,
    deadline: Instant,
}

impl Dial {
    pub(super) fn new(mut stream: Stream, hello: &Hello, claim: Claim, deadline: Instant) -> Dial {
        let (dialer, message) = Dialer::new(hello, claim);
        stream.push(&[&message]);
        Dial { stream, dialer, purpose: hello.purpose, deadline }
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.stream.address()
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Goes on with the handshake; answers with the other end's terms at its end.
    pub(super) fn progress(&mut self, host: &mut Host, now: Instant) -> Result<Option<Terms>, DialError> {
        self.stream.flush(usize::MAX)?;
        while let Some(message) = self.receive(host)? {
            match self.dialer.receive(&message, host.secret())? {
                DialerStep::Say(answer) => {
                    self.stream.push(&[&answer]);
                    self.stream.flush(usize::MAX)?;
                }
                DialerStep::Done(terms) => return Ok(Some(terms)),
            }
        }
        if now >= self.deadline { Err(DialError::Late) } else { Ok(None) }
    }

    fn receive(&mut self, host: &mut Host) -> Result<Option<Bytes>, DialError> {
        self.stream.receive_one(&mut host.scratch).map_err(|error| match error {
            StreamError::Frame(_) => Failure::Garbage.into(),
            error => error.into(),
        })
    }

    /// The connection, after the handshake.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// When to dial again.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    next: Instant,
}

impl Backoff {
    /// Dials at once.
    pub(super) fn new(now: Instant) -> Backoff {
        Backoff { failures: 0, next: now }
    }

    /// The earliest time of the next dial.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// It failed: the next one is later.
    pub(super) fn failed(&mut self, host: &Host, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.next = now + host.jittered(wait);
    }

    /// It went well.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The next one is not before this.
    pub(super) fn wait_until(&mut self, time: Instant) {
        self.next = self.next.max(time);
    }
}
