//! A client that remembers: what was acknowledged, and what it had sent when the connection broke.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::Wire;
use skink_tests::wire::request;
use std::collections::{BTreeMap, VecDeque};

/// What a client sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Short values.
    Usual,
    /// Long ones among them.
    Long,
    /// FLUSHALL now and then.
    Flushes,
}

/// Keys of a client.
const KEYS: usize = 40;
/// Commands that are sent without waiting for their replies, at most.
const PIPELINE: usize = 24;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A write.
#[derive(Clone, Debug)]
enum Write {
    Set(Vec<u8>, Vec<u8>),
    SetMany(Vec<(Vec<u8>, Vec<u8>)>),
    Append(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Increment(Vec<u8>),
    Flush,
    /// MULTI, its commands, EXEC.
    Together(Vec<Write>),
}

impl Write {
    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Write::Set(key, value) => bytes.extend(request(&[b"SET", key, value])),
            Write::SetMany(pairs) => {
                let words = pairs.iter().flat_map(|(key, value)| [key.as_slice(), value.as_slice()]);
                let words: Vec<&[u8]> = [b"MSET".as_slice()].into_iter().chain(words).collect();
                bytes.extend(request(&words));
            }
            Write::Append(key, value) => bytes.extend(request(&[b"APPEND", key, value])),
            Write::Delete(key) => bytes.extend(request(&[b"DEL", key])),
            Write::Increment(key) => bytes.extend(request(&[b"INCR", key])),
            Write::Flush => bytes.extend(request(&[b"FLUSHALL"])),
            Write::Together(writes) => {
                bytes.extend(request(&[b"MULTI"]));
                writes.iter().for_each(|write| write.encode(bytes));
                bytes.extend(request(&[b"EXEC"]));
            }
        }
    }

    /// Replies before the one that acknowledges it.
    fn replies_before(&self) -> usize {
        match self {
            Write::Together(writes) => writes.len() + 1,
            _ => 0,
        }
    }

    fn apply(&self, state: &mut State) {
        match self {
            Write::Set(key, value) => drop(state.insert(key.clone(), value.clone())),
            Write::SetMany(pairs) => state.extend(pairs.iter().cloned()),
            Write::Append(key, value) => state.entry(key.clone()).or_default().extend_from_slice(value),
            Write::Delete(key) => drop(state.remove(key)),
            Write::Increment(key) => {
                let number = state.get(key).map_or(0, |text| String::from_utf8_lossy(text).parse::<u64>().unwrap());
                state.insert(key.clone(), (number + 1).to_string().into_bytes());
            }
            Write::Flush => state.clear(),
            Write::Together(writes) => writes.iter().for_each(|write| write.apply(state)),
        }
    }
}

/// A client with keys of its own.
pub struct Client {
    number: u64,
    mix: Mix,
    random: StdRng,
    /// After all that was acknowledged.
    state: State,
    /// Sent, in this order, and not acknowledged.
    in_flight: VecDeque<Write>,
    acknowledged: u64,
}

impl Client {
    /// A client with this number.
    pub fn new(number: u64, seed: u64, mix: Mix) -> Client {
        let random = StdRng::seed_from_u64(seed.wrapping_add(number + 1));
        Client { number, mix, random, state: State::new(), in_flight: VecDeque::new(), acknowledged: 0 }
    }

