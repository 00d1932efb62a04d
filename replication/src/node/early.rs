//! Execution ahead of order: what somebody waits for is executed before old commands that it does not depend on.
//!
//! ```text
//! a key that is needed --> the old batches that touch it, oldest first --> of each: its commands on that key
//!                                                                             '--> and what those need on other keys
//! ```
//!
//! A replica that comes back has many old commands to execute. A read, or a new command of its own clients, needs those
//! on its own keys alone; they are looked up in the plan, and executed at once (R1). All others follow in order. So no
//! command waits for the replay of a log; what it waits for is the payloads that it needs, if they are not here.
//!
//! The outcome is that of executing everything in order (E1): a command is executed only after all commands before it that
//! touch one of its keys. What touches everything is executed in order, and nothing behind it before it. While
//! something is executed ahead there is no cut (R3), and reads of several keys see at least the last command that was.

use super::execution::Execution;
use super::part::{Loaded, LocalReads, Part};
use super::{Channel, Node, Output, Touches};
use crate::crew::OnEngine;
use crate::executor::Work;
use crate::header::BatchId;
use crate::node::message::PeerMessage;
use crate::paxos::{ReplicaId, Request};
use skink_engine::error::Fault;
use skink_engine::key::KeyHash;
use skink_engine::log::BodyReader;
use skink_engine::position::Instance;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Headers that are entered into the plan in one cycle: some 15 ms. With fewer it takes longer until all are, for which everybody
/// waits who waits at all.
const MAX_ENTERED: usize = 4096;
/// Batches whose payloads are read in one cycle to execute commands ahead: the rest waits for the next.
const MAX_LOADS: usize = 64;
/// Batches that one command may depend on by way of others' keys; more are left to execution in order.
const MAX_CLOSURE: usize = 256;
/// Bytes of commands that are kept from one cycle to the next, so that their payloads need not be read again.
const MAX_LOADED: usize = 32 << 20;
/// Ticks after which a payload that somebody waits for is asked for again.
const ASK_AGAIN: u64 = 10;
/// Own batches that wait for old commands, of which each cycle looks at so many.
const MAX_TRIES: usize = 64;

/// What is under way ahead of order.
#[derive(Default)]
pub(super) struct Early {
    /// Own batches that are delivered and not executed, first those that wait longest.
    own: VecDeque<Instance>,
    /// Batches whose commands are in memory, and their bytes.
    loaded: VecDeque<(Instance, usize)>,
    loaded_bytes: usize,
    /// Payloads that somebody waits for, and when they were asked for.
    asked: HashMap<BatchId, u64>,
    loads_left: usize,
    /// The disk had no room.
    is_full: bool,
    /// Held by those who read several keys from a state in which nothing was executed ahead.
    pub(super) views: Arc<()>,
    /// Reads that were answered since the start while there was something older that they did not wait for.
    pub(super) reads: u64,
    /// Commands that were executed ahead since the start.
    pub(super) commands: u64,
    /// Ticks that a request waited at most, since the start, while there were old commands.
    pub(super) longest_wait: u64,
}

impl Early {
    /// Everything that was planned is executed, or void.
    pub(super) fn clear(&mut self) {
        self.own.clear();
        self.loaded.clear();
        self.loaded_bytes = 0;
        self.asked.clear();
    }

    /// The commands of a batch are not needed any more, if it is the last one that was loaded.
    pub(super) fn unload(&mut self, instance: Instance) {
        if let Some((_, bytes)) = self.loaded.pop_back_if(|(last, _)| *last == instance) {
            self.loaded_bytes -= bytes;
        }
    }

    /// Own batches that wait.
    pub(super) fn waiting(&self) -> usize {
        self.own.len()
    }
}

/// Something that must be executed: what of a batch touches a key.
type Goal = (Instance, u32);

