//! The batches that clients' commands went into. Each begins with a command of its own, by which it is known wherever it
//! turns up, whatever id it has there.

use skink_engine::command::{Command, Put, PutMode};
use skink_replication::batch::LocalCommand;
use std::collections::BTreeMap;

/// What became of a batch, as its proxy heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was heard yet, or that nobody knows.
    Open,
    Answered,
    /// It was refused: nothing of it has happened, and nothing will.
    Refused,
}

/// A batch that was handed in.
#[derive(Debug)]
pub struct Batch {
    pub commands: Vec<LocalCommand>,
    /// The operations in it, and how many of its commands each has.
    pub operations: Vec<(u64, usize)>,
    /// Where it was handed in, and in which life of that machine.
    pub at: usize,
    pub life: u64,
    pub proxy: u16,
    pub fate: Fate,
    /// Its proxy has heard of it.
    pub is_told: bool,
}

/// All batches, by number.
#[derive(Debug, Default)]
pub struct Batches {
    last: u64,
    batches: BTreeMap<u64, Batch>,
}

const TAG: &[u8] = b"tag/";

/// The command that tells which batch it is.
fn tag(at: usize, proxy: u16, number: u64) -> LocalCommand {
    let key = format!("tag/{at}/{proxy}");
    LocalCommand { command: Command::Put(Put::new(PutMode::Upsert, key, number.to_string())), is_ordered: true }
}

/// Which batch these commands are.
pub fn batch_of(commands: &[Command]) -> Option<u64> {
    match commands.first() {
        Some(Command::Put(put)) if put.key.starts_with(TAG) => std::str::from_utf8(&put.value).ok()?.parse().ok(),
        _ => None,
    }
}

impl Batches {
    /// A new batch with these operations' commands; answers with its number.
    pub fn add(&mut self, at: usize, life: u64, proxy: u16, operations: Vec<(u64, Vec<LocalCommand>)>) -> u64 {
        self.last += 1;
        let mut commands = vec![tag(at, proxy, self.last)];
        let mut parts = Vec::new();
        for (operation, own) in operations {
            parts.push((operation, own.len()));
            commands.extend(own);
        }
        self.batches.insert(
            self.last,
            Batch { commands, operations: parts, at, life, proxy, fate: Fate::Open, is_told: false },
        );
        self.last
    }

    pub fn commands(&self, number: u64) -> Option<&[LocalCommand]> {
        self.batches.get(&number).map(|batch| &batch.commands[..])
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Batch> {
        self.batches.get_mut(&number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Batch)> {
        self.batches.iter().map(|(number, batch)| (*number, batch))
    }
}
