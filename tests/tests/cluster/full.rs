//! A disk that is full at one replica: the others go on, and it comes back when there is room.

use crate::SMALL;
use crate::load::Load;
use skink_tests::cluster::{REPLICAS, others};
use skink_tests::small_disk::SmallDisk;
use skink_tests::{Cluster, Watchdog, seed};
use std::time::Duration;

const DISK_MB: u32 = 80;

#[test]
fn a_full_disk_at_one_replica_stops_nobody_else() {
    let test = "a_full_disk_at_one_replica_stops_nobody_else";
    let _watchdog = Watchdog::minutes(5, test);
    const FULL: usize = 2;
    let Some(disk) = SmallDisk::mount(DISK_MB) else { return };
    let options = [SMALL, &["--checkpoint-log-mb", "4", "--request-timeout-ms", "1500"]].concat();
    let mut cluster = Cluster::start_on(&options, |folder, replica| match replica {
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
