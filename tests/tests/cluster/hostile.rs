//! Whoever connects to a replica's port for others: the replicas go on, and say of each trouble so once.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{Addresses, REPLICAS, others, wait_until};
use skink_tests::{Cluster, Server, Watchdog, seed};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A frame of the replicas' protocol, with a checksum that need not be right.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = body.len() as u32;
    [&len.to_le_bytes()[..], &[0; 4], body].concat()
}

/// What strangers may say.
fn garbage() -> Vec<Vec<u8>> {
    let hello = [b"SKINKREP".as_slice(), &[1, 0, 1, 0], &[0, 1, 1]].concat();
    vec![
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        u32::MAX.to_le_bytes().to_vec(),
        frame(&hello),
        frame(&hello)[..10].to_vec(),
        frame(&vec![1; 3000]),
        [0xff, 0xff, 0xff, 0x7f].repeat(20_000),
        Vec::new(),
    ]
}

fn throw_garbage(addresses: Addresses) {
    for replica in REPLICAS {
        for bytes in garbage() {
            let Ok(mut stream) = TcpStream::connect(addresses.peer(replica)) else { panic!("nobody listens") };
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            // It may be closed in the middle.
            let _ = stream.write_all(&bytes);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.len() < 4096, "a stranger is told little");
        }
    }
}

#[test]
fn garbage_at_the_ports_for_replicas_does_no_harm() {
    let test = "garbage_at_the_ports_for_replicas_does_no_harm";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let addresses = cluster.addresses();
    let mut load = Load::new(&cluster, 2, seed(test));
    load.during(|progress| {
        for _ in 0..3 {
            throw_garbage(addresses);
            progress.wait_for(&REPLICAS, 20);
        }
        // Many that say nothing, and stay.
        let idle: Vec<TcpStream> =
            (0..600).filter_map(|number| TcpStream::connect(addresses.peer(REPLICAS[number % 3])).ok()).collect();
        assert!(idle.len() > 500);
        progress.wait_for(&REPLICAS, 50);
        // A replica finds its place among them.
        cluster.kill9(2);
        let more: Vec<TcpStream> = (0..60).filter_map(|_| TcpStream::connect(addresses.peer(1)).ok()).collect();
        cluster.restart(2);
        progress.wait_for(&REPLICAS, 50);
        drop((idle, more));
    });
    load.check(&cluster);
    for replica in REPLICAS {
        let log = cluster.server(replica).log();
        let strangers: Vec<&str> = log.lines().filter(|line| line.contains("a connection from")).collect();
        assert!(!strangers.is_empty() && strangers.len() <= 32, "{} lines: {log}", strangers.len());
        let texts: Vec<&str> = strangers.iter().filter_map(|line| line.split("a connection from").nth(1)).collect();
        // Replica 2 has had two lives.
        let most = if replica == 2 { 2 } else { 1 };
        for text in &texts {
            assert!(texts.iter().filter(|other| other == &text).count() <= most, "{text}: {log}");
        }
        assert!(strangers.iter().any(|line| line.contains("does not answer as a replica does")), "{log}");
    }
    cluster.finish();
}

#[test]
fn a_replica_with_another_secret_stays_outside() {
    let test = "a_replica_with_another_secret_stays_outside";
    let _watchdog = Watchdog::minutes(5, test);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "the secret of this cluster").unwrap();
    let options = ["--secret-file", secret.to_str().unwrap(), "--request-timeout-ms", "700"];
    let mut cluster = Cluster::start(&[SMALL, &options].concat());
    let mut load = Load::new(&cluster, 2, seed(test));
    load.during(|progress| progress.wait_for(&REPLICAS, 50));
    let outside = cluster.follower();
    cluster.kill9(outside);
    fs::write(&secret, "the secret of another cluster").unwrap();
    cluster.restart(outside);
    let told = || REPLICAS.iter().filter(|replica| cluster.server(**replica).log().contains("secret")).count();
    wait_until("replicas to say that the secret is wrong", || told() >= 2, || cluster.server(outside).log());
    let read = cluster.wire(outside).say("GET k");
    assert!(read.starts_with("-CLUSTERDOWN "), "{read}");
    load.during(|progress| {
        progress.wait_for(&others(outside), 100);
    });
    for replica in REPLICAS {
        let log = cluster.server(replica).log();
        // Once for each of the others, once for what strangers say, and at each start what the file's mode is; nowhere the
        // secret itself.
        assert!(log.lines().filter(|line| line.contains("secret")).count() <= 6, "{log}");
        assert!(!log.contains("the secret of"), "{log}");
    }
    cluster.kill9(outside);
    fs::write(&secret, "the secret of this cluster\n").unwrap();
    cluster.restart(outside);
    load.check(&cluster);
    cluster.finish();
}

#[test]
fn a_replica_of_another_cluster_stays_outside() {
    let test = "a_replica_of_another_cluster_stays_outside";
    let _watchdog = Watchdog::minutes(5, test);
    let mut cluster = Cluster::start(SMALL);
    let mut other = Cluster::start(&[SMALL, &["--request-timeout-ms", "700"]].concat());
    assert_eq!(cluster.wire(1).say("SET k mine"), "+OK\\r\\n");
    assert_eq!(other.wire(1).say("SET k theirs"), "+OK\\r\\n");
    // A replica of the other cluster is pointed at this one, whose own one is away.
    cluster.kill9(3);
    other.kill9(3);
    let options = cluster.addresses().options(3, false, &[SMALL, &["--request-timeout-ms", "700"]].concat());
    let data = other.server(3).data().to_path_buf();
    let mut lost = Server::on(&data, &options.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until("it to be told", || lost.log().contains("they are of different clusters"), || lost.log());
    assert!(lost.wire().say("GET k").starts_with("-CLUSTERDOWN "));
    assert_eq!(cluster.wire(1).say("GET k"), "$4\\r\\nmine\\r\\n");
    assert!(lost.log().matches("they are of different clusters").count() <= 4, "{}", lost.log());
    lost.kill9();
    drop(lost);
    cluster.restart(3);
    other.restart(3);
    cluster.finish();
    other.finish();
}
