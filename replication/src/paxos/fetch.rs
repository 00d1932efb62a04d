//! What is missing, and whom to ask for it.
//!
//! Every question is repeated, to the next peer, until it is no longer needed: answers come on a way of their own and
//! may be lost.

use super::configuration::ReplicaId;
use super::message::Request;
use std::collections::BTreeMap;

/// Questions under way at a time.
const MAX_ASKED: usize = 512;

#[derive(Debug)]
struct Asked {
    age: u64,
    /// How often it was asked.
    tries: usize,
}

/// Questions under way.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    asked: BTreeMap<Request, Asked>,
}

impl Fetch {
    /// These are needed now, each with the peer to ask first; answers with what to ask whom. Others are dropped.
    pub(super) fn needed(
        &mut self,
        needs: Vec<(Request, Option<ReplicaId>)>,
        peers: &[ReplicaId],
        retry_ticks: u64,
    ) -> Vec<(ReplicaId, Request)> {
        let mut before = std::mem::take(&mut self.asked);
        let mut questions = Vec::new();
        for (request, first) in needs {
            if self.asked.len() >= MAX_ASKED {
                break;
            }
            if self.asked.contains_key(&request) {
                continue;
            }
            let mut asked = before.remove(&request).unwrap_or(Asked { age: retry_ticks, tries: 0 });
            if asked.age >= retry_ticks && !peers.is_empty() {
                let offset = first.and_then(|first| peers.iter().position(|peer| *peer == first)).unwrap_or(0);
                questions.push((peers[(offset + asked.tries) % peers.len()], request));
                asked = Asked { age: 0, tries: asked.tries + 1 };
            }
            self.asked.insert(request, asked);
        }
        questions
    }

    /// Time passes.
    pub(super) fn tick(&mut self) {
        self.asked.values_mut().for_each(|asked| asked.age += 1);
    }

    /// Whether something is still needed that was asked for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fetch, MAX_ASKED, ReplicaId, Request};
    use skink_engine::position::Instance;

    fn request(number: u64) -> Request {
        Request::Checkpoint { at_least: Instance::new(number).unwrap() }
    }

    #[test]
    fn a_question_goes_round_until_it_is_answered() {
        let peers = [1, 2, 3].map(|number| ReplicaId::new(number).unwrap());
        let mut fetch = Fetch::default();
        let needs = || vec![(request(5), Some(peers[1]))];
        assert_eq!(fetch.needed(needs(), &peers, 2), [(peers[1], request(5))]);
        assert!(fetch.needed(needs(), &peers, 2).is_empty(), "it is under way");
        fetch.tick();
        fetch.tick();
        assert_eq!(fetch.needed(needs(), &peers, 2), [(peers[2], request(5))]);
        assert!(fetch.needed(Vec::new(), &peers, 2).is_empty() && !fetch.is_waiting());
        assert_eq!(fetch.needed(needs(), &peers, 2), [(peers[1], request(5))], "needed anew");
    }

    #[test]
    fn questions_are_bounded_and_wait_for_peers() {
        let peer = ReplicaId::new(1).unwrap();
        let mut fetch = Fetch::default();
        let needs = || (1..2000).map(|number| (request(number), None)).collect();
        assert!(fetch.needed(needs(), &[], 2).is_empty());
        assert_eq!(fetch.needed(needs(), &[peer], 2).len(), MAX_ASKED);
    }
}
