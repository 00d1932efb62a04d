//! The cluster's secret, and how a replica proves that it knows it.
//!
//! The secret itself is never sent. A proof is an HMAC-SHA256 under it, over who proves and all that was said in the
//! handshake, both ends' nonces among it: it is worth nothing in another handshake, nor at the other end of this one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Bytes that both ends take part with, never used twice.
pub(super) type Nonce = [u8; 32];
/// A proof.
pub(super) type Proof = [u8; 32];

/// What all replicas of a cluster know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Fewest bytes: whoever sees a handshake can try secrets against it.
    pub const MIN_LEN: usize = 16;

    /// A secret, `None` if it is shorter than [`Secret::MIN_LEN`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Secret> {
        let bytes = bytes.into();
        (bytes.len() >= Secret::MIN_LEN).then_some(Secret(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Who proves: the proof of one end is none for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prover {
    Dialer,
    Acceptor,
}

/// A proof over what was said. Without a secret, everybody can make it.
pub(super) fn prove(secret: Option<&Secret>, prover: Prover, said: &[&[u8]]) -> Proof {
    state(secret, prover, said).finalize().into_bytes().into()
}

/// Whether a proof is the right one; takes as long for all wrong ones.
pub(super) fn is_proven(secret: Option<&Secret>, prover: Prover, said: &[&[u8]], proof: &Proof) -> bool {
    state(secret, prover, said).verify_slice(proof).is_ok()
}

fn state(secret: Option<&Secret>, prover: Prover, said: &[&[u8]]) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.map_or(&[], |secret| &secret.0)) else {
        unreachable!("keys of all lengths are taken")
    };
    mac.update(match prover {
        Prover::Dialer => b"skink transport dialer  ",
        Prover::Acceptor => b"skink transport acceptor",
    });
    // With their lengths, so that no two lists of parts are the same bytes.
    for part in said {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::{Prover, Secret, is_proven, prove};

    #[test]
    fn a_proof_is_for_one_secret_one_end_and_one_handshake() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let (ours, other) = (secret("a secret of ours"), secret("a secret of them"));
        let proof = prove(Some(&ours), Prover::Dialer, &[b"ab", b"c"]);
        assert!(is_proven(Some(&ours), Prover::Dialer, &[b"ab", b"c"], &proof));
        assert!(!is_proven(Some(&other), Prover::Dialer, &[b"ab", b"c"], &proof));
        assert!(!is_proven(None, Prover::Dialer, &[b"ab", b"c"], &proof));
        assert!(!is_proven(Some(&ours), Prover::Acceptor, &[b"ab", b"c"], &proof));
        assert!(!is_proven(Some(&ours), Prover::Dialer, &[b"a", b"bc"], &proof));
    }

    #[test]
    fn a_secret_is_long_and_is_not_shown() {
        assert_eq!(Secret::new("fifteen bytes.."), None);
        let secret = Secret::new("sixteen bytes...").unwrap();
        assert!(!format!("{secret:?}").contains("sixteen"));
    }
}
