//! Proposals at the leader: in the sequence of their proxies, each once, when their payloads are here and there is
//! room.
//!
//! A batch that overtook an earlier one of its proxy would get a place and never be executed (O3), so a gap holds up
//! what is behind it. Whoever proposed repeats what got no answer, from the first on, so that a gap closes. What comes next
//! is what the log says, to its end, when a leadership begins: the first that comes need not be it, as what was said to
//! somebody who did not lead yet is lost.

use crate::header::{BatchId, Header};
use crate::identity::{IdWindow, Verdict};
use crate::paxos::Ballot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Proposals that wait for each proxy, at most; what is beyond is repeated by the proxy.
const MAX_WAITING: usize = 1024;
/// Proxies that are known, at most: more than any cluster has.
const MAX_PROXIES: usize = 4096;

#[derive(Default)]
struct ProxyInbox {
    incarnation: u64,
    waiting: BTreeMap<u64, Arc<Header>>,
}

/// Proposals that wait at a leader.
#[derive(Default)]
pub(super) struct Inbox {
    /// In which ballot this replica leads.
    ballot: Option<Ballot>,
    /// What has a place.
    placed: IdWindow,
    proxies: HashMap<u32, ProxyInbox>,
}

impl Inbox {
    /// Another one leads: what waits here is proposed there.
    pub(super) fn clear(&mut self) {
        *self = Inbox::default();
    }

    /// Whether what has a place is known in this ballot.
    pub(super) fn has_begun(&self, ballot: Ballot) -> bool {
        self.ballot == Some(ballot)
    }

    /// This replica leads in a ballot, and these have a place in its log.
    pub(super) fn begin(&mut self, ballot: Ballot, placed: IdWindow) {
        (self.ballot, self.placed) = (Some(ballot), placed);
        let placed = &self.placed;
        self.proxies.values_mut().for_each(|inbox| inbox.waiting.retain(|_, header| !placed.is_over(&header.id)));
    }

    /// Takes a proposal.
    pub(super) fn push(&mut self, header: Arc<Header>) {
        let BatchId { proxy, incarnation, sequence } = header.id;
        if self.proxies.len() >= MAX_PROXIES && !self.proxies.contains_key(&proxy) {
            return;
        }
        let inbox = self.proxies.entry(proxy).or_default();
        if incarnation > inbox.incarnation {
            *inbox = ProxyInbox { incarnation, ..ProxyInbox::default() };
        }
        if incarnation == inbox.incarnation && !self.placed.is_over(&header.id) {
            inbox.waiting.insert(sequence, header);
            // The last one goes, so that one that closes a gap always has room.
            if inbox.waiting.len() > MAX_WAITING {
                inbox.waiting.pop_last();
            }
        }
    }

    /// Proxies that may have something to propose, ascending.
    pub(super) fn proxies(&self) -> Vec<u32> {
        let mut proxies: Vec<u32> =
            self.proxies.iter().filter(|(_, inbox)| !inbox.waiting.is_empty()).map(|(proxy, _)| *proxy).collect();
        proxies.sort_unstable();
        proxies
    }

    /// What a proxy has next, if it has come.
    pub(super) fn next(&self, proxy: u32) -> Option<&Arc<Header>> {
        let (_, header) = self.proxies.get(&proxy)?.waiting.first_key_value()?;
        (self.placed.verdict(&header.id) == Verdict::Execute).then_some(header)
    }

    /// What the proxy had next has its place.
    pub(super) fn proposed(&mut self, proxy: u32) {
        if let Some(inbox) = self.proxies.get_mut(&proxy)
            && let Some((_, header)) = inbox.waiting.pop_first()
        {
            self.placed.deliver(&header.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, BatchId, Header, IdWindow, Inbox};
    use crate::header::Content;
    use std::sync::Arc;

    fn id(incarnation: u64, sequence: u64) -> BatchId {
        BatchId { proxy: 7, incarnation, sequence }
    }

    fn header(incarnation: u64, sequence: u64) -> Arc<Header> {
        Arc::new(Header { id: id(incarnation, sequence), time_ms: 0, content: Content::CheckpointMarker })
    }

    fn drain(inbox: &mut Inbox) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        while let Some(header) = inbox.next(7) {
            taken.push((header.id.incarnation, header.id.sequence));
            inbox.proposed(7);
        }
        taken
    }

    #[test]
    fn a_proxys_batches_keep_their_sequence_and_come_once() {
        let mut inbox = Inbox::default();
        inbox.push(header(1, 1));
        assert_eq!(drain(&mut inbox), [(1, 1)]);
        inbox.push(header(1, 3));
        assert!(drain(&mut inbox).is_empty(), "a gap");
        inbox.push(header(1, 1));
        inbox.push(header(1, 2));
        inbox.push(header(1, 2));
        assert_eq!(drain(&mut inbox), [(1, 2), (1, 3)]);
        inbox.push(header(2, 2));
        inbox.push(header(1, 4));
        assert!(drain(&mut inbox).is_empty(), "a new process begins with 1, and the one before is over");
        inbox.push(header(2, 1));
        assert_eq!(drain(&mut inbox), [(2, 1), (2, 2)]);
    }

    #[test]
    fn what_comes_next_is_what_the_log_says_and_not_what_comes_first() {
        let mut inbox = Inbox::default();
        // The first ones were said to somebody who did not lead yet.
        inbox.push(header(1, 6));
        let mut placed = IdWindow::default();
        for sequence in 1..=4 {
            placed.deliver(&id(1, sequence));
        }
        inbox.begin(Ballot::NONE, placed);
        assert!(inbox.has_begun(Ballot::NONE));
        assert!(drain(&mut inbox).is_empty(), "5 is missing");
        // All that got no answer is repeated, also what has a place already.
        (3..=6).for_each(|sequence| inbox.push(header(1, sequence)));
        assert_eq!(drain(&mut inbox), [(1, 5), (1, 6)]);
        inbox.clear();
        assert!(!inbox.has_begun(Ballot::NONE));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut inbox = Inbox::default();
        inbox.push(header(1, 1));
        inbox.proposed(7);
        (3..10_000).for_each(|sequence| inbox.push(header(1, sequence)));
        assert_eq!(inbox.proxies[&7].waiting.len(), super::MAX_WAITING);
        inbox.push(header(1, 2));
        assert_eq!(drain(&mut inbox).len(), super::MAX_WAITING, "what closes a gap has room");
    }
}
