//! `skink inspect`: what is in a data directory, for people who want to know.

use crate::cli::{InspectArguments, InspectCommand};
use crate::verify::bytes;
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_replication::inspect::{DependencyLog, OldBatch, Touched};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use thiserror::Error;

/// Bits of the paper's larger bitmap.
const BITMAP_BITS: u64 = 1_000_000;
/// Digests that are shown of those that most batches touch.
const BUSIEST: usize = 5;
/// Digests of a batch that are shown.
const SHOWN_KEYS: usize = 6;

/// Why nothing can be shown.
#[derive(Debug, Error)]
#[error("can't look into {folder}")]
pub struct InspectError {
    folder: String,
    source: Fault,
}

/// Shows what was asked for on stdout.
///
/// # Errors
/// The folder is no data directory, is damaged, or can't be read.
pub fn run(arguments: &InspectArguments) -> Result<ExitCode, InspectError> {
    let InspectCommand::Deplog { folder, limit } = &arguments.command;
    let found = DependencyLog::read(&Environment::real(), folder)
        .map_err(|source| InspectError { folder: folder.display().to_string(), source })?;
    let _ = io::stdout().write_all(text(&found, *limit).as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn text(found: &DependencyLog, limit: usize) -> String {
    let count = |is: fn(&Touched) -> bool| found.batches.iter().filter(|batch| is(&batch.touched)).count();
    let payloads: u64 = found.batches.iter().map(|batch| u64::from(batch.payload_len)).sum();
    let (digests, bitmaps) = found.sizes(BITMAP_BITS);
    let last = found.batches.last().map_or(found.checkpoint, |batch| batch.instance);
    let busiest: Vec<String> =
        found.busiest(BUSIEST).into_iter().map(|(digest, batches)| format!("{digest:08x} ({batches})")).collect();
    let lines = [
        ("newest checkpoint", found.checkpoint.to_string()),
        ("last instance in the log", last.to_string()),
        ("old batches", found.batches.len().to_string()),
        ("  of which touch everything", count(|touched| *touched == Touched::Everything).to_string()),
        ("  of which touch nothing", count(|touched| *touched == Touched::Nothing).to_string()),
        ("payloads", bytes(payloads)),
        ("keys, told apart by digests", found.touches.len().to_string()),
        ("digests", bytes(digests)),
        ("as bitmaps of 1,000,000 bits", bytes(bitmaps)),
        ("touched by most batches", if busiest.is_empty() { "none".to_string() } else { busiest.join(", ") }),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<30} {value}");
    }
    for batch in found.batches.iter().take(limit) {
        let _ = writeln!(text, "{}", row(batch));
    }
    if limit > 0 && found.batches.len() > limit {
        let _ = writeln!(text, "({} more; --limit shows them)", found.batches.len() - limit);
    }
    text
}

fn row(batch: &OldBatch) -> String {
    let touched = match &batch.touched {
        Touched::Everything => "everything".to_string(),
        Touched::Nothing => "nothing".to_string(),
        Touched::Keys(keys) => {
            let shown: Vec<String> = keys.iter().take(SHOWN_KEYS).map(|digest| format!("{digest:08x}")).collect();
            let more = keys.len().saturating_sub(SHOWN_KEYS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", shown.join(" "))
        }
    };
    format!("{:>12}  {:>10}  {touched}", batch.instance, bytes(u64::from(batch.payload_len)))
}

#[cfg(test)]
mod tests {
    use super::{DependencyLog, OldBatch, Touched, text};
    use skink_engine::position::Instance;
    use std::collections::HashMap;

    #[test]
    fn what_is_there_is_summed_up_and_shown_up_to_a_limit() {
        let at = |instance| Instance::new(instance).unwrap();
        let batch = |instance, touched| OldBatch { instance: at(instance), touched, payload_len: 2048 };
        let batches = vec![
            batch(8, Touched::Keys((1..=8).collect())),
            batch(9, Touched::Everything),
            batch(10, Touched::Nothing),
        ];
        let touches = HashMap::from([(1, 1), (2, 1), (0xabc, 7)]);
        let found = DependencyLog { checkpoint: at(7), batches, touches };
        let shown = text(&found, 2);
        for part in [
            "newest checkpoint              7\n",
            "last instance in the log       10\n",
            "old batches                    3\n",
            "payloads                       6.0 KiB\n",
            "00000abc (7), 00000001 (1), 00000002 (1)",
            "           8     2.0 KiB  00000001 00000002 00000003 00000004 00000005 00000006 and 2 more\n",
            "           9     2.0 KiB  everything\n",
            "(1 more; --limit shows them)\n",
        ] {
            assert!(shown.contains(part), "{part:?} in\n{shown}");
        }
        assert_eq!(text(&found, 0).lines().count(), 10, "the sums alone");
    }
}
