//! A flipped bit in each kind of file of a server that has ended: `skink verify` names file and offset, and the server
//! refuses to start, or gives every answer right or as an error.

use super::{OPTIONS, State, copy, files, load, newest_checkpoint, read_all};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::server::{Verified, verify};
use skink_tests::{Server, Watchdog, Wire, seed};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Flips in each kind of file.
const FLIPS: usize = 8;
/// Keys; so many that segments have images.
const KEYS: usize = 20_000;
/// Keys behind the last checkpoint, each in a write of its own.
const LAST_KEYS: usize = 60;

/// A data directory to take damaged copies of.
struct Original {
    folder: TempDir,
    state: State,
    random: StdRng,
}

/// What a damaged copy did when it was served.
#[derive(Debug)]
enum Served {
    Refused(String),
    /// The errors among the answers.
    Answered(Vec<String>),
    /// It ended by itself, with this log.
    Stopped(String),
}

impl Original {
    /// Two checkpoints, and something behind them; stopped in order, or killed.
    fn new(test: &str, is_stopped: bool) -> Original {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, mut random) = (State::new(), StdRng::seed_from_u64(seed(test)));
        let mut server = Server::on(&folder.path().join("data"), OPTIONS);
        let mut wire = server.wire();
        load(&mut wire, &mut state, &mut random, 0..KEYS / 2, 500);
        assert_eq!(wire.say("CHECKPOINT"), "+OK\\r\\n");
        load(&mut wire, &mut state, &mut random, KEYS / 4..KEYS, 500);
        assert_eq!(wire.say("CHECKPOINT"), "+OK\\r\\n");
        load(&mut wire, &mut state, &mut random, KEYS - LAST_KEYS / 2..KEYS + LAST_KEYS / 2, 1);
        if is_stopped {
            server.stop()
        } else {
            server.kill9()
        }
        server.assert_verifies();
        Original { folder, state, random }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A place in the file that is not zero: what is, may be filling that nothing depends on.
    fn any_place(&mut self, file: &Path) -> usize {
        let bytes = std::fs::read(file).unwrap();
        loop {
            let at = self.random.random_range(0..bytes.len());
            if bytes[at] != 0 {
                return at;
            }
        }
    }

    fn any_file(&mut self, mut files: Vec<PathBuf>) -> PathBuf {
        files.swap_remove(self.random.random_range(0..files.len()))
    }

    /// A place in or about a record of a file that has this key.
    fn place_of(&mut self, file: &Path, key: &[u8]) -> Option<usize> {
        let bytes = std::fs::read(file).unwrap();
        let at = bytes.windows(key.len()).position(|window| window == key)?;
        Some(at + self.random.random_range(0..key.len() + 20))
    }

    /// Flips a bit of a copy, and says what `skink verify` does and the server.
    fn flip(&mut self, places: &[(PathBuf, usize)]) -> (Verified, Served) {
        let copied = tempfile::tempdir().unwrap();
        let data = copied.path().join("data");
        copy(&self.data(), &data);
        for (file, at) in places {
            let file = data.join(file.strip_prefix(self.data()).unwrap());
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[*at] ^= 1 << self.random.random_range(0..8);
            // In place, as other links to the file are to see it.
            std::fs::write(&file, bytes).unwrap();
        }
        (verify(&data), self.serve(&data))
    }

    fn serve(&self, data: &Path) -> Served {
        let mut server = match Server::try_on(data, OPTIONS) {
            Ok(server) => server,
            Err(refusal) => {
                assert_eq!(refusal.status.code(), Some(1), "{}", refusal.text);
                return Served::Refused(refusal.text);
            }
        };
        let end = |server: &mut Server| {
            let status = server.wait_for_end();
            assert_eq!(status.code(), Some(3), "{}", server.log());
            Served::Stopped(server.log())
        };
        let Ok(errors) = read_all(&server, &self.state) else { return end(&mut server) };
        // A write is acknowledged and there, or refused, or the server stops.
        let written = Wire::try_connect(server.address()).and_then(|mut wire| {
            wire.try_send(b"SET new value\r\nGET new\r\n")?;
            Ok((wire.try_reply()?, wire.try_reply()?))
        });
        match written {
            Err(_) => return end(&mut server),
            Ok((reply, then)) if reply == b"+OK\r\n" => assert_eq!(then, b"$5\r\nvalue\r\n"),
            Ok((reply, _)) => assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii()),
        }
        if server.is_alive() {
            server.kill9();
        }
        Served::Answered(errors)
    }
}

/// Checks that it was found, with the file's name and the offset.
fn assert_found(verified: &Verified, file: &Path) {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let says = verified.text.lines().any(|line| line.contains(&name) && line.contains("is damaged at offset "));
    assert!(!verified.is_clean && says, "{}: {}", file.display(), verified.text);
}

#[test]
fn a_flipped_bit_in_a_segment_file_is_found_and_never_answered_from() {
    let test = "a_flipped_bit_in_a_segment_file_is_found_and_never_answered_from";
    let _watchdog = Watchdog::minutes(5, test);
    let mut original = Original::new(test, true);
    let all = files(&original.data().join("segments"), ".seg");
    assert_eq!(all.len(), 4);
    let mut damaged = 0;
    for _ in 0..FLIPS {
        let file = original.any_file(all.clone());
        let at = original.any_place(&file);
        let (verified, served) = original.flip(&[(file.clone(), at)]);
        assert_found(&verified, &file);
        match served {
            Served::Answered(errors) => {
                damaged += errors.len();
                assert!(errors.iter().all(|error| error.starts_with("-DAMAGED ") && error.contains("at offset ")));
            }
            Served::Refused(text) | Served::Stopped(text) => assert!(text.contains("is damaged at offset "), "{text}"),
        }
    }
    // A value that is the key's newest: it is answered with the error, at a record's offset.
    let key = format!("key:{:05}", KEYS - LAST_KEYS);
    let (file, at) =
        all.iter().find_map(|file| Some((file.clone(), original.place_of(file, key.as_bytes())?))).unwrap();
    let (verified, served) = original.flip(&[(file.clone(), at)]);
    assert_found(&verified, &file);
    if let Served::Answered(errors) = served {
        damaged += errors.len();
    }
    eprintln!("{damaged} answers were errors");
}

