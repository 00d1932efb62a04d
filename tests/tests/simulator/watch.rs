//! Where the checkers look: at what is on the disk, at what leaves, at the state, and at all of it in the end.

use crate::checkers::linearizability::{self, Verdict};
use crate::checkers::{acknowledged, e3, o2, o4, refused, s2};
use crate::clients::Abandoned;
use crate::history::{Ending, State};
use crate::operations::ACCOUNTS;
use crate::world::World;
use bytes::Bytes;
use skink_engine::error::Fault;
use skink_engine::log::BodyReader;
use skink_engine::position::Instance;
use skink_replication::node::message::PeerMessage;
use skink_replication::paxos::{Message, ReplicaId};
use std::sync::Arc;

impl World {
    /// A process has started: its state is that of its checkpoint.
    pub fn after_start(&mut self, at: usize) -> Result<(), String> {
        if let Some(process) = &mut self.machines[at].process {
            let executed = process.node.executed();
            (process.came_with, process.executed) = (executed, executed);
        }
        if !self.random.percent(30) {
            return Ok(());
        }
        match self.look_at_every_key(at)? {
            Ok(()) => Ok(()),
            Err(fault) => self.failed(at, &fault),
        }
    }

    /// A donor's checkpoint may have taken the place of the state: then there is one that this machine did not make.
    fn state_came(&mut self, at: usize) -> Result<(), Fault> {
        let machine = &mut self.machines[at];
        let Some(process) = &mut machine.process else { return Ok(()) };
        let newest = process.engine.last_checkpoint();
        let executed = process.node.executed();
        if process.node.settled() < executed && executed > machine.log.floor() {
            process.came_with = executed;
            machine.verified = machine.verified.max(executed);
            let engine = Arc::clone(&process.engine);
            return machine.jumped(&engine);
        }
        if newest <= machine.log.checkpoint {
            return Ok(());
        }
        process.came_with = process.came_with.max(newest);
        process.executed = process.executed.max(newest);
        machine.verified = machine.verified.max(newest);
        let engine = Arc::clone(&process.engine);
        machine.checkpoint_changed(&engine)
    }

