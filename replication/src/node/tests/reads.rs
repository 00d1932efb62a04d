//! A replica that comes back, while it has old commands to execute: what its clients need is executed first.

use super::cluster::{Cluster, id};
use crate::batch::Refusal;
use crate::node::{Passes, Question, Touches, View};
use crate::paxos::Request;
use parking_lot::Mutex;
use skink_engine::position::Instance;
use std::sync::Arc;

/// Replica 3 is away while these keys are written, each in a batch of its own; then it is back.
fn missed(cluster: &mut Cluster, keys: &[String]) {
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
    cluster.heal();
}

fn busy(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("busy/{}", number % 500)).collect()
}

#[test]
fn a_read_waits_for_the_old_commands_on_its_keys_alone_and_they_are_executed_first() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "quiet");
    let keys = busy(1000);
    missed(&mut cluster, &keys);
    let touches = vec![cluster.touches("busy/499"), cluster.touches("quiet"), Touches::Everything];
    let told = cluster.ask(3, touches);
    cluster.until("all reads are answered", |_| {
        let numbers = |passes: &Passes| if let Passes::Some(reads) = passes { reads.len() } else { 3 };
        told.lock().iter().map(|(passes, _)| numbers(passes)).sum::<usize>() >= 3
    });
    let told = std::mem::take(&mut *told.lock());
    let ready = told.iter().position(|(passes, _)| matches!(passes, Passes::Some(reads) if reads.contains(&2)));
    let early = told.iter().position(|(passes, _)| matches!(passes, Passes::Some(reads) if reads.contains(&0)));
    assert!(early < ready, "what touches everything waits for all: {told:?}");
    let counts = cluster.node(3).early_counts();
    assert_eq!((counts.parked_reads, counts.reads), (0, 2));
    assert_eq!(counts.commands, 2, "both writes of that key");
    cluster.has(3, &keys);
    cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn a_write_is_answered_before_old_ones_that_are_not_on_its_key() {
    let mut cluster = Cluster::new(3);
    let keys = busy(3000);
    missed(&mut cluster, &keys);
    let answers: Vec<_> = ["new", "busy/7"].iter().map(|key| cluster.write(3, key)).collect();
    cluster.until("it is answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
    let early = cluster.node(3).early_counts();
    assert!(early.commands >= 2, "{early:?}");
    for answer in &answers {
        assert!(answer.lock().take().unwrap().is_ok());
    }
    cluster.has(3, &["new".into()]);
    cluster.check_equal(&[1, 2, 3]);
    assert_eq!(cluster.node(3).early_counts().parked_batches, 0);
}

/// Whoever sees a write sees all that was acknowledged before it was sent, also where it was executed ahead.
#[test]
fn a_read_of_much_sees_all_that_is_before_what_it_sees() {
    let mut cluster = Cluster::new(3);
    let keys = busy(3000);
    missed(&mut cluster, &keys);
    cluster.until("it takes part", |cluster| cluster.node(3).status().leader.is_some());
    let engine = Arc::clone(&cluster.node(3).engine);
    let is_there = move |key: &str| engine.read(key.as_bytes(), 0, |stored| stored.is_some()).unwrap();
    let seen: Arc<Mutex<Option<(bool, bool)>>> = Arc::default();
    let seen_when_told = Arc::clone(&seen);
    let tell = Arc::new(move |passes, _: Result<View, _>| {
        if passes != Passes::Some(Vec::new()) {
            *seen_when_told.lock() = Some((is_there("later"), is_there("earlier/199")));
        }
    });
    cluster.node(3).when_current(Question { touches: vec![Touches::Everything], tell });
    // It gets its index.
    cluster.run(3);
    // One after the other: each is sent when the one before is acknowledged.
    let earlier: Vec<_> = (0..200).map(|number| cluster.write(1, &format!("earlier/{number}"))).collect();
    cluster.until("the first are acknowledged", |_| earlier.iter().all(|answer| answer.lock().is_some()));
    assert!(seen.lock().is_none(), "there is something left to execute");
    let later = cluster.write(3, "later");
    cluster.until("the read is answered", |_| later.lock().is_some() && seen.lock().is_some());
    assert!(cluster.node(3).early_counts().commands > 0);
    let seen = *seen.lock();
    assert_ne!(seen, Some((true, false)));
}

/// Something may be executed ahead of order as soon as the next cycle, so that later states are no good for several keys.
#[test]
fn from_when_on_reads_may_be_executed_is_told_with_them() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "quiet");
    let keys = busy(3000);
    missed(&mut cluster, &keys);
    let several = |cluster: &mut Cluster| {
        let (Touches::Keys(mut one), Touches::Keys(other)) = (cluster.touches("quiet"), cluster.touches("silent"))
        else {
            unreachable!()
        };
        one.extend(other);
        one.sort_unstable();
        Touches::Keys(one)
    };
    let view = |cluster: &mut Cluster, touches: Touches| {
        let view: Arc<Mutex<Option<View>>> = Arc::default();
        let told = Arc::clone(&view);
        let tell = Arc::new(move |passes, result: Result<View, _>| {
            if passes != Passes::Some(Vec::new()) {
                *told.lock() = result.ok();
            }
        });
        cluster.node(3).when_current(Question { touches: vec![touches], tell });
        cluster.until("it is told", |_| view.lock().is_some());
        view.lock().take().unwrap()
    };
    let wide = several(&mut cluster);
    assert!(matches!(view(&mut cluster, wide.clone()), View::Now));
    let single = cluster.touches("quiet");
    assert!(matches!(view(&mut cluster, single), View::Later));
    cluster.check_equal(&[1, 2, 3]);
    let held = view(&mut cluster, wide);
    assert!(matches!(held, View::Held(_)));
    // While somebody reads, nothing is executed ahead; afterwards it is again.
    let keys = busy(500);
    let missing = |cluster: &mut Cluster| {
        cluster.cut_off(3);
        let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
        cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
        cluster.heal();
        let answer = cluster.write(3, "own");
        cluster.until("it is answered", |_| answer.lock().is_some());
        cluster.node(3).early_counts().commands
    };
    let before = cluster.node(3).early_counts().commands;
    assert_eq!(missing(&mut cluster), before);
    drop(held);
    assert!(missing(&mut cluster) > before);
}

