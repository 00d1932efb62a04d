//! A batch of which some commands are executed before all that is before it.

use crate::batch::LocalCommand;
use crate::executor::{Executor, Work};
use skink_engine::command::{Command, Footprint, Reply};
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use smallvec::SmallVec;
use std::collections::HashSet;

/// What the local reads of a batch touch, of which its header knows nothing.
pub(super) enum LocalReads {
    /// There are none.
    None,
    /// One key each; these are all keys that the batch touches, ascending.
    Keys(Box<[u32]>),
    /// More than one key: what is behind the batch must wait for it.
    Many,
}

impl LocalReads {
    pub(super) fn of(commands: &[LocalCommand], hash: impl Fn(&[u8]) -> KeyHash) -> LocalReads {
        let mut reads = commands.iter().filter(|local| !local.is_ordered).peekable();
        if reads.peek().is_none() {
            return LocalReads::None;
        }
        if !reads.all(|local| touches_of(&local.command, &hash).is_some_and(|keys| keys.len() <= 1)) {
            return LocalReads::Many;
        }
        let mut keys = Vec::new();
        for local in commands {
            let Some(touches) = touches_of(&local.command, &hash) else { return LocalReads::Many };
            keys.extend(touches.iter().map(|key| key.digest()));
        }
        keys.sort_unstable();
        keys.dedup();
        LocalReads::Keys(keys.into())
    }
}

/// A batch's commands, and what each of them touches.
pub(super) struct Loaded {
    commands: Vec<LocalCommand>,
    /// For each, how many before it are in the payload, which its revision is made of.
    indexes: Vec<u16>,
    /// Keys; `None` for everything.
    touches: Vec<Option<SmallVec<[KeyHash; 1]>>>,
    /// Bytes that it counts for.
    bytes: usize,
}

impl Loaded {
    pub(super) fn new(commands: Vec<LocalCommand>, hash: impl Fn(&[u8]) -> KeyHash) -> Loaded {
        let touches = commands.iter().map(|local| touches_of(&local.command, &hash)).collect();
        let bytes = commands.iter().map(|local| local.command.size() + size_of::<LocalCommand>()).sum();
        let mut ordered = 0_u16;
        let indexes = commands.iter().map(|local| {
            let index = ordered;
            ordered = ordered.saturating_add(u16::from(local.is_ordered));
            index
        });
        let indexes = indexes.collect();
        Loaded { commands, indexes, touches, bytes }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The commands that touch a key.
    pub(super) fn touching(&self, digest: u32) -> impl Iterator<Item = usize> {
        let touches = self.touches.iter().enumerate();
        touches
            .filter(move |(_, touches)| {
                touches.as_ref().is_some_and(|keys| keys.iter().any(|key| key.digest() == digest))
            })
            .map(|(number, _)| number)
    }

    /// What a command touches; `None` for everything.
    pub(super) fn touches(&self, number: usize) -> Option<&[KeyHash]> {
        self.touches.get(number)?.as_deref()
    }

    /// Whether a command needs nothing of what there is of its keys.
    pub(super) fn is_blind(&self, number: usize) -> bool {
        self.commands.get(number).is_some_and(|local| local.command.is_blind())
    }

    /// All that its commands touch, each once; `None` if one of them touches everything.
    pub(super) fn all_touches(&self) -> Option<Vec<u32>> {
        let mut digests = Vec::new();
        for touches in &self.touches {
            digests.extend(touches.as_ref()?.iter().map(|key| key.digest()));
        }
        digests.sort_unstable();
        digests.dedup();
        Some(digests)
    }
}

/// The keys of a command; `None` for everything.
pub(super) fn touches_of(command: &Command, hash: &impl Fn(&[u8]) -> KeyHash) -> Option<SmallVec<[KeyHash; 1]>> {
    let mut keys = SmallVec::new();
    let footprint = command.footprint(&mut |key, _| keys.push(hash(key)));
    (footprint == Footprint::Keys).then_some(keys)
}

/// What is executed of a batch.
#[derive(Default)]
pub(super) struct Part {
    /// The keys of which nothing is left.
    settled: HashSet<u32>,
    /// By command; empty while nothing is executed.
    done: Vec<bool>,
    left: usize,
    /// The commands, as long as there is room for them.
    pub(super) loaded: Option<Loaded>,
    /// The replies that somebody here waits for.
    replies: Option<Vec<Option<Reply>>>,
}

impl Part {
    /// Takes the commands in; whether somebody waits for their replies.
    pub(super) fn load(&mut self, loaded: Loaded, is_own: bool) {
        let count = loaded.commands.len();
        if self.done.is_empty() {
            (self.done, self.left) = (vec![false; count], count);
            self.replies = is_own.then(|| vec![None; count]);
        }
        self.loaded = Some(loaded);
    }

    pub(super) fn is_settled(&self, digest: u32) -> bool {
        self.is_whole() || self.settled.contains(&digest)
    }

    /// All commands that touch this key are executed.
    pub(super) fn settle(&mut self, digest: u32) {
        match self.is_whole() {
            true => self.settled = HashSet::new(),
            false => drop(self.settled.insert(digest)),
        }
    }

    pub(super) fn is_done(&self, number: usize) -> bool {
        self.done.get(number).copied().unwrap_or(false)
    }

    /// Whether all of it is executed.
    pub(super) fn is_whole(&self) -> bool {
        self.left == 0 && !self.done.is_empty()
    }

    /// Whether anything of it is executed.
    pub(super) fn is_begun(&self) -> bool {
        self.left < self.done.len()
    }

    /// Executes one of the commands, unless it is.
    ///
    /// # Errors
    /// Those of the executor; it is not executed then.
    pub(super) fn execute(&mut self, number: usize, work: &Work<'_>, executor: &dyn Executor) -> Result<(), Fault> {
        let Some(loaded) = self.loaded.as_ref().filter(|_| !self.is_done(number)) else { return Ok(()) };
        let Some(local) = loaded.commands.get(number) else { return Ok(()) };
        let reply = executor.execute(&local.command, work.instance.revision(loaded.indexes[number]), work.time_ms)?;
        if let Some(slot) = self.replies.as_mut().and_then(|replies| replies.get_mut(number)) {
            *slot = Some(reply);
        }
        self.done[number] = true;
        self.left -= 1;
        Ok(())
    }

    /// Executes what is left, in order.
    ///
    /// # Errors
    /// Those of the executor; what was executed before stays so.
    pub(super) fn execute_rest(&mut self, work: &Work<'_>, executor: &dyn Executor) -> Result<(), Fault> {
        (0..self.done.len()).try_for_each(|number| self.execute(number, work, executor))
    }

    /// The replies, in the order of the commands; `None` before all are executed, or if nobody waited for them.
    pub(super) fn take_replies(&mut self) -> Option<Vec<Reply>> {
        if !self.is_whole() {
            return None;
        }
        self.replies.take()?.into_iter().collect()
    }

    /// Number of commands; 0 if they were never here.
    pub(super) fn len(&self) -> usize {
        self.done.len()
    }
}
