//! Payloads of batches, which other replicas will send one day.

use skink_engine::command::{Command, Put, PutMode, Transaction};
use skink_engine::key::KeyHash;
use skink_replication::batch::{BatchEncoder, LocalCommand, decode};

fn encode(commands: &[Command]) -> Vec<u8> {
    let local: Vec<LocalCommand> =
        commands.iter().map(|command| LocalCommand { command: command.clone(), is_ordered: true }).collect();
    BatchEncoder::default().encode(&local, |key| KeyHash::of(key, 1)).1.to_vec()
}

/// What can be decoded can be encoded again.
pub fn payload(data: &[u8]) {
    if let Ok(commands) = decode(data) {
        let again = decode(&encode(&commands)).map_err(|error| error.to_string());
        assert_eq!(again, Ok(commands));
    }
}

/// Seeds of [`payload`].
pub fn seeds() -> Vec<Vec<u8>> {
    let put = Command::Put(Put::new(PutMode::Upsert, "key", "value"));
    let transaction = Command::Transaction(Transaction {
        preconditions: Vec::new(),
        commands: vec![put.clone(), Command::Count],
        all_or_nothing: true,
    });
    vec![
        encode(std::slice::from_ref(&put)),
        encode(&[transaction, Command::Increment { key: "n".into(), by: -1 }, Command::Flush]),
        encode(&vec![put; 200]),
    ]
}
