//! A peer: its address, and the session with it, from the first dial to the end.
//!
//! ```text
//! the higher number dials     Down -> Dialing (control) -> Forming (heartbeat, payload) -> Open
//! the lower number accepts    Down ----------------------> Forming ----------------------> Open
//! ```
//!
//! Any failure leads back to Down, and closes all connections of the session. At either end a session has a higher number
//! than all before that this process knew; the first one's is taken from the clock.

use super::dial::{Backoff, Dial};
use super::event::{Channel, TransportEvent};
use super::forming::Forming;
use super::handshake::{Answer, Purpose, Terms};
use super::host::Host;
use super::negotiation::{Applicant, Failure};
use super::session::Session;
use super::stream::{Stream, StreamError};
use crate::paxos::{ReplicaId, SessionNumber};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Numbers beyond come from no clock.
const MAX_NUMBER: u64 = u64::MAX / 2;
/// A session that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// How far the session is.
#[derive(Debug)]
enum Link {
    Down,
    Dialing(Dial),
    Forming(Forming),
    Open(Session),
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    id: ReplicaId,
    pub(super) address: String,
    link: Link,
    /// The highest number of a session with it.
    last: SessionNumber,
    backoff: Backoff,
    /// Its name is being looked up; the poll is woken when it is found.
    is_looked_up: bool,
    /// Counts dials: a name may have several addresses.
    dials: usize,
    /// Until when it gets no session, and why.
    refused: Option<(Instant, String)>,
}

impl Peer {
    pub(super) fn new(id: ReplicaId, address: String, now: Instant) -> Peer {
        Peer {
            id,
            address,
            link: Link::Down,
            last: SessionNumber::default(),
            backoff: Backoff::new(now),
            is_looked_up: false,
            dials: 0,
            refused: None,
        }
    }

