//! Compression of payloads: whole batches, and only where it pays.
//!
//! The library's contexts are kept: making one takes longer than a small payload.

use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// Payloads below this are not worth the call, in bytes.
const MIN_LEN: usize = 1024;
/// Payloads that are left alone after one that did not shrink, at most.
const MAX_SKIP: u32 = 64;
const LEVEL: i32 = 1;

/// Compresses payloads, and learns from those that don't shrink.
#[derive(Default)]
pub(crate) struct Compression {
    skip_next: u32,
    skip: u32,
    compressor: Option<Compressor<'static>>,
}

impl std::fmt::Debug for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compression").field("skip", &self.skip).finish_non_exhaustive()
    }
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

impl Compression {
    /// The payload compressed, if it is then at least an eighth smaller.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < MIN_LEN {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.compressor.is_none() {
            self.compressor = Compressor::new(LEVEL).ok();
        }
        match self.compressor.as_mut()?.compress(payload) {
            Ok(compressed) if compressed.len() < payload.len() / 8 * 7 => {
                self.skip_next = 0;
                Some(compressed)
            }
            _ => {
                self.skip_next = (self.skip_next * 2).clamp(1, MAX_SKIP);
                self.skip = self.skip_next;
                None
            }
        }
    }
}

/// Decompresses a payload of a known length; never more memory than that.
pub(crate) fn decompress(compressed: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let payload = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(compressed, len)
    });
    let payload = payload.map_err(|error| error.to_string())?;
    if payload.len() == len { Ok(payload) } else { Err(format!("{} bytes in place of {len}", payload.len())) }
}

#[cfg(test)]
mod tests {
    use super::{Compression, decompress};

    #[test]
    fn text_shrinks_and_noise_is_soon_left_alone() {
        let text = b"the same words over and over ".repeat(1000);
        let compressed = Compression::default().compress(&text).unwrap();
        assert!(compressed.len() < text.len() / 10);
        assert_eq!(decompress(&compressed, text.len()).unwrap(), text);
        assert!(decompress(&compressed, text.len() - 1).is_err());
        assert!(decompress(b"garbage", 100).is_err());
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut compression = Compression::default();
        assert!((0..300).all(|_| compression.compress(&noise).is_none()));
        assert!(compression.skip_next == 64);
        assert!((0..65).any(|_| compression.compress(&text).is_some()), "it looks again from time to time");
    }
}
