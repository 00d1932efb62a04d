//! Proposals at the leader: in the sequence of their proxies, each once, when their payloads are here and there is
//! room.
//!
//! A batch that overtook an earlier one of its proxy would get a place and never be executed (O3), so a gap holds up
//! what is behind it. Whoever proposed repeats what got no answer, from the first on, so that a gap closes. Which one is
//! next is not taken from what comes first, but from what has a place: in the state, and in the log behind it.

use crate::header::{BatchId, Header};
use crate::identity::{IdWindow, Verdict};
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
    proxies: HashMap<u32, ProxyInbox>,
    /// The ids that have a place; `None` while that is not known.
    placed: Option<IdWindow>,
}

impl Inbox {
    /// Another ballot begins: nothing is known of what has a place.
    pub(super) fn clear(&mut self) {
        self.proxies.clear();
        self.placed = None;
    }

    /// Whether it is known what has a place.
    pub(super) fn knows_places(&self) -> bool {
        self.placed.is_some()
    }

    /// This replica leads: these ids have a place in its log.
    pub(super) fn set_places(&mut self, placed: IdWindow) {
        self.placed = Some(placed);
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
        let has_place = self.placed.as_ref().is_some_and(|placed| placed.is_over(&header.id));
        if incarnation == inbox.incarnation && !has_place {
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
    pub(super) fn next(&mut self, proxy: u32) -> Option<&Arc<Header>> {
        let placed = self.placed.as_ref()?;
        let inbox = self.proxies.get_mut(&proxy)?;
        while inbox.waiting.first_key_value().is_some_and(|(_, header)| placed.is_over(&header.id)) {
            inbox.waiting.pop_first();
        }
        let (_, header) = inbox.waiting.first_key_value()?;
        (placed.verdict(&header.id) == Verdict::Execute).then_some(header)
    }

    /// What the proxy had next has its place.
    pub(super) fn proposed(&mut self, proxy: u32) {
        if let (Some(inbox), Some(placed)) = (self.proxies.get_mut(&proxy), &mut self.placed)
            && let Some((_, header)) = inbox.waiting.pop_first()
        {
            placed.deliver(&header.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchId, Header, IdWindow, Inbox};
    use crate::header::Content;
    use std::sync::Arc;

    fn header(incarnation: u64, sequence: u64) -> Arc<Header> {
        let id = BatchId { proxy: 7, incarnation, sequence };
        Arc::new(Header { id, time_ms: 0, content: Content::CheckpointMarker })
    }

    fn drain(inbox: &mut Inbox) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        while let Some(header) = inbox.next(7) {
            taken.push((header.id.incarnation, header.id.sequence));
            inbox.proposed(7);
        }
        taken
    }

    /// A leader in whose log these have a place.
    fn inbox(placed: &[Arc<Header>]) -> Inbox {
        let mut window = IdWindow::default();
        placed.iter().for_each(|header| drop(window.deliver(&header.id)));
        let mut inbox = Inbox::default();
        inbox.set_places(window);
        inbox
    }

    #[test]
    fn a_proxys_batches_keep_their_sequence_and_come_once() {
        let mut inbox = inbox(&[header(1, 1), header(1, 2), header(1, 3)]);
        inbox.push(header(1, 2));
        inbox.push(header(1, 4));
        assert_eq!(drain(&mut inbox), [(1, 4)]);
        inbox.push(header(1, 6));
        assert!(drain(&mut inbox).is_empty(), "a gap");
        inbox.push(header(1, 4));
        inbox.push(header(1, 5));
        inbox.push(header(1, 5));
        assert_eq!(drain(&mut inbox), [(1, 5), (1, 6)]);
        inbox.push(header(2, 1));
        inbox.push(header(1, 7));
        assert_eq!(drain(&mut inbox), [(2, 1)], "the process before is over");
    }

    #[test]
    fn what_comes_first_need_not_be_next() {
        let mut inbox = Inbox::default();
        inbox.push(header(1, 7));
        assert!(drain(&mut inbox).is_empty(), "nothing is known of what has a place");
        let mut placed = IdWindow::default();
        (1..6).for_each(|sequence| drop(placed.deliver(&header(1, sequence).id)));
        inbox.set_places(placed);
        assert!(drain(&mut inbox).is_empty(), "the one before was lost on its way");
        inbox.push(header(1, 6));
        assert_eq!(drain(&mut inbox), [(1, 6), (1, 7)]);
        inbox.clear();
        inbox.push(header(1, 8));
        assert!(drain(&mut inbox).is_empty() && !inbox.knows_places());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut inbox = inbox(&[header(1, 1)]);
        (3..10_000).for_each(|sequence| inbox.push(header(1, sequence)));
        assert_eq!(inbox.proxies[&7].waiting.len(), super::MAX_WAITING);
        inbox.push(header(1, 2));
        assert_eq!(drain(&mut inbox).len(), super::MAX_WAITING, "what closes a gap has room");
    }
}
