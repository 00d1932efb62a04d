//! A donor's checkpoint, received and installed on simulated disks: the donor's state, or the state that was there.

mod donor;
mod interrupted;
mod refused;

use super::model::{check, instance};
use super::threads::meanwhile;
use crate::command::{Command, Put, PutMode};
use crate::engine::{
    CheckedIncoming, CheckpointInfo, Engine, EngineOptions, Identity, Incoming, Opened, PinnedCheckpoint,
};
use crate::env::sim::{SimDisk, environment};
use crate::env::{Disk, Environment};
use crate::error::Fault;
use crate::evaluate::Context;
use crate::manifest::{Manifest, ProxyPosition};
use crate::testing::model::{Model, agree};
use crate::verify::verify;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PROXIES: [ProxyPosition; 1] = [ProxyPosition { proxy: 3, incarnation: 8, sequence: 21 }];
const ORDERING: &[u8] = b"the receiver's promise";
const SEGMENTS: u16 = 3;

fn options() -> EngineOptions {
    let identity = Some(Identity { cluster: 5, seed: 6 });
    EngineOptions { segments: SEGMENTS, log_file_len: 128 << 10, max_value_len: 4096, identity }
}

fn root() -> &'static Path {
    Path::new("/data")
}

/// One replica, with what its state is to be.
struct Replica {
    environment: Environment,
    disk: SimDisk,
    engine: Arc<Engine>,
    opened: Opened,
    model: Model,
    done: usize,
}

impl Replica {
    fn new(seed: u64) -> Replica {
        let (environment, disk, _) = environment(seed, 1 << 20);
        let (engine, opened) = Engine::open(environment.clone(), root(), options()).unwrap();
        Replica { environment, disk, engine: Arc::new(engine), opened, model: Model::new(), done: 0 }
    }

    fn execute(&mut self, command: &Command) {
        self.done += 1;
        let context = Context { revision: instance(self.done).revision(0), now_ms: 1_000, max_value_len: 4096 };
        let expected = self.model.execute(command, context);
        assert!(agree(&expected, &self.engine.execute(command, context).unwrap()), "{command:?}");
    }

    /// Puts these keys, and deletes every tenth one.
    fn write(&mut self, keys: std::ops::Range<u32>, value: &str) {
        for number in keys {
            let key = format!("key {number}");
            self.execute(&match number % 10 {
                7 => Command::Delete { key: key.into(), condition: None },
                _ => Command::Put(Put::new(PutMode::Upsert, key, format!("{value} {number}"))),
            });
        }
    }

    /// Writes so much over that every file is compacted, so that generations go up.
    fn compact(&mut self) {
        let before = self.engine.segment_cuts();
        for round in 0..6 {
            for number in 0..60 {
                let value = vec![round; 4000];
                self.execute(&Command::Put(Put::new(PutMode::Upsert, format!("long {number}"), value)));
            }
        }
        while self.engine.maintain(&|_| ()).unwrap() {}
        let after = self.engine.segment_cuts();
        assert!(before.iter().zip(&after).any(|(before, after)| before.generation < after.generation));
    }

    fn cut(&self) -> crate::engine::Cut {
        let log_position = self.opened.writer.durable();
        self.engine.cut(instance(self.done), 1_000, log_position, PROXIES.to_vec(), b"of this replica".to_vec())
    }

    fn checkpoint(&self) -> CheckpointInfo {
        self.engine.checkpoint(&self.cut(), false).unwrap()
    }

    /// Ends the process; the next one is at the newest checkpoint.
    fn reopen(&mut self) {
        self.disk.kill();
        let (engine, opened) = Engine::open(self.environment.clone(), root(), options()).unwrap();
        (self.engine, self.opened) = (Arc::new(engine), opened);
    }

    fn install(&mut self, incoming: CheckedIncoming) -> Result<CheckpointInfo, Fault> {
        self.engine.install(incoming, self.opened.writer.durable(), ORDERING.to_vec())
    }

