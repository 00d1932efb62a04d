//! A bit that flipped in a file of a replica while it was not running: it refuses to start, or stops and says why, or
//! answers rightly; and with an empty disk it gets everything back from the others.

use crate::SMALL;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::wire::request;
use skink_tests::{Cluster, Server, Watchdog, Wire, seed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type State = BTreeMap<String, String>;

/// Files in a folder and those under it whose names end so, and that have something in them that is not zero.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&path, end));
        } else if path.to_string_lossy().ends_with(end) && std::fs::read(&path).unwrap().iter().any(|byte| *byte != 0) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn flip(file: &Path, random: &mut StdRng) {
    let mut bytes = std::fs::read(file).unwrap();
    // What is zero may be filling that nothing depends on.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = used[random.random_range(0..used.len())];
    bytes[at] ^= 1 << random.random_range(0..8);
    eprintln!("a bit flips in {} at {at}", file.display());
    // In place, as other links to the file are to see it.
    let mut open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    std::io::Write::write_all(&mut open, &bytes).unwrap();
}

fn load(wire: &mut Wire, state: &mut State, round: usize, numbers: std::ops::Range<usize>) {
    for number in numbers.clone() {
        let (key, value) = (format!("key:{number:04}"), format!("value of {number} in round {round}"));
        wire.send(&request(&[b"SET", key.as_bytes(), value.as_bytes()]));
        state.insert(key, value);
    }
    numbers.for_each(|_| assert_eq!(wire.reply(), b"+OK\r\n"));
}

/// Reads everything at a replica: each answer is right, or an error that says why. `None` if it ends meanwhile.
fn read_all(server: &Server, state: &State) -> Option<Vec<String>> {
    let mut wire = Wire::try_connect(server.address()).ok()?;
    let mut errors = Vec::new();
    for (key, value) in state {
        wire.try_send(&request(&[b"GET", key.as_bytes()])).ok()?;
        let reply = String::from_utf8(wire.try_reply().ok()?).unwrap();
        if reply.starts_with('-') {
            assert!(
                ["-DAMAGED ", "-CLUSTERDOWN ", "-TRYAGAIN "].iter().any(|start| reply.starts_with(start)),
                "{reply}"
            );
            errors.push(reply);
            continue;
        }
        assert_eq!(reply, format!("${}\r\n{value}\r\n", value.len()), "{key}");
    }
    Some(errors)
}

/// Flips a bit in a file of this kind of a replica, and shows that nothing is served wrong.
fn try_damage(cluster: &mut Cluster, state: &mut State, random: &mut StdRng, round: usize, end: &str) {
    let damaged = round % 3 + 1;
    let healthy = damaged % 3 + 1;
    cluster.kill9(damaged);
    // There is something that only the others have.
    load(&mut cluster.wire(healthy), state, round, 0..50);
    let files = files(cluster.server(damaged).data(), end);
    flip(&files[random.random_range(0..files.len())], random);
    let before = cluster.server(damaged).log().len();
    let outcome = match cluster.try_restart(damaged) {
        Err(refusal) => {
            assert!(matches!(refusal.status.code(), Some(1 | 3)), "{}: {}", refusal.status, refusal.text);
            assert!(refusal.text.len() > 40, "it says why: {}", refusal.text);
            format!("refused: {}", refusal.text.lines().last().unwrap_or_default())
        }
        Ok(()) => match read_all(cluster.server(damaged), state) {
            Some(errors) if errors.is_empty() => "all answers were right".to_string(),
            Some(errors) => format!("{} errors such as {}", errors.len(), errors[0]),
            None => {
                let status = cluster.server_mut(damaged).wait_for_end();
                let log = cluster.server(damaged).log()[before..].to_string();
                assert!(status.code().is_some_and(|code| code > 0) && log.contains("damaged"), "{status}: {log}");
                format!("it stopped with {status}: {}", log.lines().last().unwrap_or_default())
            }
        },
    };
    let log = cluster.server(damaged).log()[before..].to_string();
    assert!(!log.contains("panicked at"), "{log}");
    eprintln!("{end}: {outcome}");
    // The others never noticed.
    assert_eq!(read_all(cluster.server(healthy), state), Some(Vec::new()));
    if cluster.server_mut(damaged).is_alive() {
        cluster.kill9(damaged);
    }
    std::fs::remove_dir_all(cluster.server(damaged).data()).unwrap();
    cluster.restart(damaged);
    cluster.wait_for_info(damaged, "replica_state", |state| state == "serving");
    let wait = || read_all(cluster.server(damaged), state).is_some_and(|errors| errors.is_empty());
    skink_tests::cluster::wait_until("the replica to have everything again", wait, || cluster.server(damaged).log());
}

#[test]
fn a_flipped_bit_is_never_served() {
    let test = "a_flipped_bit_is_never_served";
    let _watchdog = Watchdog::minutes(8, test);
    let mut random = StdRng::seed_from_u64(seed(test));
    let mut cluster = Cluster::start(SMALL);
    let mut state = State::new();
    load(&mut cluster.wire(1), &mut state, 0, 0..1000);
    cluster.checkpoint(1);
    load(&mut cluster.wire(2), &mut state, 0, 500..1500);
    cluster.checkpoint(1);
    load(&mut cluster.wire(3), &mut state, 0, 1400..1600);
    let kinds = [".seg", ".log", ".seg", ".log", "MANIFEST", "facts", "LABEL", "FORMAT", ".log", ""];
    for (round, end) in kinds.into_iter().enumerate() {
        try_damage(&mut cluster, &mut state, &mut random, round, end);
    }
    cluster.finish();
}
