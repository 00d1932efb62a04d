//! Reads at a replica that comes back, while it has old commands to execute.

use super::cluster::Cluster;
use crate::header::Digests;
use crate::node::Passes;

#[test]
fn a_read_that_no_old_command_touches_is_answered_before_the_old_commands_are_executed() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "quiet");
    cluster.check_equal(&[1, 2, 3]);
    cluster.kill(3);
    // More than are executed in one cycle.
    let keys: Vec<String> = (0..150).map(|number| format!("busy/{number}")).collect();
    let answers: Vec<_> = keys.iter().map(|key| cluster.write(1, key)).collect();
    cluster.until("all are answered", |_| answers.iter().all(|answer| answer.lock().is_some()));
    cluster.heal();
    let touches = vec![cluster.touches("busy/149"), cluster.touches("quiet"), Digests::Everything];
    let told = cluster.ask(3, touches);
    cluster.until("all reads are answered", |_| {
        let numbers = |passes: &Passes| if let Passes::Some(reads) = passes { reads.len() } else { 3 };
        told.lock().iter().map(|(passes, _)| numbers(passes)).sum::<usize>() >= 3
    });
    let told = std::mem::take(&mut *told.lock());
    let some = |numbers: &[usize]| (Passes::Some(numbers.to_vec()), true);
    assert_eq!(told, [some(&[1]), some(&[0]), some(&[2])]);
    assert_eq!(cluster.node(3).read_counts(), (0, 1));
    cluster.has(3, &keys);
}
