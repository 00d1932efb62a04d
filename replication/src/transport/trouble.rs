//! What is told of troubles: each once, as what fails is tried again and again, and strangers may try as often as they like.

use crate::paxos::ReplicaId;
use std::time::{Duration, Instant};

/// A trouble that lasts is told again after this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Most texts about one peer, or about strangers, that are told in that time.
const MAX_TOLD: usize = 32;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: Vec<(Option<ReplicaId>, String, Instant)>,
}

impl Troubles {
    /// Whether to tell it.
    pub(super) fn is_news(&mut self, peer: Option<ReplicaId>, text: &str, now: Instant) -> bool {
        self.told.retain(|(_, _, at)| now.saturating_duration_since(*at) < AGAIN);
        let about_peer = || self.told.iter().filter(|(about, ..)| *about == peer);
        if about_peer().any(|(_, told, _)| told == text) || about_peer().count() >= MAX_TOLD {
            return false;
        }
        self.told.push((peer, text.to_owned(), now));
        true
    }

    /// All is well with a peer: what comes next is news.
    pub(super) fn forget(&mut self, peer: ReplicaId) {
        self.told.retain(|(about, ..)| *about != Some(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, MAX_TOLD, Troubles};
    use crate::paxos::ReplicaId;
    use std::time::Instant;

    #[test]
    fn a_trouble_is_told_once() {
        let now = Instant::now();
        let (one, two) = (ReplicaId::new(1), ReplicaId::new(2));
        let mut troubles = Troubles::default();
        assert!(troubles.is_news(one, "a", now) && troubles.is_news(one, "b", now));
        assert!(!troubles.is_news(one, "a", now), "though another one came between");
        assert!(troubles.is_news(two, "a", now) && troubles.is_news(None, "a", now));
        assert!(troubles.is_news(one, "a", now + AGAIN));
        troubles.forget(ReplicaId::new(1).unwrap());
        assert!(troubles.is_news(one, "a", now + AGAIN));
    }

    #[test]
    fn many_texts_are_cut_off() {
        let now = Instant::now();
        let mut troubles = Troubles::default();
        let told = (0..1000).filter(|number| troubles.is_news(None, &number.to_string(), now)).count();
        assert_eq!(told, MAX_TOLD);
        assert!(troubles.is_news(ReplicaId::new(1), "text", now), "that of peers is told all the same");
    }
}
