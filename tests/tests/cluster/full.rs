//! A disk that is full at one replica: the others go on, and it comes back when there is room. Where all are full, writes are
//! refused, and reads go on.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others, wait_until};
use skink_tests::small_disk::SmallDisk;
use skink_tests::{Cluster, Watchdog, seed};
use std::time::Duration;

const DISK_MB: u32 = 80;

fn options() -> Vec<&'static str> {
    [SMALL, &["--checkpoint-log-mb", "4", "--request-timeout-ms", "1500"]].concat()
}

#[test]
fn a_full_disk_at_one_replica_stops_nobody_else() {
    let test = "a_full_disk_at_one_replica_stops_nobody_else";
    let _watchdog = Watchdog::minutes(5, test);
    const FULL: usize = 2;
    let Some(disk) = SmallDisk::mount(DISK_MB) else { return };
    let mut cluster = Cluster::start_on(&options(), |folder, replica| match replica {
        FULL => disk.path("data"),
        _ => folder.join(format!("data-{replica}")),
    });
    let mut load = Load::new(&cluster, 3, seed(test));
    for round in 0..3 {
        // As a follower, and as the leader.
        cluster.make_leader(if round == 2 { FULL } else { FULL + 1 });
        load.during(|progress| {
            progress.wait_for(&REPLICAS, 50);
            disk.put("ballast", usize::MAX);
            progress.wait_for(&others(FULL), 100);
            std::thread::sleep(Duration::from_millis(1500));
            progress.wait_for(&others(FULL), 300);
            if round == 1 {
                // Even its end does not matter.
                cluster.kill9(FULL);
                progress.wait_for(&others(FULL), 100);
            }
            disk.remove("ballast");
            if !cluster.server_mut(FULL).is_alive() {
                assert!(round == 1 || cluster.server(FULL).log().contains("the disk is full"));
                cluster.restart(FULL);
            }
            progress.wait_for(&REPLICAS, 50);
        });
        load.check(&cluster);
    }
    cluster.finish();
}

#[test]
fn full_disks_at_all_replicas_refuse_writes_and_reads_go_on() {
    let test = "full_disks_at_all_replicas_refuse_writes_and_reads_go_on";
    let _watchdog = Watchdog::minutes(5, test);
    let disks: Option<Vec<SmallDisk>> = REPLICAS.iter().map(|_| SmallDisk::mount(DISK_MB)).collect();
    let Some(disks) = disks else { return };
    let cluster = Cluster::start_on(&options(), |_, replica| disks[replica - 1].path("data"));
    assert_eq!(cluster.wire(1).say("SET k v"), "+OK\\r\\n");
    let mut load = Load::new(&cluster, 2, seed(test));
    load.during(|progress| {
        progress.wait_for(&REPLICAS, 50);
        disks.iter().for_each(|disk| disk.put("ballast", usize::MAX));
        for replica in REPLICAS {
            let write = || cluster.wire(replica).say("SET more v");
            wait_until("writes to be refused", || write().starts_with("-DISKFULL "), write);
        }
        // More than once, and for longer than a leader that could be replaced would stay.
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(300));
            let read = || REPLICAS.map(|replica| cluster.wire(replica).say("GET k"));
            let serves = |answer: &str| answer == "$1\\r\\nv\\r\\n";
            // A log that ended a little before the others' has no room for what these have decided.
            let lacks_room = |answer: &str| answer.contains("this replica's disk is full: it has not heard");
            let is_right = |answers: &[String; 3]| {
                let served = answers.iter().filter(|answer| serves(answer)).count();
                served >= 2 && answers.iter().all(|answer| serves(answer) || lacks_room(answer))
            };
            wait_until("reads at full disks", || is_right(&read()), || format!("{:?}", read()));
        }
        disks.iter().for_each(|disk| disk.remove("ballast"));
        progress.wait_for(&REPLICAS, 50);
    });
    load.check(&cluster);
    cluster.finish();
}