impl Node {
    /// Enters what was delivered into the plan, as far as one turn goes.
    pub(super) fn enter_delivered(&mut self) {
        // A donor's cut is behind most of it; and nobody can be answered before there is a session.
        if self.may_still_jump() {
            return;
        }
        let execution = &mut self.execution;
        if !execution.goes_on() {
            return;
        }
        let executed = execution.progress.instance;
        if execution.plan.entered().is_none() {
            execution.plan.begin(&execution.progress, execution.delivered());
        }
        let entered = execution.plan.entered().unwrap_or(executed);
        let skipped = usize::try_from(entered.get() - executed.get()).unwrap_or(usize::MAX);
        for delivered in execution.delivered.iter().skip(skipped).take(MAX_ENTERED) {
            let own = delivered.batch().and_then(|id| self.batches.get(&id));
            let local = own.map_or(LocalReads::None, |own| LocalReads::of(&own.commands, |key| self.engine.hash(key)));
            execution.plan.enter(delivered, local, executed);
            if own.is_some() {
                execution.early.own.push_back(delivered.instance);
            }
        }
        if execution.plan.entered() < Some(execution.delivered()) {
            self.is_stirred = true;
        }
    }

    /// Whether it is worth it, and nobody minds.
    pub(super) fn may_execute_early(&self) -> bool {
        let is_seen = Arc::strong_count(&self.execution.early.views) > 1;
        self.is_behind() && !is_seen && !self.execution.is_within_a_batch() && !self.handoffs.is_asking()
    }

    /// Takes note of how long requests have waited, where old commands may be the reason.
    pub(super) fn note_waits(&mut self) {
        if self.is_behind() {
            let oldest = self.reads.oldest_parked().into_iter().chain(self.batches.oldest()).min();
            let waited = oldest.map_or(0, |since| self.now.saturating_sub(since));
            self.execution.early.longest_wait = self.execution.early.longest_wait.max(waited);
        }
    }