    /// The open session.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.link {
            Link::Open(session) => Some(session),
            _ => None,
        }
    }

    /// The open session.
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.link {
            Link::Open(session) => Some(session),
            _ => None,
        }
    }

    /// Whether this session is open.
    pub(super) fn is_in(&self, session: SessionNumber) -> bool {
        self.session().is_some_and(|open| open.number() == session)
    }

    /// All its connections.
    pub(super) fn streams_mut(&mut self) -> Box<dyn Iterator<Item = &mut Stream> + '_> {
        match &mut self.link {
            Link::Down => Box::new(std::iter::empty()),
            Link::Dialing(dial) => Box::new(std::iter::once(dial.stream_mut())),
            Link::Forming(forming) => Box::new(forming.streams_mut()),
            Link::Open(session) => Box::new(session.streams_mut().iter_mut()),
        }
    }

    /// Ends whatever there is.
    pub(super) fn end(&mut self, host: &mut Host, now: Instant) {
        if let Link::Open(session) = std::mem::replace(&mut self.link, Link::Down) {
            host.events.push(TransportEvent::Disconnected { peer: self.id, session: session.number() });
            if now.saturating_duration_since(session.opened()) >= GOOD {
                self.backoff.succeeded();
            }
        }
        self.backoff.failed(host, now);
    }

    /// Ends whatever there is, as something failed.
    fn fail(&mut self, what: &str, error: &dyn std::fmt::Display, host: &mut Host, now: Instant) {
        let text = format!("{what} replica {} at {}: {error}", self.id, self.address);
        self.end(host, now);
        host.trouble(Some(self.id), text, now);
    }

    /// Ends the session, and lets none begin for a while.
    pub(super) fn refuse(&mut self, reason: String, host: &mut Host, now: Instant) {
        let until = now + host.options.refusal_wait;
        self.end(host, now);
        self.backoff.wait_until(until);
        self.refused = Some((until, reason));
    }

    /// It asked what this replica is, as one that has just started: it need not wait for the next try to reach it.
    pub(super) fn is_there(&mut self, now: Instant) {
        if self.refused.as_ref().is_none_or(|(until, _)| now >= *until) {
            self.backoff = Backoff::new(now);
        }
    }

    // ---- before a session is open ----

    /// Whether this end dials.
    fn is_dialing_end(&self, host: &Host) -> bool {
        host.agreed.is_some() && host.own() > self.id
    }

    /// Dials where it is time, and goes on with handshakes.
    pub(super) fn serve_dials(&mut self, host: &mut Host, now: Instant) {
        if let Err(error) = self.try_dials(host, now) {
            self.fail("no session with", &error, host, now);
        }
    }

    fn try_dials(&mut self, host: &mut Host, now: Instant) -> Result<(), String> {
        let is_time = self.is_dialing_end(host) && now >= self.backoff.next();
        match &mut self.link {
            Link::Down if is_time => self.dial(host, now),
            Link::Dialing(dial) => {
                let Some(terms) = dial.progress(host, now).map_err(|error| error.to_string())? else { return Ok(()) };
                self.form(terms, host, now)
            }
            Link::Forming(_) => self.try_forming(host, now),
            Link::Down | Link::Open(_) => Ok(()),
        }
    }

    fn dial(&mut self, host: &mut Host, now: Instant) -> Result<(), String> {
        let addresses = host.resolver.lookup(&self.address, now);
        self.is_looked_up = addresses.is_none();
        let Some(addresses) = addresses else { return Ok(()) };
        let addresses = addresses?;
        let address = addresses.get(self.dials % addresses.len().max(1)).ok_or("its name has no address")?;
        self.dials += 1;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = u64::try_from(since_1970.as_micros()).unwrap_or_default().min(MAX_NUMBER);
        let number = SessionNumber::new(self.next_number().get().max(clock));
        let dial = host.dial(self.id, *address, Purpose::Control, number, now).map_err(|error| error.to_string())?;
        self.link = Link::Dialing(dial);
        Ok(())
    }

    fn next_number(&self) -> SessionNumber {
        SessionNumber::new(self.last.get() + 1)
    }

    /// The peer took the first connection: the others follow.
    fn form(&mut self, terms: Terms, host: &mut Host, now: Instant) -> Result<(), String> {
        let Link::Dialing(dial) = std::mem::replace(&mut self.link, Link::Down) else { return Ok(()) };
        if terms.session <= self.last || terms.session.get() > MAX_NUMBER {
            return Err(Failure::Garbage.to_string());
        }
        self.last = terms.session;
        let address = dial.address();
        let mut forming = Forming::new(terms.session, terms.incarnation, now + host.options.handshake_deadline);
        let establish = |purpose| host.dial(self.id, address, purpose, terms.session, now);
        let dials: Result<Vec<Dial>, _> = [Purpose::Heartbeat, Purpose::Payload].map(establish).into_iter().collect();
        forming.dials = dials.map_err(|error| error.to_string())?;
        forming.add(Channel::Control, established(dial.into_stream(), Channel::Control, host)?);
        self.link = Link::Forming(forming);
        Ok(())
    }

    fn try_forming(&mut self, host: &mut Host, now: Instant) -> Result<(), String> {
        let Link::Forming(forming) = &mut self.link else { return Ok(()) };
        let mut index = 0;
        while let Some(dial) = forming.dials.get_mut(index) {
            let Some(terms) = dial.progress(host, now).map_err(|error| error.to_string())? else {
                index += 1;
                continue;
            };
            let dial = forming.dials.swap_remove(index);
            let channel = dial.purpose().channel().filter(|channel| forming.lacks(*channel));
            let is_right = terms == Terms { incarnation: forming.incarnation, session: forming.number };
            let channel = channel.filter(|_| is_right).ok_or_else(|| Failure::Garbage.to_string())?;
            forming.add(channel, established(dial.into_stream(), channel, host)?);
        }
        self.open_if_complete(host, now);
        match &self.link {
            Link::Forming(forming) if now >= forming.deadline => Err("the session was not complete in time".into()),
            _ => Ok(()),
        }
    }

    fn open_if_complete(&mut self, host: &mut Host, now: Instant) {
        if let Link::Forming(forming) = &mut self.link
            && let Some(streams) = forming.take_complete()
        {
            let (number, incarnation) = (forming.number, forming.incarnation);
            self.link = Link::Open(Session::new(number, streams, now));
            host.connected(self.id, number, incarnation);
        }
    }

    /// A connection of the peer, which may come in by what the replicas agree on.
    pub(super) fn accept(&mut self, mut stream: Stream, applicant: &Applicant, host: &mut Host, now: Instant) {
        let claim = &applicant.claim;
        let answer = match applicant.hello.purpose {
            Purpose::Control => self.accept_first(claim.session, claim.incarnation, host, now),
            _ => self.accept_next(applicant),
        };
        let number = match answer {
            Ok(number) => number,
            Err(text) => {
                turn_away(stream, &text);
                host.trouble(Some(self.id), format!("replica {} was refused: {text}", self.id), now);
                return;
            }
        };
        let Some(channel) = applicant.hello.purpose.channel() else { return };
        stream.push(&[&applicant.welcome(host.terms(number), host.secret())]);
        let added = stream.flush(usize::MAX).map_err(|error: StreamError| error.to_string());
        match (added.and_then(|()| established(stream, channel, host)), &mut self.link) {
            (Ok(stream), Link::Forming(forming)) => forming.add(channel, stream),
            (Err(error), _) => return self.fail("no session with", &error, host, now),
            _ => {}
        }
        self.open_if_complete(host, now);
    }

    /// The first connection of a new session; an old one is over, as the peer would not dial otherwise.
    fn accept_first(
        &mut self,
        proposed: SessionNumber,
        incarnation: u64,
        host: &mut Host,
        now: Instant,
    ) -> Result<SessionNumber, String> {
        if let Some((until, reason)) = &self.refused
            && now < *until
        {
            return Err(reason.clone());
        }
        if proposed.get() > MAX_NUMBER {
            return Err(format!("{} is no number of a session", proposed.get()));
        }
        self.end(host, now);
        let number = proposed.max(self.next_number());
        self.last = number;
        self.link = Link::Forming(Forming::new(number, incarnation, now + host.options.handshake_deadline));
        Ok(number)
    }

    fn accept_next(&self, applicant: &Applicant) -> Result<SessionNumber, String> {
        let claim = &applicant.claim;
        match (&self.link, applicant.hello.purpose.channel()) {
            (Link::Forming(forming), Some(channel))
                if forming.number == claim.session
                    && forming.incarnation == claim.incarnation
                    && forming.lacks(channel) =>
            {
                Ok(forming.number)
            }
            _ => Err("its session is not being formed".into()),
        }
    }

    // ---- the open session ----

    /// Reads what came through a channel, up to a bound.
    pub(super) fn receive(&mut self, channel: Channel, host: &mut Host, now: Instant) {
        let id = self.id;
        if let Some(session) = self.session_mut()
            && session.stream(channel).is_readable()
            && let Err(error) = session.receive(id, channel, host, now)
        {
            self.fail("the session ended with", &error, host, now);
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, host: &mut Host, now: Instant) {
        if let Some(Err(error)) = self.session_mut().map(Session::flush) {
            self.fail("the session ended with", &error, host, now);
        }
    }

    /// Looks at the time.
    pub(super) fn check_time(&mut self, host: &mut Host, now: Instant) {
        let silence = host.options.silence;
        if let Some(Err(error)) = self.session_mut().map(|session| session.check_time(silence, now)) {
            self.fail("the session ended with", &error, host, now);
        }
    }

    /// Whether there may be something to do right now.
    pub(super) fn has_work(&self) -> bool {
        self.session().is_some_and(Session::has_work)
    }

    /// When to look at the time again.
    pub(super) fn deadline(&self, host: &Host) -> Option<Instant> {
        match &self.link {
            Link::Down if self.is_looked_up => None,
            Link::Down => self.is_dialing_end(host).then(|| self.backoff.next()),
            Link::Dialing(dial) => Some(dial.deadline()),
            Link::Forming(forming) => Some(forming.deadline),
            Link::Open(session) => Some(session.deadline(host.options.silence)),
        }
    }
}

/// The connection, as one of a session.
fn established(mut stream: Stream, channel: Channel, host: &Host) -> Result<Stream, String> {
    let max_body_len = host.options.limits(channel).max_body_len;
    match stream.establish(max_body_len, host.options.silence) {
        Ok(()) => Ok(stream),
        Err(error) => Err(error.to_string()),
    }
}

/// Closes a connection, and says why.
pub(super) fn turn_away(mut stream: Stream, text: &str) {
    stream.push(&[&Answer::Refusal(text.to_owned()).encode()]);
    // It is closed in any case.
    let _ = stream.flush(usize::MAX);
}
