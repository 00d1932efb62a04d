//! Members come and go (rule 15).

use super::cluster::{Cluster, id};
use crate::paxos::MembershipChange;
use crate::status::Condition;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

fn add(number: u8) -> MembershipChange {
    MembershipChange::Add { replica: id(number), address: format!("127.0.0.1:{number}") }
}

fn remove(number: u8) -> MembershipChange {
    MembershipChange::Remove { replica: id(number) }
}

/// A cluster that has a leader, and some keys.
fn cluster(members: u8) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::new(members);
    cluster.until("somebody leads", |cluster| cluster.leader().is_some());
    let keys: Vec<String> = (0..20).map(|number| format!("first-{number}")).collect();
    keys.iter().for_each(|key| cluster.put(1, key));
    (cluster, keys)
}

#[test]
fn replicas_come_in_and_go_while_others_write() {
    let (mut cluster, mut keys) = cluster(3);
    for number in [4, 5] {
        let asked = number - 2;
        assert_eq!(cluster.change(asked, add(number)), Ok(()));
        cluster.start_empty(number, asked);
        for round in 0..20 {
            keys.push(format!("{number}-{round}"));
            cluster.put(1 + round % 3, keys.last().unwrap());
        }
        cluster.until("the new one serves", |cluster| cluster.serves(number));
        cluster.is_there(number, &keys);
        keys.push(format!("at-{number}"));
        cluster.put(number, keys.last().unwrap());
    }
    cluster.check_equal(&[1, 2, 3, 4, 5]);
    assert_eq!(cluster.node(2).configuration().id(), 3);
    // The leader goes, by its own hand.
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.change(leader, remove(leader)), Ok(()));
    let own = cluster.node(leader).status();
    assert_eq!(own.own().unwrap().condition, Condition::Removed);
    let refused = cluster.write(leader, "nobody-has-it");
    let error = refused.lock().take().unwrap().unwrap_err().to_string();
    assert!(error.contains("was removed from the cluster"), "{error}");
    let rest: Vec<u8> = (1..=5).filter(|number| *number != leader).collect();
    cluster.put(rest[0], "after-the-leader");
    assert_eq!(cluster.change(rest[0], remove(rest[1])), Ok(()));
    let rest = [rest[0], rest[2], rest[3]];
    keys.push("after-the-leader".into());
    cluster.check_equal(&rest);
    rest.iter().for_each(|number| cluster.is_there(*number, &keys));
}

#[test]
fn what_a_change_needs_is_said() {
    let (mut cluster, _) = cluster(3);
    let refused = |cluster: &mut Cluster, change| cluster.change(2, change).unwrap_err();
    assert!(refused(&mut cluster, add(3)).contains("a member already"));
    assert!(refused(&mut cluster, remove(9)).contains("no member"));
    let leader = cluster.leader().unwrap();
    let away = (1..=3).find(|number| ![leader, 2].contains(number)).unwrap_or(3);
    cluster.cut_off(away);
    cluster.run(5);
    let error = cluster.change(2, add(4)).unwrap_err();
    assert!(
        error.contains("2 of the replicas that would be left to agree can be reached, and 3 are needed"),
        "{error}"
    );
    assert_eq!(cluster.change(2, remove(away)), Ok(()), "the one that is away can go");
    assert!(cluster.change(2, remove(2)).unwrap_err().contains("at least two"));
    let first = cluster.begin_change(2, add(5));
    let second = cluster.begin_change(2, add(6));
    assert!(second.lock().take().unwrap().unwrap_err().contains("under way"));
    cluster.until("the first is answered", |_| first.lock().is_some());
    assert_eq!(first.lock().take(), Some(Ok(())));
}

#[test]
fn who_was_cut_off_meanwhile_gets_the_state_from_others() {
    let (mut cluster, mut keys) = cluster(5);
    cluster.cut_off(5);
    cluster.until("somebody else leads", |cluster| cluster.leader().is_some());
    assert_eq!(cluster.change(1, remove(4)), Ok(()));
    keys.push("meanwhile".into());
    cluster.put(1, "meanwhile");
    cluster.heal();
    cluster.until("it has gone over", |cluster| cluster.node(5).configuration().id() == 2);
    cluster.check_equal(&[1, 2, 3, 5]);
    cluster.is_there(5, &keys);
}

#[test]
fn one_of_two_that_missed_the_end_is_not_left_behind() {
    // Nothing can be decided before it has gone over, too: the checkpoint at the stop sign is all there is.
    let (mut cluster, keys) = cluster(3);
    let leader = cluster.leader().unwrap();
    let others: Vec<u8> = (1..=3).filter(|number| *number != leader).collect();
    let change = cluster.begin_change(leader, remove(others[0]));
    cluster.until("the leader has gone over", |cluster| cluster.node(leader).configuration().id() == 2);
    // Whatever the other one has heard of it, it forgets what was not durable.
    cluster.power_cut(others[1]);
    cluster.cut_off(others[0]);
    cluster.start(others[1]);
    cluster.check_equal(&[leader, others[1]]);
    assert_eq!(change.lock().take(), Some(Ok(())));
    cluster.is_there(others[1], &keys);
}

