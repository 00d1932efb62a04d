//! Backups that are damaged, incomplete, or none: found, and named.

use super::{assert_restored, backup, restore, target, with_backup};
use crate::engine::Engine;
use crate::env::sim::SimDisk;
use crate::env::{Disk, Environment, Open};
use crate::error::Fault;
use crate::manifest::Manifest;
use crate::verify::verify;
use std::path::{Path, PathBuf};

/// The backup's files, and up to where each counts.
fn files(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    let manifest = Manifest::read(disk, backup()).unwrap();
    let names = disk.list(backup()).unwrap().into_iter();
    let counts = |name: &str| {
        let segment = manifest.files().find(|(id, cut)| name == format!("{id}.{}.seg", cut.generation));
        segment.map_or(disk.metadata(&backup().join(name)).unwrap().len, |(_, cut)| cut.length)
    };
    names.map(|name| (backup().join(&name), counts(&name))).collect()
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "idx")
}

/// Removes a folder with all that is in it, whatever it is.
fn remove_all(disk: &SimDisk, folder: &Path) {
    for name in disk.list(folder).unwrap_or_default() {
        let path = folder.join(name);
        match disk.metadata(&path).unwrap().is_folder {
            true => remove_all(disk, &path),
            false => disk.remove_file(&path).unwrap(),
        }
    }
    // Synced, so that the disk forgets what was there before the next attempt.
    let _ = disk.sync_folder(folder);
    let _ = disk.remove_folder(folder);
    disk.sync_folder(folder.parent().unwrap()).unwrap();
}

/// A restore of a backup in which this file is damaged says so; where it has begun, what it leaves is never opened.
fn expect_found(environment: &Environment, path: &Path, label: &str) {
    let error = restore(environment).expect_err(label);
    let Fault::Corrupt { path: named, .. } = &error.fault else { panic!("{label}: {error}") };
    assert_eq!(named, path, "{label}: {error}");
    if error.is_half_restored {
        expect_half_restored(environment, label);
    }
}

/// Whoever wants to use the directory is told what it is and what to do.
pub(super) fn expect_half_restored(environment: &Environment, label: &str) {
    let told = [
        super::open(environment, target()).map(drop).unwrap_err().to_string(),
        restore(environment).unwrap_err().to_string(),
        verify(environment, target()).unwrap_err().to_string(),
    ];
    for text in told {
        assert!(text.contains("half restored") && text.contains("remove the folder"), "{label}: {text}");
    }
}

#[test]
fn damage_is_found_in_every_file() {
    let (environment, disk, model) = with_backup(1);
    for (path, counts) in files(&disk) {
        let bytes = disk.read(&path, u64::MAX).unwrap();
        let len = bytes.len() as u64;
        let header_end = 20 + u64::from(u32::from_le_bytes(bytes[12..16].try_into().unwrap()));
        // All of the first kilobyte, where each byte is something of its own, then samples, and all ends.
        let offsets = (0..len).filter(|offset| *offset < 300 || offset % 201 == 0 || offset.abs_diff(counts) < 3);
        for (number, offset) in offsets.enumerate() {
            let label = format!("{} at {offset} of {counts}", path.display());
            let bit = (number % 8) as u8;
            disk.flip_bit(&path, offset, bit).unwrap();
            if is_image(&path) {
                let restored = restore(&environment).unwrap();
                match restored.damaged_images.as_slice() {
                    [Fault::Corrupt { path: named, .. }] => assert_eq!(named, &path, "{label}"),
                    // The rest of its header's page is never read.
                    [] => assert!((header_end..4096).contains(&offset), "{label}"),
                    other => panic!("{label}: {other:?}"),
                }
                assert_restored(&environment, &model, &label);
            } else if offset >= counts {
                restore(&environment).unwrap();
                assert_restored(&environment, &model, &label);
            } else {
                expect_found(&environment, &path, &label);
            }
            remove_all(&disk, target());
            disk.flip_bit(&path, offset, bit).unwrap();
        }
    }
    restore(&environment).unwrap();
    assert_restored(&environment, &model, "undamaged");
}

