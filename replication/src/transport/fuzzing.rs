//! Entrances for fuzzing and for golden tests: what may come from anybody, without sockets.
//!
//! Checksums and proofs are put right first, as no fuzzer would guess them: what is tried is what lies behind.

use super::agreement::{Agreement, admit, check_address};
use super::frame::{self, FrameDecoder, FrameError};
use super::handshake::{Answer, Claim, Hello, Purpose, Terms, Versions};
use super::negotiation::{Acceptor, AcceptorStep, Applicant, Dialer, DialerStep};
use super::secret::{Prover, Secret, prove};
use crate::paxos::{ReplicaId, SessionNumber};
use bytes::Bytes;
use std::collections::BTreeMap;

const MAX_BODY_LEN: usize = 4096;

fn replica(number: u8) -> ReplicaId {
    match ReplicaId::new(number) {
        Some(replica) => replica,
        None => unreachable!("{number} is a replica's number"),
    }
}

/// A frame around this body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    [&frame::head(&[body])[..], body].concat()
}

fn decode<'d>(pieces: impl Iterator<Item = &'d [u8]>) -> (Vec<Bytes>, Option<FrameError>) {
    let (mut decoder, mut bodies) = (FrameDecoder::new(MAX_BODY_LEN), Vec::new());
    for mut piece in pieces {
        loop {
            assert!(decoder.missing() > 0, "something is always missing before the next frame");
            match decoder.decode(&mut piece) {
                Ok(Some(body)) => bodies.push(body),
                Ok(None) => break,
                Err(error) => return (bodies, Some(error)),
            }
        }
    }
    (bodies, None)
}

/// The same bodies come out of a stream as a whole and in pieces; the first byte says how long those are. They go in again.
pub fn frames(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = decode(std::iter::once(bytes));
    assert_eq!(whole, decode(bytes.chunks(usize::from(step).max(1))));
    let again: Vec<u8> = whole.0.iter().flat_map(|body| frame(body)).collect();
    assert!(bytes.starts_with(&again), "there is one encoding of a body");
}

/// The messages of a good handshake, in their order; the first and the third one come from the end that dialed.
pub fn conversation() -> [Vec<u8>; 4] {
    let hello = Hello { purpose: Purpose::Control, from: replica(2), to: replica(1), nonce: [0xd1; 32] };
    let agreement = Some(agreement().claim());
    let (mut dialer, hello) =
        Dialer::new(&hello, Claim { incarnation: 300, session: SessionNumber::new(1 << 50), agreement });
    let mut acceptor = Acceptor::Waiting;
    let Ok(AcceptorStep::Say(challenge)) = acceptor.receive(&hello, secret().as_ref(), || [0xac; 32]) else {
        unreachable!("a good hello")
    };
    let Ok(DialerStep::Say(claim)) = dialer.receive(&challenge, secret().as_ref()) else {
        unreachable!("a good challenge")
    };
    let Ok(AcceptorStep::Decide(applicant)) = acceptor.receive(&claim, secret().as_ref(), || [0; 32]) else {
        unreachable!("a good claim")
    };
    let welcome = applicant.welcome(terms(), secret().as_ref());
    assert_eq!(dialer.receive(&welcome, secret().as_ref()), Ok(DialerStep::Done(terms())));
    [hello, challenge, claim, welcome]
}

/// A refusal with this text.
pub fn refusal(text: &str) -> Vec<u8> {
    Answer::Refusal(text.to_owned()).encode()
}

/// Whether an accepting end takes these two messages as those of a good handshake, where it drew the nonce of
/// [`conversation`].
pub fn is_taken(hello: &[u8], claim: &[u8]) -> bool {
    let mut acceptor = Acceptor::Waiting;
    acceptor.receive(hello, secret().as_ref(), || [0xac; 32]).is_ok()
        && matches!(acceptor.receive(claim, secret().as_ref(), || [0; 32]), Ok(AcceptorStep::Decide(_)))
}

fn secret() -> Option<Secret> {
    Secret::new("a secret for golden files")
}

fn agreement() -> Agreement {
    Agreement::new(b"agreement", "a description")
}

fn terms() -> Terms {
    Terms { incarnation: 7, session: SessionNumber::new((1 << 50) + 1) }
}

/// Two messages, the first one of the length that the first byte says, at either end of a connection: as they are, and with
/// checksums and proofs that are right.
pub fn handshake(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(usize::from(len).min(rest.len()));
    at_acceptor(first, second);
    at_dialer(first, second);
}

fn at_acceptor(first: &[u8], second: &[u8]) {
    let secret = secret();
    let mut acceptor = Acceptor::Waiting;
    let challenge = match acceptor.receive(first, secret.as_ref(), || [1; 32]) {
        Ok(AcceptorStep::Say(challenge)) => challenge,
        Ok(AcceptorStep::Decide(applicant)) => unreachable!("nothing was proven: {applicant:?}"),
        Err(failure) => return drop(failure.refusal(replica(1))),
    };
    let proof = prove(secret.as_ref(), Prover::Dialer, &[first, &challenge, second]);
    let step = acceptor.receive(&Claim::message(second, &proof), secret.as_ref(), || [2; 32]);
    let Ok(AcceptorStep::Decide(applicant)) = step else { return };
    let peers = BTreeMap::from([(replica(2), ()), (replica(3), ())]);
    for number in [1, 2] {
        let refused = check_address(&applicant, replica(number))
            .and_then(|()| admit(&applicant, replica(number), Some(&agreement()), &peers));
        if let Err(text) = refused {
            let Some(Answer::Refusal(told)) = Answer::decode(&refusal(&text)) else { unreachable!("it is a refusal") };
            assert_eq!(told, text, "it fits, and can be read");
        }
    }
    welcome(&applicant);
}

fn welcome(applicant: &Applicant) {
    assert!(matches!(Answer::decode(&applicant.welcome(terms(), None)), Some(Answer::Welcome(..))));
}

fn at_dialer(first: &[u8], second: &[u8]) {
    let hello = Hello { purpose: Purpose::Payload, from: replica(2), to: replica(1), nonce: [3; 32] };
    let claim = Claim { incarnation: 1, session: SessionNumber::new(2), agreement: None };
    let (mut dialer, hello) = Dialer::new(&hello, claim.clone());
    assert_eq!(Hello::decode(&hello).map(|(versions, _)| versions), Some(Versions::OWN));
    let Ok(DialerStep::Say(_)) = dialer.receive(first, secret().as_ref()) else { return };
    if let Some(Answer::Welcome(_, terms)) = Answer::decode(second) {
        let said: [&[u8]; 4] = [&hello, first, &claim.encode(), &terms.encode()];
        let proof = prove(secret().as_ref(), Prover::Acceptor, &said);
        let welcome = Answer::Welcome(proof, terms).encode();
        assert_eq!(dialer.receive(&welcome, secret().as_ref()), Ok(DialerStep::Done(terms)));
    } else {
        assert!(dialer.receive(second, secret().as_ref()).is_err());
    }
}
