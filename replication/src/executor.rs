//! Execution of a batch's commands, one after the other.

use crate::batch::LocalCommand;
use skink_engine::command::{Command, Reply};
use skink_engine::error::Fault;
use skink_engine::position::{Instance, Revision};

/// A delivered batch.
#[derive(Debug)]
pub struct Work<'a> {
    /// Its place in the order.
    pub instance: Instance,
    /// Its time, monotonic over instances, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its commands.
    pub commands: &'a [LocalCommand],
}

/// Executes single commands.
pub trait Executor: Sync {
    /// Executes a command at its revision and time.
    ///
    /// # Errors
    /// Faults of the storage: stop.
    fn execute(&self, command: &Command, revision: Revision, time_ms: u64) -> Result<Reply, Fault>;
}

/// Executes a batch in the caller's thread, one command after the other, and adds a reply for each, in their order. Those
/// that have one were executed: after a fault that passes, a second call goes on where the first one ended.
///
/// # Errors
/// Those of the executor.
pub fn execute_in_order(work: &Work<'_>, executor: &dyn Executor, replies: &mut Vec<Reply>) -> Result<(), Fault> {
    let executed = replies.len();
    replies.reserve(work.commands.len() - executed);
    let mut index = 0_u16;
    for (number, local) in work.commands.iter().enumerate() {
        if number >= executed {
            replies.push(executor.execute(&local.command, work.instance.revision(index), work.time_ms)?);
        }
        // Local reads have no revision of their own: they see what the ones before them wrote.
        if local.is_ordered && number + 1 < work.commands.len() {
            index = index.saturating_add(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Executor, Work, execute_in_order};
    use crate::batch::LocalCommand;
    use parking_lot::Mutex;
    use skink_engine::command::{Command, Reply};
    use skink_engine::error::Fault;
    use skink_engine::position::{Instance, Revision};

    struct Record(Mutex<Vec<(u16, bool)>>);

    impl Executor for Record {
        fn execute(&self, command: &Command, revision: Revision, _time_ms: u64) -> Result<Reply, Fault> {
            self.0.lock().push((revision.index(), command.is_read_only()));
            Ok(Reply::Done)
        }
    }

    #[test]
    fn ordered_commands_have_the_index_that_they_have_in_the_payload() {
        let local = |command, is_ordered| LocalCommand { command, is_ordered };
        let commands = [
            local(Command::Flush, true),
            local(Command::Count, false),
            local(Command::Flush, true),
            local(Command::Flush, true),
        ];
        let record = Record(Mutex::default());
        let work = Work { instance: Instance::ZERO.next(), time_ms: 0, commands: &commands };
        let mut replies = Vec::new();
        execute_in_order(&work, &record, &mut replies).unwrap();
        let indexes: Vec<u16> =
            record.0.into_inner().into_iter().filter(|(_, is_read)| !is_read).map(|(index, _)| index).collect();
        assert_eq!((indexes, replies.len()), (vec![0, 1, 2], 4));
    }
}
