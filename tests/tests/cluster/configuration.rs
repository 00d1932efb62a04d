//! Settings that are wrong: refused with a message that says what to do, or harmless, and never a wrong answer.

use crate::SMALL;
use skink_tests::cluster::{REPLICAS, wait_until};
use skink_tests::{Cluster, Server, Watchdog};
use std::path::Path;

/// Starts a server with these options, which must refuse with this exit code and say this.
fn assert_refused(data: &Path, options: &[String], code: i32, says: &[&str]) {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Err(refusal) = Server::try_on(data, &options) else { panic!("{options:?} was taken") };
    assert_eq!(refusal.status.code(), Some(code), "{}", refusal.text);
    for what in says {
        assert!(refusal.text.contains(what), "{what:?} is not in: {}", refusal.text);
    }
}

fn owned(options: &[&str]) -> Vec<String> {
    options.iter().map(ToString::to_string).collect()
}

#[test]
fn a_command_line_that_makes_no_cluster_is_refused() {
    let _watchdog = Watchdog::minutes(5, "a_command_line_that_makes_no_cluster_is_refused");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--replica", "4", "--cluster", "1=127.0.0.1:1,2=127.0.0.1:2"], &["replica 4 is not in the cluster", "1, 2"]),
        (&["--replica", "1", "--cluster", "1=127.0.0.1:1,1=127.0.0.1:2"], &["replica 1 is named twice"]),
        (&["--replica", "1", "--cluster", "1=127.0.0.1:1,2=127.0.0.1:1"], &["both have the address 127.0.0.1:1"]),
        (&["--replica", "1", "--cluster", "1=127.0.0.1:1"], &["a cluster has 2 to 15 replicas"]),
        (&["--replica", "1"], &["--replica needs --cluster"]),
        (&["--cluster", "1=127.0.0.1:1,2=127.0.0.1:2"], &["--cluster needs --replica"]),
        (&["--replica", "1", "--cluster", "1=10.1.2.3:1,2=127.0.0.1:2"], &["without a secret"]),
    ];
    for (options, says) in cases {
        assert_refused(&data, &owned(options), 2, says);
        assert!(!data.exists(), "a refused start leaves nothing");
    }
}

#[test]
fn a_data_directory_of_something_else_is_refused() {
    let _watchdog = Watchdog::minutes(5, "a_data_directory_of_something_else_is_refused");
    let mut cluster = Cluster::start(SMALL);
    let addresses = cluster.addresses();
    assert_eq!(cluster.wire(1).say("SET k v"), "+OK\\r\\n");
    // Another replica's, which runs, and does not run.
    let one = addresses.options(1, false, SMALL);
    let (data_one, data_two) = (cluster.server(1).data().to_path_buf(), cluster.server(2).data().to_path_buf());
    cluster.kill9(1);
    assert_refused(&data_two, &one, 1, &["holds the data of replica 2", "started as replica 1"]);
    cluster.kill9(2);
    assert_refused(&data_two, &one, 1, &["holds the data of replica 2", "started as replica 1"]);
    // A replica's, as that of a single one.
    assert_refused(&data_one, &owned(SMALL), 1, &["cluster"]);
    // A single one's, as a replica's.
    let single = cluster.folder().join("single");
    let mut server = Server::on(&single, SMALL);
    assert_eq!(server.wire().say("SET k mine"), "+OK\\r\\n");
    server.stop();
    assert_refused(&single, &one, 1, &["holds the data of a single replica", "without --cluster"]);
    server.restart();
    assert_eq!(server.wire().say("GET k"), "$4\\r\\nmine\\r\\n");
    // None of it did any harm.
    cluster.restart(1);
    cluster.restart(2);
    REPLICAS.iter().for_each(|replica| assert_eq!(cluster.wire(*replica).say("GET k"), "$1\\r\\nv\\r\\n"));
    cluster.finish();
}