    /// Receives and installs what a donor has.
    fn follow(&mut self, donor: &Replica) -> CheckpointInfo {
        let incoming = receive(&self.engine, &donor.engine.newest_checkpoint().unwrap()).unwrap();
        let info = self.install(incoming).unwrap();
        (self.model, self.done) = (donor.model.clone(), donor.done);
        info
    }

    /// What can be read is what the model has, and all that is on the disk is right.
    fn check(&self, label: &str) {
        let report = verify(&self.environment, root()).unwrap();
        assert!(report.is_clean(), "{label}: {:?}", report.damage);
        let context = Context { revision: instance(0).revision(0), now_ms: 0, max_value_len: 4096 };
        check(&self.model, 0, |command| self.engine.execute(command, context).unwrap());
    }

    fn names(&self, folder: &str) -> Vec<String> {
        self.disk.list(&root().join(folder)).unwrap()
    }

    fn generations(&self) -> Vec<u32> {
        self.engine.segment_cuts().iter().map(|cut| cut.generation.0).collect()
    }
}

/// A replica with a checkpoint that others want: records in every segment, dead ones too, and generations that went up.
fn donor() -> Replica {
    let mut donor = Replica::new(1);
    donor.write(0..40, "first");
    donor.compact();
    donor.write(30..80, "second");
    donor.checkpoint();
    donor
}

/// One with a checkpoint of another state, at an earlier instance.
fn receiver(seed: u64) -> Replica {
    let mut receiver = Replica::new(seed);
    receiver.write(50..70, "old");
    receiver.checkpoint();
    receiver
}

/// What travels is bytes.
fn sent(manifest: &Manifest) -> Manifest {
    Manifest::decode(&manifest.encode()).unwrap()
}

fn pull(incoming: &mut Incoming, from: &PinnedCheckpoint) -> Result<(), Fault> {
    // No multiple of anything, so that pieces begin and end within headers and records.
    const PIECE: usize = 3001;
    while let Some((segment, missing)) = incoming.missing() {
        incoming.write(segment, missing.start, &from.read(segment, missing.start, PIECE)?)?;
    }
    Ok(())
}

fn receive(engine: &Engine, from: &PinnedCheckpoint) -> Result<CheckedIncoming, Fault> {
    let mut incoming = engine.begin_incoming(sent(from.manifest()))?;
    pull(&mut incoming, from)?;
    incoming.finish()
}

#[test]
fn a_donors_checkpoint_takes_the_place_of_the_state() {
    let (mut donor, mut receiver) = (donor(), receiver(2));
    let pinned = donor.engine.newest_checkpoint().unwrap();
    let incoming = receive(&receiver.engine, &pinned).unwrap();
    receiver.check("received, and not in use");
    let info = receiver.install(incoming).unwrap();
    (receiver.model, receiver.done) = (donor.model.clone(), donor.done);

    let theirs = pinned.manifest();
    let of_theirs = (theirs.instance, theirs.digest(), theirs.live_records());
    assert_eq!((info.instance, info.digest, info.live_records), of_theirs);
    assert_eq!(info.new_bytes, pinned.files().iter().map(|(_, length)| length).sum::<u64>());
    assert_eq!((receiver.engine.last_checkpoint(), receiver.engine.installed_count()), (theirs.instance, 0));
    assert!(receiver.disk.metadata(&root().join("incoming")).is_err());
    let ours = receiver.engine.newest_checkpoint().unwrap();
    let ours = ours.manifest();
    assert_eq!((ours.time_ms, &ours.proxies, ours.shape), (theirs.time_ms, &theirs.proxies, theirs.shape));
    assert_eq!((ours.ordering.as_slice(), ours.is_clean_stop), (ORDERING, false));
    assert_eq!(ours.log_position, receiver.opened.writer.durable());
    receiver.check("installed");

    // Both execute the same from there on.
    for replica in [&mut donor, &mut receiver] {
        replica.write(60..120, "third");
        replica.compact();
        replica.write(0..10, "fourth");
    }
    let digest = donor.checkpoint().digest;
    assert_eq!(receiver.checkpoint().digest, digest, "S3");
    receiver.check("a checkpoint later");
    receiver.reopen();
    receiver.check("opened again");
    assert_eq!(receiver.opened.manifest.digest(), digest, "S3");
    let of_manifest = receiver.opened.manifest.files().map(|(id, cut)| format!("{id}.{}.seg", cut.generation));
    assert_eq!(receiver.names("segments"), of_manifest.collect::<Vec<_>>());
}

