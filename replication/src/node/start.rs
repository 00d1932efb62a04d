//! Starting a node from its data directory: the newest checkpoint, and what the log has of the order since.

use super::checkpoints::Checkpoints;
use super::execution::Execution;
use super::handoff::{Handoffs, Jump};
use super::inbox::Inbox;
use super::log::NodeLog;
use super::members::Members;
use super::payloads::Payloads;
use super::reads::WaitingReads;
use super::status::PeerStatuses;
use super::transfer::Transfers;
use super::{Node, NodeOptions, OwnBatches};
use crate::batch::BatchEncoder;
use crate::paxos::{
    Ballot, CheckpointFacts, Configuration, DurableState, OrderingFrame, Protocol, Recovery, ReplicaId, Start,
};
use crate::replay::Progress;
use serde::{Deserialize, Serialize};
use skink_engine::catalog::Catalog;
use skink_engine::engine::{Engine, Opened};
use skink_engine::error::Fault;
use skink_engine::log::{self, FrameKind};
use skink_engine::manifest::Manifest;
use skink_engine::position::Instance;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which replica a data directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The replica.
    pub own: ReplicaId,
    /// What its disk is known by: of two disks of a replica, the later one has the higher number.
    pub incarnation: u64,
    /// Whether it was there when the cluster was made. Others come back without the disk that they once had (O4).
    pub is_founder: bool,
    /// The members that it began with: those when the cluster was made, or when it came in.
    pub configuration: Configuration,
}

/// What the order keeps with a checkpoint, in its manifest: a version, 2, then postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderingFacts {
    /// The members at the cut.
    pub configuration: Configuration,
    /// The promise of the replica that took the cut, as far as it was durable (rule 3).
    pub promise: Ballot,
    /// What the members' disks are known by (rule 14).
    pub incarnations: Vec<(ReplicaId, u64)>,
}

const VERSION: u8 = 2;

/// As version 1 has them: without addresses of members, as nobody was ever added.
#[derive(Deserialize)]
struct FactsV1 {
    configuration: (u32, Vec<ReplicaId>, Instance),
    promise: Ballot,
    incarnations: Vec<(ReplicaId, u64)>,
}

impl FactsV1 {
    fn upgrade(self) -> Result<OrderingFacts, String> {
        let FactsV1 { configuration: (id, members, start), promise, incarnations } = self;
        let configuration = Configuration::new(id, members, start).ok_or("the members are none that can be")?;
        Ok(OrderingFacts { configuration, promise, incarnations })
    }
}

fn decode<T: for<'d> Deserialize<'d>>(body: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(body) {
        Ok((facts, [])) => Ok(facts),
        Ok((_, rest)) => Err(format!("{} bytes follow what the order keeps", rest.len())),
        Err(error) => Err(format!("what the order keeps can't be decoded: {error}")),
    }
}

impl OrderingFacts {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match postcard::to_extend(self, vec![VERSION]) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("facts can be encoded: {error}"),
        }
    }

    /// Reads them; `None` where a manifest has none, as that of a new cluster.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Option<OrderingFacts>, String> {
        match bytes.split_first() {
            None => Ok(None),
            Some((&VERSION, body)) => decode(body).map(Some),
            Some((1, body)) => decode::<FactsV1>(body)?.upgrade().map(Some),
            Some((version, _)) => Err(format!("what the order keeps has version {version}")),
        }
    }

    pub(super) fn at(&self, instance: Instance) -> CheckpointFacts {
        CheckpointFacts { instance, promise: self.promise }
    }
}