#[test]
fn a_data_directory_has_one_replica_at_a_time() {
    let _watchdog = Watchdog::minutes(5, "a_data_directory_has_one_replica_at_a_time");
    let mut cluster = Cluster::start(SMALL);
    let data = cluster.server(2).data().to_path_buf();
    // The same one again, on the same ports and on others.
    let mut options = cluster.addresses().options(2, false, SMALL);
    assert_refused(&data, &options, 1, &["in use"]);
    options[1] = "127.0.0.1:0".to_string();
    options.extend(owned(&["--peer-listen", &cluster.addresses().way(2, 2)]));
    assert_refused(&data, &options, 1, &["is in use by another skink process"]);
    assert!(cluster.server_mut(2).is_alive());
    assert_eq!(cluster.wire(2).say("SET k v"), "+OK\\r\\n");
    cluster.finish();
}

#[test]
fn a_second_replica_of_the_same_number_serves_nothing_wrong() {
    let _watchdog = Watchdog::minutes(5, "a_second_replica_of_the_same_number_serves_nothing_wrong");
    let mut cluster = Cluster::start(&[SMALL, &["--request-timeout-ms", "700"]].concat());
    let addresses = cluster.addresses();
    assert_eq!(cluster.wire(1).say("SET k v"), "+OK\\r\\n");
    // Another machine is started as replica 3: to the others, that is replica 3 with a new disk.
    let data = cluster.folder().join("second");
    let mut options = addresses.options(3, false, &[SMALL, &["--request-timeout-ms", "700"]].concat());
    options[1] = addresses.way(3, 3).replace("7380", "7379");
    options.extend(owned(&["--peer-listen", &addresses.way(3, 3)]));
    let mut second = Server::on(&data, &options.iter().map(String::as_str).collect::<Vec<_>>());
    let is_refused = || [&second.log(), &cluster.server(3).log()].iter().any(|log| log.contains("it refused: "));
    wait_until("one of the two to be refused", is_refused, || second.log());
    // Whoever answers, answers rightly; and the others go on.
    for number in 0..20 {
        let value = format!("{number:03}");
        assert_eq!(cluster.wire(1).say(&format!("SET k {value}")), "+OK\\r\\n");
        for mut wire in [cluster.wire(2), cluster.wire(3), second.wire()] {
            let reply = wire.say("GET k");
            assert!(
                reply == format!("$3\\r\\n{value}\\r\\n")
                    || ["-CLUSTERDOWN ", "-TRYAGAIN "].iter().any(|code| reply.starts_with(code)),
                "{reply}"
            );
        }
    }
    // The mistake is mended: the first one has lost its place, as if its disk was from before.
    second.kill9();
    cluster.kill9(3);
    std::fs::remove_dir_all(cluster.server(3).data()).unwrap();
    cluster.restart(3);
    cluster.wait_for_info(3, "replica_state", |state| state == "serving");
    cluster.finish();
}

#[test]
fn a_replica_with_other_members_waits_and_says_why() {
    let _watchdog = Watchdog::minutes(5, "a_replica_with_other_members_waits_and_says_why");
    let mut cluster = Cluster::start(SMALL);
    // Replica 4 was no founder.
    let addresses = cluster.addresses();
    let members = format!("{},4={}", addresses.members(4, false), addresses.peer(4));
    let data = cluster.folder().join("data-4");
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--replica", "4"];
    let mut child = std::process::Command::new(skink_tests::binary::skink())
        .args(arguments)
        .args(["--cluster", &members])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(data.with_extension("log")).unwrap())
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(data.with_extension("log")).unwrap();
    let says = "that replica 4 is no member of";
    wait_until("replica 4 to say what is wrong", || log().contains(says), log);
    assert_eq!(cluster.wire(2).say("SET k v"), "+OK\\r\\n");
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(log().matches(says).count(), 3, "once for each replica that says so: {}", log());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(cluster.server_mut(1).is_alive());
    cluster.finish();
}
