//! Files that shrink under a running server: it ends, and answers nothing wrong before.

use super::{OPTIONS, State, files, load, read_all};
use rand::SeedableRng;
use rand::rngs::StdRng;
use skink_tests::server::verify;
use skink_tests::{Server, Watchdog, seed};
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;

const SIGBUS: i32 = 7;

#[test]
fn a_segment_file_that_shrinks_stops_the_server_and_the_next_start_says_so() {
    let test = "a_segment_file_that_shrinks_stops_the_server_and_the_next_start_says_so";
    let _watchdog = Watchdog::minutes(5, test);
    let (mut state, mut random) = (State::new(), StdRng::seed_from_u64(seed(test)));
    let mut server = Server::start(OPTIONS);
    load(&mut server.wire(), &mut state, &mut random, 0..20_000, 500);
    server.stop();
    server.restart();
    assert!(read_all(&server, &state).unwrap().is_empty());
    for file in files(&server.data().join("segments"), ".seg") {
        OpenOptions::new().write(true).open(&file).unwrap().set_len(8192).unwrap();
    }
    // What was right in it before is right, and then there is no server.
    assert!(read_all(&server, &state).is_err());
    let status = server.wait_for_end();
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    let verified = verify(server.data());
    assert!(!verified.is_clean && verified.text.contains(".seg is damaged at offset "), "{}", verified.text);
    match server.try_restart() {
        Err(refusal) => assert!(refusal.text.contains(".seg"), "{}", refusal.text),
        Ok(()) => match read_all(&server, &state) {
            Ok(errors) => assert!(errors.len() > 10_000 && errors[0].contains(".seg"), "{}", errors.len()),
            Err(_) => assert_eq!(server.wait_for_end().code(), Some(3)),
        },
    }
}
