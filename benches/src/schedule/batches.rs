//! The batches that schedulers get: fifty commands each, which keys they touch drawn from a seed.

use crate::workload::{Random, Zipf};
use skink_engine::command::Access;
use skink_engine::key::KeyHash;
use skink_replication::scheduler::Touch;

/// Commands of a batch.
pub const COMMANDS: usize = 50;
/// Keys that commands with a conflict choose from.
pub const HOT_KEYS: u64 = 4;
/// Keys of the mixes that are not made of conflicts.
const KEYS: u64 = 500_000;
/// Keys of a transaction.
const TRANSACTION_KEYS: usize = 10;

/// Which keys commands touch; all of them write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mix {
    /// So many percent of the commands write one of [`HOT_KEYS`] keys, the others one that no other command touches.
    Conflicts(u32),
    /// One of 500,000 keys, the popular ones more often: Zipf's law with 0.99.
    Zipf,
    /// Ten of 500,000 keys, all alike.
    Transactions,
}

impl Mix {
    /// What it is called.
    pub fn name(self) -> String {
        match self {
            Mix::Conflicts(percent) => format!("{percent} % conflicts"),
            Mix::Zipf => "Zipf 0.99".to_owned(),
            Mix::Transactions => "transactions of 10 keys".to_owned(),
        }
    }
}

/// Draws the keys of commands.
#[derive(Debug, Clone)]
pub struct Draw {
    mix: Mix,
    random: Random,
    zipf: Zipf,
    next: u64,
}

impl Draw {
    /// Of a mix; the same for the same seed.
    pub fn new(mix: Mix, seed: u64) -> Draw {
        Draw { mix, random: Random::new(seed), zipf: Zipf::new(KEYS, 0.99), next: 1 << 40 }
    }

    /// The keys of the next command, as numbers.
    pub fn keys(&mut self) -> Vec<u64> {
        match self.mix {
            Mix::Conflicts(percent) if self.random.below(100) < u64::from(percent) => {
                vec![self.random.below(HOT_KEYS)]
            }
            Mix::Conflicts(_) => {
                self.next += 1;
                vec![self.next]
            }
            Mix::Zipf => vec![self.zipf.pick(&mut self.random)],
            Mix::Transactions => (0..TRANSACTION_KEYS).map(|_| self.random.below(KEYS)).collect(),
        }
    }

    /// What the commands of the next batch touch.
    pub fn batch(&mut self) -> Vec<Vec<Touch>> {
        let touch = |key: u64| Touch { digest: digest(key), access: Access::Write };
        (0..COMMANDS).map(|_| self.keys().into_iter().map(touch).collect()).collect()
    }
}

/// A key's digest.
pub fn digest(key: u64) -> u32 {
    KeyHash::of(&key.to_be_bytes(), 1).digest()
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, Draw, HOT_KEYS, Mix};

    #[test]
    fn mixes_are_what_they_are_called() {
        for percent in [0, 5, 50] {
            let mut draw = Draw::new(Mix::Conflicts(percent), 1);
            let keys: Vec<u64> = (0..20_000).flat_map(|_| draw.keys()).collect();
            let hot = keys.iter().filter(|key| **key < HOT_KEYS).count() as f64 / 20_000.0;
            assert!((hot - f64::from(percent) / 100.0).abs() < 0.02, "{hot} of {percent} %");
            let mut cold: Vec<u64> = keys.into_iter().filter(|key| *key >= HOT_KEYS).collect();
            let drawn = cold.len();
            cold.sort_unstable();
            cold.dedup();
            assert_eq!(cold.len(), drawn, "no other command touches it");
        }
        let batch = Draw::new(Mix::Transactions, 1).batch();
        assert!(batch.len() == COMMANDS && batch.iter().all(|touches| touches.len() == 10));
        let mut draw = Draw::new(Mix::Zipf, 1);
        let popular = (0..10_000).filter(|_| draw.keys() == [0]).count();
        assert!((500..1_000).contains(&popular), "{popular} of 10,000, by the law 718");
    }
}
