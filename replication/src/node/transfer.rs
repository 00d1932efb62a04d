//! Whole checkpoints from one replica to another, where the log no longer reaches back so far.
//!
//! ```text
//! behind: asks ----> donor: pins its newest checkpoint
//!         Begin <--- manifest
//!         Part  <--- bytes of segment files, as the connection takes them
//!         End   <---
//!         checks all of it in the background, then it takes the place of the state (rule 3)
//! ```

use super::message::{PeerMessage, Transfer};
use super::start::OrderingFacts;
use super::{Channel, Node, Output};
use crate::batch::Refusal;
use crate::paxos::{Event, ReplicaId};
use crate::replay::Progress;
use bytes::Bytes;
use skink_engine::catalog::Catalog;
use skink_engine::engine::{CheckedIncoming, Incoming, PinnedCheckpoint};
use skink_engine::error::Fault;
use skink_engine::key::SegmentId;
use skink_engine::manifest::Manifest;
use skink_engine::position::Instance;
use std::collections::BTreeMap;

/// Bytes of a file in one message.
const PART: usize = 256 << 10;
/// Ticks without anything new after which a transfer is given up.
const PATIENCE: u64 = 500;

/// A transfer to a peer.
struct Donation {
    checkpoint: PinnedCheckpoint,
    files: Vec<(SegmentId, u64)>,
    /// Which file is next, and where in it.
    file: usize,
    offset: u64,
}

/// A transfer from a peer.
struct Receiving {
    from: ReplicaId,
    incoming: Box<Incoming>,
    manifest: Manifest,
    facts: OrderingFacts,
    /// Tick of the last part.
    heard: u64,
}

/// A checkpoint that has arrived.
struct Arrived {
    manifest: Manifest,
    facts: OrderingFacts,
    /// What was checked; `None` while it is.
    checked: Option<Box<CheckedIncoming>>,
}

/// Transfers under way.
#[derive(Default)]
pub(super) struct Transfers {
    donations: BTreeMap<ReplicaId, Donation>,
    receiving: Option<Receiving>,
    arrived: Option<Arrived>,
}

impl Transfers {
    /// What was under way with a peer is over.
    pub(super) fn session_ended(&mut self, peer: ReplicaId) {
        self.donations.remove(&peer);
        self.receiving.take_if(|receiving| receiving.from == peer);
    }

    /// Whether a checkpoint is on its way here.
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving.is_some() || self.arrived.is_some()
    }
}

impl Node {
    // ---- donor ----

    pub(super) fn begin_donation(&mut self, peer: ReplicaId) -> Result<(), Fault> {
        // R3: who has not got everything gives nothing.
        if self.transfers.donations.contains_key(&peer) || self.transfers.is_receiving() || self.handoffs.is_open() {
            return Ok(());
        }
        let checkpoint = self.engine.newest_checkpoint()?;
        // Of a configuration that is over it would help nobody.
        if checkpoint.manifest().instance < self.configuration().start() {
            return Ok(());
        }
        let manifest = Bytes::from(checkpoint.manifest().encode());
        tracing::info!(%peer, instance = checkpoint.manifest().instance.get(), "a replica gets a checkpoint from here");
        self.send(peer, Channel::Payload, &PeerMessage::Transfer(Transfer::Begin { manifest }));
        let files = checkpoint.files();
        self.transfers.donations.insert(peer, Donation { checkpoint, files, file: 0, offset: 0 });
        Ok(())
    }

    /// Peers that get a checkpoint from here.
    pub fn donations(&self) -> Vec<ReplicaId> {
        self.transfers.donations.keys().copied().collect()
    }

    /// Gives out about so many bytes of a peer's checkpoint: its connection has room for them.
    ///
    /// # Errors
    /// Damage of the checkpoint, and faults of the disk.
    pub fn donate(&mut self, peer: ReplicaId, room: usize) -> Result<(), Fault> {
        let mut sent = 0;
        while sent < room {
            let Some(donation) = self.transfers.donations.get_mut(&peer) else { return Ok(()) };
            let instance = donation.checkpoint.manifest().instance;
            let Some((segment, length)) = donation.files.get(donation.file).copied() else {
                self.transfers.donations.remove(&peer);
                self.send(peer, Channel::Payload, &PeerMessage::Transfer(Transfer::End { instance }));
                return Ok(());
            };
            let len = (length - donation.offset).min(PART as u64) as usize;
            let offset = donation.offset;
            let bytes = Bytes::from(donation.checkpoint.read(segment, offset, len)?);
            donation.offset += len as u64;
            if donation.offset >= length {
                (donation.file, donation.offset) = (donation.file + 1, 0);
            }
            sent += len;
            let part = Transfer::Part { instance, segment: segment.0, offset, bytes };
            self.send(peer, Channel::Payload, &PeerMessage::Transfer(part));
        }
        Ok(())
    }

    // ---- receiver ----

    pub(super) fn transfer_arrived(&mut self, from: ReplicaId, transfer: Transfer) -> Result<(), Fault> {
        match transfer {
            Transfer::Begin { manifest } => self.begin_receiving(from, &manifest),
            Transfer::Part { instance, segment, offset, bytes } => {
                let now = self.now;
                let Some(receiving) = self.receiving_of(from, instance) else { return Ok(()) };
                receiving.heard = now;
                match receiving.incoming.write(SegmentId(segment), offset, &bytes) {
                    Ok(()) => Ok(()),
                    Err(fault) => self.give_up(fault),
                }
            }
            Transfer::End { instance } => {
                if self.receiving_of(from, instance).is_some()
                    && let Some(Receiving { incoming, manifest, facts, .. }) = self.transfers.receiving.take()
                {
                    self.transfers.arrived = Some(Arrived { manifest, facts, checked: None });
                    self.outputs.push(Output::CheckIncoming(incoming));
                }
                Ok(())
            }
        }
    }

