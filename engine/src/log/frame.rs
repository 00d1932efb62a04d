//! Frames: a head of 40 bytes, then the body.
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 4 | head_crc | CRC-32 over bytes 4..40 |
//! | 4 | 1 | kind | [`FrameKind`] |
//! | 5 | 1 | flags | 1: the last frame of its write |
//! | 6 | 2 | reserved | 0 |
//! | 8 | 4 | body_len | |
//! | 12 | 4 | body_crc | CRC-32 over the body |
//! | 16 | 4 | epoch | of the file: a used file's old frames have another one |
//! | 20 | 4 | nonce | of the process that wrote it |
//! | 24 | 8 | position | where this frame starts |
//! | 32 | 8 | write_start | where its write starts |
//!
//! Integers are little-endian. Frames start at multiples of 8; after the last frame of a write the rest of its
//! block is zero, and the next write starts with the next block.

use crate::position::LogPosition;

/// Length of a frame's head.
pub const HEAD_LEN: usize = 40;
/// Most bytes that a frame takes besides its body.
pub const MAX_FRAME_OVERHEAD: usize = HEAD_LEN + 8;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A batch's payload. Walking the log skips its body.
    Payload,
    /// What the ordering has to remember of one cycle, as one atomic unit.
    Ordering,
    /// Nothing more is in this file; the log goes on in the next.
    End,
    /// All before is durable. Written when the log falls idle, so that damage of the last real write can be told from a torn one.
    Seal,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            FrameKind::Payload => 1,
            FrameKind::Ordering => 2,
            FrameKind::End => 3,
            FrameKind::Seal => 4,
        }
    }

    fn from_code(code: u8) -> Option<FrameKind> {
        Some(match code {
            1 => FrameKind::Payload,
            2 => FrameKind::Ordering,
            3 => FrameKind::End,
            4 => FrameKind::Seal,
            _ => return None,
        })
    }
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What the body is.
    pub kind: FrameKind,
    /// Whether it ends its write.
    pub is_last: bool,
    /// Bytes of body.
    pub body_len: u32,
    /// CRC-32 of the body.
    pub body_crc: u32,
    /// The file's epoch.
    pub epoch: u32,
    /// The process.
    pub nonce: u32,
    /// Where it starts.
    pub position: LogPosition,
    /// Where its write starts.
    pub write_start: LogPosition,
}

impl FrameHead {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[4] = self.kind.code();
        bytes[5] = u8::from(self.is_last);
        bytes[8..12].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.position.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.write_start.get().to_le_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a head; `None` if the bytes are none.
    pub fn decode(bytes: &[u8; HEAD_LEN]) -> Option<FrameHead> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if crc32fast::hash(&bytes[4..]) != u32_at(0) || bytes[5] > 1 {
            return None;
        }
        Some(FrameHead {
            kind: FrameKind::from_code(bytes[4])?,
            is_last: bytes[5] == 1,
            body_len: u32_at(8),
            body_crc: u32_at(12),
            epoch: u32_at(16),
            nonce: u32_at(20),
            position: LogPosition::new(u64_at(24)),
            write_start: LogPosition::new(u64_at(32)),
        })
    }

    /// Bytes from this frame's start to the end of its body, padded to 8.
    pub fn len(&self) -> u64 {
        frame_len(self.body_len as usize)
    }
}

/// Length of a frame with a body of this length.
pub fn frame_len(body_len: usize) -> u64 {
    ((HEAD_LEN + body_len) as u64).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::{FrameHead, FrameKind};
    use crate::position::LogPosition;

    #[test]
    fn the_layout_is_version_1() {
        let head = FrameHead {
            kind: FrameKind::Ordering,
            is_last: true,
            body_len: 5,
            body_crc: 6,
            epoch: 7,
            nonce: 8,
            position: LogPosition::new(9),
            write_start: LogPosition::new(10),
        };
        let bytes = head.encode();
        assert_eq!(&bytes[4..24], [2, 1, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!((bytes[24], bytes[32]), (9, 10));
        assert_eq!(FrameHead::decode(&bytes), Some(head));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::decode(&damaged), None);
        }
    }
}
