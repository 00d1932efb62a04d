//! The object's storage: the ordering state, in memory, with a virtual prefix (rule 1).

use super::configuration::{Ballot, Configuration, ReplicaId};
use super::entry::{Entry, Slot};
use super::frame::StopSign;
use super::state::LogState;
use omnipaxos::ClusterConfig;
use omnipaxos::ballot_leader_election::Ballot as ObjectBallot;
use omnipaxos::storage::{NoSnapshot, StopSign as ObjectStopSign, Storage, StorageOp, StorageResult};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// A handle to the state. The object owns one, and lets nobody see it; the machine has the other.
#[derive(Debug, Clone)]
pub(super) struct LogHandle {
    state: Arc<Mutex<LogState>>,
    configuration: Arc<Configuration>,
}

impl LogHandle {
    pub(super) fn new(state: LogState, configuration: Arc<Configuration>) -> LogHandle {
        LogHandle { state: Arc::new(Mutex::new(state)), configuration }
    }

    /// The state. Never held while the object is called, which locks it itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock()
    }
}

/// Entries to be accepted. Gaps stop at the receive gate (rule 4).
fn accepted(slots: Vec<Slot>) -> Vec<Entry> {
    let entry = |slot| match slot {
        Slot::Entry(entry) => entry,
        Slot::Gap(len) => panic!("a gap up to {len} is no entry"),
    };
    slots.into_iter().map(entry).collect()
}

fn unused<T>(what: &str) -> StorageResult<T> {
    Err(format!("{what}: checkpoints take the place of old entries").into())
}

pub(super) fn stop_sign_from_object(stop_sign: &ObjectStopSign) -> StopSign {
    let members = stop_sign.next_config.nodes.iter().filter_map(|pid| ReplicaId::from_pid(*pid)).collect();
    // What is stored was checked when it came; a stop sign without hints is one, too.
    let addresses = stop_sign.metadata.as_deref().and_then(|bytes| postcard::from_bytes(bytes).ok());
    let addresses = addresses.unwrap_or_default();
    StopSign { configuration: stop_sign.next_config.configuration_id, members, addresses }
}

pub(super) fn stop_sign_to_object(stop_sign: &StopSign) -> ObjectStopSign {
    let nodes = stop_sign.members.iter().map(|member| member.pid()).collect();
    let configuration_id = stop_sign.configuration;
    let metadata = match postcard::to_stdvec(&stop_sign.addresses) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("addresses can be encoded: {error}"),
    };
    ObjectStopSign::with(ClusterConfig { configuration_id, nodes, flexible_quorum: None }, Some(metadata))
}

impl Storage<Slot> for LogHandle {
    fn write_atomically(&mut self, operations: Vec<StorageOp<Slot>>) -> StorageResult<()> {
        for operation in operations {
            match operation {
                StorageOp::AppendEntry(slot) => self.append_entry(slot)?,
                StorageOp::AppendEntries(slots) => self.append_entries(slots)?,
                StorageOp::AppendOnPrefix(from, slots) => self.append_on_prefix(from, slots)?,
                StorageOp::SetPromise(ballot) => self.set_promise(ballot)?,
                StorageOp::SetDecidedIndex(decided) => self.set_decided_idx(decided)?,
                StorageOp::SetAcceptedRound(ballot) => self.set_accepted_round(ballot)?,
                StorageOp::SetStopsign(stop_sign) => self.set_stopsign(stop_sign)?,
                StorageOp::SetCompactedIdx(len) => self.set_compacted_idx(len)?,
                StorageOp::Trim(len) => self.trim(len)?,
                StorageOp::SetSnapshot(snapshot) => self.set_snapshot(snapshot)?,
            }
        }
        Ok(())
    }

    fn append_entry(&mut self, slot: Slot) -> StorageResult<()> {
        self.append_entries(vec![slot])
    }

    fn append_entries(&mut self, slots: Vec<Slot>) -> StorageResult<()> {
        self.lock().append(accepted(slots));
        Ok(())
    }

    fn append_on_prefix(&mut self, from: usize, slots: Vec<Slot>) -> StorageResult<()> {
        let mut state = self.lock();
        // To the object an accepted stop sign is a part of the prefix, and no entry.
        let from = from.min(state.entries_len());
        state.cut(from);
        state.append(accepted(slots));
        Ok(())
    }

    fn set_promise(&mut self, ballot: ObjectBallot) -> StorageResult<()> {
        self.lock().set_promise(Ballot::from_object(ballot));
        Ok(())
    }

    fn set_decided_idx(&mut self, decided: usize) -> StorageResult<()> {
        self.lock().set_decided(decided);
        Ok(())
    }

    fn get_decided_idx(&self) -> StorageResult<usize> {
        Ok(self.lock().decided())
    }

    fn set_accepted_round(&mut self, ballot: ObjectBallot) -> StorageResult<()> {
        self.lock().set_accepted_round(Ballot::from_object(ballot));
        Ok(())
    }

    fn get_accepted_round(&self) -> StorageResult<Option<ObjectBallot>> {
        let round = self.lock().accepted_round();
        Ok((round != Ballot::NONE).then(|| round.to_object(&self.configuration)))
    }

    fn get_entries(&self, from: usize, to: usize) -> StorageResult<Vec<Slot>> {
        let state = self.lock();
        if from < state.base() || to > state.entries_len() {
            return Ok(Vec::new());
        }
        Ok(state.entries_from(from).take(to.saturating_sub(from)).cloned().map(Slot::Entry).collect())
    }

    fn get_log_len(&self) -> StorageResult<usize> {
        Ok(self.lock().entries_len())
    }

    fn get_suffix(&self, from: usize) -> StorageResult<Vec<Slot>> {
        let state = self.lock();
        let gap = (from < state.base()).then_some(Slot::Gap(state.base()));
        Ok(gap.into_iter().chain(state.entries_from(from).cloned().map(Slot::Entry)).collect())
    }

    fn get_promise(&self) -> StorageResult<Option<ObjectBallot>> {
        let promise = self.lock().promise();
        Ok((promise != Ballot::NONE).then(|| promise.to_object(&self.configuration)))
    }

    fn set_stopsign(&mut self, stop_sign: Option<ObjectStopSign>) -> StorageResult<()> {
        self.lock().set_stop_sign(stop_sign.as_ref().map(stop_sign_from_object));
        Ok(())
    }

    fn get_stopsign(&self) -> StorageResult<Option<ObjectStopSign>> {
        Ok(self.lock().stop_sign().map(stop_sign_to_object))
    }

    fn trim(&mut self, _: usize) -> StorageResult<()> {
        unused("trim")
    }

    fn set_compacted_idx(&mut self, _: usize) -> StorageResult<()> {
        unused("compaction")
    }

    fn get_compacted_idx(&self) -> StorageResult<usize> {
        Ok(0)
    }

    fn set_snapshot(&mut self, _: Option<NoSnapshot>) -> StorageResult<()> {
        unused("snapshot")
    }

    fn get_snapshot(&self) -> StorageResult<Option<NoSnapshot>> {
        Ok(None)
    }
}
