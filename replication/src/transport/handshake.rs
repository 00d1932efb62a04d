//! The handshake's messages, and their encoding.
//!
//! Each is the body of a frame. Two come from the end that dialed, two from the one that accepted:
//!
//! ```text
//! hello      "SKINKREP", version (2 bytes), oldest version that is spoken (2), postcard of `Hello`
//! challenge  1, version (2), oldest version (2), nonce (32)
//! claim      proof (32), postcard of `Claim`
//! welcome    2, proof (32), postcard of `Terms`
//! refusal    0, text                                       in place of a challenge or a welcome
//! ```
//!
//! Hello, challenge and refusal begin alike in all versions to come, so that any two replicas can say that they don't
//! understand each other. What a cluster has agreed on is said after the dialing end has proven that it knows the secret,
//! or along with that proof. A stranger learns nothing but versions.

use super::event::Channel;
use super::secret::{Nonce, Proof};
use crate::paxos::{ReplicaId, SessionNumber};
use serde::{Deserialize, Serialize};

/// The version that is spoken.
pub const VERSION: u16 = 1;
/// The oldest version that is spoken.
pub const OLDEST_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"SKINKREP";
/// Longest message, in bytes.
pub(super) const MAX_MESSAGE_LEN: usize = 2048;
/// Longest text of a refusal, in bytes.
pub(super) const MAX_TEXT_LEN: usize = 1024;
/// Longest description of what a cluster agrees on, in bytes: a refusal names two.
pub(super) const MAX_DESCRIPTION_LEN: usize = 384;

/// The versions that a replica speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) newest: u16,
    pub(super) oldest: u16,
}

impl Versions {
    /// Ours.
    pub(super) const OWN: Versions = Versions { newest: VERSION, oldest: OLDEST_VERSION };

    /// Whether there is one that both speak.
    pub(super) fn overlap(self, other: Versions) -> bool {
        self.newest.min(other.newest) >= self.oldest.max(other.oldest)
    }

    fn encode(self) -> [u8; 4] {
        let ([n0, n1], [o0, o1]) = (self.newest.to_le_bytes(), self.oldest.to_le_bytes());
        [n0, n1, o0, o1]
    }

    fn decode([n0, n1, o0, o1]: [u8; 4]) -> Versions {
        Versions { newest: u16::from_le_bytes([n0, n1]), oldest: u16::from_le_bytes([o0, o1]) }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A session's first connection, for control messages.
    Control,
    /// Its second one, for heartbeats.
    Heartbeat,
    /// Its third one, for payloads.
    Payload,
    /// One discovery exchange.
    Discovery,
}

impl Purpose {
    /// The channel of a session that it is for.
    pub(super) fn channel(self) -> Option<Channel> {
        match self {
            Purpose::Control => Some(Channel::Control),
            Purpose::Heartbeat => Some(Channel::Heartbeat),
            Purpose::Payload => Some(Channel::Payload),
            Purpose::Discovery => None,
        }
    }
}

/// Who dials whom, for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    /// Who dials.
    pub(super) from: ReplicaId,
    /// Whom it takes the other end for.
    pub(super) to: ReplicaId,
    pub(super) nonce: Nonce,
}

/// What a cluster has agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AgreementClaim {
    pub(super) hash: [u8; 32],
    pub(super) description: String,
}

/// What the dialing end says of itself, along with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// What its disk is known by.
    pub(super) incarnation: u64,
    /// Of a control connection the lowest number that the session may have, of the others its number.
    pub(super) session: SessionNumber,
    /// None for discovery.
    pub(super) agreement: Option<AgreementClaim>,
}

/// What the accepting end says of itself, along with its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    /// What its disk is known by.
    pub(super) incarnation: u64,
    /// The session's number.
    pub(super) session: SessionNumber,
}

/// What the dialing end is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Refusal(String),
    Challenge(Versions, Nonce),
    Welcome(Proof, Terms),
}

const REFUSAL: u8 = 0;
const CHALLENGE: u8 = 1;
const WELCOME: u8 = 2;

impl Hello {
    pub(super) fn encode(&self, versions: Versions) -> Vec<u8> {
        extend([&MAGIC[..], &versions.encode()].concat(), self)
    }

    /// Whoever dials, and the versions it speaks. The rest of a hello of other versions can't be read.
    pub(super) fn decode(message: &[u8]) -> Option<(Versions, Option<Hello>)> {
        let (magic, rest) = message.split_first_chunk()?;
        let (versions, fields) = rest.split_first_chunk()?;
        (*magic == MAGIC).then(|| (Versions::decode(*versions), exact(fields)))
    }
}

impl Claim {
    /// The part that the proof is over.
    pub(super) fn encode(&self) -> Vec<u8> {
        extend(Vec::new(), self)
    }

    pub(super) fn message(claim: &[u8], proof: &Proof) -> Vec<u8> {
        [proof, claim].concat()
    }

