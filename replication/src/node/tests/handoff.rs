//! A replica that comes back, and another one that hands over its state.

use super::cluster::{Cluster, id};
use crate::node::{HandoffReport, Passes, Touches};
use crate::recovery::RecoveryMode;
use skink_engine::command::Command;
use skink_engine::position::Instance;

/// A cluster of which replica 3 missed a write of each of these keys, and is back.
fn missed(keys: &[String]) -> Cluster {
    let mut cluster = Cluster::of(3, RecoveryMode::Handoff);
    cluster.put(1, "quiet");
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    write(&mut cluster, keys);
    cluster.check_equal(&[1, 2]);
    // So long that both have said how they stand.
    cluster.run(30);
    cluster.heal();
    cluster
}

fn write(cluster: &mut Cluster, keys: &[String]) {
    let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
}

fn busy(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("busy/{}", number % 500)).collect()
}

fn append(key: &str) -> Command {
    Command::Append { key: key.to_string().into(), bytes: "more".into() }
}

/// A part has one key.
fn slow(cluster: &mut Cluster) {
    for number in [1, 2] {
        cluster.node(number).options.handoff.part = 1;
    }
}

fn report(cluster: &mut Cluster, number: u8) -> HandoffReport {
    cluster.node(number).handoff().expect("a hand-off took place")
}

#[test]
fn what_was_missed_is_handed_over_and_nothing_of_it_is_executed() {
    let mut cluster = missed(&busy(1000));
    cluster.until("it is handed over", |cluster| cluster.node(3).handoff().is_some_and(|report| report.is_done));
    cluster.check_equal(&[1, 2, 3]);
    let report = report(&mut cluster, 3);
    assert_eq!((report.segments, report.versions), ((2, 2), 500), "of each key the last version");
    let (commands, ..) = cluster.node(3).counts();
    assert!(commands < 100, "{commands} commands were executed");
    cluster.has(3, &busy(500));
}

/// Headers that are in the order's memory, or were since the last checkpoint.
fn headers(cluster: &mut Cluster, number: u8) -> usize {
    cluster.node(number).protocol.ids_after(Instance::ZERO).len()
}

#[test]
fn what_was_missed_is_left_out_of_the_log() {
    let mut cluster = missed(&busy(1000));
    let touches = vec![cluster.touches("busy/7"), cluster.touches("quiet")];
    let told = cluster.ask(3, touches);
    cluster.until("reads are answered", |_| !told.lock().is_empty());
    assert!(headers(&mut cluster, 3) < 100, "{} headers came", headers(&mut cluster, 3));
    cluster.check_equal(&[1, 2, 3]);
    // Its checkpoint has what its log has not.
    cluster.power_cut(3);
    cluster.heal();
    cluster.check_equal(&[1, 2, 3]);
    cluster.has(3, &busy(500));
}

