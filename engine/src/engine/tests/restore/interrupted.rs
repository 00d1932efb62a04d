//! Restores that end early: by a power cut, a failing sync, a full disk. What they leave is the whole state, or says that it is not.

use super::damage::expect_half_restored;
use super::{assert_restored, restore, target, with_backup};
use crate::directory::{Directory, Stage};
use crate::env::sim::Faults;
use crate::env::{Disk, Environment};
use crate::testing::model::Model;

/// How far a directory got, as the next process finds it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Half,
    Whole,
}

fn look(environment: &Environment, model: &Model, label: &str) -> Found {
    let disk = environment.disk.as_ref();
    if disk.metadata(&target().join("FORMAT")).is_err() {
        let names = disk.list(target()).unwrap_or_default();
        assert!(names.iter().all(|name| name == "FORMAT.new"), "{label}: {names:?} without FORMAT");
        return Found::Nothing;
    }
    match Directory::at(target()).read_format(environment).unwrap().stage {
        Stage::Complete => {
            assert_restored(environment, model, label);
            Found::Whole
        }
        Stage::BeingRestored => {
            expect_half_restored(environment, label);
            Found::Half
        }
        Stage::BeingMade => panic!("{label}: a start would make an empty directory of it"),
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_whole_state_or_what_says_that_it_is_not() {
    let mut seen = Vec::new();
    for seed in 0..6 {
        for changes in 0.. {
            let label = format!("seed {seed}, change {changes}");
            let (environment, disk, model) = with_backup(seed);
            disk.set_faults(Faults { changes_until_power_cut: Some(changes), ..Faults::default() });
            let is_done = restore(&environment).is_ok();
            disk.power_cut();
            let found = look(&environment, &model, &label);
            assert!(!is_done || found == Found::Whole, "{label}: {found:?} after it was done");
            if found == Found::Nothing {
                restore(&environment).unwrap();
                assert_restored(&environment, &model, &label);
            }
            seen.push(found);
            if is_done {
                break;
            }
        }
    }
    let count = |what: Found| seen.iter().filter(|found| **found == what).count();
    assert!(count(Found::Nothing) > 0 && count(Found::Half) > 50 && count(Found::Whole) >= 6, "{seen:?}");
}

#[test]
fn a_failed_sync_is_never_passed_over() {
    for syncs in 0.. {
        let label = format!("sync {syncs}");
        let (environment, disk, model) = with_backup(1);
        disk.set_faults(Faults { syncs_until_failure: Some(syncs), ..Faults::default() });
        let result = restore(&environment);
        disk.power_cut();
        let found = look(&environment, &model, &label);
        match result {
            Ok(_) => {
                assert!(found == Found::Whole && syncs > 10, "{label}: {found:?}");
                break;
            }
            Err(error) => assert!(error.is_half_restored && error.to_string().contains("sync"), "{label}: {error}"),
        }
    }
}

#[test]
fn a_full_disk_is_refused_or_leaves_what_says_that_it_is_half_restored() {
    let (mut refused, mut half) = (0, 0);
    for free in (0_u64..).step_by(900) {
        let label = format!("{free} bytes free");
        let (environment, disk, model) = with_backup(1);
        let used = u64::MAX - disk.free_bytes(target()).unwrap();
        disk.set_faults(Faults { capacity: used + free, ..Faults::default() });
        let result = restore(&environment);
        disk.set_faults(Faults::default());
        match result {
            Ok(_) => {
                assert_restored(&environment, &model, &label);
                break;
            }
            Err(error) if error.is_half_restored => {
                half += 1;
                assert!(!error.fault.is_transient(), "nobody goes on when there is room: {error}");
                assert_eq!(look(&environment, &model, &label), Found::Half, "{label}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("are needed"), "{label}: {error}");
                assert_eq!(look(&environment, &model, &label), Found::Nothing, "{label}");
                restore(&environment).unwrap();
            }
        }
    }
    assert!(refused > 100 && half > 0, "{refused} {half}");
}
