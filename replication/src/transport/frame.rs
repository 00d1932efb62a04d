//! Frames: how bodies are cut out of a stream of bytes.
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 4 | body_len | little-endian, as all numbers |
//! | 4 | 4 | crc | CRC-32 over `body_len` and the body |
//! | 8 | | body | |
//!
//! The checksum covers the length, so that a stream of zeros is no stream of empty frames. What a peer says of a length
//! takes no memory: a body's buffer grows as its bytes arrive, and a length beyond the limit ends the stream.

use bytes::Bytes;
use thiserror::Error;

/// Bytes before a body.
pub(super) const HEAD_LEN: usize = 8;
/// What a body's buffer begins with where the body does not come in one piece.
const FIRST_PIECE: usize = 64 << 10;

/// Why what came is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum FrameError {
    /// Too long.
    #[error("a frame of {len} bytes came where at most {max} are taken")]
    TooLong {
        /// What it says of its body.
        len: usize,
        /// The most that is taken.
        max: usize,
    },
    /// Damaged, or not one of ours.
    #[error("a frame has a wrong checksum")]
    Checksum,
}

fn checksum<'a>(len: [u8; 4], parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    parts.for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The head of a frame whose body is these parts, in a row.
///
/// # Panics
/// If the body is longer than any limit allows.
pub(super) fn head(parts: &[&[u8]]) -> [u8; HEAD_LEN] {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let Ok(len) = u32::try_from(len) else { panic!("a body of {len} bytes: limits are below 4 GiB") };
    let len = len.to_le_bytes();
    let crc = checksum(len, parts.iter().copied()).to_le_bytes();
    [len[0], len[1], len[2], len[3], crc[0], crc[1], crc[2], crc[3]]
}

/// Cuts frames out of a stream that comes in pieces.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    max_body_len: usize,
    head: [u8; HEAD_LEN],
    head_len: usize,
    body: Vec<u8>,
}

impl FrameDecoder {
    /// For a stream whose bodies have at most so many bytes.
    pub(super) fn new(max_body_len: usize) -> FrameDecoder {
        FrameDecoder { max_body_len, head: [0; HEAD_LEN], head_len: 0, body: Vec::new() }
    }

