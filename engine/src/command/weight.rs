//! What commands weigh: in the log, in the state, in their replies. Servers bound by it what they hold at a time.

use super::{Command, Condition, Pattern};
use bytes::Bytes;

impl Command {
    /// Bytes that the command takes in the log at most, encoded and with its keys' digests, for limits and batch sizes.
    ///
    /// A length or a number takes up to 10 bytes, a tag one, a digest 6: what is added to the bytes of keys and
    /// values is the sum of those, rounded up.
    pub fn size(&self) -> usize {
        let keys_len = |keys: &[Bytes]| keys.iter().map(|key| key.len() + 12).sum::<usize>();
        let condition_len = |condition: &Option<Condition>| match condition {
            Some(Condition::ValueIs(value)) => value.len() + 16,
            Some(Condition::RevisionIs(_)) => 16,
            None => 0,
        };
        32 + match self {
            Command::Put(put) => put.key.len() + put.value.len() + condition_len(&put.condition),
            Command::Delete { key, condition } => key.len() + condition_len(condition),
            Command::PutMany { entries, .. } => entries.iter().map(|(key, value)| key.len() + value.len() + 16).sum(),
            Command::Append { key, bytes } | Command::WritePart { key, bytes, .. } => key.len() + bytes.len(),
            Command::Increment { key, .. }
            | Command::SetExpiry { key, .. }
            | Command::Read { key }
            | Command::Length { key }
            | Command::TimeToLive { key }
            | Command::ReadPart { key, .. } => key.len(),
            Command::DeleteMany { keys }
            | Command::Sweep { keys }
            | Command::ReadMany { keys }
            | Command::Exists { keys } => keys_len(keys),
            Command::ReadRange(query) | Command::CountRange(query) => query.size(),
            Command::Scan { pattern, .. } => pattern.as_ref().map_or(0, Pattern::len),
            Command::Count | Command::Flush => 0,
            Command::Transaction(transaction) => {
                transaction.preconditions.iter().map(|precondition| precondition.key.len() + 24).sum::<usize>()
                    + transaction.commands.iter().map(Command::size).sum::<usize>()
            }
        }
    }

    /// Calls `visit` with the keys whose whole values are part of the reply, once for each time.
    pub fn answered_keys<'a>(&'a self, visit: &mut dyn FnMut(&'a Bytes)) {
        match self {
            Command::Read { key } | Command::ReadPart { key, .. } => visit(key),
            Command::ReadMany { keys } => keys.iter().for_each(visit),
            Command::Put(put) if put.return_previous => visit(&put.key),
            Command::Transaction(transaction) => {
                transaction.commands.iter().for_each(|command| command.answered_keys(visit));
            }
            _ => {}
        }
    }

    /// Bytes by which a value may become longer through the command, at most.
    pub fn growth(&self) -> u64 {
        match self {
            Command::WritePart { offset, bytes, .. } => offset.saturating_add(bytes.len() as u64),
            Command::Transaction(transaction) => {
                transaction.commands.iter().map(Command::growth).fold(0, u64::saturating_add)
            }
            command if command.is_read_only() => 0,
            command => command.size() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::{Command, Put, PutMode, Transaction};
    use bytes::Bytes;

    fn answered(command: &Command) -> Vec<Bytes> {
        let mut keys = Vec::new();
        command.answered_keys(&mut |key| keys.push(key.clone()));
        keys
    }

    #[test]
    fn what_comes_back_and_what_grows_is_counted() {
        let many = Command::ReadMany { keys: vec!["a".into(), "b".into(), "a".into()] };
        assert_eq!(answered(&many), ["a", "b", "a"]);
        let put = Put::new(PutMode::Upsert, "k", vec![1; 1000]);
        assert!(answered(&Command::Put(put.clone())).is_empty());
        let swap = Command::Put(Put { return_previous: true, ..put });
        assert!((1000..1100).contains(&swap.growth()));
        let long = Command::WritePart { key: "k".into(), offset: 1 << 20, bytes: "x".into() };
        assert_eq!(long.growth(), (1 << 20) + 1);
        let endless = Command::WritePart { key: "k".into(), offset: u64::MAX, bytes: "x".into() };
        let commands = vec![many, swap, long, endless];
        let all = Command::Transaction(Transaction { preconditions: vec![], commands, all_or_nothing: true });
        assert_eq!(answered(&all), ["a", "b", "a", "k"]);
        assert_eq!(all.growth(), u64::MAX);
        assert_eq!(Command::Read { key: "k".into() }.growth(), 0);
    }
}
