//! What a donor keeps while it is read, and what it doesn't keep for that.

use super::{Replica, donor, receive, receiver, root, sent};
use crate::engine::PinnedCheckpoint;
use crate::env::Disk;
use crate::error::Fault;
use crate::key::SegmentId;
use crate::log::FrameKind;
use crate::verify::verify;

fn read_all(pinned: &PinnedCheckpoint) -> Vec<(SegmentId, Vec<u8>)> {
    let read = |(id, length): (SegmentId, u64)| {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend(pinned.read(id, bytes.len() as u64, 5000).unwrap());
        }
        assert_eq!(bytes.len() as u64, length);
        (id, bytes)
    };
    pinned.files().into_iter().map(read).collect()
}

fn folders(replica: &Replica) -> Vec<String> {
    replica.names("checkpoints")
}

#[test]
fn a_pin_keeps_the_files_of_its_checkpoint_and_nothing_else() {
    let mut donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let (expected, at) = (read_all(&pinned), pinned.manifest().instance);
    let log_start = donor.engine.log_files().start().unwrap();
    for round in 0..3 {
        donor.compact();
        // More than a file of the log, so that the ones before can go.
        for _ in 0..3 {
            donor.opened.writer.append(FrameKind::Payload, &[&[round; 60_000]]).unwrap();
            donor.opened.writer.flush().unwrap();
        }
        donor.checkpoint();
        assert_eq!(read_all(&pinned), expected);
        let report = verify(&donor.environment, root()).unwrap();
        assert!(report.is_clean() && report.checkpoints.len() == 2, "{report:?}");
    }
    assert!(donor.engine.log_files().start().unwrap() > log_start, "log files go nevertheless");
    let kept: Vec<_> = donor.engine.kept_checkpoints().iter().map(|(instance, _)| *instance).collect();
    assert!(kept.len() == 2 && !kept.contains(&at));
    assert_eq!(folders(&donor).len(), 3, "{:?}", folders(&donor));

    // What was begun with the pinned checkpoint is ended with it, however far the donor is.
    let receiver = receiver(2);
    let mut incoming = receiver.engine.begin_incoming(sent(pinned.manifest())).unwrap();
    super::pull(&mut incoming, &pinned).unwrap();
    assert_eq!(incoming.finish().unwrap().manifest().digest(), pinned.manifest().digest());

    let taken = donor.engine.space().unwrap().files;
    drop(pinned);
    donor.write(0..1, "one more");
    donor.checkpoint();
    assert_eq!(folders(&donor).len(), 2, "{:?}", folders(&donor));
    assert!(donor.engine.space().unwrap().files < taken);
    donor.check("the pin is gone");
}

#[test]
fn a_checkpoint_that_is_replaced_while_it_is_read_stays_readable() {
    // Nothing is ordered between these: they have one instance, and later ones the files of later generations.
    let mut donor = donor();
    let mut pins = Vec::new();
    for _ in 0..3 {
        let pinned = donor.engine.newest_checkpoint().unwrap();
        pins.push((read_all(&pinned), pinned));
        donor.checkpoint();
    }
    donor.compact();
    donor.checkpoint();
    donor.compact();
    donor.checkpoint();
    for (expected, pinned) in &pins {
        assert_eq!(read_all(pinned), *expected);
    }
    assert_eq!(folders(&donor).len(), 5, "{:?}", folders(&donor));
    pins.truncate(1);
    donor.checkpoint();
    assert_eq!(read_all(&pins[0].1), pins[0].0);
    assert_eq!(folders(&donor).len(), 3, "{:?}", folders(&donor));
    drop(pins);
    donor.checkpoint();
    assert_eq!(folders(&donor).len(), 2, "{:?}", folders(&donor));
}

#[test]
fn a_start_removes_what_was_only_kept_to_be_read() {
    let mut donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    for _ in 0..2 {
        donor.write(0..1, "more");
        donor.checkpoint();
    }
    assert_eq!(folders(&donor).len(), 3, "{:?}", folders(&donor));
    donor.reopen();
    assert_eq!(folders(&donor).len(), 2, "{:?}", folders(&donor));
    donor.check("opened again");
    assert!(pinned.read(SegmentId(0), 0, 10).is_err());
}

#[test]
fn reads_are_bounded_and_checked() {
    fn is_send<T: Send + 'static>(_: &T) {}
    let donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    is_send(&pinned);
    let (id, length) = pinned.files()[0];
    assert_eq!(pinned.read(id, 0, usize::MAX).unwrap().len() as u64, length.min(1 << 20));
    assert_eq!(pinned.read(id, length - 1, 100).unwrap().len(), 1);
    assert!(pinned.read(id, 0, 0).unwrap().is_empty());
    for (id, offset) in [(id, length), (id, u64::MAX), (SegmentId(3), 0), (SegmentId(u16::MAX), 0)] {
        assert!(matches!(pinned.read(id, offset, 1), Err(Fault::Refused(_))), "{id} {offset}");
    }
    let name = donor.names("checkpoints").pop().unwrap();
    let cut = pinned.manifest().segments[id.index()];
    let path = root().join("checkpoints").join(name).join(format!("{id}.{}.seg", cut.generation));
    donor.disk.open(&path, crate::env::Open::ReadWrite).unwrap().truncate(5000).unwrap();
    let fault = pinned.read(id, 4000, 2000).unwrap_err();
    assert!(matches!(fault, Fault::Corrupt { .. }), "{fault}");
    assert_eq!(pinned.read(id, 4000, 1000).unwrap().len(), 1000);
    let fault = receive(&receiver(2).engine, &donor.engine.newest_checkpoint().unwrap()).map(drop).unwrap_err();
    assert!(matches!(fault, Fault::Corrupt { .. }), "{fault}");
}
