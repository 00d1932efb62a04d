//! What must be there after a crash: the model after all acknowledged batches, and the one write that may have
//! become durable without an acknowledgement.

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use skink_engine::command::{Command, Put, PutMode, Reply};
use skink_engine::evaluate::Context;
use skink_engine::position::Instance;
use skink_engine::testing::model::Model;
use skink_engine::testing::strategies;

/// Longest value that the replica takes.
pub const MAX_VALUE_LEN: usize = 16 << 10;

/// Commands that are ordered together.
#[derive(Debug, Clone)]
pub struct Batch {
    pub instance: Instance,
    pub time_ms: u64,
    pub commands: Vec<Command>,
}

/// Body of a batch's ordering frame.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Header {
    pub instance: u64,
    pub time_ms: u64,
    /// Where the payload's frame is.
    pub payload: u64,
}

impl Batch {
    pub fn context(&self, index: usize) -> Context {
        context(self.instance, index, self.time_ms)
    }
}

pub fn context(instance: Instance, index: usize, now_ms: u64) -> Context {
    Context { revision: instance.revision(index as u16), now_ms, max_value_len: MAX_VALUE_LEN }
}

/// The state that every acknowledged batch gives, and what is on its way.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub model: Model,
    pub instance: Instance,
    pub time_ms: u64,
    /// In the write that is being made: all of it is there after a crash, or nothing of it.
    pub in_flight: Vec<Batch>,
}

impl Oracle {
    /// The write in flight is durable; answers with what its batches are answered with.
    pub fn acknowledge(&mut self) -> Vec<(Batch, Vec<Reply>)> {
        let mut answered = Vec::new();
        for batch in std::mem::take(&mut self.in_flight) {
            let commands = batch.commands.iter().enumerate();
            let replies = commands.map(|(index, command)| self.model.execute(command, batch.context(index))).collect();
            (self.instance, self.time_ms) = (batch.instance, batch.time_ms);
            answered.push((batch, replies));
        }
        answered
    }

    /// A replica came back with everything up to this instance.
    pub fn settle(&mut self, recovered: Instance) {
        let with_in_flight = self.in_flight.last().map_or(self.instance, |batch| batch.instance);
        if recovered == with_in_flight {
            self.acknowledge();
        }
        assert_eq!(recovered, self.instance, "what came back is neither without nor with the last write");
        self.in_flight.clear();
    }
}

/// Makes commands.
pub struct Commands {
    runner: TestRunner,
    strategy: BoxedStrategy<Command>,
    /// How many keys with long values there are; 0 for none.
    bulk_keys: u32,
}

impl Commands {
    pub fn new(random: &mut StdRng) -> Commands {
        let seed: [u8; 16] = random.random();
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &seed);
        let bulk_keys = if random.random_bool(0.4) { random.random_range(1..40) } else { 0 };
        Commands {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            strategy: strategies::command().prop_filter("nothing else can be logged", Command::is_flat).boxed(),
            bulk_keys,
        }
    }

    pub fn next(&mut self, random: &mut StdRng) -> Command {
        if self.bulk_keys > 0 && random.random_bool(0.6) {
            let key = format!("bulk{:03}", random.random_range(0..self.bulk_keys));
            if random.random_bool(0.1) {
                return Command::Delete { key: key.into(), condition: None };
            }
            // One length in half of the cases: such a version can take the place of the one before.
            let len = if random.random_bool(0.5) { MAX_VALUE_LEN / 2 } else { random.random_range(0..MAX_VALUE_LEN) };
            let value = vec![random.random::<u8>(); len];
            return Command::Put(Put::new(PutMode::Upsert, key, value));
        }
        match self.strategy.new_tree(&mut self.runner) {
            Ok(tree) => tree.current(),
            Err(reason) => panic!("no command: {reason}"),
        }
    }

    /// A write's batches.
    pub fn batches(&mut self, random: &mut StdRng, oracle: &Oracle) -> Vec<Batch> {
        let (mut instance, mut time_ms) = (oracle.instance, oracle.time_ms);
        let count = random.random_range(1..4);
        let batches = (0..count).map(|_| {
            instance = instance.next();
            time_ms += random.random_range(0..30);
            let commands = (0..random.random_range(1..4)).map(|_| self.next(random)).collect();
            Batch { instance, time_ms, commands }
        });
        batches.collect()
    }
}