#[test]
fn a_flipped_bit_in_an_image_costs_nothing() {
    let test = "a_flipped_bit_in_an_image_costs_nothing";
    let _watchdog = Watchdog::minutes(5, test);
    for is_stopped in [true, false] {
        let mut original = Original::new(test, is_stopped);
        let all = files(&newest_checkpoint(&original.data()), ".idx");
        // A stop in order makes them; a server that is killed may not have come to it.
        assert!(!all.is_empty() || !is_stopped, "there are images");
        for _ in 0..FLIPS * usize::from(!all.is_empty()) {
            let file = original.any_file(all.clone());
            let at = original.any_place(&file);
            let (verified, served) = original.flip(&[(file.clone(), at)]);
            assert_found(&verified, &file);
            assert!(matches!(served, Served::Answered(errors) if errors.is_empty()), "{} {at}", file.display());
        }
    }
}

#[test]
fn a_flipped_bit_in_the_newest_manifest_costs_nothing_and_in_all_the_start() {
    let test = "a_flipped_bit_in_the_newest_manifest_costs_nothing_and_in_all_the_start";
    let _watchdog = Watchdog::minutes(5, test);
    for is_stopped in [true, false] {
        let mut original = Original::new(test, is_stopped);
        let checkpoints = files(&original.data().join("checkpoints"), "");
        let [older, newest] = [0, 1].map(|index| checkpoints[index].join("MANIFEST"));
        for _ in 0..FLIPS {
            let at = original.any_place(&newest);
            let (verified, served) = original.flip(&[(newest.clone(), at)]);
            assert_found(&verified, &newest);
            assert!(matches!(served, Served::Answered(errors) if errors.is_empty()), "{at}");
        }
        let (first, second) = (original.any_place(&older), original.any_place(&newest));
        let (verified, served) = original.flip(&[(older.clone(), first), (newest.clone(), second)]);
        assert_found(&verified, &newest);
        assert!(matches!(served, Served::Refused(text) if text.contains("MANIFEST is damaged at offset 0")));
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_never_executed() {
    let test = "a_flipped_bit_in_the_log_is_never_executed";
    let _watchdog = Watchdog::minutes(5, test);
    let mut original = Original::new(test, false);
    let log = original.data().join("log");
    for number in 0..FLIPS {
        // Not the last writes: damage of the last one looks like a torn one.
        let key = format!("key:{:05}", KEYS + number);
        let place = files(&log, ".log").into_iter().find_map(|file| {
            let at = original.place_of(&file, key.as_bytes())?;
            Some((file, at))
        });
        let (file, at) = place.expect("writes of one short command are not compressed");
        let (verified, served) = original.flip(&[(file.clone(), at)]);
        assert_found(&verified, &file);
        // A frame's head is looked at before the start, its body as it is executed: before that, nothing is answered.
        let (Served::Refused(text) | Served::Stopped(text)) = served else { panic!("{} {at}", file.display()) };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(text.contains(&format!("{name} is damaged at offset ")), "{text}");
    }
}

#[test]
fn a_flipped_bit_in_format_stops_the_start() {
    let test = "a_flipped_bit_in_format_stops_the_start";
    let _watchdog = Watchdog::minutes(5, test);
    let mut original = Original::new(test, true);
    let format = original.data().join("FORMAT");
    for _ in 0..FLIPS {
        let at = original.any_place(&format);
        let (verified, served) = original.flip(&[(format.clone(), at)]);
        assert_found(&verified, &format);
        assert!(matches!(served, Served::Refused(text) if text.contains("FORMAT is damaged at offset 0")), "{at}");
    }
}

#[test]
fn a_flipped_bit_in_the_catalog_costs_no_answer() {
    let test = "a_flipped_bit_in_the_catalog_costs_no_answer";
    let _watchdog = Watchdog::minutes(5, test);
    for is_stopped in [true, false] {
        let mut original = Original::new(test, is_stopped);
        let catalog = original.data().join("catalog");
        let all: Vec<PathBuf> = files(&catalog, "").into_iter().filter(|path| path.is_file()).collect();
        for _ in 0..FLIPS {
            let file = original.any_file(all.clone());
            let at = original.any_place(&file);
            let (verified, served) = original.flip(&[(file.clone(), at)]);
            assert_found(&verified, &file);
            match served {
                Served::Stopped(log) => assert!(log.contains("facts is damaged at offset 0"), "{at}: {log}"),
                other => panic!("{} {at}: {other:?}", file.display()),
            }
        }
        // What it holds is found in the log, too: without it, writes go on, and are there after the next start.
        let data = original.folder.path().join("without");
        copy(&original.data(), &data);
        std::fs::remove_dir_all(data.join("catalog")).unwrap();
        for _ in 0..2 {
            assert!(matches!(original.serve(&data), Served::Answered(errors) if errors.is_empty()));
            original.state.insert(b"new".to_vec(), b"value".to_vec());
        }
    }
}
