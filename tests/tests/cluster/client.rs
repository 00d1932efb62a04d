//! A client of one replica that remembers what was acknowledged, and what may have happened.
//!
//! A write whose reply is lost may take effect at any later time. So a client leaves its key alone from then on, and in the
//! end the key has the value before it or one of those that are in doubt. What it appends to its journals is in there once if
//! it was acknowledged, in its order, and at most once if it is in doubt.

use crate::counter::{self, Counter};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::Wire;
use skink_tests::wire::request;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Keys of a client at a time.
const SLOTS: usize = 8;
/// Commands that are sent without waiting for their replies, at most.
const PIPELINE: usize = 6;
/// Words in a journal.
const JOURNAL_LEN: usize = 150;
/// How long a reply may take: longer than any replica is paused.
const PATIENCE: Duration = Duration::from_secs(60);

type Value = Option<Vec<u8>>;

/// A command that was sent.
enum Sent {
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    Append {
        journal: Vec<u8>,
        word: u64,
    },
    Increment {
        floor: u64,
    },
    /// MULTI, SET, INCR, EXEC.
    Together {
        key: Vec<u8>,
        value: Vec<u8>,
        floor: u64,
    },
    ReadCounter {
        floor: u64,
    },
    ReadOwn {
        key: Vec<u8>,
    },
}

/// What became of a command.
enum Outcome {
    Done(Vec<u8>),
    /// It did not happen, and never will.
    Refused,
    /// Nobody knows.
    InDoubt,
}

/// Words of a journal.
#[derive(Default)]
struct Journal {
    acknowledged: Vec<u64>,
    in_doubt: BTreeSet<u64>,
}

/// A client with keys of its own.
pub struct Client {
    number: usize,
    replica: usize,
    address: String,
    random: StdRng,
    last: u64,
    /// Keys whose values are known.
    known: BTreeMap<Vec<u8>, Value>,
    /// Keys that may have one of these values.
    in_doubt: BTreeMap<Vec<u8>, BTreeSet<Value>>,
    /// Keys that are in use.
    slots: Vec<Vec<u8>>,
    journals: BTreeMap<Vec<u8>, Journal>,
    journal: Vec<u8>,
    acknowledged: u64,
}

impl Client {
    /// A client with this number, of this replica.
    pub fn new(number: usize, replica: usize, address: String, seed: u64) -> Client {
        let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        let mut client = Client {
            number,
            replica,
            address,
            random,
            last: 0,
            known: BTreeMap::new(),
            in_doubt: BTreeMap::new(),
            slots: Vec::new(),
            journals: BTreeMap::new(),
            journal: Vec::new(),
            acknowledged: 0,
        };
        client.slots = (0..SLOTS).map(|_| client.new_name("key")).collect();
        client.slots.iter().for_each(|key| drop(client.known.insert(key.clone(), None)));
        client.journal = client.new_name("journal");
        client
    }