#[test]
fn a_replica_without_any_state_takes_one() {
    let donor = donor();
    let mut receiver = Replica::new(2);
    receiver.follow(&donor);
    receiver.check("installed");
    receiver.reopen();
    receiver.check("opened again");
    assert_eq!(receiver.opened.manifest.ordering, ORDERING);
    assert_eq!(receiver.opened.manifest.instance, instance(donor.done));
}

/// A key of this segment.
fn key_of(engine: &Engine, segment: usize) -> String {
    let mut keys = (0..).map(|number| format!("key {number}"));
    keys.find(|key| engine.hash(key.as_bytes()).segment(SEGMENTS).index() == segment).unwrap()
}

#[test]
fn generations_of_a_donor_are_not_taken_for_ones_of_the_receiver() {
    // Donor and receiver have files of the same names, and a segment that only one of them has a file of.
    let (mut donor, mut receiver) = (Replica::new(1), Replica::new(2));
    let keys: Vec<String> = (0..3).map(|segment| key_of(&donor.engine, segment)).collect();
    let put = |key: &str, value: &str| Command::Put(Put::new(PutMode::Upsert, key.to_string(), value.to_string()));
    for key in [&keys[0], &keys[1]] {
        receiver.execute(&put(key, "of the receiver"));
    }
    receiver.checkpoint();
    for key in [&keys[1], &keys[2], &keys[1]] {
        donor.execute(&put(key, "of the donor"));
    }
    donor.checkpoint();
    assert_eq!(donor.generations(), receiver.generations());
    assert!(donor.engine.segment_cuts()[0].length == 0 && receiver.engine.segment_cuts()[2].length == 0);
    let mut used = receiver.generations();
    for round in 0..3 {
        receiver.follow(&donor);
        receiver.check("installed");
        assert!(receiver.generations().iter().all(|generation| !used.contains(generation)), "{used:?}");
        used.extend(receiver.generations());
        // The segment that has no file yet gets one, of a name that no checkpoint has.
        for key in &keys {
            receiver.execute(&put(key, "later"));
        }
        receiver.check("written to");
        if round == 1 {
            receiver.checkpoint();
            receiver.reopen();
            receiver.check("opened again");
        }
        for _ in 0..10 {
            donor.execute(&put(&keys[2], "newer"));
        }
        donor.checkpoint();
    }
}

#[test]
fn an_emptied_segment_of_a_donor_is_empty_and_a_file_without_records_is_one() {
    let mut donor = donor();
    donor.execute(&Command::Flush);
    // A file whose header is all that it has.
    donor.engine.lock_segment(1).unwrap().installed_mut().reserve(100).unwrap();
    donor.checkpoint();
    let lengths: Vec<u64> = donor.engine.segment_cuts().iter().map(|cut| cut.length).collect();
    let mut receiver = receiver(2);
    receiver.follow(&donor);
    assert_eq!(receiver.engine.segment_cuts().iter().map(|cut| cut.length).collect::<Vec<_>>(), lengths);
    receiver.check("installed");
    receiver.write(0..30, "new");
    receiver.check("written to");
}

#[test]
fn a_pinned_cut_reads_what_was_there_before() {
    let donor = donor();
    for is_reopened in [false, true] {
        let mut receiver = receiver(2);
        if is_reopened {
            // No segment is installed: what is pinned was never read.
            receiver.reopen();
        }
        let (before, at) = (receiver.model.clone(), instance(receiver.done));
        let pins = [receiver.engine.pin(at, 1_000), receiver.engine.pin(at, 1_000)];
        receiver.follow(&donor);
        receiver.write(0..20, "later");
        for pinned in pins {
            check(&before, 0, |command| pinned.read(command).unwrap());
            for (key, version) in before.entries() {
                let found = pinned.read_key(key, |stored| stored.map(|stored| stored.to_versioned())).unwrap();
                assert_eq!(found.as_ref(), Some(version));
            }
        }
        receiver.check("the pins are gone");
        receiver.checkpoint();
        receiver.reopen();
        receiver.check("opened again");
    }
}