#[test]
fn who_was_removed_while_it_was_away_hears_of_it() {
    let (mut cluster, _) = cluster(4);
    cluster.cut_off(4);
    cluster.until("somebody else leads", |cluster| cluster.leader().is_some());
    assert_eq!(cluster.change(1, remove(4)), Ok(()));
    cluster.heal();
    cluster.until("it knows", |cluster| cluster.node(4).is_removed());
    assert!(cluster.node(4).refusal().unwrap().to_string().contains("removed"));
    cluster.kill(4);
    cluster.start(4);
    cluster.until("it knows again", |cluster| cluster.node(4).is_removed());
}

#[test]
fn who_comes_again_comes_with_another_disk() {
    let (mut cluster, mut keys) = cluster(4);
    cluster.kill(4);
    cluster.until("somebody leads", |cluster| cluster.leader().is_some());
    assert_eq!(cluster.change(1, remove(4)), Ok(()));
    assert_eq!(cluster.change(2, add(4)), Ok(()));
    cluster.start(4);
    cluster.until("the old disk is refused", |cluster| cluster.refused.contains(&id(4)));
    cluster.heal();
    cluster.start_empty(4, 1);
    keys.push("again".into());
    cluster.put(3, "again");
    cluster.until("it serves", |cluster| cluster.serves(4));
    cluster.is_there(4, &keys);
    cluster.check_equal(&[1, 2, 3, 4]);
    // One that heard that it was removed does not come back either.
    assert_eq!(cluster.change(1, remove(4)), Ok(()));
    cluster.until("it knows", |cluster| cluster.node(4).is_removed());
    assert_eq!(cluster.change(1, add(4)), Ok(()));
    cluster.kill(4);
    cluster.start(4);
    cluster.run(300);
    assert!(cluster.node(4).is_removed());
}

#[test]
fn power_cuts_of_all_lose_nothing_on_either_side_of_a_stop_sign() {
    for ticks in 0..12 {
        let (mut cluster, mut keys) = cluster(3);
        let before = cluster.begin_change(2, add(4));
        cluster.run(ticks);
        let is_told = before.lock().take();
        (1..=3).for_each(|number| cluster.power_cut(number));
        (1..=3).for_each(|number| cluster.start(number));
        cluster.until("somebody leads", |cluster| cluster.leader().is_some());
        keys.push("after".into());
        cluster.put(1, "after");
        cluster.run(50);
        let ids: Vec<u32> = (1..=3).map(|number| cluster.node(number).configuration().id()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert!(is_told != Some(Ok(())) || ids[0] == 2, "{ticks}");
        cluster.check_equal(&[1, 2, 3]);
        (1..=3).for_each(|number| cluster.is_there(number, &keys));
    }
}

/// Clients write at all replicas; replicas crash, lose power, are cut off, come and go. Then all is well.
#[test]
fn nothing_acknowledged_is_lost_whatever_comes_and_goes() {
    let seeds = std::env::var("SKINK_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(12);
    let first = std::env::var("SKINK_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        eprintln!("SKINK_SIM_SEED={seed} SKINK_SIM_SEEDS=1 cargo test -p skink-replication --lib nothing_acknowledged");
        come_and_go(seed);
    }
}

fn come_and_go(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut cluster, mut keys) = cluster(3);
    let mut answers = Vec::new();
    let mut changes = Vec::new();
    for step in 0..400 {
        let number = random.random_range(1..=5);
        let is_member = |cluster: &mut Cluster, number| {
            let leader = cluster.leader();
            leader.is_some_and(|leader| cluster.node(leader).configuration().has_member(id(number)))
        };
        match random.random_range(0..100) {
            0..50 if cluster.runs(number) => {
                let key = format!("key-{step}");
                answers.push((key.clone(), cluster.write(number, &key)));
            }
            50..54 if cluster.runs(number) => {
                let other = random.random_range(1..=5);
                let change = if random.random() { add(other) } else { remove(other) };
                changes.push(cluster.begin_change(number, change));
            }
            54..58 if is_member(&mut cluster, number) && number > 3 => {
                let leader = cluster.leader().unwrap();
                // Who lost a disk may come back; who has one keeps it.
                if !cluster.runs(number) || cluster.node(number).is_removed() {
                    cluster.start_empty(number, leader);
                }
            }
            58..61 if cluster.runs(number) && number <= 3 => cluster.kill(number),
            61..64 if cluster.runs(number) && number <= 3 => cluster.power_cut(number),
            64..67 => cluster.cut_off(number),
            67..74 => cluster.heal(),
            _ => {}
        }
        let ticks = random.next_u32() as usize % 8;
        cluster.run(ticks);
    }
    cluster.heal();
    cluster.until("somebody leads", |cluster| cluster.leader().is_some());
    cluster.run(300);
    let leader = cluster.leader().unwrap();
    let members: Vec<u8> = cluster.node(leader).configuration().members().iter().map(|member| member.get()).collect();
    for number in &members {
        // One that was removed and added again, or never began, comes with an empty disk.
        if !cluster.runs(*number) || cluster.node(*number).is_removed() || cluster.refused.contains(&id(*number)) {
            cluster.start_empty(*number, leader);
        }
    }
    cluster.check_equal(&members);
    let acknowledged = answers.iter().filter(|(_, answer)| matches!(&*answer.lock(), Some(Ok(_))));
    keys.extend(acknowledged.map(|(key, _)| key.clone()));
    let done = changes.iter().filter(|answer| matches!(&*answer.lock(), Some(Ok(())))).count();
    eprintln!("{} writes and {done} changes were acknowledged, members {members:?}", keys.len());
    members.iter().for_each(|number| cluster.is_there(*number, &keys));
}