    /// Whose client it is.
    pub fn replica(&self) -> usize {
        self.replica
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn new_name(&mut self, kind: &str) -> Vec<u8> {
        let number = self.next();
        format!("{kind}:{}:{number}", self.number).into_bytes()
    }

    /// Sends and receives until it is told to stop. What is acknowledged is counted.
    pub fn run(&mut self, counter: &Counter, acknowledged: &AtomicU64, must_stop: &AtomicBool) {
        let must_stop = || must_stop.load(Ordering::Relaxed);
        while !must_stop() {
            let Ok(mut wire) = Wire::try_connect(&self.address) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            wire.set_patience(PATIENCE);
            while !must_stop() && self.burst(&mut wire, counter) {
                acknowledged.fetch_add(std::mem::take(&mut self.acknowledged), Ordering::Relaxed);
            }
        }
    }

    /// Sends some commands and receives their replies; whether the connection holds.
    fn burst(&mut self, wire: &mut Wire, counter: &Counter) -> bool {
        let mut under_way = VecDeque::new();
        let mut bytes = Vec::new();
        for _ in 0..self.random.random_range(1..=PIPELINE) {
            let sent = self.any_command(counter);
            sent.encode(&mut bytes);
            under_way.push_back(sent);
        }
        let mut is_broken = wire.try_send(&bytes).is_err();
        let mut is_refused = false;
        for sent in under_way {
            let reply = (!is_broken).then(|| sent.receive(wire)).and_then(Result::ok);
            is_broken |= reply.is_none();
            let outcome = reply.map_or(Outcome::InDoubt, outcome);
            is_refused |= matches!(outcome, Outcome::Refused);
            self.learn(sent, outcome, counter);
        }
        if is_refused {
            // Whoever refuses does so at once.
            std::thread::sleep(Duration::from_millis(20));
        }
        !is_broken
    }

    fn any_slot(&mut self) -> Vec<u8> {
        let slot = self.random.random_range(0..SLOTS);
        self.slots[slot].clone()
    }

    fn any_value(&mut self) -> Vec<u8> {
        let number = self.next();
        let len = if self.random.random_ratio(1, 50) { 30_000 } else { self.random.random_range(0..300) };
        format!("{}:{number}:{}", self.number, "v".repeat(len)).into_bytes()
    }

    fn any_command(&mut self, counter: &Counter) -> Sent {
        match self.random.random_range(0..20) {
            0..6 => Sent::Set { key: self.any_slot(), value: self.any_value() },
            6 => Sent::Delete { key: self.any_slot() },
            7..9 => {
                let word = self.next();
                let journal = self.journals.entry(self.journal.clone()).or_default();
                if journal.acknowledged.len() + journal.in_doubt.len() >= JOURNAL_LEN {
                    self.journal = self.new_name("journal");
                }
                Sent::Append { journal: self.journal.clone(), word }
            }
            9..12 => Sent::Increment { floor: counter.sent() },
            12..14 => Sent::Together { key: self.any_slot(), value: self.any_value(), floor: counter.sent() },
            14..17 => Sent::ReadCounter { floor: counter.floor() },
            _ => Sent::ReadOwn { key: self.any_slot() },
        }
    }

    fn learn(&mut self, sent: Sent, outcome: Outcome, counter: &Counter) {
        let is_write = !matches!(sent, Sent::ReadCounter { .. } | Sent::ReadOwn { .. });
        self.acknowledged += u64::from(is_write && matches!(outcome, Outcome::Done(_)));
        match (sent, outcome) {
            (Sent::Set { key, value }, Outcome::Done(reply)) => {
                assert_eq!(reply, b"+OK\r\n");
                self.wrote(key, Some(value));
            }
            (Sent::Delete { key }, Outcome::Done(reply)) => {
                if let Some(value) = self.known.get(&key) {
                    let removed = u8::from(value.is_some());
                    assert_eq!(reply, format!(":{removed}\r\n").as_bytes(), "DEL {}", key.escape_ascii());
                }
                self.wrote(key, None);
            }
            (Sent::Append { journal, word }, Outcome::Done(_)) => {
                self.journals.entry(journal).or_default().acknowledged.push(word);
            }
            (Sent::Increment { floor }, Outcome::Done(reply)) => counter.incremented(floor, number(&reply[1..])),
            (Sent::Together { key, value, floor }, Outcome::Done(reply)) => {
                let count = reply.strip_prefix(b"*2\r\n+OK\r\n:").unwrap_or_else(|| panic!("{}", reply.escape_ascii()));
                counter.incremented(floor, number(count));
                self.wrote(key, Some(value));
            }
            (Sent::ReadCounter { floor }, Outcome::Done(reply)) => {
                counter.read(floor, bulk(&reply).map_or(0, |value| number(&value)));
            }
            (Sent::ReadOwn { key }, Outcome::Done(reply)) => {
                if let Some(value) = self.known.get(&key) {
                    assert!(bulk(&reply) == *value, "{}: {}", key.escape_ascii(), difference(&bulk(&reply), value));
                }
            }
            (Sent::Set { key, value }, Outcome::InDoubt) => self.may_have_written(key, Some(value)),
            (Sent::Delete { key }, Outcome::InDoubt) => self.may_have_written(key, None),
            (Sent::Append { journal, word }, Outcome::InDoubt) => {
                self.journals.entry(journal).or_default().in_doubt.insert(word);
            }
            (Sent::Together { key, value, .. }, Outcome::InDoubt) => self.may_have_written(key, Some(value)),
            (Sent::Increment { .. } | Sent::Together { .. }, Outcome::Refused) => counter.refused(),
            (_, Outcome::InDoubt | Outcome::Refused) => {}
        }
    }

    fn wrote(&mut self, key: Vec<u8>, value: Value) {
        match self.in_doubt.get_mut(&key) {
            Some(values) => drop(values.insert(value)),
            None => drop(self.known.insert(key, value)),
        }
    }

    fn may_have_written(&mut self, key: Vec<u8>, value: Value) {
        if let Some(before) = self.known.remove(&key) {
            self.in_doubt.insert(key.clone(), BTreeSet::from([before]));
            let new = self.new_name("key");
            self.known.insert(new.clone(), None);
            self.slots.iter_mut().filter(|slot| **slot == key).for_each(|slot| slot.clone_from(&new));
        }
        self.in_doubt.entry(key).or_default().insert(value);
    }

    /// Checks that a replica has what was acknowledged. What was in doubt is known after that.
    pub fn check(&mut self, wire: &mut Wire) {
        for (key, value) in &self.known {
            let found = bulk(&wire.call(&[b"GET", key]));
            assert!(found == *value, "{}: {}", key.escape_ascii(), difference(&found, value));
        }
        for (key, values) in std::mem::take(&mut self.in_doubt) {
            let found = bulk(&wire.call(&[b"GET", &key]));
            assert!(values.contains(&found), "{}: {} is none of them", key.escape_ascii(), shown(&found));
            self.known.insert(key, found);
        }
        for (key, journal) in &self.journals {
            let found = bulk(&wire.call(&[b"GET", key])).unwrap_or_default();
            journal.check(&key.escape_ascii().to_string(), &String::from_utf8(found).unwrap());
        }
    }
}

impl Journal {
    fn check(&self, name: &str, text: &str) {
        let mut acknowledged = self.acknowledged.iter();
        let mut seen = BTreeSet::new();
        for word in text.split_terminator(' ') {
            let word = number(word.as_bytes());
            assert!(seen.insert(word), "{name}: {word} was appended twice");
            if !self.in_doubt.contains(&word) {
                assert_eq!(acknowledged.next(), Some(&word), "{name}: words are missing or out of order");
            }
        }
        assert_eq!(acknowledged.next(), None, "{name}: words are missing at the end");
    }
}

impl Sent {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let counter = counter::KEY.as_bytes();
        match self {
            Sent::Set { key, value } => bytes.extend(request(&[b"SET", key, value])),
            Sent::Delete { key } => bytes.extend(request(&[b"DEL", key])),
            Sent::Append { journal, word } => {
                bytes.extend(request(&[b"APPEND", journal, format!("{word} ").as_bytes()]))
            }
            Sent::Increment { .. } => bytes.extend(request(&[b"INCR", counter])),
            Sent::Together { key, value, .. } => {
                bytes.extend(request(&[b"MULTI"]));
                bytes.extend(request(&[b"SET", key, value]));
                bytes.extend(request(&[b"INCR", counter]));
                bytes.extend(request(&[b"EXEC"]));
            }
            Sent::ReadCounter { .. } => bytes.extend(request(&[b"GET", counter])),
            Sent::ReadOwn { key } => bytes.extend(request(&[b"GET", key])),
        }
    }