    /// How much was acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn key(&self, index: usize) -> Vec<u8> {
        format!("client:{}:{index}", self.number).into_bytes()
    }

    fn counter(&self) -> Vec<u8> {
        format!("client:{}:counter", self.number).into_bytes()
    }

    fn any_key(&mut self) -> Vec<u8> {
        let index = self.random.random_range(0..KEYS);
        self.key(index)
    }

    fn any_value(&mut self) -> Vec<u8> {
        let is_long = self.mix != Mix::Usual && self.random.random_ratio(1, 10);
        let len = self.random.random_range(0..if is_long { 150_000 } else { 200 });
        let mut value = format!("{}:", self.acknowledged).into_bytes();
        let mut state: u64 = self.random.random();
        while value.len() < len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.extend_from_slice(&state.to_le_bytes());
        }
        value
    }

    fn any_write(&mut self) -> Write {
        match self.random.random_range(0..20) {
            0..8 => Write::Set(self.any_key(), self.any_value()),
            8..10 => Write::SetMany((0..3).map(|_| (self.any_key(), self.any_value())).collect()),
            10 => Write::Append(self.any_key(), b"appended".to_vec()),
            11..13 => Write::Delete(self.any_key()),
            13..17 => Write::Increment(self.counter()),
            17 if self.mix == Mix::Flushes => Write::Flush,
            18 if self.mix == Mix::Flushes => Write::Together(vec![
                Write::Set(self.any_key(), self.any_value()),
                Write::Flush,
                Write::Set(self.any_key(), self.any_value()),
            ]),
            _ => Write::Together(vec![
                Write::Set(self.any_key(), self.any_value()),
                Write::Increment(self.counter()),
                Write::Delete(self.any_key()),
            ]),
        }
    }

    /// Sends and receives until the connection breaks.
    pub fn run(&mut self, address: &str) {
        let Ok(mut wire) = Wire::try_connect(address) else { return };
        loop {
            let mut bytes = Vec::new();
            for _ in 0..self.random.random_range(1..=PIPELINE) {
                let write = self.any_write();
                write.encode(&mut bytes);
                self.in_flight.push_back(write);
            }
            if wire.try_send(&bytes).is_err() {
                return;
            }
            while let Some(write) = self.in_flight.front() {
                let mut reply = Vec::new();
                for _ in 0..=write.replies_before() {
                    match wire.try_reply() {
                        Ok(next) => reply = next,
                        Err(_) => return,
                    }
                }
                if reply[0] == b'-' {
                    let text = String::from_utf8_lossy(&reply);
                    assert!(text.contains("shutting down"), "{text}");
                    // Refused, so it must not have happened.
                    self.in_flight.pop_front();
                    continue;
                }
                write.apply(&mut self.state);
                self.acknowledged += 1;
                self.in_flight.pop_front();
            }
        }
    }

    /// Checks that the server has what was acknowledged and the first so many of the writes that were not.
    pub fn check(&mut self, wire: &mut Wire) {
        let mut keys: Vec<Vec<u8>> = (0..KEYS).map(|index| self.key(index)).collect();
        keys.push(self.counter());
        let mut found = State::new();
        for key in keys {
            let reply = wire.call(&[b"GET", &key]);
            if reply == b"$-1\r\n" {
                continue;
            }
            let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            assert_eq!(reply[0], b'$', "{}", reply.escape_ascii());
            found.insert(key, reply[start..reply.len() - 2].to_vec());
        }
        let mut differences = vec![difference(&self.state, &found)];
        while differences.last().is_some_and(Option::is_some) {
            let Some(write) = self.in_flight.pop_front() else {
                panic!(
                    "client {}: the state is none that it could be; compared with what was acknowledged: {}",
                    self.number,
                    differences[0].as_deref().unwrap_or_default()
                );
            };
            write.apply(&mut self.state);
            differences.push(difference(&self.state, &found));
        }
        self.in_flight.clear();
    }

    /// Checks that there are no keys but this client's.
    pub fn check_nothing_else(&self, wire: &mut Wire) {
        let keys = self.state.len();
        assert_eq!(wire.say("DBSIZE"), format!(":{keys}\\r\\n"));
        let found = wire.call(&[b"KEYS", b"*"]);
        assert!(found.starts_with(format!("*{keys}\r\n").as_bytes()), "{}", found.escape_ascii());
    }
}

fn difference(expected: &State, found: &State) -> Option<String> {
    let start = |value: Option<&Vec<u8>>| match value {
        None => "nothing".to_string(),
        Some(value) => format!("{} bytes, {}", value.len(), value[..value.len().min(20)].escape_ascii()),
    };
    let key = expected.keys().chain(found.keys()).find(|key| expected.get(*key) != found.get(*key))?;
    Some(format!("{}: {}, not {}", key.escape_ascii(), start(found.get(key)), start(expected.get(key))))
}