/// The command behind all others has its place: nobody doubts the majority.
#[test]
fn a_write_that_waits_too_long_for_old_commands_is_said_to_be_late() {
    let mut cluster = Cluster::new(3);
    let keys = busy(400);
    missed(&mut cluster, &keys);
    cluster.node(3).options.burst = 0;
    let answer = cluster.write(3, "busy/7");
    cluster.node(3).options.early_lag = usize::MAX;
    cluster.until("it is answered", |_| answer.lock().is_some());
    let answer = answer.lock().take().unwrap();
    assert!(matches!(&answer, Err(Refusal::Late(what)) if what.contains("will be executed")), "{answer:?}");
    assert!(!cluster.node(3).is_down());
    cluster.node(3).options.burst = 8;
    cluster.check_equal(&[1, 2, 3]);
    cluster.has(3, &["busy/7".into()]);
}

/// What was told of a read, and whether the state had it then.
type Seen = Option<(Option<View>, bool)>;

/// Replica 3 has the headers of what it missed, executes none of it in order, and gets a checkpoint of a part of it.
struct Overtaken {
    cluster: Cluster,
}

impl Overtaken {
    fn new() -> Overtaken {
        let mut cluster = Cluster::new(3);
        cluster.put(1, "quiet");
        cluster.check_equal(&[1, 2, 3]);
        cluster.kill(3);
        let write = |cluster: &mut Cluster, keys: &[String]| {
            let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
            cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
        };
        write(&mut cluster, &busy(300));
        let is_taken: Arc<Mutex<bool>> = Arc::default();
        let told = Arc::clone(&is_taken);
        cluster.node(1).checkpoint(Box::new(move |result| *told.lock() = result.is_ok()));
        cluster.until("there is a checkpoint", |_| *is_taken.lock());
        write(&mut cluster, &busy(300));
        write(&mut cluster, &["later".into()]);
        cluster.heal();
        cluster.node(3).options.burst = 0;
        Overtaken { cluster }
    }

    /// The checkpoint comes.
    fn overtake(&mut self) {
        let request = Request::Checkpoint { at_least: Instance::ZERO };
        self.cluster.node(3).ask(id(1), request).unwrap();
    }

