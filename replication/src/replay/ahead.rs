//! Reading ahead: what is executed next is read, checked and decoded in a thread of its own meanwhile.
//!
//! ```text
//! entries -> decode (its thread) -> groups -> execute (the caller's thread), in the order of the entries
//! ```
//!
//! Batches go over in groups, as waking a thread takes as long as executing ten commands. One group is made, one waits
//! and one is executed, so that memory is bounded by three groups and the payloads that end them.

use skink_engine::error::Fault;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Bytes of payloads that make a group.
const GROUP_BYTES: usize = 256 << 10;

type Group<B> = Result<Vec<B>, Fault>;

/// Hands the entries, decoded, to `execute`. `decode` also tells how many bytes its answer counts for.
///
/// # Errors
/// The first fault: of an entry that can't be decoded, after all before it were executed, or of `execute`.
pub(super) fn run<E: Send, B: Send>(
    entries: impl Iterator<Item = E> + Send,
    decode: impl FnMut(E) -> Result<(B, usize), Fault> + Send,
    mut execute: impl FnMut(B) -> Result<(), Fault>,
) -> Result<(), Fault> {
    std::thread::scope(|scope| {
        let (sender, groups) = sync_channel::<Group<B>>(1);
        std::thread::Builder::new()
            .name("skink-replay".into())
            .spawn_scoped(scope, move || decode_all(entries, decode, &sender))
            .map_err(|error| {
                Fault::Refused(format!("a thread can't be started: {error}; raise the process' limits"))
            })?;
        // A panic of that thread ends the groups early, and then the scope with a panic.
        for group in groups {
            group?.into_iter().try_for_each(&mut execute)?;
        }
        Ok(())
    })
}

/// Ends early where nobody takes the groups any more.
fn decode_all<E, B>(
    entries: impl Iterator<Item = E>,
    mut decode: impl FnMut(E) -> Result<(B, usize), Fault>,
    sender: &SyncSender<Group<B>>,
) {
    let (mut group, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        match decode(entry) {
            Ok((batch, len)) => {
                group.push(batch);
                bytes += len;
            }
            Err(fault) => {
                let _ = sender.send(Ok(group)).and_then(|()| sender.send(Err(fault)));
                return;
            }
        }
        if bytes >= GROUP_BYTES {
            if sender.send(Ok(std::mem::take(&mut group))).is_err() {
                return;
            }
            bytes = 0;
        }
    }
    let _ = sender.send(Ok(group));
}

#[cfg(test)]
mod tests {
    use super::{GROUP_BYTES, run};
    use skink_engine::error::Fault;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fault(what: &str) -> Fault {
        Fault::Refused(what.into())
    }

    #[test]
    fn everything_is_executed_in_order() {
        for len in [1, GROUP_BYTES / 3, GROUP_BYTES * 2] {
            let mut executed = Vec::new();
            run(
                0..1000,
                |entry| Ok((entry * 2, len)),
                |batch| {
                    executed.push(batch);
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(executed, (0..1000).map(|entry| entry * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_comes_before_an_entry_that_can_not_be_decoded_is_executed() {
        let mut executed = 0;
        let decode = |entry| if entry == 700 { Err(fault("entry 700")) } else { Ok((entry, GROUP_BYTES / 100)) };
        let result = run(0..1000, decode, |_| {
            executed += 1;
            Ok(())
        });
        assert!(matches!(result, Err(Fault::Refused(what)) if what == "entry 700"));
        assert_eq!(executed, 700);
    }

    #[test]
    fn a_fault_of_the_execution_ends_the_reading() {
        let decoded = AtomicU32::new(0);
        let decode = |entry| {
            decoded.fetch_add(1, Ordering::Relaxed);
            Ok((entry, GROUP_BYTES))
        };
        let result = run(0..1_000_000, decode, |batch| if batch == 5 { Err(fault("batch 5")) } else { Ok(()) });
        assert!(matches!(result, Err(Fault::Refused(what)) if what == "batch 5"));
        assert!(decoded.load(Ordering::Relaxed) < 20, "it is read ahead by a group or two");
    }
}
