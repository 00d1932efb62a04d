//! Making a data directory: an empty one, or around a checkpoint that comes from elsewhere.
//!
//! ```text
//! FORMAT (being made, being restored) -> folders -> log -> segment files -> MANIFEST -> FORMAT (complete)
//! ```
//!
//! Each step is durable before the next one. So FORMAT says at any moment whether the directory counts.

use super::open::{EngineOptions, Identity, MAX_SEGMENTS};
use crate::directory::{Directory, Format, Stage};
use crate::env::{BLOCK, Environment};
use crate::error::Fault;
use crate::files;
use crate::key::HASH_VERSION;
use crate::log::{LogFiles, LogOptions, LogWriter};
use crate::manifest::{Manifest, Shape};
use crate::position::{Instance, LogPosition};
use crate::segment::SegmentCut;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a log file that the longest value must leave: for the other arguments of its command, and for frames.
const LOG_FILE_SPARE: u64 = (1 << 16) + 4 * BLOCK as u64;

/// Makes a new data directory, with a checkpoint of the empty state. The log's writer and everybody else must share
/// the log's files, which know what is being made and what is in use.
pub(super) fn create(
    environment: &Environment,
    directory: &Directory,
    options: EngineOptions,
) -> Result<(Format, Arc<LogFiles>, LogWriter), Fault> {
    if !(1..=MAX_SEGMENTS).contains(&options.segments) {
        return Err(Fault::Refused("the number of segments must be 1 to 4096".into()));
    }
    check_log_file_len(options.log_file_len, options.max_value_len)?;
    let identity =
        options.identity.unwrap_or_else(|| Identity { cluster: (environment.random)(), seed: (environment.random)() });
    let shape = Shape {
        cluster: identity.cluster,
        segments: options.segments,
        seed: identity.seed,
        hash_version: HASH_VERSION,
        max_value_len: options.max_value_len,
    };
    let manifest = Manifest {
        shape,
        instance: Instance::ZERO,
        time_ms: 0,
        log_position: LogPosition::ZERO,
        is_clean_stop: true,
        proxies: Vec::new(),
        segments: vec![SegmentCut::default(); usize::from(options.segments)],
        ordering: Vec::new(),
    };
    make(environment, directory, Stage::BeingMade, options.log_file_len, manifest, |_| Ok(()))
}

/// Checks that log files of this length can be made, and hold the longest value.
pub(super) fn check_log_file_len(log_file_len: u64, max_value_len: u32) -> Result<(), Fault> {
    let refuse = |what: &str| Err(Fault::Refused(what.to_string()));
    if !log_file_len.is_multiple_of(BLOCK as u64) || log_file_len < 8 * BLOCK as u64 {
        return refuse("the length of log files must be a multiple of 4096, at least 32768");
    }
    if u64::from(max_value_len) + LOG_FILE_SPARE > log_file_len {
        return refuse(
            "the longest value must fit a log file with 80 KiB to spare: \
             make log files longer (--log-file-mb) or the longest value shorter (--max-value-mb)",
        );
    }
    Ok(())
}

/// The usual length of a log file, or as much as the longest value needs.
pub(super) fn fitting_log_file_len(max_value_len: u32) -> u64 {
    let needed = (u64::from(max_value_len) + LOG_FILE_SPARE).next_multiple_of(1 << 20);
    needed.max(EngineOptions::default().log_file_len)
}

/// Makes a data directory with one checkpoint, and a new log that begins where the checkpoint says. `fill` puts the
/// checkpoint's files into its folder, each durable.
pub(super) fn make(
    environment: &Environment,
    directory: &Directory,
    stage: Stage,
    log_file_len: u64,
    manifest: Manifest,
    fill: impl FnOnce(&Path) -> Result<(), Fault>,
) -> Result<(Format, Arc<LogFiles>, LogWriter), Fault> {
    let disk = environment.disk.as_ref();
    let format = Format { stage, directory: (environment.random)(), shape: manifest.shape, log_file_len };
    directory.write_format(environment, &format)?;
    directory.sync_names_above(environment)?;
    directory.make_folders(environment)?;
    let log_files = Arc::new(log_files(environment, directory, &format));
    let writer = LogWriter::create(Arc::clone(&log_files))?;
    let folder = Manifest::folder(&directory.checkpoints(), manifest.instance);
    disk.create_folder(&folder).map_err(Fault::io("creating", &folder))?;
    disk.sync_folder(&directory.checkpoints()).map_err(Fault::io("syncing", &folder))?;
    fill(&folder)?;
    // Nothing is in the log yet, whatever the state has seen.
    let manifest = Manifest { log_position: writer.durable(), is_clean_stop: true, ..manifest };
    files::write_atomically(disk, &Manifest::path(&folder), &manifest.encode())?;
    let format = Format { stage: Stage::Complete, ..format };
    directory.write_format(environment, &format)?;
    Ok((format, log_files, writer))
}

pub(super) fn log_files(environment: &Environment, directory: &Directory, format: &Format) -> LogFiles {
    let options = LogOptions { file_len: format.log_file_len, ..LogOptions::default() };
    LogFiles::new(environment, &directory.log(), options, format.directory).with_outline(&directory.outline())
}
