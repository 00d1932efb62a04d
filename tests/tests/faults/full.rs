//! A disk that is really full: a small file system of the test's own. It takes root to make one; others skip this.

use super::{OPTIONS, State, load, read_all};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skink_tests::small_disk::SmallDisk;
use skink_tests::wire::request;
use skink_tests::{Server, Watchdog, Wire, seed};

const DISK_MB: u32 = 40;
/// What is put in the way, and taken out of it.
const BALLAST: usize = 14 << 20;
const VALUE_LEN: usize = 20_000;

/// Sets a key to a long value; `None` where it is refused because of the disk.
fn set(wire: &mut Wire, state: &mut State, random: &mut StdRng, key: String) -> Option<()> {
    let mut value = vec![0; VALUE_LEN];
    random.fill_bytes(&mut value);
    let reply = wire.call(&[b"SET", key.as_bytes(), &value]);
    if reply == b"+OK\r\n" {
        state.insert(key.into_bytes(), value);
        return Some(());
    }
    let text = String::from_utf8_lossy(&reply);
    assert!(text.starts_with("-DISKFULL ") && text.len() > 30, "{text}");
    None
}

/// Writes until the disk is full.
fn fill(wire: &mut Wire, state: &mut State, random: &mut StdRng) {
    let filled = (0..100_000).find(|number| set(wire, state, random, format!("long:{number}")).is_none());
    assert!(filled.is_some_and(|count| count > 100), "{filled:?} writes");
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let test = "a_full_disk_refuses_writes_until_there_is_room";
    let _watchdog = Watchdog::minutes(5, test);
    let Some(disk) = SmallDisk::mount(DISK_MB) else { return };
    let (mut state, mut random) = (State::new(), StdRng::seed_from_u64(seed(test)));
    disk.put("ballast", BALLAST);
    let mut server = Server::on(&disk.path("data"), OPTIONS);
    let mut wire = server.wire();
    load(&mut wire, &mut state, &mut random, 0..1000, 100);
    fill(&mut wire, &mut state, &mut random);
    // It stays so, for all writes that take room; reads go on, and deletes.
    for number in 0..20 {
        assert!(set(&mut wire, &mut state, &mut random, format!("more:{number}")).is_none(), "{number}");
    }
    for words in [&["APPEND", "k", "v"][..], &["MSET", "k", "v"], &["INCR", "n"], &["SETRANGE", "k", "9", "v"]] {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = wire.call(&words);
        assert!(reply.starts_with(b"-DISKFULL "), "{}", reply.escape_ascii());
    }
    wire.send(&[request(&[b"MULTI"]), request(&[b"SET", b"k", b"v"]), request(&[b"EXEC"])].concat());
    let replies: Vec<Vec<u8>> = (0..3).map(|_| wire.reply()).collect();
    assert!(replies[2].starts_with(b"-DISKFULL "), "{}", replies[2].escape_ascii());
    assert_eq!(wire.say("GET k"), "$-1\\r\\n");
    assert!(read_all(&server, &state).unwrap().is_empty());
    // Deletes go on while some of the reserve is left.
    match wire.say("DEL key:00000 none").as_str() {
        ":1\\r\\n" => drop(state.remove(b"key:00000".as_slice())),
        refused => assert!(refused.starts_with("-DISKFULL "), "{refused}"),
    }
    // Somebody takes the rest, too.
    disk.put("rest", usize::MAX);
    assert!(read_all(&server, &state).unwrap().is_empty());
    assert!(set(&mut wire, &mut state, &mut random, "none".to_string()).is_none());
    disk.remove("rest");
    disk.remove("ballast");
    // Room is noticed without a restart.
    let mut refused = 0;
    while set(&mut wire, &mut state, &mut random, "room".to_string()).is_none() {
        refused += 1;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    eprintln!("{refused} writes were refused after there was room");
    for number in 0..100 {
        assert!(set(&mut wire, &mut state, &mut random, format!("room:{number}")).is_some(), "{number}");
    }
    for _ in 0..2 {
        server.kill9();
        server.assert_verifies();
        server.restart();
        assert!(read_all(&server, &state).unwrap().is_empty());
    }
    assert_eq!(server.wire().say("CHECKPOINT"), "+OK\\r\\n");
    server.stop();
    server.assert_verifies();
}

#[test]
fn a_start_on_a_full_disk_reads_or_says_that_it_is_full() {
    let test = "a_start_on_a_full_disk_reads_or_says_that_it_is_full";
    let _watchdog = Watchdog::minutes(5, test);
    let Some(disk) = SmallDisk::mount(DISK_MB) else { return };
    let (mut state, mut random) = (State::new(), StdRng::seed_from_u64(seed(test)));
    disk.put("ballast", BALLAST);
    // A new directory.
    disk.put("rest", usize::MAX);
    let refusal = Server::try_on(&disk.path("data"), OPTIONS).err().expect("there is no room for a data directory");
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.text);
    assert!(refusal.text.contains("the disk is full") && refusal.text.contains("free some space"), "{}", refusal.text);
    disk.remove("rest");
    let mut server = Server::on(&disk.path("data"), OPTIONS);
    let mut wire = server.wire();
    load(&mut wire, &mut state, &mut random, 0..1000, 100);
    for round in 0..3 {
        // Killed in the middle, full by its own writes, and with a log to replay.
        if round == 1 {
            fill(&mut server.wire(), &mut state, &mut random);
        }
        server.kill9();
        disk.put("rest", usize::MAX);
        // It answers rightly, or ends and says why.
        let started = server.try_restart();
        let is_serving = started.is_ok() && read_all(&server, &state).is_ok_and(|errors| errors.is_empty());
        if !is_serving {
            let (status, text) = match started {
                Err(refusal) => (refusal.status, refusal.text),
                Ok(()) => (server.wait_for_end(), server.log()),
            };
            assert!(matches!(status.code(), Some(1 | 3)) && text.contains("the disk is full"), "{status}: {text}");
        }
        disk.remove("rest");
        if is_serving && server.is_alive() {
            server.kill9();
        }
        if !server.is_alive() {
            server.restart();
        }
        assert!(read_all(&server, &state).unwrap().is_empty(), "round {round}");
    }
    disk.remove("ballast");
    while set(&mut server.wire(), &mut state, &mut random, "room".to_string()).is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    server.kill9();
    server.restart();
    assert!(read_all(&server, &state).unwrap().is_empty());
    server.assert_verifies();
}
