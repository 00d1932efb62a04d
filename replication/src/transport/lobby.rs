//! Connections that were accepted and are not authenticated yet: anybody's, so they are few, short-lived and say little.

use super::host::Host;
use super::negotiation::{Acceptor, AcceptorStep, Applicant, Failure};
use super::stream::{Stream, StreamError};
use std::collections::VecDeque;
use std::time::Instant;

/// Most of them at a time; the oldest gives way.
pub(super) const MAX_STRANGERS: usize = 64;

/// A connection in its handshake.
#[derive(Debug)]
struct Stranger {
    stream: Stream,
    acceptor: Acceptor,
    deadline: Instant,
    /// Something came.
    has_spoken: bool,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    strangers: VecDeque<Stranger>,
}

impl Lobby {
    /// Takes a connection in.
    pub(super) fn enter(&mut self, stream: Stream, deadline: Instant) {
        if self.strangers.len() >= MAX_STRANGERS {
            self.strangers.pop_front();
        }
        self.strangers.push_back(Stranger { stream, acceptor: Acceptor::Waiting, deadline, has_spoken: false });
    }

    /// Goes on with all handshakes; hands out those who are who they say.
    pub(super) fn progress(&mut self, host: &mut Host, now: Instant) -> Vec<(Stream, Applicant)> {
        let mut applicants = Vec::new();
        // What is left goes round once.
        for _ in 0..self.strangers.len() {
            let Some(mut stranger) = self.strangers.pop_front() else { break };
            match stranger.progress(host) {
                Ok(Some(applicant)) => applicants.push((stranger.stream, applicant)),
                Ok(None) if now >= stranger.deadline => {
                    let text =
                        format!("a connection from {} was not authenticated in time", stranger.stream.address().ip());
                    host.trouble(None, text, now);
                }
                Ok(None) => self.strangers.push_back(stranger),
                Err(text) => {
                    if let Some(text) = text {
                        let text = format!("a connection from {}: {text}", stranger.stream.address().ip());
                        host.trouble(None, text, now);
                    }
                }
            }
        }
        applicants
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.strangers.len()
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.strangers.iter_mut().map(|stranger| &mut stranger.stream)
    }

    /// When to look at the time again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.strangers.iter().map(|stranger| stranger.deadline).min()
    }
}

impl Stranger {
    /// Goes on with the handshake. An error is the end, with what is worth telling.
    fn progress(&mut self, host: &mut Host) -> Result<Option<Applicant>, Option<String>> {
        while let Some(message) = self.receive(host)? {
            match self.acceptor.receive(&message, host.secret(), || host.nonce()) {
                Ok(AcceptorStep::Say(answer)) => {
                    self.stream.push(&[&answer]);
                    self.flush()?;
                }
                Ok(AcceptorStep::Decide(applicant)) => return Ok(Some(applicant)),
                Err(failure) => return Err(Some(self.turn_away(&failure, host))),
            }
        }
        self.flush()?;
        Ok(None)
    }

    fn receive(&mut self, host: &mut Host) -> Result<Option<bytes::Bytes>, Option<String>> {
        let message = self.stream.receive_one(&mut host.scratch).map_err(|error| match error {
            // Checks whether anybody listens here do so.
            StreamError::Closed | StreamError::Io(_) if !self.has_spoken => None,
            StreamError::Frame(_) => Some(Failure::Garbage.to_string()),
            error => Some(error.to_string()),
        })?;
        self.has_spoken |= message.is_some();
        Ok(message)
    }

    fn flush(&mut self) -> Result<(), Option<String>> {
        self.stream.flush(usize::MAX).map_err(|error| Some(error.to_string()))
    }

    fn turn_away(&mut self, failure: &Failure, host: &Host) -> String {
        if let Some(refusal) = failure.refusal(host.own()) {
            self.stream.push(&[&refusal.encode()]);
            // It is closed in any case.
            let _ = self.stream.flush(usize::MAX);
        }
        failure.to_string()
    }
}
