//! What clients did and heard, and what it would mean if one client at a time did it.

use bytes::Bytes;
use std::collections::BTreeMap;

/// What a client asks of an object. An object is a key, or the accounts, which transactions touch together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Get,
    Set(Bytes),
    /// Sets it, and reads it in the same batch.
    SetAndGet(Bytes),
    Append(Bytes),
    Add(i64),
    Delete,
    /// Moves an amount between two accounts, in one transaction.
    Transfer {
        from: usize,
        to: usize,
        amount: i64,
    },
    /// The same, in a transaction that fails in the end.
    FailToTransfer,
    /// Reads all accounts at one point.
    GetAll,
}

/// What it hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Value(Option<Bytes>),
    Integer(i64),
    Integers(Vec<i64>),
    NotAnInteger,
    RolledBack,
}

/// An object's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    Value(Option<Bytes>),
    Accounts(Vec<i64>),
}

impl State {
    /// What an action does to it, and what it answers.
    pub fn after(&self, action: &Action) -> (State, Outcome) {
        match self {
            State::Value(value) => {
                let (value, outcome) = act_on_value(value.as_ref(), action);
                (State::Value(value), outcome)
            }
            State::Accounts(accounts) => {
                let mut accounts = accounts.clone();
                let outcome = match action {
                    Action::Transfer { from, to, amount } => {
                        accounts[*from] -= amount;
                        accounts[*to] += amount;
                        Outcome::Integers(vec![accounts[*from], accounts[*to]])
                    }
                    Action::FailToTransfer => Outcome::RolledBack,
                    _ => Outcome::Integers(accounts.clone()),
                };
                (State::Accounts(accounts), outcome)
            }
        }
    }
}

fn act_on_value(value: Option<&Bytes>, action: &Action) -> (Option<Bytes>, Outcome) {
    match action {
        Action::Set(new) => (Some(new.clone()), Outcome::Done),
        Action::SetAndGet(new) => (Some(new.clone()), Outcome::Value(Some(new.clone()))),
        Action::Append(more) => {
            let mut longer = value.map_or_else(Vec::new, |value| value.to_vec());
            longer.extend_from_slice(more);
            let len = longer.len() as i64;
            (Some(longer.into()), Outcome::Integer(len))
        }
        Action::Add(by) => {
            let present = value.map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse::<i64>().ok());
            match present {
                Some(present) => {
                    let sum = present + by;
                    (Some(Bytes::from(sum.to_string())), Outcome::Integer(sum))
                }
                None => (value.cloned(), Outcome::NotAnInteger),
            }
        }
        Action::Delete => (None, Outcome::Integer(i64::from(value.is_some()))),
        _ => (value.cloned(), Outcome::Value(value.cloned())),
    }
}

/// What is known of how a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was answered.
    Answered(Outcome),
    /// It may have taken effect, or may do so at any time after.
    Unknown,
    /// It has taken effect some time, but nobody heard the answer.
    Happened,
}

/// A call of a client.
#[derive(Debug, Clone)]
pub struct Call {
    pub action: Action,
    pub invoked: u64,
    /// When the client heard of it; what it heard.
    pub returned: u64,
    pub ending: Ending,
}

/// All calls, by object.
#[derive(Debug, Default)]
pub struct History {
    /// Counts what clients did and heard: it says what was before what.
    stamp: u64,
    objects: BTreeMap<String, Vec<Call>>,
}

impl History {
    /// The next moment.
    pub fn stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Takes note of a call that is over for its client.
    pub fn add(&mut self, object: &str, call: Call) {
        self.objects.entry(object.to_owned()).or_default().push(call);
    }

    pub fn objects(&self) -> impl Iterator<Item = (&String, &Vec<Call>)> {
        self.objects.iter()
    }
}
