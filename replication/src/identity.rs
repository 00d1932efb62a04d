//! The window of ids: which batch of each proxy the order delivered last (O3).

use crate::header::BatchId;
use skink_engine::manifest::ProxyPosition;
use std::collections::BTreeMap;

/// What to do with a delivered header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the proxy's next: execute it.
    Execute,
    /// It was delivered before, or came out of its proxy's sequence: skip it.
    Skip,
}

/// The window. It is part of every checkpoint, and decided from headers alone, so that it makes no commands dependent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdWindow {
    proxies: BTreeMap<u32, (u64, u64)>,
}

impl IdWindow {
    /// The window that a checkpoint has.
    pub fn from_manifest(positions: &[ProxyPosition]) -> IdWindow {
        let proxies = positions.iter().map(|position| (position.proxy, (position.incarnation, position.sequence)));
        IdWindow { proxies: proxies.collect() }
    }

    /// The window for a checkpoint.
    pub fn to_manifest(&self) -> Vec<ProxyPosition> {
        let proxies = self.proxies.iter();
        proxies.map(|(&proxy, &(incarnation, sequence))| ProxyPosition { proxy, incarnation, sequence }).collect()
    }

    /// The latest start of a process that has batches in it, 0 for none.
    pub fn last_incarnation(&self) -> u64 {
        self.proxies.values().map(|(incarnation, _)| *incarnation).max().unwrap_or(0)
    }

    fn last(&self, proxy: u32) -> (u64, u64) {
        self.proxies.get(&proxy).copied().unwrap_or((0, 0))
    }

    /// What would become of a header that was delivered now.
    pub fn verdict(&self, id: &BatchId) -> Verdict {
        let (incarnation, sequence) = self.last(id.proxy);
        let is_next = match id.incarnation.cmp(&incarnation) {
            std::cmp::Ordering::Greater => id.sequence == 1,
            std::cmp::Ordering::Equal => id.sequence == sequence + 1,
            std::cmp::Ordering::Less => false,
        };
        if is_next { Verdict::Execute } else { Verdict::Skip }
    }

    /// Whether a batch was delivered in its sequence, or never can be.
    pub fn is_over(&self, id: &BatchId) -> bool {
        (id.incarnation, id.sequence) <= self.last(id.proxy)
    }

    /// Takes note of a delivered header.
    pub fn deliver(&mut self, id: &BatchId) -> Verdict {
        let verdict = self.verdict(id);
        if verdict == Verdict::Execute {
            self.proxies.insert(id.proxy, (id.incarnation, id.sequence));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::{IdWindow, Verdict};
    use crate::header::BatchId;

    #[test]
    fn a_batch_is_executed_at_most_once_and_in_its_proxys_sequence() {
        let mut window = IdWindow::default();
        let mut deliver = |proxy, incarnation, sequence| window.deliver(&BatchId { proxy, incarnation, sequence });
        assert_eq!(deliver(1, 1, 1), Verdict::Execute);
        assert_eq!(deliver(1, 1, 1), Verdict::Skip, "twice");
        assert_eq!(deliver(1, 1, 3), Verdict::Skip, "a gap");
        assert_eq!(deliver(1, 1, 2), Verdict::Execute);
        assert_eq!(deliver(2, 1, 1), Verdict::Execute, "another proxy");
        assert_eq!(deliver(1, 2, 2), Verdict::Skip, "a new start begins with 1");
        assert_eq!(deliver(1, 2, 1), Verdict::Execute);
        assert_eq!(deliver(1, 1, 3), Verdict::Skip, "the old start is over");
        let is_over = |incarnation, sequence| window.is_over(&BatchId { proxy: 1, incarnation, sequence });
        assert!(is_over(1, 9) && is_over(2, 1) && !is_over(2, 2) && !is_over(3, 1));
        assert_eq!((window.last_incarnation(), IdWindow::default().last_incarnation()), (2, 0));
        assert_eq!(IdWindow::from_manifest(&window.to_manifest()), window);
    }
}
