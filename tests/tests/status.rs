//! What people see of a server and its cluster, and what they say at its start: `skink status`, flags, and the
//! configuration file.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

use rustix::process::{Pid, Signal, kill_process};
use skink_tests::server::run;
use skink_tests::{Server, Watchdog, binary};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// An address where nothing listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn status_is_that_of_the_first_server_that_answers() {
    let _watchdog = Watchdog::minutes(5, "status_is_that_of_the_first_server_that_answers");
    let server = Server::start(&[]);
    let addresses = format!("{},{}", nowhere(), server.address());
    let ended = run(["status", "--connect", &addresses]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let row = ended.text.lines().find(|line| line.contains("single")).unwrap();
    let cells: Vec<&str> = row.split(['│', '┆']).map(str::trim).collect();
    assert_eq!((cells[1], cells[2], cells[7], cells[8]), ("1", "single", "0", "serving"), "{row}");
    assert!(ended.text.ends_with(&format!("1 of 1 replica serves, says {}\n", server.address())), "{}", ended.text);
}

#[test]
fn a_status_that_nobody_tells_and_one_that_is_asked_wrongly_have_their_own_exit_codes() {
    let _watchdog =
        Watchdog::minutes(5, "a_status_that_nobody_tells_and_one_that_is_asked_wrongly_have_their_own_exit_codes");
    let ended = run(["status", "--connect", &format!("{},{}", nowhere(), nowhere())]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert_eq!(ended.text.matches("nothing listens on 127.0.0.1:").count(), 2, "{}", ended.text);
    for arguments in [["status", "--connect", "localhost"], ["status", "--interval-ms", "0"]] {
        assert_eq!(run(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_status_that_is_watched_goes_on_until_a_signal() {
    let _watchdog = Watchdog::minutes(5, "a_status_that_is_watched_goes_on_until_a_signal");
    let mut server = Server::start(&[]);
    let mut child = Command::new(binary::skink())
        .args(["status", "--connect", server.address(), "--watch", "--interval-ms", "50"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..3 {
        let line = lines.next().unwrap();
        assert!(line.starts_with("replica=1 role=single ") && line.ends_with(" lag=0 state=serving"), "{line}");
    }
    server.kill9();
    assert!(lines.any(|line| line == "no server tells how the replicas stand"));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_single_replica_is_told_of_as_one() {
    let _watchdog = Watchdog::minutes(5, "a_single_replica_is_told_of_as_one");
    let server = Server::start(&[]);
    let mut wire = server.wire();
    assert_eq!(wire.say("SET k v"), "+OK\\r\\n");
    let info = wire.say("INFO replication");
    for field in ["role:master", "connected_slaves:0", "replica_id:1", "cluster_size:1", "replica_state:serving"] {
        assert!(info.contains(&format!("{field}\\r\\n")), "{field}: {info}");
    }
    assert!(server.info("executed_instance") >= 1 && server.info("replica_lag") == 0);
    assert_eq!((server.info("async_loading"), server.info("cluster_enabled")), (0, 0));
    assert!(wire.say("HELLO 2").contains("$4\\r\\nrole\\r\\n$6\\r\\nmaster\\r\\n"));
    let config = wire.say("CONFIG GET cluster*");
    assert_eq!(config, "*0\\r\\n", "there is no cluster");
}

#[test]
fn settings_come_from_a_file_and_flags_before_it() {
    let _watchdog = Watchdog::minutes(5, "settings_come_from_a_file_and_flags_before_it");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skink.toml");
    std::fs::write(&file, "data = \"nowhere\"\nsegments = 4\nio_threads = 1\ncheckpoint_seconds = 77\n").unwrap();
    let server = Server::start(&["--config", file.to_str().unwrap(), "--segments", "8"]);
    let mut wire = server.wire();
    assert_eq!(wire.say("CONFIG GET segments"), "*2\\r\\n$8\\r\\nsegments\\r\\n$1\\r\\n8\\r\\n");
    assert!(wire.say("CONFIG GET checkpoint.interval_seconds").ends_with("$2\\r\\n77\\r\\n"));
    assert!(server.data().is_dir() && !folder.path().join("nowhere").exists());
}

#[test]
fn a_start_with_wrong_settings_ends_with_2_and_says_why() {
    let _watchdog = Watchdog::minutes(5, "a_start_with_wrong_settings_ends_with_2_and_says_why");
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("skink.toml"), folder.path().join("data"));
    std::fs::write(&file, "data = \"d\"\n\nlisen = \"127.0.0.1:0\"\n").unwrap();
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let serve = ["serve", "--data", data];
    let cases: [(&[&str], &str); 6] = [
        (&["--config", file], "in line 3: unknown field `lisen`"),
        (&["--config", "/nowhere/at/all"], "can't read the configuration file"),
        (&["--replica", "1"], "--replica needs --cluster"),
        (&["--replica", "1", "--cluster", "1=localhost:1,2=localhost:1"], "replicas 1 and 2 both have the address"),
        (&["--replica", "3", "--cluster", "1=localhost:1,2=localhost:2"], "replica 3 is not in the cluster"),
        (&["--replica", "1", "--cluster", "1=10.0.0.1:1,2=10.0.0.2:1"], "--secret-file"),
    ];
    for (arguments, expected) in cases {
        let ended = run([&serve, arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.text);
        assert!(ended.text.contains(expected), "{arguments:?}: {}", ended.text);
    }
    assert!(!std::path::Path::new(data).exists());
}