    /// The proof, and the bytes that it is over.
    pub(super) fn split(message: &[u8]) -> Option<(&Proof, &[u8])> {
        message.split_first_chunk()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Claim> {
        exact(bytes).filter(|claim: &Claim| {
            claim.agreement.as_ref().is_none_or(|agreement| agreement.description.len() <= MAX_DESCRIPTION_LEN)
        })
    }
}

impl Terms {
    /// The part that the proof is over.
    pub(super) fn encode(&self) -> Vec<u8> {
        extend(Vec::new(), self)
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Refusal(text) => [&[REFUSAL][..], readable(text, MAX_TEXT_LEN).as_bytes()].concat(),
            Answer::Challenge(versions, nonce) => [&[CHALLENGE][..], &versions.encode(), nonce].concat(),
            Answer::Welcome(proof, terms) => [&[WELCOME][..], proof, &terms.encode()].concat(),
        }
    }

    pub(super) fn decode(message: &[u8]) -> Option<Answer> {
        let (kind, rest) = message.split_first()?;
        match *kind {
            REFUSAL => Some(Answer::Refusal(readable(&String::from_utf8_lossy(rest), MAX_TEXT_LEN))),
            CHALLENGE => {
                let (versions, nonce) = rest.split_first_chunk()?;
                // A later version may say more.
                Some(Answer::Challenge(Versions::decode(*versions), *nonce.first_chunk()?))
            }
            WELCOME => {
                let (proof, terms) = rest.split_first_chunk()?;
                Some(Answer::Welcome(*proof, exact(terms)?))
            }
            _ => None,
        }
    }
}

/// A text as it may stand in a log: on one line, and not longer than this.
pub(super) fn readable(text: &str, max_len: usize) -> String {
    let mut readable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    readable.truncate(readable.floor_char_boundary(max_len));
    readable
}

fn extend<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    match postcard::to_extend(value, bytes) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("messages can be encoded: {error}"),
    }
}

fn exact<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AgreementClaim, Answer, Claim, Hello, MAX_DESCRIPTION_LEN, MAX_MESSAGE_LEN, MAX_TEXT_LEN, Purpose, Terms,
        Versions,
    };
    use crate::paxos::{ReplicaId, SessionNumber};
    use proptest::prelude::*;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    #[test]
    fn messages_give_their_fields_back_and_are_short() {
        let hello = Hello { purpose: Purpose::Payload, from: replica(2), to: replica(15), nonce: [7; 32] };
        let message = hello.encode(Versions::OWN);
        assert_eq!(Hello::decode(&message), Some((Versions::OWN, Some(hello))));
        let agreement = AgreementClaim { hash: [9; 32], description: "d".repeat(MAX_DESCRIPTION_LEN) };
        let claim = Claim { incarnation: u64::MAX, session: SessionNumber::new(u64::MAX), agreement: Some(agreement) };
        let message = Claim::message(&claim.encode(), &[3; 32]);
        assert!(message.len() <= MAX_MESSAGE_LEN);
        let (proof, bytes) = Claim::split(&message).unwrap();
        assert_eq!((proof, Claim::decode(bytes)), (&[3; 32], Some(claim)));
        for answer in [
            Answer::Refusal("no".into()),
            Answer::Challenge(Versions { newest: 7, oldest: 3 }, [5; 32]),
            Answer::Welcome([1; 32], Terms { incarnation: 300, session: SessionNumber::new(1 << 50) }),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn a_hello_of_another_version_says_which() {
        let versions = Versions { newest: 9, oldest: 8 };
        let hello = Hello { purpose: Purpose::Control, from: replica(1), to: replica(2), nonce: [0; 32] };
        let message = [&hello.encode(versions)[..12], b"other fields"].concat();
        assert_eq!(Hello::decode(&message), Some((versions, None)));
        assert!(!Versions::OWN.overlap(versions) && !versions.overlap(Versions::OWN));
        assert!(Versions { newest: 9, oldest: 1 }.overlap(Versions::OWN));
        assert_eq!(Hello::decode(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn texts_are_short_and_on_one_line() {
        let long = Answer::Refusal(format!("a\nb\u{1b}[1m{}", "\u{e9}".repeat(MAX_TEXT_LEN)));
        let Some(Answer::Refusal(text)) = Answer::decode(&long.encode()) else { panic!("a refusal") };
        assert!(text.starts_with("a b [1m\u{e9}") && text.len() <= MAX_TEXT_LEN && text.len() >= MAX_TEXT_LEN - 1);
        let hostile = [&[0][..], &[0xff; 5000]].concat();
        let Some(Answer::Refusal(text)) = Answer::decode(&hostile) else { panic!("a refusal") };
        assert!(text.len() <= MAX_TEXT_LEN);
        let agreement = AgreementClaim { hash: [9; 32], description: "d".repeat(MAX_DESCRIPTION_LEN + 1) };
        let claim = Claim { incarnation: 1, session: SessionNumber::new(1), agreement: Some(agreement) };
        assert_eq!(Claim::decode(&claim.encode()), None);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Hello::decode(&bytes), Claim::decode(&bytes));
            if let Some(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(Answer::decode(&answer.encode()), Some(answer));
            }
        }
    }
}
