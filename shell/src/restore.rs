//! `skink restore`: from a backup, a data directory again.

use crate::cli::RestoreArguments;
use crate::report;
use crate::verify::bytes;
use skink_engine::engine::{Engine, RestoreInfo};
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why there is no restored data directory.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Nothing was made.
    #[error("can't restore {backup} to {data}")]
    Refused {
        /// The backup.
        backup: String,
        /// The data directory.
        data: String,
        /// Why.
        source: Fault,
    },
    /// It stopped after it had begun.
    #[error("restoring {backup} stopped half-way; remove {data} before you try again")]
    HalfRestored {
        /// The backup.
        backup: String,
        /// The data directory.
        data: String,
        /// Why.
        source: Fault,
    },
}

/// Restores the backup; what was restored is told on stdout.
///
/// # Errors
/// It can't be restored, or not there.
pub fn run(arguments: &RestoreArguments) -> Result<ExitCode, RestoreError> {
    let started = Instant::now();
    let (from, to) = (&arguments.backup, &arguments.data);
    let log_file_len = arguments.log_file_mb.map(|mb| u64::from(mb) << 20);
    let restored = Engine::restore(&Environment::real(), from, to, log_file_len).map_err(|error| {
        let (backup, data, source) = (from.display().to_string(), to.display().to_string(), error.fault);
        match error.is_half_restored {
            true => RestoreError::HalfRestored { backup, data, source },
            false => RestoreError::Refused { backup, data, source },
        }
    })?;
    let _ = io::stdout().write_all(summary(from, to, &restored, started.elapsed()).as_bytes());
    for damage in &restored.damaged_images {
        report::warn(damage, "the image is left out, and nothing is lost: its segment is indexed when it is needed");
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(backup: &Path, data: &Path, restored: &RestoreInfo, elapsed: Duration) -> String {
    let result = match restored.damaged_images.len() {
        0 => "every checksum held; ready for skink serve".to_string(),
        images => format!("complete, without {images} damaged image(s); ready for skink serve"),
    };
    let lines = [
        ("instance", restored.instance.to_string()),
        ("keys", restored.live_records.to_string()),
        ("segment files", format!("{} ({})", restored.segment_files, bytes(restored.bytes))),
        ("result", result),
    ];
    let mut text = format!("restored {} to {} in {:.1} s\n", backup.display(), data.display(), elapsed.as_secs_f64());
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<30} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{RestoreError, run, summary};
    use crate::cli::RestoreArguments;
    use skink_engine::engine::RestoreInfo;
    use skink_engine::error::Fault;
    use skink_engine::position::Instance;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn the_summary_says_what_was_restored() {
        let instance = Instance::new(4711).unwrap();
        let mut restored =
            RestoreInfo { instance, live_records: 12, segment_files: 3, bytes: 5 << 20, damaged_images: Vec::new() };
        let text = summary(Path::new("b"), Path::new("d"), &restored, Duration::from_millis(2500));
        assert!(text.starts_with("restored b to d in 2.5 s\n"), "{text}");
        assert!(text.contains(" 4711\n") && text.contains(" 12\n") && text.contains("3 (5.0 MiB)"), "{text}");
        assert!(text.contains("every checksum held"), "{text}");
        restored.damaged_images.push(Fault::corrupt(Path::new("b/0001.0.idx"), 0, "the checksum is wrong"));
        let text = summary(Path::new("b"), Path::new("d"), &restored, Duration::ZERO);
        assert!(text.contains("without 1 damaged image(s)"), "{text}");
    }

    #[test]
    fn what_is_no_backup_is_an_error_and_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let arguments = RestoreArguments { backup: folder.path().into(), data: data.clone(), log_file_mb: None };
        assert!(matches!(run(&arguments), Err(RestoreError::Refused { .. })));
        assert!(!data.exists());
    }
}
