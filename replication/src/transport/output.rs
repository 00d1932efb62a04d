//! What a connection has yet to send: frames in a row, bounded.

use super::frame;

/// An empty buffer that is larger is given back.
const KEPT_CAPACITY: usize = 256 << 10;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// What is before was written.
    start: usize,
}

impl Output {
    /// Adds a frame whose body is these parts, in a row.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        let head = frame::head(parts);
        let len = head.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        // Rather than grow, take the room of what was written: it is at least as much as is moved.
        if self.bytes.len() + len > self.bytes.capacity() && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.reserve(len);
        self.bytes.extend_from_slice(&head);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next of them, at most so many.
    pub(super) fn front(&self, max: usize) -> &[u8] {
        &self.bytes[self.start..self.start + max.min(self.len())]
    }

    /// So many of them were written.
    pub(super) fn advance(&mut self, len: usize) {
        self.start += len;
        if self.is_empty() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY {
                self.bytes = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_CAPACITY, Output};
    use crate::transport::frame::FrameDecoder;

    #[test]
    fn frames_leave_in_their_order() {
        let mut output = Output::default();
        output.push(&[b"he", b"", b"llo"]);
        output.push(&[]);
        let mut decoder = FrameDecoder::new(100);
        let mut bodies = Vec::new();
        while !output.is_empty() {
            let piece = output.front(3).to_vec();
            output.advance(piece.len());
            let mut piece = &piece[..];
            while let Some(body) = decoder.decode(&mut piece).unwrap() {
                bodies.push(body);
            }
        }
        assert_eq!(bodies, [&b"hello"[..], b""]);
    }

    #[test]
    fn a_buffer_that_never_empties_stays_small() {
        let mut output = Output::default();
        output.push(&[&[0; 1000]]);
        for _ in 0..10_000 {
            output.push(&[&[0; 1000]]);
            output.advance(1008);
        }
        assert_eq!(output.len(), 1008);
        assert!(output.bytes.capacity() < 10_000);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut output = Output::default();
        output.push(&[&vec![0; 2 * KEPT_CAPACITY]]);
        output.advance(output.len());
        assert!(output.is_empty() && output.bytes.capacity() == 0);
    }
}
