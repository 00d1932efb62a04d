//! Looking at what a data directory has beyond its newest checkpoint: the dependency log (the paper's section V.A), without
//! starting a replica on it.

use crate::header::{Content, Digests, Header};
use crate::order::Cycle;
use crate::paxos::{Entry, OrderingFrame};
use skink_engine::directory::Directory;
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_engine::log::{self, Frame, FrameKind, LogFiles, LogOptions};
use skink_engine::manifest::Manifest;
use skink_engine::position::Instance;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// What an old batch touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// Keys with these digests, ascending.
    Keys(Vec<u32>),
    /// Everything: what is behind it waits for it.
    Everything,
    /// Nothing: a checkpoint's marker, or a replica that came back without its disk.
    Nothing,
}

/// A batch that the checkpoint doesn't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldBatch {
    /// Its place in the order.
    pub instance: Instance,
    /// What it touches.
    pub touched: Touched,
    /// Bytes of its payload.
    pub payload_len: u32,
}

/// The dependency log of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyLog {
    /// The newest checkpoint.
    pub checkpoint: Instance,
    /// The batches behind it that the log has, in their order. The last ones may not be decided.
    pub batches: Vec<OldBatch>,
    /// Batches that touch a key, by its digest.
    pub touches: HashMap<u32, u32>,
}

impl DependencyLog {
    /// Reads that of a data directory. One that is in use can be looked at, too: it shows how far the log was at that moment.
    ///
    /// # Errors
    /// It is none, or damaged; faults of the disk.
    pub fn read(environment: &Environment, root: &Path) -> Result<DependencyLog, Fault> {
        let directory = Directory::at(root);
        let format = directory.read_format(environment)?;
        let manifest = newest_checkpoint(environment, &directory)?;
        let options = LogOptions { file_len: format.log_file_len, ..LogOptions::default() };
        let files = LogFiles::new(environment, &directory.log(), options, format.directory);
        let scan = log::scan(&files, manifest.log_position, manifest.is_clean_stop)?;
        let mut found: BTreeMap<Instance, OldBatch> = BTreeMap::new();
        for frame in scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering) {
            let damaged = |what: String| log::damaged(&files, frame.position, what);
            read_frame(frame, manifest.instance, &mut found).map_err(damaged)?;
        }
        let mut touches: HashMap<u32, u32> = HashMap::new();
        for batch in found.values() {
            if let Touched::Keys(keys) = &batch.touched {
                keys.iter().for_each(|key| *touches.entry(*key).or_default() += 1);
            }
        }
        Ok(DependencyLog { checkpoint: manifest.instance, batches: found.into_values().collect(), touches })
    }

    /// Bytes that the digests take, and that the paper's bitmaps of so many bits would.
    pub fn sizes(&self, bits: u64) -> (u64, u64) {
        let keys = |batch: &OldBatch| if let Touched::Keys(keys) = &batch.touched { keys.len() as u64 } else { 0 };
        (self.batches.iter().map(keys).sum::<u64>() * size_of::<u32>() as u64, self.batches.len() as u64 * bits / 8)
    }

    /// The digests that most batches touch, with their numbers.
    pub fn busiest(&self, count: usize) -> Vec<(u32, u32)> {
        let mut all: Vec<(u32, u32)> = self.touches.iter().map(|(digest, batches)| (*digest, *batches)).collect();
        all.sort_unstable_by_key(|(digest, batches)| (std::cmp::Reverse(*batches), *digest));
        all.truncate(count);
        all
    }
}

fn newest_checkpoint(environment: &Environment, directory: &Directory) -> Result<Manifest, Fault> {
    let (disk, folder) = (environment.disk.as_ref(), directory.checkpoints());
    let mut names = disk.list(&folder).map_err(Fault::io("listing", &folder))?;
    names.retain(|name| Manifest::instance_of_name(name).is_some());
    match names.into_iter().max_by_key(|name| Manifest::instance_of_name(name)) {
        Some(name) => Manifest::read(disk, &folder.join(name)),
        None => Err(Fault::Refused(format!("{} holds no checkpoint", folder.display()))),
    }
}

