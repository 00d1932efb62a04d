//! What the commands of a batch touch, in flat arrays that are filled again without allocating.

use skink_engine::command::{Access, Command, Footprint};
use skink_engine::key::KeyHash;

/// A key that a command touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The low 32 bits of its hash.
    pub digest: u32,
    /// How.
    pub access: Access,
}

/// What the commands of a batch touch, command by command.
#[derive(Debug, Clone, Default)]
pub struct Footprints {
    touches: Vec<Touch>,
    commands: Vec<Part>,
}

/// A command's part of the touches: it begins where the one before ends.
#[derive(Debug, Clone, Copy)]
struct Part {
    end: u32,
    is_everything: bool,
}

impl Footprints {
    /// What these commands touch.
    pub fn of<'c>(commands: impl IntoIterator<Item = &'c Command>, hash: impl Fn(&[u8]) -> KeyHash) -> Footprints {
        let mut footprints = Footprints::default();
        commands.into_iter().for_each(|command| footprints.push(command, &hash));
        footprints
    }

    /// Forgets all commands and keeps the memory.
    pub fn clear(&mut self) {
        self.touches.clear();
        self.commands.clear();
    }

    /// Adds a command.
    pub fn push(&mut self, command: &Command, hash: impl Fn(&[u8]) -> KeyHash) {
        let begin = self.touches.len();
        let touches = &mut self.touches;
        let footprint =
            command.footprint(&mut |key, access| touches.push(Touch { digest: hash(key).digest(), access }));
        self.end_command(begin, footprint == Footprint::Everything);
    }

    /// Adds a command that touches these keys.
    pub fn push_keys(&mut self, touches: impl IntoIterator<Item = Touch>) {
        let begin = self.touches.len();
        self.touches.extend(touches);
        self.end_command(begin, false);
    }

    /// Adds a command over everything.
    pub fn push_everything(&mut self) {
        self.end_command(self.touches.len(), true);
    }

    /// What the command touches is there from `begin` on: each digest stays once, with the strongest access.
    fn end_command(&mut self, begin: usize, is_everything: bool) {
        if is_everything {
            self.touches.truncate(begin);
        } else if self.touches.len() > begin + 1 {
            // Writes first among equal digests, so that the one that stays is the strongest.
            self.touches[begin..].sort_unstable_by(|left, right| right.cmp(left));
            let mut kept = begin;
            for next in begin + 1..self.touches.len() {
                if self.touches[next].digest != self.touches[kept].digest {
                    kept += 1;
                    self.touches[kept] = self.touches[next];
                }
            }
            self.touches.truncate(kept + 1);
        }
        self.commands.push(Part { end: self.touches.len() as u32, is_everything });
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are no commands.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands in their order: the keys of each, each digest once, or `None` for one over everything.
    pub fn commands(&self) -> impl Iterator<Item = Option<&[Touch]>> {
        let mut begin = 0;
        self.commands.iter().map(move |part| {
            let end = part.end as usize;
            let touches = &self.touches[begin..end];
            begin = end;
            (!part.is_everything).then_some(touches)
        })
    }

    /// What all commands together touch, in their order.
    pub fn touches(&self) -> &[Touch] {
        &self.touches
    }

    /// Whether one of the commands is over everything.
    pub fn has_everything(&self) -> bool {
        self.commands.iter().any(|part| part.is_everything)
    }
}

#[cfg(test)]
mod tests {
    use super::{Footprints, Touch};
    use skink_engine::command::{Access, Command, Put, PutMode, Transaction};
    use skink_engine::key::KeyHash;

    #[test]
    fn commands_touch_each_digest_once_with_the_strongest_access() {
        let hash = |key: &[u8]| KeyHash::of(key, 3);
        let read = |key: &'static str| Command::Read { key: key.into() };
        let write = |key: &'static str| Command::Put(Put::new(PutMode::Upsert, key, "1"));
        let transaction =
            |commands| Command::Transaction(Transaction { preconditions: Vec::new(), commands, all_or_nothing: true });
        let commands = [
            write("a"),
            transaction(vec![read("a"), read("b"), write("a"), read("a"), read("b")]),
            Command::Flush,
            transaction(vec![read("a"), Command::Count]),
            transaction(Vec::new()),
            read("b"),
        ];
        let touch = |key: &str, access| Touch { digest: hash(key.as_bytes()).digest(), access };
        let mut both = vec![touch("a", Access::Write), touch("b", Access::Read)];
        both.sort_unstable_by(|left, right| right.cmp(left));
        let expected = [
            Some(vec![touch("a", Access::Write)]),
            Some(both),
            None,
            None,
            Some(Vec::new()),
            Some(vec![touch("b", Access::Read)]),
        ];
        let mut footprints = Footprints::of(&commands, hash);
        assert!(footprints.commands().eq(expected.iter().map(Option::as_deref)));
        assert!(footprints.has_everything() && footprints.len() == 6);
        footprints.clear();
        footprints.push(&commands[0], hash);
        assert!(footprints.commands().eq(expected[..1].iter().map(Option::as_deref)) && !footprints.has_everything());
    }
}
