//! Headers: what the ordering needs to know of a batch.

use serde::{Deserialize, Serialize};
use skink_engine::command::{Access, Command, Footprint};
use skink_engine::key::KeyHash;

/// A batch's identity: the proxy that made it, which start of its process, which of its batches (O3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// The proxy.
    pub proxy: u32,
    /// The start of its process.
    pub incarnation: u64,
    /// From 1, without gaps.
    pub sequence: u64,
}

/// 32 bits of a key's hash, and how the batch touches the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyDigest {
    /// The digest.
    pub digest: u32,
    /// The strongest access of the batch's commands.
    pub access: Access,
}

/// Which keys a batch touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Digests {
    /// These, ascending, each once.
    Keys(Vec<KeyDigest>),
    /// Any: it conflicts with every other batch.
    Everything,
}

impl Digests {
    /// The digests of a batch's commands.
    pub fn of<'c>(commands: impl Iterator<Item = &'c Command>, hash: impl Fn(&[u8]) -> KeyHash) -> Digests {
        let mut keys = Vec::new();
        for command in commands {
            let footprint =
                command.footprint(&mut |key, access| keys.push(KeyDigest { digest: hash(key).digest(), access }));
            if footprint == Footprint::Everything {
                return Digests::Everything;
            }
        }
        // Writes last among equal digests, so that the one that stays is the strongest.
        keys.sort_unstable();
        keys.dedup_by(|later, kept| {
            let is_same = later.digest == kept.digest;
            if is_same {
                kept.access = kept.access.max(later.access);
            }
            is_same
        });
        Digests::Keys(keys)
    }
}

/// What a header stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Commands, in a payload that travels apart.
    Commands {
        /// Bytes of the payload as it travels.
        payload_len: u32,
        /// CRC-32 of those bytes.
        payload_crc: u32,
        /// The keys.
        digests: Digests,
    },
    /// Every replica takes a checkpoint here.
    CheckpointMarker,
}

/// A batch's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The batch's identity.
    pub id: BatchId,
    /// The proxy's clock when it made the batch, in milliseconds since 1970; made monotonic at delivery (E2).
    pub time_ms: u64,
    /// What it stands for.
    pub content: Content,
}

#[cfg(test)]
mod tests {
    use super::{Digests, KeyDigest};
    use skink_engine::command::{Access, Command, Put, PutMode};
    use skink_engine::key::KeyHash;

    #[test]
    fn digests_are_sorted_unique_and_keep_the_strongest_access() {
        let hash = |key: &[u8]| KeyHash::of(key, 1);
        let commands = [
            Command::Read { key: "a".into() },
            Command::Put(Put::new(PutMode::Upsert, "a", "1")),
            Command::Read { key: "a".into() },
            Command::Read { key: "b".into() },
        ];
        let mut expected = vec![
            KeyDigest { digest: hash(b"a").digest(), access: Access::Write },
            KeyDigest { digest: hash(b"b").digest(), access: Access::Read },
        ];
        expected.sort();
        assert_eq!(Digests::of(commands.iter(), hash), Digests::Keys(expected));
        let with_flush = [Command::Flush];
        assert_eq!(Digests::of(commands.iter().chain(&with_flush), hash), Digests::Everything);
    }
}