    /// The next body, if all of it is there. What was used is cut off the input; after an error the stream is of no use.
    pub(super) fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FrameError> {
        let missing = HEAD_LEN - self.head_len;
        if missing > 0 {
            let (taken, rest) = input.split_at(missing.min(input.len()));
            self.head[self.head_len..self.head_len + taken.len()].copy_from_slice(taken);
            self.head_len += taken.len();
            *input = rest;
        }
        let Some(len) = self.body_len() else { return Ok(None) };
        if len > self.max_body_len {
            return Err(FrameError::TooLong { len, max: self.max_body_len });
        }
        let (taken, rest) = input.split_at((len - self.body.len()).min(input.len()));
        *input = rest;
        let body = if taken.len() == len {
            Bytes::copy_from_slice(taken)
        } else {
            self.grow(len, taken.len());
            self.body.extend_from_slice(taken);
            if self.body.len() < len {
                return Ok(None);
            }
            Bytes::from(std::mem::take(&mut self.body))
        };
        self.head_len = 0;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = self.head;
        if checksum([l0, l1, l2, l3], std::iter::once(&body[..])) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(FrameError::Checksum);
        }
        Ok(Some(body))
    }

    /// How many bytes are certain to belong to the frame under way. Who reads no more than that never reads beyond it.
    pub(super) fn missing(&self) -> usize {
        self.body_len().map_or(HEAD_LEN - self.head_len, |len| len - self.body.len())
    }

    /// From the next frame on, bodies may have so many bytes.
    pub(super) fn set_max_body_len(&mut self, max_body_len: usize) {
        self.max_body_len = max_body_len;
    }

    fn body_len(&self) -> Option<usize> {
        let [l0, l1, l2, l3, ..] = self.head;
        (self.head_len == HEAD_LEN).then_some(u32::from_le_bytes([l0, l1, l2, l3]) as usize)
    }

    /// Makes room for more of a body of this length: no more than twice what has come, and in the end exactly its length.
    fn grow(&mut self, len: usize, more: usize) {
        let needed = self.body.len() + more;
        if needed > self.body.capacity() {
            let capacity = needed.max(2 * self.body.len()).max(FIRST_PIECE).min(len);
            self.body.reserve_exact(capacity - self.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PIECE, FrameDecoder, FrameError, HEAD_LEN, head};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        [&head(&[body])[..], body].concat()
    }

    /// All bodies in the bytes, in pieces that end at these places.
    fn decode(bytes: &[u8], mut cuts: Vec<usize>) -> (Vec<Bytes>, Option<FrameError>) {
        let (mut decoder, mut bodies, mut start) = (FrameDecoder::new(1 << 20), Vec::new(), 0);
        cuts.push(bytes.len());
        cuts.sort_unstable();
        for cut in cuts {
            let mut piece = &bytes[start..cut];
            start = cut;
            loop {
                match decoder.decode(&mut piece) {
                    Ok(Some(body)) => bodies.push(body),
                    Ok(None) => break,
                    Err(error) => return (bodies, Some(error)),
                }
            }
            assert!(piece.is_empty(), "what is no whole frame is kept");
        }
        (bodies, None)
    }

    proptest! {
        #[test]
        fn bodies_come_out_whatever_the_pieces(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..30),
        ) {
            let bytes = bodies.iter().map(|body| frame(body)).collect::<Vec<_>>().concat();
            let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            let (found, error) = decode(&bytes, cuts);
            prop_assert_eq!(error, None);
            prop_assert_eq!(found, bodies);
        }

        #[test]
        fn garbage_gives_the_same_whatever_the_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..30),
        ) {
            let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            prop_assert_eq!(decode(&bytes, cuts), decode(&bytes, Vec::new()));
        }

        #[test]
        fn a_flipped_bit_is_seen(
            body in proptest::collection::vec(any::<u8>(), 0..100),
            bit in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = frame(&body);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A length that grew waits for more; everything else is an error.
            let (found, error) = decode(&bytes, Vec::new());
            prop_assert!(found.is_empty() && (error.is_some() || bit < 32), "{:?} {:?}", found, error);
        }
    }

    #[test]
    fn a_length_takes_no_memory() {
        let mut decoder = FrameDecoder::new(1 << 30);
        let bytes = [&(1_u32 << 30).to_le_bytes()[..], &[0; 4], b"body"].concat();
        assert_eq!(decoder.decode(&mut &bytes[..]), Ok(None));
        assert!(decoder.body.capacity() <= FIRST_PIECE);
        for _ in 0..10 {
            assert_eq!(decoder.decode(&mut &[7; 50_000][..]), Ok(None));
        }
        assert!(decoder.body.capacity() <= 2 * decoder.body.len());
    }

    #[test]
    fn a_body_in_pieces_has_a_buffer_of_its_length() {
        let body = vec![7; 3 * FIRST_PIECE + 1];
        let bytes = frame(&body);
        let mut decoder = FrameDecoder::new(body.len());
        for piece in bytes[..bytes.len() - 1].chunks(1000) {
            assert_eq!(decoder.decode(&mut &piece[..]), Ok(None));
        }
        assert_eq!((decoder.body.capacity(), decoder.missing()), (body.len(), 1));
        assert_eq!(decoder.decode(&mut &bytes[bytes.len() - 1..]).unwrap().unwrap(), body);
        assert_eq!(decoder.missing(), HEAD_LEN);
    }

    #[test]
    fn zeros_and_long_frames_are_refused() {
        assert_eq!(decode(&[0; 16], Vec::new()), (Vec::new(), Some(FrameError::Checksum)));
        let error = FrameError::TooLong { len: (1 << 20) + 1, max: 1 << 20 };
        assert_eq!(decode(&frame(&vec![0; (1 << 20) + 1])[..HEAD_LEN], Vec::new()), (Vec::new(), Some(error)));
    }
}