#[test]
fn what_is_missing_or_short_is_found_before_anything_is_made() {
    let (environment, disk, model) = with_backup(2);
    for (path, counts) in files(&disk) {
        let bytes = disk.read(&path, u64::MAX).unwrap();
        let put_back = || {
            let _ = disk.remove_file(&path);
            disk.open(&path, Open::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
        };
        let label = path.display().to_string();
        disk.remove_file(&path).unwrap();
        if is_image(&path) {
            assert!(restore(&environment).unwrap().damaged_images.is_empty(), "there need not be one");
            assert_restored(&environment, &model, &label);
            remove_all(&disk, target());
            put_back();
            continue;
        }
        let error = restore(&environment).expect_err(&label);
        let text = error.to_string();
        let is_named = text.contains("holds no MANIFEST") || text.contains(&label) && text.contains("missing");
        assert!(is_named && !error.is_half_restored, "{label}: {text}");
        for len in [0, 100, counts - 1] {
            put_back();
            disk.open(&path, Open::ReadWrite).unwrap().truncate(len).unwrap();
            let error = restore(&environment).expect_err(&label);
            assert!(!error.is_half_restored && matches!(error.fault, Fault::Corrupt { .. }), "{label}: {error}");
        }
        put_back();
        assert!(disk.metadata(target()).is_err(), "nothing was made");
    }
}

#[test]
fn what_is_no_backup_of_this_version_is_refused() {
    let (environment, disk, _) = with_backup(3);
    let refusal = |folder: &str| {
        let error = Engine::restore(&environment, Path::new(folder), target(), None).unwrap_err();
        assert!(!error.is_half_restored && disk.metadata(target()).is_err());
        error.to_string()
    };
    assert!(refusal("/nothing").contains("there is no folder /nothing"));
    assert!(refusal("/backups").contains("no MANIFEST"));
    assert!(refusal("/data").contains("name a folder in /data/checkpoints"));
    assert!(refusal("/data/log").contains("no MANIFEST"));
    let path = Manifest::path(backup());
    let manifest = Manifest::read(&disk, backup()).unwrap();
    let put = |bytes: &[u8]| {
        disk.remove_file(&path).unwrap();
        disk.open(&path, Open::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
        refusal("/backups/today")
    };
    let mut bytes = manifest.encode();
    bytes[8] = 3;
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    assert!(put(&bytes).contains("it has format version 3, this program reads versions 1 to 2"));
    let mut other = manifest.clone();
    other.shape.hash_version += 1;
    assert!(put(&other.encode()).contains("by hash version 2"));
    let mut none = manifest;
    (none.shape.segments, none.segments) = (0, Vec::new());
    assert!(put(&none.encode()).contains("in 0 segments"));
}

#[test]
fn files_of_another_backup_are_found() {
    let (environment, disk, _) = with_backup(4);
    let (_, other, _) = with_backup(5);
    let path = files(&disk).into_iter().map(|(path, _)| path).find(|path| path.extension().unwrap() == "seg").unwrap();
    let bytes = other.read(&path, u64::MAX).unwrap();
    disk.remove_file(&path).unwrap();
    disk.open(&path, Open::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
    expect_found(&environment, &path, "a segment of another backup");
}

#[test]
fn only_an_empty_folder_is_restored_into() {
    let (environment, disk, model) = with_backup(6);
    disk.create_folder(target()).unwrap();
    let file = target().join("notes");
    disk.open(&file, Open::CreateNew).unwrap();
    assert!(restore(&environment).unwrap_err().to_string().contains("notes"));
    disk.remove_file(&file).unwrap();
    restore(&environment).unwrap();
    assert_restored(&environment, &model, "an empty folder");
    assert!(restore(&environment).unwrap_err().to_string().contains("data directory already"));
    assert_restored(&environment, &model, "what was there is untouched");
}
