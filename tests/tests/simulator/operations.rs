//! What clients ask for: as commands, as actions for the history, and what the replies mean.

use crate::history::{Action, Outcome};
use crate::random::Random;
use bytes::Bytes;
use skink_engine::command::{Command, CommandError, Expiry, ExpiryRule, Put, PutMode, Reply, Transaction, Versioned};
use skink_replication::batch::LocalCommand;

/// Accounts that transfers go between.
pub const ACCOUNTS: usize = 4;
/// Of values that are longer, the history has their beginning and their length.
const LONG: usize = 256;

/// Something that a client wants.
#[derive(Debug, Clone)]
pub struct Request {
    /// The object, and what is done to it, if that is checked.
    pub tracked: Option<(String, Action)>,
    pub commands: Vec<LocalCommand>,
}

impl Request {
    /// The one command of a request that only reads.
    pub fn read(&self) -> Option<&Command> {
        match &self.commands[..] {
            [one] if one.command.is_read_only() => Some(&one.command),
            _ => None,
        }
    }

    pub fn only_deletes(&self) -> bool {
        self.commands.iter().all(|local| local.command.only_deletes())
    }
}

fn ordered(command: Command) -> LocalCommand {
    LocalCommand { command, is_ordered: true }
}

fn put(key: &str, value: Bytes) -> Command {
    Command::Put(Put::new(PutMode::Upsert, key.to_owned(), value))
}

fn account(number: usize) -> Bytes {
    Bytes::from(format!("account/{number}"))
}

fn shown(value: &Bytes) -> Bytes {
    if value.len() <= LONG {
        return value.clone();
    }
    let mut shown = value[..32].to_vec();
    shown.extend_from_slice(value.len().to_string().as_bytes());
    shown.into()
}

/// Something at random. `number` makes what is written unique.
pub fn random_request(random: &mut Random, number: u64) -> Request {
    match random.below(100) {
        0..50 => on_value(random, number),
        50..56 => on_long_value(random, number),
        56..86 => on_accounts(random),
        _ => expiring(random, number),
    }
}

fn on_value(random: &mut Random, number: u64) -> Request {
    let object = format!("key/{}", random.below(8));
    let key = Bytes::from(object.clone());
    let value = Bytes::from(format!("v{number}."));
    let (action, commands) = match random.below(100) {
        0..45 => (Action::Get, vec![ordered(Command::Read { key })]),
        45..60 => (Action::Set(value.clone()), vec![ordered(put(&object, value))]),
        60..65 => {
            let read = LocalCommand { command: Command::Read { key }, is_ordered: false };
            (Action::SetAndGet(value.clone()), vec![ordered(put(&object, value)), read])
        }
        65..80 => (Action::Append(value.clone()), vec![ordered(Command::Append { key, bytes: value })]),
        80..90 => (Action::Add(1), vec![ordered(Command::Increment { key, by: 1 })]),
        _ => (Action::Delete, vec![ordered(Command::Delete { key, condition: None })]),
    };
    Request { tracked: Some((object, action)), commands }
}

fn on_long_value(random: &mut Random, number: u64) -> Request {
    let object = format!("long/{}", random.below(6));
    if random.percent(40) {
        let command = Command::Read { key: Bytes::from(object.clone()) };
        return Request { tracked: Some((object, Action::Get)), commands: vec![ordered(command)] };
    }
    let len = random.between(300, 24 << 10) as usize;
    let mut value = format!("{number:032}").into_bytes();
    // Noise, which does not get shorter on the way.
    let mut noise = Random::new(number);
    while value.len() < len {
        value.extend_from_slice(&noise.below(1 << 48).to_le_bytes()[..6]);
    }
    let value = Bytes::from(value);
    let action = Action::Set(shown(&value));
    Request { tracked: Some((object.clone(), action)), commands: vec![ordered(put(&object, value))] }
}

fn on_accounts(random: &mut Random) -> Request {
    let object = "accounts".to_owned();
    if random.percent(40) {
        let keys = (0..ACCOUNTS).map(account).collect();
        let commands = vec![ordered(Command::ReadMany { keys })];
        return Request { tracked: Some((object, Action::GetAll)), commands };
    }
    let from = random.below(ACCOUNTS as u64) as usize;
    let to = (from + 1 + random.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
    let amount = random.between(1, 9) as i64;
    let mut commands = vec![
        Command::Increment { key: account(from), by: -amount },
        Command::Increment { key: account(to), by: amount },
    ];
    let action = if random.percent(10) {
        // There is no such key: the transaction fails in the end.
        commands.push(Command::Put(Put::new(PutMode::Update, "account/none", "")));
        Action::FailToTransfer
    } else {
        Action::Transfer { from, to, amount }
    };
    let transaction = Transaction { preconditions: Vec::new(), commands, all_or_nothing: true };
    Request { tracked: Some((object, action)), commands: vec![ordered(Command::Transaction(transaction))] }
}

/// Keys that expire by the time of the order: what clients see of them is not checked, the states of the replicas are.
fn expiring(random: &mut Random, number: u64) -> Request {
    let key = Bytes::from(format!("expiring/{}", random.below(10)));
    let expiry = Expiry::InMs(random.between(1, 3000) as i64 - 100);
    let command = match random.below(3) {
        0 => Command::SetExpiry { key, expiry, rule: ExpiryRule::IfSome },
        1 => Command::Append { key, bytes: Bytes::from(format!("{number} ")) },
        _ => Command::Put(Put { expiry, ..Put::new(PutMode::Upsert, key, number.to_string()) }),
    };
    Request { tracked: None, commands: vec![ordered(command)] }
}

/// What a client makes of the replies to its commands.
pub fn outcome_of(action: &Action, replies: &[Reply]) -> Result<Outcome, String> {
    let outcome = match (action, replies) {
        (Action::Set(_), [Reply::Written(_)]) => Some(Outcome::Done),
        (Action::Get, [value]) | (Action::SetAndGet(_), [Reply::Written(_), value]) => {
            value_of(value).map(Outcome::Value)
        }
        (Action::Append(_) | Action::Add(_) | Action::Delete, [Reply::Integer(number)]) => {
            Some(Outcome::Integer(*number))
        }
        (Action::Add(_), [Reply::Failed(CommandError::NotAnInteger)]) => Some(Outcome::NotAnInteger),
        (Action::FailToTransfer, [Reply::RolledBack { .. }]) => Some(Outcome::RolledBack),
        (Action::Transfer { .. }, [Reply::Transaction(sums)]) => {
            let integer = |reply: &Reply| match reply {
                Reply::Integer(number) => Some(*number),
                _ => None,
            };
            sums.iter().map(integer).collect::<Option<Vec<i64>>>().map(Outcome::Integers)
        }
        (Action::GetAll, [Reply::Values(values)]) => {
            values.iter().map(balance).collect::<Option<Vec<i64>>>().map(Outcome::Integers)
        }
        _ => None,
    };
    outcome.ok_or_else(|| format!("REPLY: {action:?} is answered with {replies:?}"))
}

fn value_of(reply: &Reply) -> Option<Option<Bytes>> {
    match reply {
        Reply::Missing => Some(None),
        Reply::Value(version) => Some(Some(shown(&version.value))),
        _ => None,
    }
}

fn balance(value: &Option<Versioned>) -> Option<i64> {
    match value {
        None => Some(0),
        Some(version) => std::str::from_utf8(&version.value).ok()?.parse().ok(),
    }
}