#[test]
fn a_cut_that_waits_for_its_checkpoint_is_given_up() {
    let (donor, mut receiver) = (donor(), receiver(2));
    receiver.write(0..20, "cut, and no checkpoint yet");
    let cut = receiver.cut();
    let info = receiver.follow(&donor);
    // What the cut holds is durable by the donor's checkpoint, which is newer.
    let answer = receiver.engine.checkpoint(&cut, false).unwrap();
    assert_eq!((answer.instance, answer.digest, answer.new_bytes), (info.instance, info.digest, 0));
    assert_eq!(receiver.engine.last_checkpoint(), info.instance);
    receiver.check("its checkpoint was asked for");
    receiver.write(0..5, "later");
    receiver.checkpoint();
    receiver.reopen();
    receiver.check("opened again");
    // Files that nothing names any more are gone.
    assert_eq!(receiver.names("segments").len(), 3);
}

#[test]
fn a_state_that_is_ahead_is_not_replaced() {
    let (donor, mut receiver) = (donor(), receiver(2));
    let incoming = receive(&receiver.engine, &donor.engine.newest_checkpoint().unwrap()).unwrap();
    receiver.done = donor.done;
    receiver.write(0..1, "newer");
    let cut = receiver.cut();
    let before = receiver.disk.paths();
    let refusal = receiver.install(incoming).unwrap_err();
    assert!(refusal.to_string().contains("the state here is at"), "{refusal}");
    let kept = |path: &&std::path::PathBuf| !path.starts_with(root().join("incoming"));
    assert_eq!(receiver.disk.paths(), before.iter().filter(kept).cloned().collect::<Vec<_>>());
    // The same once there is a checkpoint: one that was received for nothing.
    receiver.engine.checkpoint(&cut, false).unwrap();
    let refusal = receive(&receiver.engine, &donor.engine.newest_checkpoint().unwrap()).map(drop).unwrap_err();
    assert!(refusal.to_string().contains("the last one here at"), "{refusal}");
    receiver.check("refused");
}

#[test]
fn compaction_goes_on_while_checkpoints_are_installed() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Engine::open(Environment::real(), &folder.path().join(name), options()).unwrap();
    let ((donor, of_donor), (receiver, of_receiver)) = (open("donor"), open("receiver"));
    let mut done = 0;
    let mut write = |engines: &[&Engine], value: u8| {
        for number in 0..300 {
            done += 1;
            let context = Context { revision: instance(done).revision(0), now_ms: 1_000, max_value_len: 4096 };
            let command = Command::Put(Put::new(PutMode::Upsert, format!("key {}", number % 50), vec![value; 4000]));
            for engine in engines {
                engine.execute(&command, context).unwrap();
            }
        }
        instance(done)
    };
    let commands = || {
        for round in 0..15 {
            let at = write(&[&donor], round);
            donor.checkpoint(&donor.cut(at, 1_000, of_donor.writer.durable(), Vec::new(), Vec::new()), false).unwrap();
            let incoming = receive(&receiver, &donor.newest_checkpoint().unwrap()).unwrap();
            receiver.install(incoming, of_receiver.writer.durable(), Vec::new()).unwrap();
            write(&[&donor, &receiver], round + 100);
            assert_eq!(
                donor.segment_cuts().iter().map(|cut| cut.totals).collect::<Vec<_>>(),
                receiver.segment_cuts().iter().map(|cut| cut.totals).collect::<Vec<_>>(),
                "S3"
            );
        }
    };
    let compacted = AtomicUsize::new(0);
    meanwhile(commands, || {
        donor.maintain(&|_| ()).unwrap();
        if receiver.maintain(&|_| ()).unwrap() {
            compacted.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(compacted.into_inner() > 0);
    for segment in 0..usize::from(SEGMENTS) {
        receiver.scrub(segment).unwrap();
    }
    assert!(verify(&Environment::real(), &folder.path().join("receiver")).unwrap().is_clean());
}