impl Node {
    /// Starts it. Nothing is executed or sent before the first cycle.
    ///
    /// # Errors
    /// The log is damaged or does not cover what is after the checkpoint (R2); faults of the disk.
    pub fn start(
        engine: Arc<Engine>,
        opened: Opened,
        membership: &Membership,
        options: NodeOptions,
    ) -> Result<Node, Fault> {
        let Opened { manifest, log: scan, writer } = opened;
        if options.recovery.installs_first() {
            engine.install_all()?;
        }
        let refused = |what: String| Fault::corrupt(&Manifest::path(&manifest_folder(&engine, &manifest)), 0, what);
        let catalog = Catalog::open(engine.environment(), &engine.directory().catalog())?;
        let jump = Jump::load(&catalog, manifest.instance).map_err(refused)?;
        let ordering = jump.as_ref().map_or(&manifest.ordering, |jump| &jump.ordering);
        let facts = OrderingFacts::decode(ordering).map_err(refused)?;
        let progress = jump.as_ref().map_or_else(|| Progress::at(&manifest), Jump::progress);
        let (own, incarnation) = (membership.own, membership.incarnation);
        let known = facts.iter().flat_map(|facts| &facts.incarnations).find(|(replica, _)| *replica == own);
        let is_gone = known.is_some_and(|(_, known)| *known > incarnation);
        if is_gone && facts.as_ref().is_some_and(|facts| facts.configuration.has_member(own)) {
            return Err(Fault::Refused(format!(
                "this data directory is from before replica {own} was removed from the cluster: start it with an empty one"
            )));
        }
        let configuration =
            facts.as_ref().map_or_else(|| membership.configuration.clone(), |facts| facts.configuration.clone());
        let files = Arc::clone(engine.log_files());
        let mut recovery = Recovery::new(configuration, options.order.rules);
        let mut last = None;
        for frame in scan.frames.iter().filter(|frame| frame.kind == FrameKind::Ordering) {
            let damaged = |what: String| log::damaged(&files, frame.position, what);
            let ordering = OrderingFrame::decode(&frame.body).map_err(|error| damaged(error.to_string()))?;
            last = Some(recovery.replay(ordering).map_err(|error| damaged(error.to_string()))?);
        }
        let checkpoint = match &facts {
            Some(facts) => facts.at(progress.instance),
            None => CheckpointFacts { instance: progress.instance, promise: Ballot::NONE },
        };
        let log_start = files.start()?;
        let state: DurableState = recovery
            .finish(Some(checkpoint), log_start)
            .map_err(|error| log::damaged(&files, manifest.log_position, error.to_string()))?;
        // A disk that has its own barrier, or what came after, has forgotten nothing since.
        let knows_own = known == Some(&(own, incarnation));
        // The window in the checkpoint does not have what the log has since.
        let used = progress.ids.last_incarnation().max(state.last_incarnation());
        let start = match membership.is_founder || knows_own {
            true => Start::Known { incarnation },
            false => Start::Lost { incarnation },
        };
        let mut protocol = Protocol::start(own, start, state, options.order);
        if let Some(facts) = facts {
            protocol.learn_incarnations(&facts.incarnations);
        }
        // One that lost its disk knows which ids of its batches are taken when it has the state up to its barrier.
        let batches = if membership.is_founder || knows_own {
            OwnBatches::new(Some(catalog.next_incarnation(used)?))
        } else {
            OwnBatches::new(None)
        };
        let mut node = Node {
            own,
            incarnation,
            members: Members::default(),
            log: NodeLog::new(writer, manifest.log_position, last.unwrap_or_default()),
            checkpoints: Checkpoints::new(manifest.instance, scan.end),
            execution: Execution::new(progress),
            options,
            engine,
            protocol,
            payloads: Payloads::default(),
            batches,
            inbox: Inbox::default(),
            reads: WaitingReads::default(),
            transfers: Transfers::default(),
            handoffs: Handoffs::default(),
            statuses: PeerStatuses::default(),
            encoder: BatchEncoder::default(),
            sessions: BTreeMap::new(),
            now: 0,
            proposed_in: Ballot::NONE,
            down: None,
            full_since: None,
            outputs: Vec::new(),
            is_stirred: true,
        };
        if let Some(jump) = jump {
            node.resume_handoff(manifest.instance, jump.instance);
        }
        Ok(node)
    }

    /// What the order keeps with a checkpoint that is cut now.
    pub(super) fn ordering_facts(&self) -> OrderingFacts {
        OrderingFacts {
            configuration: self.protocol.configuration().clone(),
            promise: self.protocol.manifest_promise(),
            incarnations: self.known_incarnations(),
        }
    }
}

impl Node {
    /// What the members' disks are known by; this replica's own after its barrier only.
    fn known_incarnations(&self) -> Vec<(ReplicaId, u64)> {
        let mut incarnations = self.protocol.incarnations();
        incarnations.retain(|(replica, _)| *replica != self.own || self.batches.incarnation().is_some());
        incarnations
    }
}

fn manifest_folder(engine: &Engine, manifest: &Manifest) -> std::path::PathBuf {
    Manifest::folder(&engine.directory().checkpoints(), manifest.instance)
}

#[cfg(test)]
mod tests {
    use super::{Ballot, Configuration, Instance, OrderingFacts, ReplicaId};

    #[test]
    fn facts_are_version_2_and_those_of_version_1_are_read() {
        let replica = |number| ReplicaId::new(number).unwrap();
        let configuration = Configuration::new(3, vec![replica(1), replica(4)], Instance::new(300).unwrap()).unwrap();
        let promise = Ballot::new(7, replica(4));
        let facts = |configuration| OrderingFacts { configuration, promise, incarnations: vec![(replica(4), 300)] };
        let old = [1, 3, 2, 1, 4, 172, 2, 7, 4, 1, 4, 172, 2];
        assert_eq!(OrderingFacts::decode(&old), Ok(Some(facts(configuration.clone()))));
        let new = facts(configuration.with_addresses(vec![(replica(4), "c:1".into())]).unwrap());
        let bytes = [2, 3, 2, 1, 4, 172, 2, 1, 4, 3, b'c', b':', b'1', 7, 4, 1, 4, 172, 2];
        assert_eq!(new.encode(), bytes);
        assert_eq!(OrderingFacts::decode(&bytes), Ok(Some(new)));
        for len in 1..bytes.len() {
            assert!(OrderingFacts::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert_eq!(OrderingFacts::decode(&[]), Ok(None));
    }
}
