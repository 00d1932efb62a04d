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
#[cfg(test)]
pub(super) mod tests {
    use super::{Acceptor, AcceptorStep, Applicant, Dialer, DialerStep, Failure};
    use crate::paxos::{ReplicaId, SessionNumber};
    use crate::transport::handshake::{AgreementClaim, Answer, Claim, Hello, Purpose, Terms, Versions};
    use crate::transport::secret::Secret;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::new(number).unwrap()
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text).unwrap())
    }

    fn terms() -> Terms {
        Terms { incarnation: 5, session: SessionNumber::new(77) }
    }

    fn dialer(nonce: u8) -> (Dialer, Vec<u8>) {
        let hello = Hello { purpose: Purpose::Control, from: replica(2), to: replica(1), nonce: [nonce; 32] };
        Dialer::new(&hello, Claim { incarnation: 9, session: SessionNumber::new(70), agreement: None })
    }

    fn said(step: Result<AcceptorStep, Failure>) -> Vec<u8> {
        match step {
            Ok(AcceptorStep::Say(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn answered(step: Result<DialerStep, Failure>) -> Vec<u8> {
        match step {
            Ok(DialerStep::Say(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Who dials so, as the accepting end sees it.
    pub(in crate::transport) fn applicant(from: u8, to: u8, agreement: Option<AgreementClaim>) -> Applicant {
        let hello = Hello { purpose: Purpose::Control, from: replica(from), to: replica(to), nonce: [1; 32] };
        let claim = Claim { incarnation: 9, session: SessionNumber::new(70), agreement };
        let (mut dialer, hello) = Dialer::new(&hello, claim);
        let mut acceptor = Acceptor::Waiting;
        let challenge = said(acceptor.receive(&hello, None, || [2; 32]));
        let claim = answered(dialer.receive(&challenge, None));
        match acceptor.receive(&claim, None, || [3; 32]) {
            Ok(AcceptorStep::Decide(applicant)) => applicant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_ends_prove_that_they_know_the_secret() {
        let secret = secret("the secret of all");
        let (mut dialer, hello) = dialer(1);
        let mut acceptor = Acceptor::Waiting;
        let challenge = said(acceptor.receive(&hello, secret.as_ref(), || [2; 32]));
        let claim = answered(dialer.receive(&challenge, secret.as_ref()));
        let step = acceptor.receive(&claim, secret.as_ref(), || [3; 32]);
        let Ok(AcceptorStep::Decide(applicant)) = step else { panic!("{step:?}") };
        assert_eq!((applicant.hello.from, applicant.claim.incarnation), (replica(2), 9));
        let welcome = applicant.welcome(terms(), secret.as_ref());
        assert_eq!(dialer.receive(&welcome, secret.as_ref()), Ok(DialerStep::Done(terms())));
    }

    #[test]
    fn neither_end_takes_another_secret() {
        let (ours, theirs) = (secret("the secret of all"), secret("another secret..."));
        let (mut dialer, hello) = dialer(1);
        let mut acceptor = Acceptor::Waiting;
        let challenge = said(acceptor.receive(&hello, ours.as_ref(), || [2; 32]));
        let claim = answered(dialer.receive(&challenge, theirs.as_ref()));
        assert_eq!(acceptor.receive(&claim, ours.as_ref(), || [3; 32]), Err(Failure::Secret));
        // One who accepts anybody is not taken for a replica.
        let mut impostor =
            Acceptor::Challenged { hello: Hello::decode(&hello).unwrap().1.unwrap(), said: [hello, challenge] };
        let step = impostor.receive(&claim, theirs.as_ref(), || [3; 32]);
        let Ok(AcceptorStep::Decide(applicant)) = step else { panic!("{step:?}") };
        let welcome = applicant.welcome(terms(), None);
        assert_eq!(dialer.receive(&welcome, theirs.as_ref()), Err(Failure::Secret));
    }

    #[test]
    fn nothing_of_another_handshake_counts() {
        let secret = secret("the secret of all");
        let (mut dialer_one, hello) = dialer(1);
        let mut acceptor = Acceptor::Waiting;
        let challenge = said(acceptor.receive(&hello, secret.as_ref(), || [2; 32]));
        let claim = answered(dialer_one.receive(&challenge, secret.as_ref()));
        let Ok(AcceptorStep::Decide(applicant)) = acceptor.receive(&claim, secret.as_ref(), || [3; 32]) else {
            panic!("it is right")
        };
        let welcome = applicant.welcome(terms(), secret.as_ref());
        // To an acceptor, whose nonce is another one.
        let mut acceptor = Acceptor::Waiting;
        said(acceptor.receive(&hello, secret.as_ref(), || [4; 32]));
        assert_eq!(acceptor.receive(&claim, secret.as_ref(), || [5; 32]), Err(Failure::Secret));
        // To a dialer, whose nonce is another one.
        let (mut dialer_two, _) = dialer(6);
        answered(dialer_two.receive(&challenge, secret.as_ref()));
        assert_eq!(dialer_two.receive(&welcome, secret.as_ref()), Err(Failure::Secret));
    }

    #[test]
    fn nothing_that_was_said_can_be_altered() {
        let secret = secret("the secret of all");
        let (_, hello) = dialer(1);
        // The replica that is dialed, the purpose, a bit of the nonce, the newest version.
        for place in [hello.len() - 33, hello.len() - 35, hello.len() - 1, 8] {
            let (mut dialer, mut altered) = dialer(1);
            altered[place] ^= 2;
            let mut acceptor = Acceptor::Waiting;
            let challenge = said(acceptor.receive(&altered, secret.as_ref(), || [2; 32]));
            let claim = answered(dialer.receive(&challenge, secret.as_ref()));
            assert_eq!(acceptor.receive(&claim, secret.as_ref(), || [3; 32]), Err(Failure::Secret), "{place}");
        }
        for place in 0..2 {
            let (mut dialer, hello) = dialer(1);
            let mut acceptor = Acceptor::Waiting;
            let challenge = said(acceptor.receive(&hello, secret.as_ref(), || [2; 32]));
            let mut claim = answered(dialer.receive(&challenge, secret.as_ref()));
            // The incarnation, and the session.
            claim[32 + place] ^= 1;
            assert_eq!(acceptor.receive(&claim, secret.as_ref(), || [3; 32]), Err(Failure::Secret), "{place}");
        }
    }

    #[test]
    fn what_is_out_of_turn_is_garbage() {
        let (mut dialer, hello) = dialer(1);
        let challenge = said(Acceptor::Waiting.receive(&hello, None, || [2; 32]));
        let welcome = Answer::Welcome([0; 32], terms()).encode();
        assert_eq!(dialer.receive(&welcome, None), Err(Failure::Garbage), "before a challenge");
        answered(dialer.receive(&challenge, None));
        assert_eq!(dialer.receive(&challenge, None), Err(Failure::Garbage), "twice");
        assert_eq!(dialer.receive(&hello, None), Err(Failure::Garbage), "from one who dials, too");
        let mut acceptor = Acceptor::Waiting;
        assert_eq!(acceptor.receive(&challenge, None, || [2; 32]), Err(Failure::Garbage));
        assert_eq!(acceptor.receive(&hello[..hello.len() - 1], None, || [2; 32]), Err(Failure::Garbage));
        said(acceptor.receive(&hello, None, || [2; 32]));
        assert_eq!(acceptor.receive(b"short", None, || [2; 32]), Err(Failure::Garbage));
    }

    #[test]
    fn refusals_and_versions_are_told() {
        let later = Versions { newest: 9, oldest: 8 };
        let (mut dialer, hello) = dialer(1);
        let refusal = Answer::Refusal("no".into()).encode();
        assert_eq!(dialer.receive(&refusal, None), Err(Failure::Refused("no".into())));
        let challenge = Answer::Challenge(later, [0; 32]).encode();
        assert_eq!(dialer.receive(&challenge, None), Err(Failure::Versions(later)));
        let hello = [&hello[..8], &[9, 0, 8, 0], &hello[12..]].concat();
        let failure = Acceptor::Waiting.receive(&hello, None, || [2; 32]).unwrap_err();
        assert_eq!(failure, Failure::Versions(later));
        assert!(failure.to_string().contains("versions 8 to 9") && failure.to_string().contains("1 to 1"));
        let Some(Answer::Refusal(text)) = failure.refusal(replica(1)) else { panic!("it is told") };
        assert!(text.contains("replica 1 speaks versions 1 to 1"));
        assert_eq!(Failure::Garbage.refusal(replica(1)), None, "who is no replica is told nothing");
    }
}
