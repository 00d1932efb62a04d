//! From `host:port` to addresses.
//!
//! Addresses in digits are read here and now. Names are looked up by the system, which may take many seconds while a
//! name server is away: a session must not end for that, so each look-up has a short-lived thread. One name has one at a time.

use super::Waker;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long an answer is used.
const KEPT: Duration = Duration::from_secs(1);

type Addresses = Result<Vec<SocketAddr>, String>;

#[derive(Debug)]
enum Lookup {
    Running,
    Done(Addresses, Instant),
}

/// Looks names up.
#[derive(Debug)]
pub(super) struct Resolver {
    lookups: BTreeMap<String, Lookup>,
    done: Receiver<(String, Addresses)>,
    sender: Sender<(String, Addresses)>,
    waker: Waker,
}

impl Resolver {
    /// One that wakes this waker when a name was found.
    pub(super) fn new(waker: Waker) -> Resolver {
        let (sender, done) = mpsc::channel();
        Resolver { lookups: BTreeMap::new(), done, sender, waker }
    }

    /// Where a peer is; `None` while that is being looked up.
    pub(super) fn lookup(&mut self, text: &str, now: Instant) -> Option<Addresses> {
        if let Ok(address) = text.parse() {
            return Some(Ok(vec![address]));
        }
        for (text, addresses) in self.done.try_iter() {
            self.lookups.insert(text, Lookup::Done(addresses, now));
        }
        self.lookups
            .retain(|_, lookup| !matches!(lookup, Lookup::Done(_, at) if now.saturating_duration_since(*at) >= KEPT));
        match self.lookups.get(text) {
            Some(Lookup::Done(addresses, _)) => return Some(addresses.clone()),
            Some(Lookup::Running) => return None,
            None => {}
        }
        let (name, sender, waker) = (text.to_owned(), self.sender.clone(), self.waker.clone());
        let run = move || {
            let addresses = match name.to_socket_addrs() {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => Err(format!("its name can't be looked up: {error}")),
            };
            // Nobody waits any more if the transport is gone.
            if sender.send((name, addresses)).is_ok() {
                let _ = waker.wake();
            }
        };
        match std::thread::Builder::new().name("skink-resolve".into()).spawn(run) {
            Ok(_) => {
                self.lookups.insert(text.to_owned(), Lookup::Running);
                None
            }
            Err(error) => Some(Err(format!("there is no thread to look its name up: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Resolver};
    use crate::transport::Waker;
    use mio::{Events, Poll, Token};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn digits_are_read_and_names_are_looked_up_beside() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), Token(0)).unwrap()));
        let mut resolver = Resolver::new(waker);
        let now = Instant::now();
        assert_eq!(resolver.lookup("127.0.0.1:7", now), Some(Ok(vec!["127.0.0.1:7".parse().unwrap()])));
        assert_eq!(resolver.lookup("[::1]:7", now), Some(Ok(vec!["[::1]:7".parse().unwrap()])));
        // Without a port it is no address, whatever the name: no name server is asked.
        assert_eq!(resolver.lookup("localhost", now), None);
        poll.poll(&mut Events::with_capacity(4), Some(Duration::from_secs(60))).unwrap();
        let found = resolver.lookup("localhost", now).expect("the waker was woken when it was done");
        assert!(found.unwrap_err().contains("can't be looked up"));
        assert_eq!(resolver.lookup("localhost", now + KEPT), None, "asked again");
    }
}
