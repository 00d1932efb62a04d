//! The plan, held to a search through all batches.

use super::{KEPT_ENTRIES, Plan};
use crate::header::{BatchId, Content, Digests, Header, KeyDigest};
use crate::identity::IdWindow;
use crate::node::output::Touches;
use crate::node::part::{LocalReads, Part};
use crate::paxos::{CycleNumber, Delivered, DeliveredContent, ReplicaId, StopSign};
use crate::replay::Progress;
use proptest::prelude::*;
use skink_engine::command::Access;
use skink_engine::key::KeyHash;
use skink_engine::position::Instance;
use std::sync::Arc;

pub(crate) fn at(number: u64) -> Instance {
    Instance::new(number).unwrap()
}

pub(crate) fn key(digest: u32) -> Digests {
    keys(&[digest])
}

/// What a read of that key touches.
pub(crate) fn read(digest: u32) -> Touches {
    Touches::Keys(std::iter::once(KeyHash::from_raw(u64::from(digest))).collect())
}

fn keys(digests: &[u32]) -> Digests {
    let mut keys: Vec<_> = digests.iter().map(|digest| KeyDigest { digest: *digest, access: Access::Write }).collect();
    keys.sort_unstable();
    keys.dedup();
    Digests::Keys(keys)
}

fn header(instance: u64, sequence: u64, content: Content) -> Delivered {
    let id = BatchId { proxy: 1, incarnation: 1, sequence };
    let header = Arc::new(Header { id, time_ms: instance, content });
    let content = DeliveredContent::Header { header, payload: None };
    Delivered { instance: at(instance), cycle: CycleNumber::default(), content }
}

/// A plan over batches with the sequence of their instances, from 1.
#[derive(Default)]
pub(crate) struct Planning {
    pub(crate) plan: Plan,
    last: u64,
}

impl Planning {
    fn enter(&mut self, delivered: &Delivered, local: LocalReads) {
        if self.plan.entered().is_none() {
            let progress = Progress { instance: at(self.last), time_ms: 0, ids: IdWindow::default() };
            self.plan.begin(&progress, at(self.last + 100));
        }
        self.last += 1;
        assert_eq!(delivered.instance, at(self.last));
        self.plan.enter(delivered, local, Instance::ZERO);
    }

    pub(crate) fn batch(&mut self, digests: Digests) {
        let content = Content::Commands { payload_len: 0, payload_crc: 0, digests };
        let next = self.last + 1;
        self.enter(&header(next, next, content), LocalReads::None);
    }

    /// All that a batch has on a key is executed.
    pub(crate) fn settle(&mut self, instance: u64, digest: u32) {
        let part = &mut self.plan.get_mut(at(instance)).unwrap().part;
        part.get_or_insert_with(|| Box::new(Part::default())).settle(digest);
    }

    fn chain(&self, digest: u32, upto: u64) -> Vec<u64> {
        self.plan.chain(digest, at(upto)).map(Instance::get).collect()
    }

    fn ready_at(&self, digests: &[u32], upto: u64) -> Option<u64> {
        let keys = digests.iter().map(|digest| KeyHash::from_raw(u64::from(*digest))).collect();
        self.plan.ready_at(&Touches::Keys(keys), at(upto)).map(Instance::get)
    }
}

#[test]
fn what_touches_a_key_is_found_from_the_last_to_the_first() {
    let mut planning = Planning::default();
    for digests in [[1, 2], [2, 3], [4, 5], [1, 3]] {
        planning.batch(keys(&digests));
    }
    assert_eq!(planning.chain(1, 4), [4, 1]);
    assert_eq!((planning.chain(1, 3), planning.chain(3, 9), planning.chain(9, 9)), (vec![1], vec![4, 2], vec![]));
    assert_eq!(planning.ready_at(&[1, 5], 9), Some(4));
    assert_eq!(
        (planning.ready_at(&[5], 2), planning.ready_at(&[5], 3), planning.ready_at(&[9], 9)),
        (None, Some(3), None)
    );
    assert_eq!(planning.plan.ready_at(&Touches::Everything, at(3)), Some(at(3)));
    planning.plan.release(at(1));
    assert_eq!((planning.chain(1, 4), planning.chain(2, 4)), (vec![4], vec![2]), "what is executed holds nobody up");
    planning.plan.release(at(4));
    assert!(planning.plan.entered().is_none() && planning.ready_at(&[1], 4).is_none());
}

#[test]
fn what_is_settled_is_not_waited_for() {
    let mut planning = Planning::default();
    (0..3).for_each(|_| planning.batch(keys(&[1, 2])));
    planning.settle(1, 1);
    assert_eq!((planning.chain(1, 3), planning.chain(2, 3)), (vec![3, 2], vec![3, 2, 1]));
    planning.settle(2, 1);
    planning.settle(3, 1);
    assert_eq!((planning.ready_at(&[1], 3), planning.ready_at(&[1, 2], 3)), (None, Some(3)));
}