    fn until_overtaken(&mut self) {
        let engine = Arc::clone(&self.cluster.node(3).engine);
        let checkpoint = self.cluster.node(1).engine.last_checkpoint();
        self.cluster.until("the checkpoint is there", |_| engine.last_checkpoint() >= checkpoint);
    }

    /// Asks for a read of what was written last. Gives what is told, and whether the state has it then.
    fn read(&mut self) -> Arc<Mutex<Seen>> {
        let touches = vec![self.cluster.touches("later")];
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let told = Arc::clone(&seen);
        let engine = Arc::clone(&self.cluster.node(3).engine);
        let tell = Arc::new(move |passes, result: Result<View, _>| {
            if passes != Passes::Some(Vec::new()) {
                let is_there = engine.read(b"later", 0, |stored| stored.is_some()).unwrap();
                *told.lock() = Some((result.ok(), is_there));
            }
        });
        self.cluster.node(3).when_current(Question { touches, tell });
        seen
    }
}

#[test]
fn a_read_that_waits_goes_on_waiting_when_a_checkpoint_takes_the_place_of_the_state() {
    let mut overtaken = Overtaken::new();
    overtaken.cluster.node(3).options.early_lag = usize::MAX;
    let seen = overtaken.read();
    overtaken.cluster.until("the read waits", |cluster| cluster.node(3).early_counts().parked_reads == 1);
    overtaken.overtake();
    overtaken.until_overtaken();
    assert!(seen.lock().is_none(), "what it must see is not executed");
    overtaken.cluster.node(3).options.burst = 8;
    overtaken.cluster.until("the read is answered", |_| seen.lock().is_some());
    assert!(matches!(*seen.lock(), Some((Some(_), true))), "{seen:?}");
    overtaken.cluster.check_equal(&[1, 2, 3]);
}

#[test]
fn a_read_of_what_was_executed_ahead_is_answered_before_an_older_checkpoint_takes_its_place() {
    let mut overtaken = Overtaken::new();
    let seen = overtaken.read();
    overtaken.cluster.until("the read is answered", |_| seen.lock().is_some());
    assert!(overtaken.cluster.node(3).early_counts().commands > 0, "it was executed ahead");
    assert!(matches!(*seen.lock(), Some((Some(View::Now), true))), "{seen:?}");
    overtaken.overtake();
    overtaken.until_overtaken();
    // Whoever asks now is told when what is behind it is executed, too.
    let next = overtaken.read();
    overtaken.cluster.until("the next read is answered", |_| next.lock().is_some());
    assert!(matches!(*next.lock(), Some((Some(_), true))), "{next:?}");
    overtaken.cluster.node(3).options.burst = 8;
    overtaken.cluster.check_equal(&[1, 2, 3]);
}

/// The first commands install segments, each of which takes as long as many commands: the others must get in touch meanwhile.
#[test]
fn until_all_segments_are_installed_a_turn_executes_one_batch() {
    let mut cluster = Cluster::new(3);
    for number in [1, 2, 3] {
        cluster.node(number).options.checkpoint_log_bytes = 8 << 20;
    }
    let keys: Vec<String> = (0..60).map(|_| "one".to_owned()).collect();
    let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
    // Its log says that one is decided when it has the next.
    for _ in 0..2 {
        cluster.put(1, "one");
        let end = cluster.node(1).executed();
        cluster.until("it has all of them", |cluster| cluster.node(3).executed() >= end);
    }
    cluster.kill(3);
    cluster.start(3);
    let node = cluster.node(3);
    // Too little for anything else than to execute it in order.
    node.options.early_lag = 32 * 1000;
    assert_eq!(node.engine.installed_count(), 0);
    let mut turns = 0;
    while node.executed() < Instance::new(20).unwrap() {
        let before = node.executed();
        node.begin_cycle().unwrap();
        node.write().unwrap();
        node.end_cycle().unwrap();
        assert!(node.executed().get() <= before.get() + 1, "turn {turns}");
        turns += 1;
        assert!(turns < 200, "it must know what is decided");
    }
    assert_eq!(node.engine.installed_count(), 1);
    node.engine.install_waiting();
    let before = node.executed();
    node.begin_cycle().unwrap();
    node.end_cycle().unwrap();
    assert!(node.executed().get() > before.get() + 1, "from now on a turn is as long as always");
}
