//! Faults of the disk and of the data directory: what the real server says, and that it never answers wrongly.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/directory.rs"]
mod directory;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/shrinking.rs"]
mod shrinking;

use rand::RngExt;
use rand::rngs::StdRng;
use skink_tests::wire::request;
use skink_tests::{Server, Wire};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Few and small files.
const OPTIONS: &[&str] =
    &["--segments", "4", "--log-file-mb", "2", "--max-value-mb", "1", "--checkpoint-seconds", "3600"];

/// What was acknowledged.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Sets keys with these numbers to new values, in pipelines of so many.
fn load(wire: &mut Wire, state: &mut State, random: &mut StdRng, numbers: std::ops::Range<usize>, together: usize) {
    for first in numbers.clone().step_by(together) {
        let mut count = 0;
        for number in first..numbers.end.min(first + together) {
            let key = format!("key:{number:05}").into_bytes();
            let value = format!("value of {number:05} {:016x}", random.random::<u64>()).into_bytes();
            wire.send(&request(&[b"SET", &key, &value]));
            state.insert(key, value);
            count += 1;
        }
        (0..count).for_each(|_| assert_eq!(wire.reply(), b"+OK\r\n"));
    }
}

/// Reads every key: each answer is right, or an error. Gives the errors.
fn read_all(server: &Server, state: &State) -> io::Result<Vec<String>> {
    let mut wire = Wire::try_connect(server.address())?;
    let mut errors = Vec::new();
    let all: Vec<(&Vec<u8>, &Vec<u8>)> = state.iter().collect();
    for some in all.chunks(500) {
        let requests: Vec<u8> = some.iter().flat_map(|(key, _)| request(&[b"GET", key])).collect();
        wire.try_send(&requests)?;
        for (key, value) in some {
            let reply = wire.try_reply()?;
            if reply[0] == b'-' {
                errors.push(reply.escape_ascii().to_string());
                continue;
            }
            let expected = [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
            assert!(reply == expected, "{}: {}", key.escape_ascii(), reply.escape_ascii());
        }
    }
    wire.try_send(&request(&[b"KEYS", b"*"]))?;
    let keys = wire.try_reply()?;
    let has_all = keys.starts_with(format!("*{}\r\n", state.len()).as_bytes());
    assert!(has_all || keys[0] == b'-', "{}", keys[..20].escape_ascii());
    Ok(errors)
}

/// Copies a folder; what are links to one file stay that.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Files in a folder of a data directory whose names end so, in their order.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

/// The newest checkpoint's folder.
fn newest_checkpoint(data: &Path) -> PathBuf {
    files(&data.join("checkpoints"), "").pop().unwrap()
}