#[test]
fn what_touches_everything_and_the_end_of_a_configuration_hold_up_all_behind_them() {
    let mut planning = Planning::default();
    planning.batch(key(1));
    planning.batch(Digests::Everything);
    planning.batch(key(1));
    assert_eq!((planning.plan.barrier(at(1)), planning.plan.barrier(at(9))), (None, Some(at(2))));
    assert_eq!(
        (planning.ready_at(&[8], 9), planning.ready_at(&[8], 1), planning.ready_at(&[1], 9)),
        (Some(2), None, Some(3))
    );
    let members = vec![ReplicaId::FIRST];
    let stop_sign = StopSign { configuration: 2, members, addresses: Vec::new() };
    let content = DeliveredContent::StopSign(stop_sign);
    planning.enter(&Delivered { instance: at(4), cycle: CycleNumber::default(), content }, LocalReads::None);
    assert_eq!(planning.plan.barrier(at(9)), Some(at(4)));
    planning.plan.release(at(2));
    assert_eq!((planning.plan.barrier(at(3)), planning.plan.barrier(at(4))), (None, Some(at(4))));
}

#[test]
fn what_is_skipped_touches_nothing() {
    let mut planning = Planning::default();
    let commands = |digest| Content::Commands { payload_len: 0, payload_crc: 0, digests: key(digest) };
    planning.enter(&header(1, 1, commands(1)), LocalReads::None);
    planning.enter(&header(2, 1, commands(2)), LocalReads::None);
    planning.enter(&header(3, 3, commands(3)), LocalReads::None);
    assert_eq!((planning.ready_at(&[1], 9), planning.ready_at(&[2, 3], 9)), (Some(1), None));
}

#[test]
fn local_reads_count_as_touches_and_many_keys_hold_up_what_is_behind() {
    let mut planning = Planning::default();
    let commands = |digest| Content::Commands { payload_len: 0, payload_crc: 0, digests: key(digest) };
    planning.batch(key(7));
    planning.enter(&header(2, 2, commands(1)), LocalReads::Keys([1, 7].into()));
    assert_eq!((planning.chain(7, 2), planning.chain(1, 2)), (vec![2, 1], vec![2]));
    planning.enter(&header(3, 3, commands(1)), LocalReads::Many);
    assert_eq!((planning.plan.barrier(at(2)), planning.plan.barrier(at(3))), (None, Some(at(3))));
}

#[test]
fn late_checkpoints_are_passed_over_some_times_only() {
    let mut planning = Planning::default();
    planning.plan.begin(&Progress { instance: at(0), time_ms: 0, ids: IdWindow::default() }, at(10));
    for instance in 1..=14 {
        planning.enter(&header(instance, instance, Content::CheckpointMarker), LocalReads::None);
    }
    assert!(planning.plan.barrier(at(14)).is_none());
    planning.enter(&header(15, 15, Content::CheckpointMarker), LocalReads::None);
    assert_eq!(planning.plan.barrier(at(20)), Some(at(15)));
}

#[test]
fn entries_go_when_all_is_executed_and_their_room_with_them() {
    let mut planning = Planning::default();
    let many: Vec<u32> = (0..4 * KEPT_ENTRIES as u32).collect();
    planning.batch(keys(&many));
    planning.batch(key(1));
    planning.plan.release(at(1));
    assert_eq!(planning.ready_at(&[1], 9), Some(2));
    planning.plan.release(at(2));
    assert!(planning.plan.touchers.is_empty() && planning.plan.touchers.capacity() <= 2 * KEPT_ENTRIES);
}

#[test]
fn what_is_executed_leaves_the_table_before_it_grows() {
    let mut plan = Plan::default();
    plan.begin(&Progress { instance: at(0), time_ms: 0, ids: IdWindow::default() }, at(0));
    for number in 1..=10_000_u64 {
        let digests: Vec<u32> = (0..50).map(|key| number as u32 * 50 + key).collect();
        let content = Content::Commands { payload_len: 0, payload_crc: 0, digests: keys(&digests) };
        plan.enter(&header(number, number, content), LocalReads::None, at(number.saturating_sub(10)));
        plan.release(at(number.saturating_sub(10)));
    }
    assert!(plan.touchers.capacity() < 5000, "500 are live, {} have room", plan.touchers.capacity());
}

proptest! {
    /// Held to the search through all batches.
    #[test]
    fn it_finds_what_a_search_finds(
        batches in prop::collection::vec(prop::option::weighted(0.9, prop::collection::vec(0_u32..12, 0..4)), 1..30),
        touched in prop::collection::vec(0_u32..12, 1..4),
        upto in 0_u64..31,
        executed in 0_u64..20,
        settled in prop::collection::vec((0_u32..12, 0_u64..31), 0..6),
    ) {
        let mut planning = Planning::default();
        for batch in &batches {
            planning.batch(batch.as_ref().map_or(Digests::Everything, |batch| keys(batch)));
        }
        planning.plan.release(at(executed));
        let touches = |number: u64, digest| matches!(&batches[number as usize - 1], Some(keys) if keys.contains(&digest));
        let live = || (executed + 1..=batches.len() as u64).rev();
        let is_settled = |number, digest| settled.iter().any(|(key, last)| *key == digest && number <= *last);
        for number in live() {
            for digest in (0..12).filter(|digest| touches(number, *digest) && is_settled(number, *digest)) {
                planning.settle(number, digest);
            }
        }
        for digest in &touched {
            let expected: Vec<u64> =
                live().filter(|it| *it <= upto && touches(*it, *digest) && !is_settled(*it, *digest)).collect();
            prop_assert_eq!(planning.chain(*digest, upto), expected);
        }
        let holds_up = |it: &u64| {
            let open = |digest: &&u32| touches(*it, **digest) && !is_settled(*it, **digest);
            *it <= upto && (batches[*it as usize - 1].is_none() || touched.iter().any(|digest| open(&digest)))
        };
        prop_assert_eq!(planning.ready_at(&touched, upto), live().find(holds_up));
    }
}