    /// The reply that counts.
    fn receive(&self, wire: &mut Wire) -> std::io::Result<Vec<u8>> {
        if matches!(self, Sent::Together { .. }) {
            for _ in 0..3 {
                let reply = wire.try_reply()?;
                assert!(reply[0] == b'+', "{}", reply.escape_ascii());
            }
        }
        wire.try_reply()
    }
}

/// Whether a read was refused, as the replica can't be reached by a majority, or is not that far.
pub fn is_refused(reply: &str) -> bool {
    reply.starts_with("-CLUSTERDOWN ") || reply.starts_with("-TRYAGAIN ")
}

fn outcome(reply: Vec<u8>) -> Outcome {
    if reply[0] != b'-' {
        return Outcome::Done(reply);
    }
    let text = String::from_utf8_lossy(&reply).into_owned();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&["may still be executed", "may have been executed", "its reply is lost"]) {
        return Outcome::InDoubt;
    }
    // The third one is that of reads.
    let refusals =
        ["nothing of this request has happened", "has not got the state yet", "no majority of the", "shutting down"];
    let is_refusal = ["-DISKFULL ", "-TRYAGAIN "].iter().any(|code| text.starts_with(code));
    assert!(says(&refusals) || is_refusal, "{text}");
    Outcome::Refused
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).trim().parse().unwrap_or_else(|_| panic!("no number: {}", text.escape_ascii()))
}

/// The value in a reply.
fn bulk(reply: &[u8]) -> Value {
    if reply == b"$-1\r\n" {
        return None;
    }
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(reply[0], b'$', "{}", reply.escape_ascii());
    Some(reply[start..reply.len() - 2].to_vec())
}

fn shown(value: &Value) -> String {
    match value {
        None => "nothing".to_string(),
        Some(value) => value[..value.len().min(20)].escape_ascii().to_string(),
    }
}

fn difference(found: &Value, expected: &Value) -> String {
    format!("{}, not {}", shown(found), shown(expected))
}
