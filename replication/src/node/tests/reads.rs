//! A replica that comes back, while it has old commands to execute: what its clients need is executed first.

use super::cluster::Cluster;
use crate::header::Digests;
use crate::node::Passes;

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
    let touches = vec![cluster.touches("busy/499"), cluster.touches("quiet"), Digests::Everything];
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
