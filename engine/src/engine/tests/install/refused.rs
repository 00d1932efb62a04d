//! What a donor may send that is no good, and a disk without room: refused, and nothing has changed.

use super::{Replica, donor, pull, receive, receiver, root, sent};
use crate::engine::{Engine, EngineOptions, Identity, PinnedCheckpoint};
use crate::env::Disk;
use crate::env::sim::Faults;
use crate::error::Fault;
use crate::key::SegmentId;
use crate::manifest::{MAX_ORDERING_LEN, Manifest};
use crate::position::Instance;
use crate::segment::{SegmentCut, Totals};
use std::path::PathBuf;

/// A refusal that leaves the receiver as it was.
fn expect_refused<T>(receiver: &Replica, before: &[PathBuf], result: Result<T, Fault>, label: &str) -> String {
    let Err(Fault::Refused(text)) = result.map(drop) else { panic!("{label}") };
    assert_eq!(receiver.disk.paths(), before, "{label}: {text}");
    text
}

#[test]
fn a_manifest_that_does_not_fit_is_refused() {
    let (donor, receiver) = (donor(), receiver(2));
    let good = sent(donor.engine.newest_checkpoint().unwrap().manifest());
    let before = receiver.disk.paths();
    let refusal = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        expect_refused(&receiver, &before, receiver.engine.begin_incoming(manifest), "begun")
    };
    assert!(refusal(&|manifest| manifest.shape.cluster = 7).contains("of cluster 0000000000000007"));
    assert!(refusal(&|manifest| manifest.shape.seed += 1).contains("one shape"));
    assert!(refusal(&|manifest| manifest.shape.max_value_len += 1).contains("one shape"));
    assert!(refusal(&|manifest| manifest.shape.segments += 1).contains("one shape"));
    assert!(refusal(&|manifest| manifest.instance = receiver.engine.last_checkpoint()).contains("last one here"));
    assert!(refusal(&|manifest| manifest.instance = Instance::ZERO).contains("last one here"));
    assert!(refusal(&|manifest| manifest.segments.truncate(2)).contains("not one that Skink makes"));
    let too_much = vec![0; MAX_ORDERING_LEN + 1];
    assert!(refusal(&|manifest| manifest.ordering.clone_from(&too_much)).contains("not one that Skink makes"));
    for length in [1, 4095, 4097, u64::MAX, u64::MAX - 7, 64 << 30] {
        assert!(refusal(&|manifest| manifest.segments[1].length = length).contains("segment 1 can't have"), "{length}");
    }
    let totals = Totals { live_records: 1, ..Totals::default() };
    assert!(
        refusal(&|manifest| manifest.segments[0] = SegmentCut { totals, ..SegmentCut::default() }).contains("can't")
    );
    receiver.check("all refused");
}

#[test]
fn one_checkpoint_is_received_at_a_time() {
    let (donor, mut receiver) = (donor(), receiver(2));
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let first = receiver.engine.begin_incoming(sent(pinned.manifest())).unwrap();
    let refusal = receiver.engine.begin_incoming(sent(pinned.manifest())).map(drop).unwrap_err();
    assert!(refusal.to_string().contains("another checkpoint is being received"), "{refusal}");
    drop(first);
    let incoming = receive(&receiver.engine, &pinned).unwrap();
    assert!(receiver.engine.begin_incoming(sent(pinned.manifest())).is_err(), "it is not installed yet");
    receiver.install(incoming).unwrap();
    let again = receiver.engine.begin_incoming(sent(pinned.manifest())).map(drop).unwrap_err();
    assert!(again.to_string().contains("the last one here"), "{again}");
}

