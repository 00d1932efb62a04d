//! An open session: three connections that live and die together.

use super::event::{Channel, Sent, TransportEvent};
use super::host::Host;
use super::stream::{Stream, StreamError};
use crate::paxos::{ReplicaId, SessionNumber};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What is read and written at once, so that no connection has to wait long for another one.
const TURN_LEN: usize = 1 << 20;

/// Why a session ends.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// One of its connections did.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// The peer is gone, or the way to it.
    #[error("nothing came for {} ms", .0.as_millis())]
    Silent(Duration),
}

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    number: SessionNumber,
    /// By [`Channel::ALL`].
    streams: [Stream; 3],
    opened: Instant,
    heard: Instant,
    said: Instant,
}

impl Session {
    /// Of three authenticated connections, by [`Channel::ALL`].
    pub(super) fn new(number: SessionNumber, streams: [Stream; 3], now: Instant) -> Session {
        Session { number, streams, opened: now, heard: now, said: now }
    }

    pub(super) fn number(&self) -> SessionNumber {
        self.number
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn streams_mut(&mut self) -> &mut [Stream; 3] {
        &mut self.streams
    }

    pub(super) fn stream(&self, channel: Channel) -> &Stream {
        &self.streams[channel as usize]
    }

    fn stream_mut(&mut self, channel: Channel) -> &mut Stream {
        &mut self.streams[channel as usize]
    }

    /// Reads what came through a channel, up to a bound. Bodies before an error count.
    pub(super) fn receive(
        &mut self,
        peer: ReplicaId,
        channel: Channel,
        host: &mut Host,
        now: Instant,
    ) -> Result<(), SessionError> {
        let session = self.number;
        let received = self.stream_mut(channel).receive(TURN_LEN, &mut host.scratch, &mut host.bodies);
        for body in host.bodies.drain(..) {
            // An empty heartbeat only says that its sender lives.
            if channel != Channel::Heartbeat || !body.is_empty() {
                host.events.push(TransportEvent::Received { peer, session, channel, body });
            }
        }
        if received? > 0 && channel == Channel::Heartbeat {
            self.heard = now;
        }
        Ok(())
    }

    /// Adds a body to what waits.
    pub(super) fn send(&mut self, channel: Channel, parts: &[&[u8]], host: &Host, now: Instant) -> Sent {
        let limits = host.options.limits(channel);
        let len = parts.iter().fold(0_usize, |len, part| len.saturating_add(part.len()));
        if len > limits.max_body_len {
            return Sent::TooLong;
        }
        let stream = self.stream_mut(channel);
        if stream.backlog() + len + super::frame::HEAD_LEN > limits.max_buffered_len {
            return Sent::Full;
        }
        stream.push(parts);
        if channel == Channel::Heartbeat {
            self.said = now;
        }
        Sent::Buffered
    }

    /// Writes what waits, the most urgent first.
    pub(super) fn flush(&mut self) -> Result<(), SessionError> {
        for stream in &mut self.streams {
            stream.flush(TURN_LEN)?;
        }
        Ok(())
    }

    /// Says something if nothing was said for long, and ends if nothing was heard.
    pub(super) fn check_time(&mut self, silence: Duration, now: Instant) -> Result<(), SessionError> {
        if now.saturating_duration_since(self.heard) >= silence {
            return Err(SessionError::Silent(silence));
        }
        if now.saturating_duration_since(self.said) >= silence / 3 {
            self.said = now;
            let stream = self.stream_mut(Channel::Heartbeat);
            // What waits says as much when it arrives.
            if stream.backlog() == 0 {
                stream.push(&[]);
            }
        }
        Ok(())
    }

    /// When to look at the time again.
    pub(super) fn deadline(&self, silence: Duration) -> Instant {
        (self.heard + silence).min(self.said + silence / 3)
    }

    /// Whether there may be something to do right now.
    pub(super) fn has_work(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_readable() || stream.has_work())
    }
}