    fn receiving_of(&mut self, from: ReplicaId, instance: Instance) -> Option<&mut Receiving> {
        self.transfers.receiving.as_mut().filter(|it| it.from == from && it.manifest.instance == instance)
    }

    fn begin_receiving(&mut self, from: ReplicaId, manifest: &[u8]) -> Result<(), Fault> {
        if self.transfers.is_receiving() {
            return Ok(());
        }
        let decoded = Manifest::decode(manifest).and_then(|manifest| {
            let facts = OrderingFacts::decode(&manifest.ordering)?;
            Ok((manifest, facts.ok_or("it has nothing of the order")?))
        });
        let (manifest, facts) = match decoded {
            Ok(decoded) => decoded,
            Err(what) => {
                tracing::error!(peer = %from, what, "a replica sends a checkpoint that can't be used");
                return Ok(());
            }
        };
        if manifest.instance <= self.executed() || facts.configuration.id() < self.configuration().id() {
            return Ok(());
        }
        match self.engine.begin_incoming(manifest.clone()) {
            Ok(incoming) => {
                tracing::info!(peer = %from, instance = manifest.instance.get(), "getting a checkpoint");
                let incoming = Box::new(incoming);
                self.transfers.receiving = Some(Receiving { from, incoming, manifest, facts, heard: self.now });
                Ok(())
            }
            Err(fault) => self.give_up(fault),
        }
    }

    /// A checkpoint from elsewhere that is wrong, or has no room, is no reason to stop: it is asked for again.
    fn give_up(&mut self, fault: Fault) -> Result<(), Fault> {
        self.transfers.receiving = None;
        self.transfers.arrived = None;
        match fault {
            fault @ Fault::Io { .. } => Err(fault),
            fault => {
                tracing::error!(%fault, "a checkpoint from another replica can't be taken; it is asked for again");
                Ok(())
            }
        }
    }

    /// What arrived was checked.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn incoming_checked(&mut self, checked: Result<Box<CheckedIncoming>, Fault>) -> Result<(), Fault> {
        self.is_stirred = true;
        match (checked, &mut self.transfers.arrived) {
            (Ok(checked), Some(arrived)) => {
                arrived.checked = Some(checked);
                Ok(())
            }
            (Ok(_), None) => Ok(()),
            (Err(fault), _) => self.give_up(fault),
        }
    }

    pub(super) fn tick_transfers(&mut self) {
        let now = self.now;
        if self.transfers.receiving.take_if(|it| now.saturating_sub(it.heard) >= PATIENCE).is_some() {
            tracing::warn!("a checkpoint stopped coming; it is asked for again");
        }
    }

    /// Puts what has arrived in the place of the state, as soon as nothing is in the way: a start will go on in the log
    /// where it is durable.
    pub(super) fn install_arrived(&mut self) -> Result<(), Fault> {
        let is_checked = self.transfers.arrived.as_ref().is_some_and(|arrived| arrived.checked.is_some());
        if !is_checked || self.log.has_work() || self.execution.is_within_a_batch() || self.checkpoints.is_under_way() {
            return Ok(());
        }
        let Some(Arrived { manifest, facts, checked: Some(checked) }) = self.transfers.arrived.take() else {
            return Ok(());
        };
        let instance = manifest.instance;
        if instance <= self.executed() {
            return Ok(());
        }
        let log_position = self.log.start_of(self.protocol.needed_by(instance));
        self.protocol.handle(Event::Cut { log_position });
        if let Err(fault) = self.engine.install(*checked, log_position, facts.encode()) {
            return self.give_up(fault);
        }
        tracing::info!(instance = instance.get(), "a checkpoint of another replica took the place of the state");
        self.execution.install(Progress::at(&manifest));
        self.abandon_handoff();
        self.checkpoints.installed(instance, self.log.end());
        if facts.configuration.id() > self.configuration().id() {
            self.go_over(facts.configuration.clone(), Some(facts.at(instance)));
        }
        self.protocol.learn_incarnations(&facts.incarnations);
        self.protocol.handle(Event::CheckpointInstalled { checkpoint: facts.at(instance) });
        self.log_dropped();
        self.state_came(&facts)
    }

    /// A state came from elsewhere: what was asked for here in the meantime, and what this replica proposed in earlier lives,
    /// is in it or never will be.
    pub(super) fn state_came(&mut self, facts: &OrderingFacts) -> Result<(), Fault> {
        let ids = &self.execution.progress.ids;
        self.checkpoints.want_again(|id| ids.is_over(id));
        let why = "the replica got the state from another one: the command may have been executed, its reply is lost";
        for reply in self.batches.executed_elsewhere(|id| ids.is_over(id)) {
            self.outputs.push(Output::Answer(reply, Err(Refusal::NoMajority(why.into()))));
        }
        let is_known = facts.incarnations.iter().any(|(replica, incarnation)| {
            *replica == self.own && Some(*incarnation) == self.protocol.incarnation(self.own)
        });
        if is_known { self.count_start() } else { Ok(()) }
    }

    /// Everything that this replica proposed in lives before is in the state, or never will be: its batches can have ids
    /// that are not taken.
    pub(super) fn count_start(&mut self) -> Result<(), Fault> {
        if self.batches.incarnation().is_none() && !self.protocol.is_silent() {
            let used = self.execution.progress.ids.last_incarnation();
            let catalog = Catalog::open(self.engine.environment(), &self.engine.directory().catalog())?;
            self.batches.set_incarnation(catalog.next_incarnation(used)?);
            tracing::info!("this replica has the state again");
        }
        Ok(())
    }
}