#[test]
fn pieces_are_taken_in_order_and_no_further_than_the_end() {
    let (donor, receiver) = (donor(), receiver(2));
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let before = receiver.disk.paths();
    let mut incoming = receiver.engine.begin_incoming(sent(pinned.manifest())).unwrap();
    let (id, length) = pinned.files()[1];
    let bytes = pinned.read(id, 0, 10_000).unwrap();
    let mut refuse = |segment: SegmentId, offset: u64, bytes: &[u8], what: &str| {
        let Err(Fault::Refused(text)) = incoming.write(segment, offset, bytes) else { panic!("{what}") };
        assert!(text.contains(what), "{text}");
    };
    refuse(id, 8, &bytes[8..16], "where 0 is next");
    refuse(SegmentId(3), 0, &bytes, "which there is none of");
    refuse(id, 0, &vec![0; length as usize + 1], &format!("where it ends at {length}"));
    refuse(id, 0, &bytes[1..], "not those of its header");
    refuse(SegmentId(0), 0, &bytes, "not those of its header");
    incoming.write(id, 0, &bytes[..100]).unwrap();
    incoming.write(id, 100, &[]).unwrap();
    assert!(incoming.write(id, 0, &bytes[..100]).is_err(), "twice");
    assert!(incoming.write(id, 100, &bytes[101..5000]).is_err(), "a byte of the header is left out");
    incoming.write(id, 100, &bytes[100..5000]).unwrap();
    let missing = incoming.missing().unwrap();
    assert_eq!((missing.0, missing.1.start), (SegmentId(0), 0));
    let text = expect_refused(&receiver, &before, incoming.finish(), "finished early");
    assert!(text.contains("segment 0000 has 0 of"), "{text}");
    // Pieces of segments may come in any turn.
    let mut incoming = receiver.engine.begin_incoming(sent(pinned.manifest())).unwrap();
    let longest = pinned.files().iter().map(|(_, length)| *length).max().unwrap();
    for at in (0..longest).step_by(10_007) {
        for (id, _) in pinned.files().into_iter().filter(|(_, length)| at < *length) {
            incoming.write(id, at, &pinned.read(id, at, 10_007).unwrap()).unwrap();
        }
    }
    incoming.finish().unwrap();
    assert_eq!(receiver.disk.paths(), before);
}

/// Receives what a donor sends if this is done to a segment's bytes, and to the manifest.
fn receive_changed(
    engine: &Engine,
    from: &PinnedCheckpoint,
    manifest: Manifest,
    change: impl Fn(SegmentId, &mut Vec<u8>),
) -> Result<(), Fault> {
    let mut incoming = engine.begin_incoming(manifest)?;
    for (id, length) in from.files() {
        let mut bytes = from.read(id, 0, length as usize).unwrap();
        change(id, &mut bytes);
        incoming.write(id, 0, &bytes)?;
    }
    incoming.finish().map(drop)
}

#[test]
fn what_is_not_the_checkpoint_is_refused_when_all_of_it_is_there() {
    let (mut donor, receiver) = (Replica::new(1), receiver(2));
    donor.write(0..90, "value");
    donor.checkpoint();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let good = sent(pinned.manifest());
    let before = receiver.disk.paths();
    let refuse = |result, label: &str| expect_refused(&receiver, &before, result, label);
    for (id, length) in pinned.files() {
        // The first records, where each byte is something of its own, then samples, and the end.
        let offsets = (0..length).filter(|at| (4096..4300).contains(at) || at % 397 == 0 || *at + 3 > length);
        for (number, at) in offsets.enumerate() {
            let label = format!("segment {id}, byte {at} of {length}");
            let flip = |segment: SegmentId, bytes: &mut Vec<u8>| {
                if segment == id {
                    bytes[at as usize] ^= 1 << (number % 8);
                }
            };
            refuse(receive_changed(&receiver.engine, &pinned, good.clone(), flip), &label);
        }
        for len in [0, 100, 4096, length as usize - 8, length as usize - 1] {
            let cut = |segment: SegmentId, bytes: &mut Vec<u8>| {
                if segment == id {
                    bytes.truncate(len);
                }
            };
            let text = refuse(receive_changed(&receiver.engine, &pinned, good.clone(), cut), "truncated");
            assert!(text.contains("not complete"), "{text}");
        }
        let lengthen = |segment: SegmentId, bytes: &mut Vec<u8>| {
            if segment == id {
                bytes.extend([0; 8]);
            }
        };
        refuse(receive_changed(&receiver.engine, &pinned, good.clone(), lengthen), "too long");
        for change in 0..6 {
            let mut wrong = good.clone();
            let cut = &mut wrong.segments[id.index()];
            match change {
                0 => cut.totals.live_records += 1,
                1 => cut.totals.live_bytes -= 8,
                2 => cut.totals.expiring_records += 1,
                3 => cut.totals.digest ^= 1,
                4 => cut.length += 8,
                _ => cut.generation = cut.generation.next(),
            }
            refuse(receive_changed(&receiver.engine, &pinned, wrong, |_, _| ()), &format!("change {change}"));
        }
    }
    // A whole file of another segment, or of another checkpoint.
    let files = pinned.files();
    let (first, second) = (files[0], files[1]);
    let other = pinned.read(second.0, 0, second.1 as usize).unwrap();
    let exchange = |segment: SegmentId, bytes: &mut Vec<u8>| {
        if segment == first.0 {
            bytes.truncate(4096);
            bytes.extend(&other[4096..]);
        }
    };
    let mut wrong = good.clone();
    wrong.segments[0] = SegmentCut { generation: good.segments[0].generation, ..good.segments[1] };
    let text = refuse(receive_changed(&receiver.engine, &pinned, wrong, exchange), "exchanged");
    assert!(text.contains("belongs to another segment"), "{text}");
    receiver.check("all refused");
    receive(&receiver.engine, &pinned).unwrap();
}

