//! Batches: commands of many clients that travel, are ordered and are executed together.
//!
//! A payload is a flag byte (0 plain, 1 zstd), for zstd the plain length as 4 bytes (little-endian), then postcard's
//! encoding of the commands as a sequence.

use crate::compression::{self, Compression};
use crate::header::{Content, Digests};
use bytes::Bytes;
use skink_engine::command::{Command, Reply};
use skink_engine::key::KeyHash;
use skink_engine::position::Revision;
use thiserror::Error;

/// Most commands in a batch.
pub const MAX_COMMANDS: usize = Revision::MAX_BATCH_COMMANDS;
/// Longest plain payload that is decoded, in bytes; what one log file can hold is less.
const MAX_PLAIN_LEN: usize = 1 << 30;

/// Bytes of a batch's header in the log, and of what frames it, at most.
const HEADER_ROOM: usize = 1024;

/// What the commands of a batch may measure in all, by [`Command::size`], where a frame's body in the log has at most
/// so many bytes: such a batch fits the log, and can be decoded.
pub fn max_len(max_body_len: usize) -> usize {
    max_body_len.min(MAX_PLAIN_LEN) - HEADER_ROOM
}

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// A command of a batch, at the replica whose clients sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalCommand {
    /// The command.
    pub command: Command,
    /// Whether it is part of the payload. A read that waits for earlier writes of its connection is not: it is
    /// executed here, at its place among the batch's commands, and nowhere else.
    pub is_ordered: bool,
}

/// A batch at the replica that made it: its commands need no decoding here.
#[derive(Debug)]
pub struct LocalBatch {
    /// The proxy that made it.
    pub proxy: u32,
    /// The proxy's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The commands, local reads among them.
    pub commands: Vec<LocalCommand>,
    /// What goes into the header.
    pub content: Content,
    /// What travels.
    pub payload: Bytes,
}

/// Makes batches.
#[derive(Debug, Default)]
pub struct BatchEncoder {
    compression: Compression,
    plain: Vec<u8>,
}

impl BatchEncoder {
    /// Encodes the ordered ones of the commands: what goes into the header, and the payload.
    ///
    /// # Panics
    /// If there are more than [`MAX_COMMANDS`].
    pub fn encode(&mut self, commands: &[LocalCommand], hash: impl Fn(&[u8]) -> KeyHash) -> (Content, Bytes) {
        let ordered = || commands.iter().filter(|local| local.is_ordered).map(|local| &local.command);
        let count = ordered().count();
        assert!(count <= MAX_COMMANDS && ordered().all(Command::is_flat), "what is logged can be decoded again");
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        plain.push(PLAIN);
        plain = extend(plain, &(count as u32));
        for command in ordered() {
            plain = extend(plain, command);
        }
        let payload = match self.compression.compress(&plain[1..]) {
            Some(compressed) => {
                let mut payload = Vec::with_capacity(compressed.len() + 5);
                payload.push(ZSTD);
                payload.extend_from_slice(&((plain.len() - 1) as u32).to_le_bytes());
                payload.extend_from_slice(&compressed);
                Bytes::from(payload)
            }
            None => Bytes::copy_from_slice(&plain),
        };
        // Keep the buffer of usual batches, not that of a giant one.
        if plain.capacity() <= 1 << 20 {
            self.plain = plain;
        }
        let content = Content::Commands {
            payload_len: payload.len() as u32,
            payload_crc: crc32fast::hash(&payload),
            digests: Digests::of(ordered(), hash),
        };
        (content, payload)
    }
}

fn extend<T: serde::Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    match postcard::to_extend(value, bytes) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("commands can be encoded: {error}"),
    }
}

/// Why a payload can't be decoded.
#[derive(Debug, Error)]
#[error("a payload can't be decoded: {0}")]
pub struct PayloadError(String);