#[test]
fn a_replica_keeps_its_log_where_nobody_but_the_donor_has_all() {
    let mut cluster = missed(&[]);
    cluster.kill(3);
    write(&mut cluster, &busy(1000));
    cluster.check_equal(&[1, 2]);
    cluster.kill(2);
    cluster.start(3);
    cluster.until("it is handed over", |cluster| cluster.node(3).handoff().is_some_and(|report| report.is_done));
    assert!(headers(&mut cluster, 3) > 500, "{} headers came", headers(&mut cluster, 3));
    cluster.heal();
    cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn few_missed_batches_are_executed() {
    let mut cluster = missed(&busy(50));
    cluster.check_equal(&[1, 2, 3]);
    assert!(cluster.node(3).handoff().is_none());
}

#[test]
fn what_somebody_waits_for_comes_first() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    let touches =
        vec![cluster.touches("busy/7"), cluster.touches("quiet"), cluster.touches("never"), Touches::Everything];
    let told = cluster.ask(3, touches);
    let written: Vec<_> = ["busy/9", "new"].iter().map(|key| cluster.execute(3, append(key))).collect();
    let count = |told: &[(Passes, bool)]| {
        let numbers = |passes: &Passes| if let Passes::Some(reads) = passes { reads.len() } else { 4 };
        told.iter().map(|(passes, _)| numbers(passes)).sum::<usize>()
    };
    cluster.until("reads of one key are answered", |_| count(&told.lock()) >= 3);
    cluster.until("writes are answered", |_| written.iter().all(|answer| answer.lock().is_some()));
    let before = report(&mut cluster, 3);
    assert!(before.pulled_keys >= 3 && !before.is_done, "{before:?}");
    assert!(written.iter().all(|answer| answer.lock().take().unwrap().is_ok()));
    assert!(told.lock().iter().all(|(passes, _)| *passes != Passes::Some(vec![3])), "a range needs all of it");
    cluster.until("all reads are answered", |_| count(&told.lock()) >= 4);
    assert!(report(&mut cluster, 3).is_done);
    cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn before_the_first_answer_nothing_comes_but_what_somebody_waits_for() {
    let mut cluster = missed(&busy(900));
    cluster.until("a donor has a cut", |cluster| cluster.node(3).handoff().is_some());
    assert!(cluster.node(3).execution.plan.entered().is_none(), "what is up to the cut is nobody's business");
    cluster.run(3);
    assert_eq!(report(&mut cluster, 3).versions, 0);
    // Nobody asks: it begins all the same.
    cluster.until("it is handed over", |cluster| cluster.node(3).handoff().is_some_and(|report| report.is_done));
    cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn what_is_written_over_need_not_come_first() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    cluster.until("a donor has a cut", |cluster| cluster.node(3).handoff().is_some());
    let written: Vec<_> = ["busy/9", "quiet", "new"].iter().map(|key| cluster.write(3, key)).collect();
    cluster.until("writes are answered", |_| written.iter().all(|answer| answer.lock().is_some()));
    let before = report(&mut cluster, 3);
    assert!(before.pulled_keys == 0 && !before.is_done, "{before:?}");
    // What adds to what there is needs it.
    let appended: Vec<_> = ["busy/9", "busy/10"].iter().map(|key| cluster.execute(3, append(key))).collect();
    cluster.until("appends are answered", |_| appended.iter().all(|answer| answer.lock().is_some()));
    let after = report(&mut cluster, 3);
    assert!(after.pulled_keys >= 2 && !after.is_done, "{after:?}");
    cluster.check_equal(&[1, 2, 3]);
    cluster.has(3, &busy(500));
}

/// Else all of it would be executed at the end, in one go.
#[test]
fn what_is_decided_meanwhile_is_executed_at_once_where_it_waits_for_nothing() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    cluster.until("it has begun", |cluster| cluster.node(3).handoff().is_some_and(|it| it.versions > 0));
    // Some are behind what waits for the old value, in the same batch or a later one.
    let mut answers: Vec<_> = (400..440).map(|number| cluster.execute(1, append(&format!("busy/{number}")))).collect();
    answers.extend(busy(460).iter().skip(400).chain(&busy(60)).map(|key| cluster.write(1, key)));
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
    cluster.until("all are tried", |cluster| cluster.node(3).execution.early.commands >= 80);
    cluster.run(2);
    assert!(!report(&mut cluster, 3).is_done, "else nothing is shown");
    let node = cluster.node(3);
    let ahead = node.execution.early.commands;
    assert!((80..=90).contains(&ahead), "{ahead} were executed ahead");
    assert!(node.execution.plan.is_executed(node.execution.delivered()), "the last one is");
    assert_eq!(report(&mut cluster, 3).pulled_keys, 0, "no key comes ahead of its segment for it");
    cluster.check_equal(&[1, 2, 3]);
    assert!(report(&mut cluster, 3).is_done);
}

#[test]
fn keys_that_are_gone_are_gone_and_those_that_came_again_are_there() {
    let mut cluster = Cluster::of(3, RecoveryMode::Handoff);
    write(&mut cluster, &busy(500));
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    let remove = |number: usize| Command::DeleteMany { keys: vec![format!("busy/{number}").into()] };
    let removed: Vec<_> = (0..300).map(|number| cluster.execute(1, remove(number))).collect();
    cluster.until("all are answered", |_| removed.iter().all(|answer| answer.lock().is_some()));
    write(&mut cluster, &busy(10));
    cluster.check_equal(&[1, 2]);
    cluster.heal();
    // One that was removed is read, and one is written, before their segments are here.
    let (gone, back) = (cluster.touches("busy/200"), cluster.write(3, "busy/100"));
    let told = cluster.ask(3, vec![gone]);
    cluster.until("both are answered", |_| back.lock().is_some() && !told.lock().is_empty());
    cluster.check_equal(&[1, 2, 3]);
    assert!(report(&mut cluster, 3).is_done);
    let engine = std::sync::Arc::clone(&cluster.node(3).engine);
    let is_there = |number: usize| engine.read(format!("busy/{number}").as_bytes(), 0, |it| it.is_some()).unwrap();
    let there: Vec<usize> = (0..500).filter(|number| is_there(*number)).collect();
    let expected: Vec<usize> = (0..10).chain([100]).chain(300..500).collect();
    assert_eq!(there, expected);
}