/// Of a replica among others, or of one alone.
fn read_frame(frame: &Frame, checkpoint: Instance, found: &mut BTreeMap<Instance, OldBatch>) -> Result<(), String> {
    let mut add = |instance: Instance, header: Option<&Header>| {
        if instance > checkpoint {
            found.insert(instance, old_batch(instance, header));
        }
    };
    if let Ok(ordering) = OrderingFrame::decode(&frame.body) {
        let Some(suffix) = ordering.suffix else { return Ok(()) };
        let mut instance = suffix.after;
        let headers: Vec<Option<Arc<Header>>> = suffix.entries.into_iter().map(header_of).collect();
        for header in &headers {
            instance = instance.next();
            add(instance, header.as_deref());
        }
        // What was behind them no longer counts.
        found.retain(|other, _| *other <= instance);
        return Ok(());
    }
    let cycle: Cycle =
        postcard::from_bytes(&frame.body).map_err(|error| format!("an ordering frame can't be decoded: {error}"))?;
    let mut instance = cycle.first;
    for (header, _) in &cycle.entries {
        add(instance, Some(header));
        instance = instance.next();
    }
    Ok(())
}

fn header_of(entry: Entry) -> Option<Arc<Header>> {
    match entry {
        Entry::Header(header) => Some(header),
        Entry::Barrier(_) => None,
    }
}

fn old_batch(instance: Instance, header: Option<&Header>) -> OldBatch {
    let (touched, payload_len) = match header.map(|header| &header.content) {
        Some(Content::Commands { digests: Digests::Keys(keys), payload_len, .. }) => {
            (Touched::Keys(keys.iter().map(|key| key.digest).collect()), *payload_len)
        }
        Some(Content::Commands { digests: Digests::Everything, payload_len, .. }) => {
            (Touched::Everything, *payload_len)
        }
        Some(Content::CheckpointMarker) | None => (Touched::Nothing, 0),
    };
    OldBatch { instance, touched, payload_len }
}

#[cfg(test)]
mod tests {
    use super::{DependencyLog, Touched};
    use crate::batch::{BatchEncoder, LocalBatch, LocalCommand};
    use crate::replica::{Replica, ReplicaOptions};
    use skink_engine::command::{Command, Put, PutMode};
    use skink_engine::env::Environment;
    use std::sync::mpsc;

    #[test]
    fn it_has_what_the_checkpoint_has_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let environment = Environment::real();
        assert!(DependencyLog::read(&environment, &root).is_err(), "there is nothing");
        let replica = Replica::start(environment.clone(), &root, ReplicaOptions::default()).unwrap();
        let mut encoder = BatchEncoder::default();
        let mut execute = |commands: Vec<Command>| {
            let commands: Vec<LocalCommand> =
                commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect();
            let (content, payload) = encoder.encode(&commands, |key| replica.engine().hash(key));
            let (told, done) = mpsc::channel();
            let batch = LocalBatch { proxy: 1, time_ms: 1, commands, content, payload };
            replica.submit(batch, Box::new(move |outcome| drop(told.send(outcome))));
            done.recv().unwrap().unwrap();
        };
        let put = |key: &'static str| Command::Put(Put::new(PutMode::Upsert, key, "value"));
        execute(vec![put("a"), put("b")]);
        execute(vec![put("a")]);
        execute(vec![Command::Flush]);
        let found = DependencyLog::read(&environment, &root).unwrap();
        let digest = |key: &str| replica.engine().hash(key.as_bytes()).digest();
        let mut both = vec![digest("a"), digest("b")];
        both.sort_unstable();
        let touched: Vec<&Touched> = found.batches.iter().map(|batch| &batch.touched).collect();
        assert_eq!(touched, [&Touched::Keys(both), &Touched::Keys(vec![digest("a")]), &Touched::Everything]);
        assert_eq!(found.busiest(1), [(digest("a"), 2)]);
        assert_eq!(found.sizes(1_000_000), (12, 375_000));
        drop(replica);
    }
}
