//! Receiving and installing, ended by a power cut or a failing sync: the old state or the new one, never a mix.

use super::{ORDERING, Replica, donor, receive, receiver, root};
use crate::engine::PinnedCheckpoint;
use crate::env::Disk;
use crate::env::sim::Faults;
use crate::error::Fault;
use crate::verify::verify;

/// Which state the next process finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    New,
}

/// Receives and installs.
fn follow(receiver: &mut Replica, pinned: &PinnedCheckpoint) -> Result<(), Fault> {
    let incoming = receive(&receiver.engine, pinned)?;
    receiver.install(incoming).map(drop)
}

/// Starts again, and says which state is there. It is all there, and can be worked with.
fn look(receiver: &mut Replica, donor: &Replica, label: &str) -> Found {
    assert!(verify(&receiver.environment, root()).unwrap().is_clean(), "{label}");
    receiver.reopen();
    assert!(receiver.disk.metadata(&root().join("incoming")).is_err(), "{label}");
    receiver.engine.directory().remove_put_aside(&receiver.environment).unwrap();
    let found = if receiver.opened.manifest.instance.get() == donor.done as u64 { Found::New } else { Found::Old };
    if found == Found::New {
        assert_eq!(receiver.opened.manifest.ordering, ORDERING, "{label}");
        (receiver.model, receiver.done) = (donor.model.clone(), donor.done);
    }
    receiver.check(label);
    let names = receiver.names("segments");
    let expected: Vec<_> =
        receiver.opened.manifest.files().map(|(id, cut)| format!("{id}.{}.seg", cut.generation)).collect();
    assert_eq!(names, expected, "{label}: nothing else is left");
    found
}

/// Where it ended early, it is done again; then life goes on.
fn go_on(receiver: &mut Replica, donor: &Replica, found: Found, label: &str) {
    if found == Found::Old {
        receiver.follow(donor);
        receiver.check(label);
    }
    receiver.write(0..20, "later");
    receiver.checkpoint();
    receiver.reopen();
    receiver.check(label);
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_old_state_or_the_new_one() {
    let mut donor = Replica::new(1);
    donor.write(0..60, "of the donor");
    donor.checkpoint();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let mut seen = Vec::new();
    for seed in 0..8 {
        for changes in 0.. {
            let label = format!("seed {seed}, change {changes}");
            let mut receiver = receiver(seed);
            // What the next checkpoint would drop is dropped by the installation, too.
            receiver.write(0..3, "one more");
            receiver.checkpoint();
            receiver.disk.set_faults(Faults { changes_until_power_cut: Some(changes), ..Faults::default() });
            let is_done = follow(&mut receiver, &pinned).is_ok();
            receiver.disk.power_cut();
            let found = look(&mut receiver, &donor, &label);
            assert!(!is_done || found == Found::New, "{label}: {found:?} after it was done");
            go_on(&mut receiver, &donor, found, &label);
            seen.push(found);
            if is_done {
                break;
            }
        }
    }
    let count = |what: Found| seen.iter().filter(|found| **found == what).count();
    assert!(count(Found::Old) > 100 && count(Found::New) > 40, "{} {}", count(Found::Old), count(Found::New));
}

#[test]
fn a_failed_sync_is_never_passed_over() {
    let donor = donor();
    let pinned = donor.engine.newest_checkpoint().unwrap();
    for syncs in 0.. {
        let label = format!("sync {syncs}");
        let mut receiver = receiver(3);
        receiver.disk.set_faults(Faults { syncs_until_failure: Some(syncs), ..Faults::default() });
        let result = follow(&mut receiver, &pinned);
        receiver.disk.power_cut();
        let found = look(&mut receiver, &donor, &label);
        match result {
            Ok(()) => {
                assert!(found == Found::New && syncs > 4, "{label}: {found:?}");
                break;
            }
            Err(fault) => assert!(!fault.is_transient() && fault.to_string().contains("sync"), "{label}: {fault}"),
        }
        go_on(&mut receiver, &donor, found, &label);
    }
}

#[test]
fn what_a_process_received_in_vain_is_put_aside_by_the_next_one() {
    let (donor, mut receiver) = (donor(), receiver(2));
    let pinned = donor.engine.newest_checkpoint().unwrap();
    for _ in 0..2 {
        let mut incoming = receiver.engine.begin_incoming(super::sent(pinned.manifest())).unwrap();
        super::pull(&mut incoming, &pinned).unwrap();
        assert!(verify(&receiver.environment, root()).unwrap().incoming > 3 * 4096);
        // The process ends before it can give back anything.
        std::mem::forget(incoming);
        receiver.reopen();
        assert!(!receiver.disk.list(&root().join("incoming.old")).unwrap().is_empty());
        let report = verify(&receiver.environment, root()).unwrap();
        assert!(report.is_clean() && report.incoming == 0);
    }
    receiver.engine.directory().remove_put_aside(&receiver.environment).unwrap();
    assert!(receiver.disk.metadata(&root().join("incoming.old")).is_err());
    receiver.follow(&donor);
    receiver.check("installed");
}