    /// The log was written.
    pub fn look_at_log(&mut self, at: usize) -> Result<Result<(), Fault>, String> {
        let machine = &mut self.machines[at];
        let Some(process) = &machine.process else { return Ok(Ok(())) };
        match machine.log.go_on(process.engine.log_files()) {
            Ok(checked) => checked.map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// A message leaves.
    pub fn look_at_message(&mut self, at: usize, to: ReplicaId, bytes: &Bytes) -> Result<(), String> {
        let message = PeerMessage::decode(bytes).map_err(|error| format!("MESSAGE {error}"))?;
        self.note(|| {
            let text: String = format!("{message:?}").chars().take(400).collect();
            format!("{at} -> {to}: {text}")
        });
        if let PeerMessage::Payload { id, bytes } = &message {
            self.payloads.entry(*id).or_insert_with(|| bytes.clone());
        }
        let PeerMessage::Order(envelope) = message else { return Ok(()) };
        self.unrest += u64::from(matches!(envelope.message, Message::Prepare { .. }));
        o2::check_sent(&envelope.message, &self.machines[at].log)?;
        o4::check_sent(&envelope.message, &self.machines[at], self.reference.barriers())
    }

    /// A cycle has ended: more may be decided, and executed.
    pub fn look_at_state(&mut self, at: usize) -> Result<Result<(), Fault>, String> {
        if let Err(fault) = self.state_came(at) {
            return Ok(Err(fault));
        }
        if let Err(fault) = self.look_at_order(at)? {
            return Ok(Err(fault));
        }
        let machine = &mut self.machines[at];
        let Some(process) = &mut machine.process else { return Ok(Ok(())) };
        let executed = process.node.executed();
        e3::check_forward(at, process.executed, executed)?;
        let has_moved = executed > process.executed;
        process.executed = executed;
        // In the middle of a batch, or with something executed ahead, a state is at no instance.
        if process.node.is_full() || !has_moved || !process.node.is_in_order() {
            return Ok(Ok(()));
        }
        let digests = process.engine.segment_cuts().iter().map(|cut| cut.totals.digest).collect();
        self.checkers.states.check(at, executed, digests)?;
        if self.random.below(150) == 0 { self.look_at_every_key(at) } else { Ok(Ok(())) }
    }

    fn look_at_every_key(&mut self, at: usize) -> Result<Result<(), Fault>, String> {
        let Some(process) = &self.machines[at].process else { return Ok(Ok(())) };
        // What was executed ahead of order is that of no instance.
        if process.node.is_full() || !process.node.is_in_order() {
            return Ok(Ok(()));
        }
        match s2::check(at, &process.engine, process.node.executed(), &self.reference) {
            Ok(checked) => checked.map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Compares what is decided here with what is known to be, and takes note of what is new.
    fn look_at_order(&mut self, at: usize) -> Result<Result<(), Fault>, String> {
        let Some(process) = &self.machines[at].process else { return Ok(Ok(())) };
        let executed = process.node.executed();
        let log = &self.machines[at].log;
        let decided = log.decided.max(executed).max(process.node.last_early());
        let mut reader = BodyReader::new(process.engine.log_files());
        let mut instance = self.machines[at].verified;
        while instance < decided {
            let next = instance.next();
            let Some(entry) = log.entries.get(&next) else {
                if next <= executed && next > log.floor() {
                    return Err(format!("ORDER: {at} has executed {next}, which is not in its log"));
                }
                instance = next;
                continue;
            };
            if next <= self.reference.last() {
                self.reference.check(next, entry)?;
            } else if next == self.reference.last().next() {
                let payload = match entry.payload().map(|id| log.payload(&id)) {
                    None => None,
                    Some(Some(position)) => match reader.read(position) {
                        Ok(payload) => Some(payload),
                        Err(fault) => return Ok(Err(fault)),
                    },
                    // Decided, and its payload has not come yet, or is that of an own batch.
                    Some(None) => match entry.payload().and_then(|id| self.payloads.get(&id)) {
                        Some(payload) => Some(payload.to_vec()),
                        None => break,
                    },
                };
                let entry = entry.clone();
                acknowledged::check_majority(next, &entry, &self.machines, self.plan.majority())?;
                self.reference.extend(entry, payload.as_deref(), &self.batches)?;
            } else {
                break;
            }
            instance = next;
        }
        self.machines[at].verified = instance;
        if executed > self.reference.last() {
            return Err(format!("ORDER: {at} has executed {executed}, known is {}", self.reference.last()));
        }
        Ok(Ok(()))
    }

    /// All is done, and everybody has executed everything.
    pub fn check_end(&mut self) -> Result<(), String> {
        for at in 0..self.plan.members {
            if let Err(fault) = self.look_at_every_key(at)? {
                return Err(format!("FAULT of {at} in the end: {fault}"));
            }
        }
        refused::check(&self.batches, &self.reference)?;
        self.check_accounts()?;
        for Abandoned { mut call, object, batch } in self.clients.take_abandoned() {
            if batch.is_some_and(|batch| self.reference.executed(batch).is_some()) {
                call.ending = Ending::Happened;
                self.history.add(&object, call);
            }
        }
        for (object, calls) in self.history.objects() {
            let initial = if object == "accounts" { State::Accounts(vec![0; ACCOUNTS]) } else { State::Value(None) };
            match linearizability::check(calls, initial.clone()) {
                Verdict::Linearizable => {}
                Verdict::Undecided => self.checkers.undecided += 1,
                Verdict::Wrong { explained } => {
                    let count = calls.len();
                    let first = linearizability::first_unexplained(calls, &initial);
                    return Err(format!(
                        "LINEARIZABILITY of {object}: {explained} of {count} calls have a place; the first without: {first:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is moved between accounts is neither made nor lost.
    fn check_accounts(&self) -> Result<(), String> {
        let balances = (0..ACCOUNTS).map(|account| {
            let key = format!("account/{account}");
            let version = self.reference.model().entries().get(key.as_bytes());
            version.map_or(Some(0), |version| std::str::from_utf8(&version.value).ok()?.parse::<i64>().ok())
        });
        let balances: Option<Vec<i64>> = balances.collect();
        match balances {
            Some(balances) if balances.iter().sum::<i64>() == 0 => Ok(()),
            other => Err(format!("ACCOUNTS: {other:?}")),
        }
    }

    /// The last instance, for those who count.
    pub fn last(&self) -> Instance {
        self.reference.last()
    }
}
