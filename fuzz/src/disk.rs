//! Formats on disk. The work is done in the engine, which alone can reach their readers.

use skink_engine::fuzzing;
use std::path::Path;

/// Header pages and manifests.
pub fn page(data: &[u8]) {
    fuzzing::page(data);
    fuzzing::manifest(data);
}

/// Segment files and their records.
pub fn segment(data: &[u8]) {
    fuzzing::segment(data);
}

/// Images.
pub fn image(data: &[u8]) {
    fuzzing::image(data);
}

/// Heads of log frames.
pub fn frame_head(data: &[u8]) {
    fuzzing::frame_head(data);
}

/// Logs.
pub fn log(data: &[u8]) {
    fuzzing::log(data);
}

/// The engine's golden files with this extension or name, from an offset on.
fn golden(ending: &str, from: usize) -> Vec<Vec<u8>> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending)
                && let Ok(bytes) = std::fs::read(&path)
            {
                found.extend(bytes.get(from..).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec));
            }
        }
    }
    found.sort();
    found
}

/// Length of what stands before a page's body.
const PAGE_HEAD: usize = 16;

/// Seeds of [`page`]: bodies, and whole files.
pub fn page_seeds() -> Vec<Vec<u8>> {
    [golden("FORMAT", 0), golden("FORMAT", PAGE_HEAD), golden("MANIFEST", PAGE_HEAD)].concat()
}

/// Seeds of [`segment`]: records.
pub fn segment_seeds() -> Vec<Vec<u8>> {
    golden(".seg", 4096)
}

/// Seeds of [`image`].
pub fn image_seeds() -> Vec<Vec<u8>> {
    golden(".idx", 0)
}

/// Seeds of [`frame_head`].
pub fn frame_head_seeds() -> Vec<Vec<u8>> {
    golden(".log", 4096).into_iter().map(|bytes| bytes.get(..40).unwrap_or_default().to_vec()).collect()
}

/// Seeds of [`log`]: what makes frames.
pub fn log_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x44\x05\x00seals\x42\x03\x00abc\x01\x02\x00de\x46\x00\x00".to_vec(),
        b"\x40\x03\x00abc\x05\x02\x00de\x46\x00\x00\x41\x01\x02x\x47\x00\x00".to_vec(),
        b"\x46\x00\x00\x40\x03\x00abc\x05\x03\x00def\x44\x04\x10tail".to_vec(),
    ]
}