#[test]
fn where_a_donor_goes_another_one_goes_on_and_nothing_is_executed_twice() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    cluster.until("it has begun", |cluster| cluster.node(3).handoff().is_some_and(|it| it.versions > 0));
    let first = report(&mut cluster, 3);
    let other = 3 - first.donor.get();
    let add = |number: usize| Command::Increment { key: format!("count/{}", number % 7).into(), by: 1 };
    let ahead: Vec<_> = (0..20).map(|number| cluster.execute(3, add(number))).collect();
    cluster.until("some are answered", |_| ahead.iter().any(|answer| answer.lock().is_some()));
    // Written over before they come, and in the next donor's cut.
    write_at(&mut cluster, 3, &(400..460).map(|number| format!("busy/{number}")).collect::<Vec<_>>());
    cluster.kill(first.donor.get());
    write_at(&mut cluster, other, &busy(100));
    cluster.until("another one hands over", |cluster| cluster.node(3).handoff().is_some_and(|it| it.is_done));
    let second = report(&mut cluster, 3);
    assert!(second.donor.get() == other && second.pulled_keys < 30, "no more than were waited for: {second:?}");
    cluster.heal();
    cluster.check_equal(&[1, 2, 3]);
}

fn write_at(cluster: &mut Cluster, number: u8, keys: &[String]) {
    let answers: Vec<_> = keys.iter().map(|key| cluster.write(number, key)).collect();
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
}

#[test]
fn a_stop_before_all_is_here_begins_again_from_the_checkpoint() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    for _ in 0..5 {
        cluster.until("it has begun", |cluster| cluster.node(3).handoff().is_some_and(|it| it.versions > 0));
        cluster.power_cut(3);
        cluster.heal();
    }
    cluster.check_equal(&[1, 2, 3]);
    assert!(report(&mut cluster, 3).is_done);
    // The next start has a checkpoint of it.
    cluster.put(1, "after");
    cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn who_is_handed_something_gives_nothing_to_others() {
    let mut cluster = Cluster::of(5, RecoveryMode::Handoff);
    cluster.put(1, "quiet");
    cluster.check_equal(&[1, 2, 3, 4, 5]);
    cluster.kill(4);
    cluster.kill(5);
    write(&mut cluster, &busy(900));
    cluster.check_equal(&[1, 2, 3]);
    cluster.heal();
    cluster.check_equal(&[1, 2, 3, 4, 5]);
    for number in [4, 5] {
        let report = report(&mut cluster, number);
        assert!(report.is_done && report.donor.get() <= 3, "{report:?}");
    }
}

#[test]
fn a_replica_with_an_empty_disk_is_handed_the_state_and_answers_meanwhile() {
    let mut cluster = Cluster::of(3, RecoveryMode::Handoff);
    write(&mut cluster, &busy(500));
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    write(&mut cluster, &busy(1500));
    cluster.check_equal(&[1, 2]);
    for number in [1, 2] {
        cluster.node(number).options.handoff.per_tick = 8 << 10;
    }
    cluster.start_empty(3, 1);
    let key = "busy/7".to_owned();
    cluster.until("it is admitted", |cluster| cluster.node(3).refusal().is_none());
    let touches = vec![cluster.touches(&key)];
    let told = cluster.ask(3, touches);
    cluster.until("a read is answered", |_| told.lock().iter().any(|(passes, _)| *passes != Passes::Some(Vec::new())));
    let before = report(&mut cluster, 3);
    assert!(before.pulled_keys >= 1 && !before.is_done, "{before:?}");
    cluster.has(3, &[key]);
    assert!(headers(&mut cluster, 3) < 100, "{} headers came", headers(&mut cluster, 3));
    cluster.check_equal(&[1, 2, 3]);
    cluster.power_cut(3);
    cluster.heal();
    cluster.check_equal(&[1, 2, 3]);
    cluster.has(3, &busy(500));
}

/// What two replicas have decided is on the disks of both, and the third one is behind: neither may give up its log.
#[test]
fn a_replica_keeps_its_log_where_the_third_one_has_not_got_so_far() {
    let mut cluster = missed(&busy(10));
    cluster.check_equal(&[1, 2, 3]);
    // So long that all have said how they stand.
    cluster.run(30);
    let end = cluster.node(1).executed();
    let may_jump = |cluster: &mut Cluster, log_end: Instance| cluster.node(1).jump_for(id(3), log_end).is_some();
    assert!(may_jump(&mut cluster, end));
    assert!(!may_jump(&mut cluster, end.next()), "nobody has said that it has that");
    cluster.cut_off(2);
    cluster.run(2);
    assert!(!may_jump(&mut cluster, end), "nobody knows what the other one has");
}