    /// Executes own batches that are delivered, where many old ones are before them.
    pub(super) fn execute_early(&mut self) -> Result<(), Fault> {
        self.execution.early.loads_left = MAX_LOADS;
        self.execution.early.is_full = false;
        if self.execution.early.own.is_empty() || !self.may_execute_early() {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let mut reader = BodyReader::new(engine.log_files());
        for _ in 0..self.execution.early.own.len().min(MAX_TRIES) {
            let Some(instance) = self.execution.early.own.pop_front() else { break };
            let is_over = instance <= self.executed() || self.execution.plan.is_executed(instance);
            if !is_over && !self.execute_own(instance, &mut reader)? {
                self.execution.early.own.push_back(instance);
            }
            if self.execution.early.loads_left == 0 {
                self.is_stirred = true;
                break;
            }
        }
        Ok(())
    }

    /// Executes a batch of this replica's clients ahead, if that can be; whether nothing is left of it.
    fn execute_own(&mut self, instance: Instance, reader: &mut BodyReader<'_>) -> Result<bool, Fault> {
        if self.execution.plan.barrier(instance).is_some() || self.execution.is_handed_over(instance) {
            return Ok(false);
        }
        if !self.load(instance, reader)? {
            return Ok(false);
        }
        let planned = self.execution.plan.get(instance);
        let part = planned.and_then(|planned| planned.part.as_ref());
        let touches = part.and_then(|part| part.loaded.as_ref()).and_then(Loaded::all_touches);
        let Some(touches) = touches else { return Ok(false) };
        let mut is_ready = true;
        for digest in &touches {
            if let Some(before) = self.execution.plan.unsettled_before(instance, *digest) {
                is_ready &= self.settle_chain(*digest, before, reader)?;
            }
        }
        Ok(is_ready && self.settle(&touches.iter().map(|digest| (instance, *digest)).collect::<Vec<_>>(), reader)?)
    }

    /// Executes what old commands there are, up to an instance, on the keys that something touches, if that can be done
    /// now. The plan says what is left.
    pub(super) fn demand(
        &mut self,
        touches: &Touches,
        upto: Instance,
        reader: &mut BodyReader<'_>,
    ) -> Result<(), Fault> {
        let Touches::Keys(keys) = touches else { return Ok(()) };
        if self.execution.plan.barrier(upto).is_some() || !self.may_execute_early() {
            return Ok(());
        }
        for key in keys {
            if !self.settle_chain(key.digest(), upto, reader)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Executes all old commands on a key up to an instance, oldest first; whether none is left.
    fn settle_chain(&mut self, digest: u32, upto: Instance, reader: &mut BodyReader<'_>) -> Result<bool, Fault> {
        let chain: Vec<Instance> = self.execution.plan.chain(digest, upto).collect();
        // All that is missing is asked for at once.
        for instance in chain.iter().rev().take(MAX_LOADS) {
            self.ask_for_payload(*instance);
        }
        for instance in chain.into_iter().rev() {
            if !self.settle(&[(instance, digest)], reader)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Executes what of some batches touches some keys, and before it all that it needs on other keys; whether that could
    /// be done. Else nothing is executed.
    fn settle(&mut self, goals: &[Goal], reader: &mut BodyReader<'_>) -> Result<bool, Fault> {
        let mut heap: BinaryHeap<Goal> = goals.iter().copied().collect();
        let mut seen: HashSet<Goal> = goals.iter().copied().collect();
        let mut commands: Vec<(Instance, usize)> = Vec::new();
        let mut keys: Vec<KeyHash> = Vec::new();
        let mut overwritten: Vec<(KeyHash, Instance)> = Vec::new();
        let mut is_complete = true;
        while let Some((instance, digest)) = heap.pop() {
            if seen.len() > MAX_CLOSURE.max(2 * goals.len()) {
                return Ok(false);
            }
            if !self.load(instance, reader)? {
                is_complete = false;
                continue;
            }
            let plan = &self.execution.plan;
            let part = plan.get(instance).and_then(|planned| planned.part.as_ref());
            let Some((part, loaded)) = part.and_then(|part| Some((part, part.loaded.as_ref()?))) else {
                return Ok(false);
            };
            for number in loaded.touching(digest).filter(|number| !part.is_done(*number)) {
                commands.push((instance, number));
                let Some(touches) = loaded.touches(number) else { return Ok(false) };
                match loaded.is_blind(number) {
                    true => overwritten.extend(touches.iter().map(|key| (*key, instance))),
                    false => keys.extend_from_slice(touches),
                }
                for other in touches.iter().map(|key| key.digest()) {
                    if seen.insert((instance, other)) {
                        heap.push((instance, other));
                    }
                }
            }
            if let Some(before) = plan.unsettled_before(instance, digest)
                && seen.insert((before, digest))
            {
                heap.push((before, digest));
            }
        }
        // All of them are asked for at once.
        let missing = keys.into_iter().filter(|key| !self.is_handed_over(*key)).count();
        if !is_complete || missing > 0 {
            return Ok(false);
        }
        self.overwrites(overwritten);
        commands.sort_unstable();
        commands.dedup();
        for (instance, number) in commands {
            if !self.execute_one(instance, number)? {
                return Ok(false);
            }
        }
        for (instance, digest) in seen {
            if let Some(part) = self.execution.plan.get_mut(instance).and_then(|planned| planned.part.as_mut()) {
                part.settle(digest);
            }
        }
        Ok(true)
    }

    /// Executes a command ahead; whether the disk had room.
    pub(super) fn execute_one(&mut self, instance: Instance, number: usize) -> Result<bool, Fault> {
        let Some(planned) = self.execution.plan.get_mut(instance) else { return Ok(false) };
        let id = planned.header().map(|header| header.id);
        let (Some(part), Some(id)) = (&mut planned.part, id) else { return Ok(false) };
        let work = Work { instance, time_ms: planned.time_ms, commands: &[] };
        match part.execute(number, &work, &OnEngine::new(&self.engine)) {
            Err(fault) if fault.is_transient() => {
                // Execution in order meets the same, and says so.
                self.execution.early.is_full = true;
                return Ok(false);
            }
            result => result?,
        }
        self.execution.early.commands += 1;
        self.execution.plan.executed_early(instance);
        if let Some(replies) = self.execution.plan.take_replies(instance)
            && let Some(reply) = self.batches.take(&id).and_then(|own| own.reply)
        {
            self.execution.has_answered = true;
            self.outputs.push(Output::Answer(reply, Ok(replies)));
        }
        Ok(true)
    }

    /// Brings a batch's commands to memory; whether they are there. A payload that is missing is asked for.
    pub(super) fn load(&mut self, instance: Instance, reader: &mut BodyReader<'_>) -> Result<bool, Fault> {
        let Some(planned) = self.execution.plan.get(instance) else { return Ok(false) };
        if planned.part.as_ref().is_some_and(|part| part.loaded.is_some()) {
            return Ok(true);
        }
        let Some(header) = planned.header().cloned() else { return Ok(false) };
        let payload = planned.payload;
        if self.execution.early.loads_left == 0 || self.execution.early.is_full {
            return Ok(false);
        }
        let own = self.batches.get(&header.id).map(|own| own.commands.clone());
        let is_own = own.is_some();
        let commands = match own {
            Some(commands) => Some(commands),
            None => self.read_commands(&header, payload, reader)?,
        };
        let Some(commands) = commands else {
            self.ask_for_payload(instance);
            return Ok(false);
        };
        let loaded = Loaded::new(commands, |key| self.engine.hash(key));
        let Execution { plan, early, .. } = &mut self.execution;
        early.loads_left -= 1;
        early.asked.remove(&header.id);
        let bytes = loaded.bytes();
        if let Some(planned) = plan.get_mut(instance) {
            planned.part.get_or_insert_with(|| Box::new(Part::default())).load(loaded, is_own);
        }
        early.loaded.push_back((instance, bytes));
        early.loaded_bytes += bytes;
        while early.loaded_bytes > MAX_LOADED && early.loaded.len() > MAX_CLOSURE {
            let Some((oldest, bytes)) = early.loaded.pop_front() else { break };
            early.loaded_bytes -= bytes;
            if let Some(part) = plan.get_mut(oldest).and_then(|planned| planned.part.as_mut()) {
                part.loaded = None;
            }
        }
        Ok(true)
    }

    /// Asks a peer for the payload of a batch, if it is not here and was not asked for just now.
    fn ask_for_payload(&mut self, instance: Instance) {
        let Some(planned) = self.execution.plan.get(instance) else { return };
        let Some(id) = planned.header().map(|header| header.id) else { return };
        let is_here = planned.part.as_ref().is_some_and(|part| part.loaded.is_some())
            || planned.payload.is_some()
            || self.protocol.has_payload(&id)
            || self.payload_in_memory(&id).is_some();
        let asked = self.execution.early.asked.get(&id).copied();
        if is_here || asked.is_some_and(|asked| self.now.saturating_sub(asked) < ASK_AGAIN) {
            return;
        }
        let peers: Vec<ReplicaId> = self.sessions.keys().copied().collect();
        // Another one each time, as one of them may not have it.
        let turn = (instance.get() + self.now / ASK_AGAIN) as usize;
        let Some(peer) = peers.get(turn % peers.len().max(1)) else { return };
        self.execution.early.asked.insert(id, self.now);
        let _ = self.payloads.want(id, self.now);
        self.send(*peer, Channel::Control, &PeerMessage::Ask(Request::Payload { id, instance }));
    }

    /// A payload is here that somebody waits for.
    pub(super) fn is_demanded(&mut self, id: &BatchId) -> bool {
        self.execution.early.asked.remove(id).is_some()
    }
}