/// Decodes a payload.
///
/// # Errors
/// What is wrong with it. Nothing is allocated on the word of a length in it.
pub fn decode(payload: &[u8]) -> Result<Vec<Command>, PayloadError> {
    let fail = |what: String| PayloadError(what);
    let (flag, body) = payload.split_first().ok_or_else(|| fail("it is empty".into()))?;
    match *flag {
        PLAIN => decode_plain(body),
        ZSTD => {
            let (len, compressed) =
                body.split_first_chunk::<4>().ok_or_else(|| fail("it is cut off in its length".into()))?;
            let len = u32::from_le_bytes(*len) as usize;
            // zstd shrinks a run at most some 2^17 to 1: a length beyond that is no payload of ours.
            if len > MAX_PLAIN_LEN || len / (1 << 17) > compressed.len() {
                return Err(fail(format!("a plain length of {len}")));
            }
            decode_plain(&compression::decompress(compressed, len).map_err(fail)?)
        }
        other => Err(fail(format!("unknown form {other}"))),
    }
}

fn decode_plain(plain: &[u8]) -> Result<Vec<Command>, PayloadError> {
    let fail = |error: postcard::Error| PayloadError(error.to_string());
    let (count, mut rest) = postcard::take_from_bytes::<u32>(plain).map_err(fail)?;
    if count as usize > MAX_COMMANDS {
        return Err(PayloadError(format!("{count} commands, at most {MAX_COMMANDS} are allowed")));
    }
    let mut commands = Vec::new();
    for _ in 0..count {
        let (command, after) = postcard::take_from_bytes::<Command>(rest).map_err(fail)?;
        commands.push(command);
        rest = after;
    }
    if rest.is_empty() { Ok(commands) } else { Err(PayloadError(format!("{} bytes follow its commands", rest.len()))) }
}

/// Why a batch has no replies; but for [`Refusal::NoMajority`] and [`Refusal::Late`], nothing of it has happened or will.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No room on the disk.
    #[error("{0}")]
    DiskFull(String),
    /// No majority of the replicas could be reached in time. What was handed in may be executed later, or never.
    #[error("{0}")]
    NoMajority(String),
    /// It has its place in the order and will be executed, too late for whoever waits.
    #[error("{0}")]
    Late(String),
    /// This replica has not executed yet what must be seen. Nothing has happened.
    #[error("{0}")]
    CatchingUp(String),
    /// The replica stops.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// What became of a batch: a reply for each of its commands, or a refusal of all.
pub type BatchOutcome = Result<Vec<Reply>, Refusal>;

#[cfg(test)]
mod tests {
    use super::{BatchEncoder, LocalCommand, decode};
    use proptest::prelude::*;
    use skink_engine::command::Command;
    use skink_engine::key::KeyHash;
    use skink_engine::testing::strategies;

    /// Commands as clients can send them: a transaction in a transaction is refused before it comes here.
    fn commands(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Command>> {
        proptest::collection::vec(strategies::command(), len)
            .prop_map(|commands: Vec<Command>| commands.into_iter().filter(Command::is_flat).collect())
    }

    fn ordered(commands: &[Command]) -> Vec<LocalCommand> {
        commands.iter().map(|command| LocalCommand { command: command.clone(), is_ordered: true }).collect()
    }

    proptest! {
        #[test]
        fn a_payload_gives_its_commands_back(commands in commands(0..50), repeat in 1_usize..20) {
            let commands: Vec<Command> = std::iter::repeat_n(commands, repeat).flatten().collect();
            let mut local = ordered(&commands);
            local.push(LocalCommand { command: Command::Count, is_ordered: false });
            let (_, payload) = BatchEncoder::default().encode(&local, |key| KeyHash::of(key, 1));
            prop_assert_eq!(decode(&payload).unwrap(), commands);
        }

        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            // A few short inputs are payloads: what counts is that none panics or takes much memory.
            if let Ok(commands) = decode(&bytes) {
                prop_assert!(commands.len() <= bytes.len());
            }
        }

        #[test]
        fn a_cut_off_payload_is_an_error(commands in commands(1..20), cut in any::<proptest::sample::Index>()) {
            let (_, payload) = BatchEncoder::default().encode(&ordered(&commands), |key| KeyHash::of(key, 1));
            prop_assert!(decode(&payload[..cut.index(payload.len())]).is_err());
        }
    }
}