#[test]
fn a_replica_of_another_cluster_is_no_donor() {
    let donor = donor();
    let receiver = receiver(2);
    let identity = Some(Identity { cluster: 9, seed: 6 });
    let (other, _) = Engine::open(
        receiver.environment.clone(),
        &root().join("../other"),
        EngineOptions { identity, ..super::options() },
    )
    .unwrap();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let refusal = receive(&other, &pinned).map(drop).unwrap_err();
    assert!(refusal.to_string().contains("cluster"), "{refusal}");
}

#[test]
fn a_full_disk_leaves_the_state_that_was_there() {
    let donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let needed: u64 = pinned.files().iter().map(|(_, length)| length).sum();
    // Refused at once where there is no room, before anything is made.
    let receiver = receiver(2);
    let (before, used) = (receiver.disk.paths(), u64::MAX - receiver.disk.free_bytes(root()).unwrap());
    for free in [0, needed, needed + (4 << 20) - 1] {
        receiver.disk.set_faults(Faults { capacity: used + free, ..Faults::default() });
        let fault = receiver.engine.begin_incoming(sent(pinned.manifest())).map(drop).unwrap_err();
        assert!(fault.is_transient(), "{fault}");
        assert_eq!(receiver.disk.paths(), before);
    }
    // The disk fills up meanwhile.
    let (mut writes, mut installed) = (0, 0);
    for free in (0..).step_by(1900) {
        let label = format!("{free} bytes free");
        let mut receiver = super::receiver(2);
        let before = receiver.disk.paths();
        let mut incoming = receiver.engine.begin_incoming(sent(pinned.manifest())).unwrap();
        receiver.disk.set_faults(Faults { capacity: used + free, ..Faults::default() });
        if let Err(fault) = pull(&mut incoming, &pinned) {
            writes += 1;
            assert!(fault.is_transient(), "{label}: {fault}");
            receiver.check(&label);
            if free % 3800 == 0 {
                drop(incoming);
                assert_eq!(receiver.disk.paths(), before, "{label}");
                continue;
            }
            // It goes on where it was when there is room.
            receiver.disk.set_faults(Faults::default());
            pull(&mut incoming, &pinned).unwrap();
        }
        receiver.disk.set_faults(Faults::default());
        receiver.install(incoming.finish().unwrap()).unwrap();
        (receiver.model, receiver.done) = (donor.model.clone(), donor.done);
        installed += 1;
        receiver.check(&label);
        if free > needed + 10_000 {
            break;
        }
    }
    assert!(writes > 10 && installed > 10, "{writes} {installed}");
}

#[test]
fn an_installation_without_room_for_its_manifest_changes_nothing() {
    let donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let len = pinned.manifest().encode().len() as u64;
    let mut receiver = receiver(2);
    let before = receiver.disk.paths();
    for free in [0, 1, len / 2] {
        let incoming = receive(&receiver.engine, &pinned).unwrap();
        let used = u64::MAX - receiver.disk.free_bytes(root()).unwrap();
        receiver.disk.set_faults(Faults { capacity: used + free, ..Faults::default() });
        let fault = receiver.install(incoming).unwrap_err();
        assert!(fault.is_transient(), "{fault}");
        assert_eq!(receiver.disk.paths(), before);
        receiver.disk.set_faults(Faults::default());
        receiver.check("refused");
    }
    receiver.follow(&donor);
    receiver.check("installed");
    receiver.reopen();
    receiver.check("opened again");
}