#[test]
fn a_donor_gives_no_more_in_a_tick_than_it_may() {
    const PER_TICK: u64 = 2 << 10;
    let mut cluster = missed(&busy(900));
    for number in [1, 2] {
        cluster.node(number).options.handoff.per_tick = PER_TICK as usize;
    }
    let bytes = |cluster: &mut Cluster| cluster.node(3).handoff().map_or(0, |it| it.bytes);
    let part = cluster.node(1).options.handoff.part as u64;
    let (mut ticks, mut given) = (0, 0);
    while !cluster.node(3).handoff().is_some_and(|it| it.is_done) {
        cluster.tick();
        given = bytes(&mut cluster);
        ticks += u64::from(given > 0);
        // Of a part the last version may go beyond.
        assert!(given <= (ticks + 1) * PER_TICK + 2 * part, "{given} bytes in {ticks} ticks");
    }
    assert!(given > 5 * PER_TICK, "{given} bytes say nothing");
}

#[test]
fn while_a_donor_is_asked_for_the_order_is_shown_no_session_and_then_all_of_them() {
    let mut cluster = missed(&busy(900));
    // Nobody can give at once: each has more to execute than is allowed, and says so late.
    for number in [1, 2] {
        cluster.node(number).options.early_lag = 0;
    }
    cluster.run(5);
    assert!(cluster.node(3).handoffs.is_asking_first());
    assert_eq!(cluster.node(3).handoffs.held_sessions(), 2);
    let known = cluster.node(3).executed();
    assert!(headers(&mut cluster, 3) < 100, "the order has been shown something");
    // One of them goes meanwhile: it is not shown when it is too late.
    cluster.kill(2);
    cluster.until("it goes on without", |cluster| !cluster.node(3).handoffs.is_asking());
    assert_eq!(cluster.node(3).handoffs.held_sessions(), 0);
    cluster.until("it executes", |cluster| cluster.node(3).executed() > known);
    assert!(cluster.node(3).handoff().is_none(), "nobody could give");
    cluster.heal();
    cluster.check_equal(&[1, 2, 3]);
}

/// A power cut between the two things that a jump makes durable.
#[test]
fn a_jump_whose_frame_is_not_in_the_log_is_made_all_the_same() {
    let mut cluster = missed(&[]);
    cluster.kill(3);
    write(&mut cluster, &busy(500));
    cluster.check_equal(&[1, 2]);
    cluster.run(30);
    let end = cluster.node(1).executed();
    let jump = cluster.node(1).jump_for(id(3), end).expect("both have all of it");
    cluster.put_jump(3, &jump);
    write(&mut cluster, &busy(20));
    cluster.heal();
    assert!(cluster.node(3).handoffs.is_open(), "it goes on with what it was in the middle of");
    let told = cluster.touches("busy/300");
    let told = cluster.ask(3, vec![told]);
    let is_answered = |told: &[(Passes, bool)]| told.iter().any(|(passes, _)| *passes != Passes::Some(Vec::new()));
    cluster.until("a read is answered", |_| is_answered(&told.lock()));
    cluster.check_equal(&[1, 2, 3]);
    assert!(report(&mut cluster, 3).is_done && report(&mut cluster, 3).instance >= end);
    cluster.has(3, &busy(500));
}

/// What comes in while a state is handed over may be as much as what that was begun for.
#[test]
fn what_is_left_after_a_hand_off_is_executed_and_not_handed_over_again() {
    let mut cluster = missed(&busy(900));
    slow(&mut cluster);
    cluster.until("it has begun", |cluster| cluster.node(3).handoff().is_some_and(|it| it.versions > 0));
    let first = report(&mut cluster, 3);
    cluster.node(3).options.burst = 1;
    let mut answers = Vec::new();
    while !report(&mut cluster, 3).is_done {
        // What adds to what there is can't be executed meanwhile.
        answers.extend(busy(60).iter().map(|key| cluster.execute(1, append(key))));
        cluster.tick();
    }
    assert!(cluster.node(3).execution.delivered.len() >= cluster.node(3).options.handoff.lag, "else nothing is shown");
    cluster.check_equal(&[1, 2, 3]);
    assert_eq!(report(&mut cluster, 3).instance, first.instance, "it was handed over once");
}

/// Keys that the other one has cost their hashes alone, so that a part has many of them.
#[test]
fn a_part_has_more_keys_where_little_has_changed() {
    let mut cluster = Cluster::of(3, RecoveryMode::Handoff);
    write(&mut cluster, &(0..2000).map(|number| format!("old/{number}")).collect::<Vec<_>>());
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    write(&mut cluster, &vec!["one".to_owned(); 300]);
    cluster.check_equal(&[1, 2]);
    slow(&mut cluster);
    cluster.run(30);
    cluster.heal();
    cluster.until("it has begun", |cluster| cluster.node(3).handoff().is_some());
    let mut ticks = 0;
    while !report(&mut cluster, 3).is_done {
        cluster.tick();
        ticks += 1;
        assert!(ticks < 20, "{:?}", report(&mut cluster, 3));
    }
    cluster.check_equal(&[1, 2, 3]);
    assert!(report(&mut cluster, 3).versions < 10);
}
