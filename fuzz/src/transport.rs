//! What comes through connections between replicas, before anybody is known.

use skink_replication::transport::fuzzing;

/// Bodies come out of a stream whatever the pieces it comes in.
pub fn frames(data: &[u8]) {
    fuzzing::frames(data);
}

/// Seeds of [`frames`].
pub fn frame_seeds() -> Vec<Vec<u8>> {
    let frames: Vec<u8> = fuzzing::conversation().iter().flat_map(|message| fuzzing::frame(message)).collect();
    let empty = [fuzzing::frame(b""), fuzzing::frame(b"body"), fuzzing::frame(b"")].concat();
    let start = |step: u8, bytes: &[u8]| [&[step], bytes].concat();
    vec![start(1, &empty), start(7, &frames), start(200, &fuzzing::frame(&[5; 4096])), start(3, &[0; 20])]
}

/// Messages of a handshake at both ends.
pub fn handshake(data: &[u8]) {
    fuzzing::handshake(data);
}

/// Seeds of [`handshake`]: the proofs, which are made anew, are left out of claims.
pub fn handshake_seeds() -> Vec<Vec<u8>> {
    let [hello, challenge, claim, welcome] = fuzzing::conversation();
    let pair = |first: &[u8], second: &[u8]| [&[first.len() as u8], first, second].concat();
    let claim = &claim[32..];
    vec![pair(&hello, claim), pair(&challenge, &welcome), pair(&challenge, &fuzzing::refusal("no"))]
}
