//! A poll: waits until there is something to do, and does a round of it.
//!
//! In a round each connection has one turn, of a bounded length: handshakes first, as they are short; then what came through
//! the heartbeat connections of all peers, then control, then payloads. What is left is for the next round, which begins
//! without waiting.

use super::discovery::{Discovery, Exchange};
use super::event::{Channel, TransportEvent};
use super::handshake::Purpose;
use super::negotiation::Applicant;
use super::peer::{Peer, turn_away};
use super::stream::Stream;
use super::{LISTENER, Transport, TransportError, WAKER, agreement};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Most discoveries at a time that others began; the oldest gives way.
const MAX_EXCHANGES: usize = 16;

impl Transport {
    /// Waits for something to happen, at most so long, and adds what happened. Call it again and again, at least three times
    /// in the time after which silence ends a session.
    ///
    /// # Errors
    /// If this process can't wait for sockets.
    pub fn poll(&mut self, timeout: Duration, events: &mut Vec<TransportEvent>) -> Result<(), TransportError> {
        let timeout = self.time_to_wait(timeout, Instant::now());
        match self.poll.poll(&mut self.ready, Some(timeout)) {
            Ok(()) => self.mark(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        self.round(Instant::now());
        events.append(&mut self.host.events);
        Ok(())
    }

    /// How long nothing has to be done, at most so long.
    fn time_to_wait(&self, timeout: Duration, now: Instant) -> Duration {
        let has_work =
            !self.host.events.is_empty() || self.listener.has_work() || self.peers.values().any(Peer::has_work);
        if has_work {
            return Duration::ZERO;
        }
        let deadlines = self.peers.values().filter_map(|peer| peer.deadline(&self.host));
        let deadlines = deadlines.chain(self.lobby.deadline()).chain(self.listener.deadline());
        let deadlines = deadlines.chain(self.discoveries.values().filter_map(Discovery::deadline));
        let deadlines = deadlines.chain(self.exchanges.iter().map(Exchange::deadline));
        deadlines.map(|deadline| deadline.saturating_duration_since(now)).fold(timeout, Duration::min)
    }

    /// Remembers what the system said about the sockets.
    fn mark(&mut self) {
        let mut streams: Vec<&mut Stream> = Vec::new();
        if self.ready.iter().any(|event| ![WAKER, LISTENER].contains(&event.token())) {
            streams.extend(self.peers.values_mut().flat_map(Peer::streams_mut));
            streams.extend(self.lobby.streams_mut());
            streams.extend(self.discoveries.values_mut().filter_map(Discovery::stream_mut));
            streams.extend(self.exchanges.iter_mut().map(Exchange::stream_mut));
        }
        for event in &self.ready {
            if event.token() == LISTENER {
                self.listener.mark();
            } else if let Some(stream) = streams.iter_mut().find(|stream| stream.token() == event.token()) {
                stream.mark(event);
            }
        }
    }

    fn round(&mut self, now: Instant) {
        self.listener.accept(&mut self.lobby, &mut self.host, now);
        for (stream, applicant) in self.lobby.progress(&mut self.host, now) {
            self.decide(stream, applicant, now);
        }
        self.serve_discoveries(now);
        for peer in self.peers.values_mut() {
            peer.serve_dials(&mut self.host, now);
        }
        for channel in Channel::ALL {
            for peer in self.peers.values_mut() {
                peer.receive(channel, &mut self.host, now);
            }
        }
        // After all that came was read: a poll that comes late ends no session with a peer that spoke meanwhile.
        for peer in self.peers.values_mut() {
            peer.check_time(&mut self.host, now);
            peer.flush(&mut self.host, now);
        }
    }

    /// Somebody who knows the secret wants to come in.
    fn decide(&mut self, mut stream: Stream, applicant: Applicant, now: Instant) {
        let own = self.host.own();
        let from = applicant.hello.from;
        let agreement = self.host.agreed.as_ref().map(|agreed| &agreed.agreement);
        let is_discovery = applicant.hello.purpose == Purpose::Discovery;
        let decided = agreement::check_address(&applicant, own).and_then(|()| match is_discovery {
            true => Ok(()),
            false => agreement::admit(&applicant, own, agreement, &self.peers),
        });
        match (decided, self.peers.get_mut(&from)) {
            (Err(text), _) => {
                turn_away(stream, &text);
                self.host.trouble(Some(from), format!("replica {from} was refused: {text}"), now);
            }
            (Ok(()), peer) if is_discovery => {
                if let Some(peer) = peer {
                    peer.is_there(now);
                }
                let terms = self.host.terms(applicant.claim.session);
                stream.push(&[&applicant.welcome(terms, self.host.secret())]);
                if self.exchanges.len() >= MAX_EXCHANGES {
                    self.exchanges.remove(0);
                }
                self.exchanges.push(Exchange::new(from, stream, &self.host, now));
            }
            (Ok(()), Some(peer)) => peer.accept(stream, &applicant, &mut self.host, now),
            (Ok(()), None) => {}
        }
    }

    /// Goes on with all discoveries.
    pub(super) fn serve_discoveries(&mut self, now: Instant) {
        let Transport { host, peers, discoveries, exchanges, .. } = self;
        discoveries.retain(|id, discovery| {
            let Some(peer) = peers.get(id) else { return false };
            match discovery.progress(*id, &peer.address, host, now) {
                Ok(is_over) => !is_over,
                Err(error) => {
                    host.trouble(Some(*id), format!("replica {id} at {} can't be asked: {error}", peer.address), now);
                    false
                }
            }
        });
        exchanges.retain_mut(|exchange| match exchange.progress(host, now) {
            Ok(is_over) => !is_over,
            Err(error) => {
                let peer = exchange.peer();
                host.trouble(Some(peer), format!("replica {peer} asked, and did not tell: {error}"), now);
                false
            }
        });
    }
}
