//! The handshake at both ends, as machines without IO.
//!
//! ```text
//! dialer                                    acceptor
//!   hello: who, to whom, for what, nonce  ->
//!                                         <-  challenge: nonce
//!   claim: disk, agreement, proof         ->  is the proof right? may it come in?
//!   is the proof right?                   <-  welcome: disk, session, proof
//! ```
//!
//! The acceptor proves second: whoever connects learns nothing that it could try secrets against. Both proofs are over
//! all that was said before, so that nothing of it can be altered, and with a nonce of either end, so that nothing that
//! was recorded is worth anything.

use super::handshake::{Answer, Claim, Hello, Terms, Versions};
use super::secret::{Nonce, Prover, Secret, is_proven, prove};
use crate::paxos::ReplicaId;
use thiserror::Error;

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Failure {
    /// The other end doesn't follow the protocol: it is something else, or broken.
    #[error("it does not answer as a replica does: is this the address of one?")]
    Garbage,
    /// No common version.
    #[error(
        "it speaks versions {} to {} of the transport, and this replica {} to {}: update the older one",
        .0.oldest, .0.newest, Versions::OWN.oldest, Versions::OWN.newest
    )]
    Versions(Versions),
    /// The proof is wrong.
    #[error("it does not know the secret that this replica has: give all replicas of the cluster the same one")]
    Secret,
    /// The other end refused.
    #[error("it refused: {0}")]
    Refused(String),
}

impl Failure {
    /// What the other end is told, if that helps anybody.
    pub(super) fn refusal(&self, own: ReplicaId) -> Option<Answer> {
        let Versions { newest, oldest } = Versions::OWN;
        match self {
            Failure::Garbage | Failure::Refused(_) => None,
            Failure::Versions(_) => Some(Answer::Refusal(format!(
                "replica {own} speaks versions {oldest} to {newest} of the transport: update the older one"
            ))),
            Failure::Secret => Some(Answer::Refusal(format!(
                "replica {own} has another secret: give all replicas of the cluster the same one"
            ))),
        }
    }
}

/// The end that dialed.
#[derive(Debug)]
pub(super) struct Dialer {
    hello: Vec<u8>,
    claim: Claim,
    /// The challenge, and the claim's bytes, as they were said.
    said: Option<(Vec<u8>, Vec<u8>)>,
}

/// What the dialing end does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DialerStep {
    /// Send this, and wait.
    Say(Vec<u8>),
    /// The other end is what it says, and takes us for what we said.
    Done(Terms),
}

impl Dialer {
    /// A handshake, and its first message.
    pub(super) fn new(hello: &Hello, claim: Claim) -> (Dialer, Vec<u8>) {
        let hello = hello.encode(Versions::OWN);
        (Dialer { hello: hello.clone(), claim, said: None }, hello)
    }

    /// A message came.
    pub(super) fn receive(&mut self, message: &[u8], secret: Option<&Secret>) -> Result<DialerStep, Failure> {
        match (Answer::decode(message).ok_or(Failure::Garbage)?, &self.said) {
            (Answer::Refusal(text), _) => Err(Failure::Refused(text)),
            (Answer::Challenge(versions, _), None) => {
                if !Versions::OWN.overlap(versions) {
                    return Err(Failure::Versions(versions));
                }
                let claim = self.claim.encode();
                let proof = prove(secret, Prover::Dialer, &[&self.hello, message, &claim]);
                let answer = Claim::message(&claim, &proof);
                self.said = Some((message.to_vec(), claim));
                Ok(DialerStep::Say(answer))
            }
            (Answer::Welcome(proof, terms), Some((challenge, claim))) => {
                let said: [&[u8]; 4] = [&self.hello, challenge, claim, &terms.encode()];
                let is_proven = is_proven(secret, Prover::Acceptor, &said, &proof);
                if is_proven { Ok(DialerStep::Done(terms)) } else { Err(Failure::Secret) }
            }
            _ => Err(Failure::Garbage),
        }
    }
}

/// The end that accepted.
#[derive(Debug)]
pub(super) enum Acceptor {
    /// Nothing was said yet.
    Waiting,
    /// Challenged.
    Challenged {
        /// The hello.
        hello: Hello,
        /// It and the challenge, as they were said.
        said: [Vec<u8>; 2],
    },
}

/// What the accepting end does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptorStep {
    /// Send this, and wait.
    Say(Vec<u8>),
    /// The other end is what it says: decide whether it may come in.
    Decide(Applicant),
}

/// A replica that proved that it knows the secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Applicant {
    pub(super) hello: Hello,
    pub(super) claim: Claim,
    said: [Vec<u8>; 3],
}

impl Acceptor {
    /// A message came. The nonce is for one that needs a fresh one.
    pub(super) fn receive(
        &mut self,
        message: &[u8],
        secret: Option<&Secret>,
        nonce: impl FnOnce() -> Nonce,
    ) -> Result<AcceptorStep, Failure> {
        match std::mem::replace(self, Acceptor::Waiting) {
            Acceptor::Waiting => {
                let (versions, hello) = Hello::decode(message).ok_or(Failure::Garbage)?;
                if !Versions::OWN.overlap(versions) {
                    return Err(Failure::Versions(versions));
                }
                let hello = hello.ok_or(Failure::Garbage)?;
                let challenge = Answer::Challenge(Versions::OWN, nonce()).encode();
                *self = Acceptor::Challenged { hello, said: [message.to_vec(), challenge.clone()] };
                Ok(AcceptorStep::Say(challenge))
            }
            Acceptor::Challenged { hello, said: [first, challenge] } => {
                let (proof, claim) = Claim::split(message).ok_or(Failure::Garbage)?;
                if !is_proven(secret, Prover::Dialer, &[&first, &challenge, claim], proof) {
                    return Err(Failure::Secret);
                }
                let said = [first, challenge, claim.to_vec()];
                let claim = Claim::decode(claim).ok_or(Failure::Garbage)?;
                Ok(AcceptorStep::Decide(Applicant { hello, claim, said }))
            }
        }
    }
}

impl Applicant {
    /// The last message: it may come in.
    pub(super) fn welcome(&self, terms: Terms, secret: Option<&Secret>) -> Vec<u8> {
        let [hello, challenge, claim] = &self.said;
        let proof = prove(secret, Prover::Acceptor, &[hello, challenge, claim, &terms.encode()]);
        Answer::Welcome(proof, terms).encode()
    }
}
