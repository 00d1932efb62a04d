//! `skink verify`: every checksum of a data directory or a backup.

use crate::cli::VerifyArguments;
use crate::report;
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_engine::verify::{VerifyReport, verify};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why nothing could be verified.
#[derive(Debug, Error)]
#[error("can't verify {folder}")]
pub struct VerifyError {
    folder: String,
    source: Fault,
}

/// Verifies the folder; what was checked is told on stdout, what is damaged on stderr.
///
/// # Errors
/// The folder is no data directory and no backup, or can't be read.
pub fn run(arguments: &VerifyArguments) -> Result<ExitCode, VerifyError> {
    let started = Instant::now();
    let found = verify(&Environment::real(), &arguments.folder)
        .map_err(|source| VerifyError { folder: arguments.folder.display().to_string(), source })?;
    let _ = io::stdout().write_all(summary(&arguments.folder, &found, started.elapsed()).as_bytes());
    if found.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    for fault in &found.damage {
        report::print(fault);
    }
    Ok(ExitCode::FAILURE)
}

fn summary(folder: &Path, found: &VerifyReport, elapsed: Duration) -> String {
    let checkpoints: Vec<String> = found.checkpoints.iter().map(ToString::to_string).collect();
    let checkpoints = if checkpoints.is_empty() { "none".to_string() } else { checkpoints.join(", ") };
    let mut lines = vec![
        ("checkpoints, by instance", checkpoints),
        ("keys in the newest checkpoint", found.live_records.to_string()),
        ("segment files", format!("{} ({})", found.segment_files, bytes(found.segment_bytes))),
        ("frames in the log", found.log_frames.to_string()),
    ];
    if found.torn > 0 {
        lines.push(("torn last write", format!("{}, never acknowledged; no damage", bytes(found.torn))));
    }
    if found.incoming > 0 {
        lines.push(("checkpoint being received", format!("{}, not in use; no damage", bytes(found.incoming))));
    }
    let result = match found.damage.len() {
        0 => "clean: every checksum holds".to_string(),
        1 => "DAMAGED in 1 place".to_string(),
        places => format!("DAMAGED in {places} places"),
    };
    lines.push(("result", result));
    let mut text = format!("verified {} in {:.1} s\n", folder.display(), elapsed.as_secs_f64());
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<30} {value}");
    }
    text
}

/// Bytes in a unit that people read.
pub fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift)),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, run, summary};
    use crate::cli::VerifyArguments;
    use skink_engine::error::Fault;
    use skink_engine::verify::VerifyReport;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn the_summary_says_what_was_checked() {
        let clean = VerifyReport {
            segment_files: 2,
            segment_bytes: 3 << 20,
            live_records: 7,
            log_frames: 5,
            ..VerifyReport::default()
        };
        let text = summary(Path::new("d"), &clean, Duration::from_millis(1500));
        assert!(text.starts_with("verified d in 1.5 s\n"), "{text}");
        assert!(text.contains("2 (3.0 MiB)") && text.contains("clean") && !text.contains("torn"), "{text}");
        let fault = Fault::corrupt(Path::new("f"), 8, "the checksum is wrong");
        let damaged = VerifyReport { torn: 9, incoming: 2048, damage: vec![fault], ..VerifyReport::default() };
        let text = summary(Path::new("d"), &damaged, Duration::ZERO);
        assert!(text.contains("DAMAGED in 1 place") && text.contains("9 bytes, never acknowledged"), "{text}");
        assert!(text.contains("2.0 KiB, not in use"), "{text}");
    }

    #[test]
    fn a_folder_that_is_no_data_directory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(run(&VerifyArguments { folder: folder.path().to_path_buf() }).is_err());
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!([bytes(12), bytes(1536), bytes(5 << 30)], ["12 bytes", "1.5 KiB", "5.0 GiB"]);
    }
}
