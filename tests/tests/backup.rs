//! Backups of a running server, and what is restored from them: the state of their cut, on a server that goes on.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

use skink_tests::server::{Ended, run, verify};
use skink_tests::{Server, Watchdog, Wire};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Keys with their values.
type State = BTreeMap<String, String>;

/// Writes keys, deletes some, and takes note of it.
fn load(wire: &mut Wire, state: &mut State, keys: std::ops::Range<u32>, value: &str) {
    for number in keys {
        let (key, value) = (format!("key:{number}"), format!("{value}-{number}-{}", "x".repeat(number as usize % 300)));
        if number % 11 == 3 {
            wire.call(&[b"DEL", key.as_bytes()]);
            state.remove(&key);
        } else {
            assert_eq!(wire.call(&[b"SET", key.as_bytes(), value.as_bytes()]), b"+OK\r\n");
            state.insert(key, value);
        }
    }
}

/// Checks that the server has these keys with these values, and no others.
fn assert_holds(server: &Server, state: &State) {
    let mut wire = server.wire();
    assert_eq!(wire.say("DBSIZE"), format!(":{}\\r\\n", state.len()));
    for (key, value) in state {
        let expected = format!("${}\r\n{value}\r\n", value.len());
        assert_eq!(wire.call(&[b"GET", key.as_bytes()]), expected.as_bytes(), "{key}");
    }
}

fn checkpoints(data: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(data.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// Copies a folder's files, as `cp -r` does.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn restore(backup: &Path, data: &Path) -> Ended {
    run(["restore".as_ref(), backup.as_os_str(), "--data".as_ref(), data.as_os_str()])
}

/// Restores, and checks what the program says of it.
fn restore_well(backup: &Path, data: &Path, keys: usize) {
    let restored = restore(backup, data);
    assert_eq!(restored.code, Some(0), "{}", restored.text);
    assert!(restored.text.contains(&format!("{} ", data.display())) && restored.text.contains("ready for skink serve"));
    let line = restored.text.lines().find(|line| line.trim_start().starts_with("keys")).unwrap();
    assert!(line.ends_with(&format!(" {keys}")), "{}", restored.text);
    let verified = verify(data);
    assert!(verified.is_clean, "{}", verified.text);
}

#[test]
fn what_is_restored_is_the_state_of_the_backup() {
    let _watchdog = Watchdog::minutes(5, "what_is_restored_is_the_state_of_the_backup");
    let folder = tempfile::tempdir().unwrap();
    let (made, copied) = (folder.path().join("made"), folder.path().join("copied"));
    let mut server = Server::start(&["--segments", "16"]);
    let mut state = State::new();
    // Several starts before the backup: the restored server begins with a new catalog, and must not count from 1.
    for round in 0..3 {
        load(&mut server.wire(), &mut state, round * 300..round * 300 + 500, &format!("round{round}"));
        server.stop();
        server.restart();
    }
    load(&mut server.wire(), &mut state, 1000..1200, "made");
    let reply = server.wire().call(&[b"STATEMENT", format!("BACKUP TO '{}'", made.display()).as_bytes()]);
    assert!(reply.starts_with(b"*6\r\n"), "{}", reply.escape_ascii());
    let state_made = state.clone();
    load(&mut server.wire(), &mut state, 1100..1500, "copied");
    assert_eq!(server.wire().say("SET expires v EX 1000"), "+OK\\r\\n");
    state.insert("expires".into(), "v".into());
    assert_eq!(server.wire().say("CHECKPOINT"), "+OK\\r\\n");
    copy_folder(checkpoints(server.data()).last().unwrap(), &copied);
    let state_copied = state.clone();
    load(&mut server.wire(), &mut state, 0..2000, "later");

    for (backup, expected, name) in [(&made, &state_made, "from-made"), (&copied, &state_copied, "from-copied")] {
        let data = folder.path().join(name);
        restore_well(backup, &data, expected.len());
        let mut restored = Server::on(&data, &[]);
        assert_holds(&restored, expected);
        assert_eq!(restored.info("replayed_commands"), 0);
        // It goes on by itself: what it writes is there after a kill, and after a stop.
        let mut goes_on = expected.clone();
        load(&mut restored.wire(), &mut goes_on, 5000..5200, "goes on");
        restored.kill9();
        restored.restart();
        assert_holds(&restored, &goes_on);
        load(&mut restored.wire(), &mut goes_on, 100..300, "goes on again");
        restored.stop();
        restored.assert_verifies();
        restored.restart();
        assert_holds(&restored, &goes_on);
    }
    let ttl = Server::on(&folder.path().join("from-copied"), &[]).wire().say("TTL expires");
    let seconds: i64 = ttl.trim_start_matches(':').trim_end_matches("\\r\\n").parse().unwrap();
    assert!((1..=1000).contains(&seconds), "{ttl}");
    assert_holds(&server, &state);
}

#[test]
fn what_can_not_be_restored_is_refused_with_advice() {
    let _watchdog = Watchdog::minutes(5, "what_can_not_be_restored_is_refused_with_advice");
    let folder = tempfile::tempdir().unwrap();
    let [backup, data] = ["backup", "data"].map(|name| folder.path().join(name));
    let mut server = Server::start(&["--segments", "4"]);
    let mut state = State::new();
    load(&mut server.wire(), &mut state, 0..1000, "v");
    let statement = format!("BACKUP TO '{}'", backup.display());
    server.wire().call(&[b"STATEMENT", statement.as_bytes()]);
    let refused = |backup: &Path, data: &Path, what: &str| {
        let ended = restore(backup, data);
        assert!(ended.code == Some(1) && ended.text.contains(what), "{:?}: {}", ended.code, ended.text);
    };
    refused(&folder.path().join("nothing"), &data, "there is no folder");
    refused(folder.path(), &data, "no MANIFEST");
    refused(server.data(), &data, "is a data directory, no backup");
    refused(&backup, server.data(), "in use");
    server.stop();
    refused(&backup, server.data(), "data directory already");
    refused(&backup, folder.path(), "not empty");
    assert!(!data.exists(), "what is refused leaves no trace");
    assert_eq!(run(["restore"]).code, Some(2));

    // A bit that flips in the last segment: it is found when the others are copied already.
    let segment = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|found| found == "seg")).max().unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 4;
    fs::write(&segment, &damaged).unwrap();
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    let ended = restore(&backup, &data);
    assert_eq!(ended.code, Some(1));
    for what in [name.as_str(), "damaged at offset", "half-way", "remove"] {
        assert!(ended.text.contains(what), "{what}: {}", ended.text);
    }
    // What it left is no database, and everybody says what to do about it.
    fs::write(&segment, &whole).unwrap();
    refused(&backup, &data, "half restored");
    let refusal = Server::try_on(&data, &[]).err().expect("half of a state is not served");
    assert!(refusal.text.contains("half restored") && refusal.status.code() == Some(1), "{refusal:?}");
    assert!(verify(&data).text.contains("half restored"));
    fs::remove_dir_all(&data).unwrap();
    restore_well(&backup, &data, state.len());
    assert_holds(&Server::on(&data, &[]), &state);
}
