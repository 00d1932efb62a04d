//! Execution: what is decided, one batch after the other, and the answers to this replica's own ones.
//!
//! A batch whose payload is missing, or for which the disk has no room, holds up what is behind it. What is left of a
//! batch that met a full disk goes on where it stopped: a command is executed wholly or not at all.

use super::early::Early;
use super::parallel::Parallel;
use super::part::{Loaded, Part};
use super::plan::Plan;
use super::reads::{Passing, Ready};
use super::{Node, Output, Passes, Touches, View};
use crate::batch::{self, LocalCommand};
use crate::crew::OnEngine;
use crate::executor::{Work, execute_in_order};
use crate::header::{BatchId, Content, Header};
use crate::identity::Verdict;
use crate::paxos::{Barrier, Delivered, DeliveredContent};
use crate::replay::Progress;
use crate::replica::BatchReply;

use bytes::Bytes;
use skink_engine::command::Reply;
use skink_engine::error::Fault;
use skink_engine::log::{self, BodyReader};
use skink_engine::position::{Instance, LogPosition};
use std::collections::VecDeque;
use std::sync::Arc;

/// Ticks after a start in which a replica gets in touch with the others, and answers, before it executes what it has.
const CONTACT_TICKS: u64 = 20;
/// What is executed in one turn is about so much at most, so that a turn takes a millisecond, whatever the batches are.
pub(super) const MAX_BURST_COMMANDS: u64 = 512;
pub(super) const MAX_BURST_BYTES: usize = 1 << 20;
/// Batches that are passed in one turn, of which those cost next to nothing that were executed ahead.
const MAX_PASSED: usize = 4096;
/// Decided batches that wait for execution before this node takes part in no more.
const MAX_DELIVERED: usize = 1 << 16;

/// A batch that is being executed.
struct Current {
    commands: Vec<LocalCommand>,
    replies: Vec<Reply>,
    reply: Option<BatchReply>,
}

/// Where execution stands.
pub(super) struct Execution {
    pub(super) progress: Progress,
    pub(super) delivered: VecDeque<Delivered>,
    /// The first delivered one, if it was begun.
    current: Option<Current>,
    /// The disk had no room for it.
    is_full: bool,
    /// A client got an answer.
    pub(super) has_answered: bool,
    /// All segments are installed, or it does not matter any more.
    pub(super) are_installed: bool,
    /// The state up to here is being handed over: nothing is executed in order meanwhile.
    floor: Option<Instance>,
    pub(super) plan: Plan,
    pub(super) early: Early,
    pub(super) parallel: Parallel,
    pub(super) commands: u64,
    pub(super) batches: u64,
}

impl Execution {
    pub(super) fn new(progress: Progress) -> Execution {
        Execution {
            progress,
            delivered: VecDeque::new(),
            current: None,
            is_full: false,
            has_answered: false,
            are_installed: false,
            floor: None,
            plan: Plan::default(),
            early: Early::default(),
            parallel: Parallel::default(),
            commands: 0,
            batches: 0,
        }
    }

    pub(super) fn deliver(&mut self, delivered: Vec<Delivered>) {
        self.delivered.extend(delivered);
    }

    /// The last instance whose header is here.
    pub(super) fn delivered(&self) -> Instance {
        self.delivered.back().map_or(self.progress.instance, |last| last.instance)
    }

    /// Whether what was delivered goes on from what was executed.
    pub(super) fn goes_on(&self) -> bool {
        self.delivered.front().is_some_and(|next| next.instance == self.progress.instance.next())
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.is_full && self.delivered.len() > MAX_DELIVERED
    }

    /// Whether it waits for room on the disk.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes note of whether the disk has room.
    pub(super) fn note_room(&mut self, fault: Option<&str>) {
        let was_full = std::mem::replace(&mut self.is_full, fault.is_some());
        match fault {
            Some(fault) if !was_full => tracing::error!(fault, "execution waits for room on the disk"),
            None if was_full => tracing::info!("there is room on the disk again"),
            _ => {}
        }
    }

    /// Whether a batch was executed, or never will be.
    pub(super) fn is_over(&self, id: &BatchId) -> bool {
        self.progress.ids.is_over(id)
    }

    /// A checkpoint takes the place of what was executed, or a state that is handed over.
    pub(super) fn install(&mut self, progress: Progress) {
        assert!(!self.is_within_a_batch(), "E3: no batch is executed half");
        self.delivered.retain(|delivered| delivered.instance > progress.instance);
        // What was executed ahead is not in that state, unless the state is as new.
        self.plan.clear();
        self.early.clear();
        self.progress = progress;
    }

    /// Whether a batch is begun and not done.
    pub(super) fn is_within_a_batch(&self) -> bool {
        self.current.is_some() || self.parallel.is_busy()
    }

    /// The instance up to which headers are here, one after the other, from what was executed.
    pub(super) fn covered(&self) -> Instance {
        if self.goes_on() { self.delivered() } else { self.progress.instance }
    }

    /// Whether the state is that of what is executed in order: nothing was executed ahead, or in part.
    pub(super) fn is_in_order(&self) -> bool {
        self.floor.is_none() && !self.is_within_a_batch() && self.plan.last_early() <= self.progress.instance
    }

    /// The state up to an instance is being handed over; or no longer.
    pub(super) fn set_floor(&mut self, floor: Option<Instance>) {
        self.floor = floor;
        self.plan.set_floor(floor.unwrap_or_default());
    }

    /// Whether an instance is never executed, as what it wrote is handed over.
    pub(super) fn is_handed_over(&self, instance: Instance) -> bool {
        self.floor.is_some_and(|floor| instance <= floor)
    }

    /// The instance up to which it is known what there is to wait for: it is entered into the plan, or handed over, which
    /// needs no headers, or executed.
    fn known(&self) -> Instance {
        let entered = self.plan.entered().filter(|_| self.goes_on());
        entered.max(self.floor).unwrap_or(self.progress.instance)
    }

    /// The next delivered one up to an instance.
    pub(super) fn take_up_to(&mut self, floor: Instance) -> Option<Delivered> {
        self.delivered.pop_front_if(|next| next.instance <= floor)
    }
}

impl Node {
    /// Executes what is decided and here, as far as one turn goes.
    pub(super) fn execute_ready(&mut self) -> Result<(), Fault> {
        if self.is_just_started() || self.execution.floor.is_some() || self.handoffs.is_asking() {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let mut reader = BodyReader::new(engine.log_files());
        let (mut commands, mut bytes, mut left) = (0, 0, self.burst());
        for _ in 0..MAX_PASSED {
            if left == 0 || commands >= MAX_BURST_COMMANDS || bytes >= MAX_BURST_BYTES {
                break;
            }
            if self.execution.goes_on() && self.execution.current.is_none() {
                let (by_crew, their_bytes) = self.execute_by_crew(&mut reader)?;
                if self.execution.parallel.is_busy() {
                    return Ok(());
                }
                (commands, bytes) = (commands + by_crew, bytes + their_bytes);
                if by_crew > 0 {
                    left -= 1;
                    continue;
                }
            }
            // What a replica that was added gets may come before the state that it goes on from.
            let Some(next) = self.execution.delivered.front().filter(|_| self.execution.goes_on()) else { break };
            let instance = next.instance;
            // It costs nothing more then.
            let (is_executed, executed) = (self.execution.plan.is_executed(instance), self.execution.commands);
            let goes_on = match next.content.clone() {
                DeliveredContent::Header { header, payload } => {
                    if let Content::Commands { payload_len, .. } = header.content
                        && !is_executed
                    {
                        bytes += payload_len as usize;
                    }
                    self.execute_header(instance, &header, payload, &mut reader)?
                }
                DeliveredContent::Barrier(barrier) => {
                    self.execution.progress.pass(instance);
                    self.barrier_passed(barrier)?;
                    true
                }
                DeliveredContent::StopSign(stop_sign) => {
                    self.execution.progress.pass(instance);
                    self.stop_sign_passed(instance, &stop_sign)?;
                    true
                }
            };
            if !goes_on {
                return Ok(());
            }
            self.execution.delivered.pop_front();
            if !is_executed {
                (commands, left) = (commands + self.execution.commands - executed, left - 1);
            }
        }
        self.is_stirred |= self.execution.goes_on();
        Ok(())
    }

    fn execute_header(
        &mut self,
        instance: Instance,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<bool, Fault> {
        if self.execution.progress.ids.verdict(&header.id) == Verdict::Skip {
            self.execution.progress.deliver(instance, header);
            self.payloads.forget(&header.id);
            return Ok(true);
        }
        if header.content == Content::CheckpointMarker {
            self.execution.progress.deliver(instance, header);
            drop(self.batches.take(&header.id));
            self.marker_passed(instance, &header.id);
            return Ok(true);
        }
        let time_ms = self.execution.progress.time_ms.max(header.time_ms);
        if self
            .execution
            .plan
            .get(instance)
            .and_then(|planned| planned.part.as_ref())
            .is_some_and(|part| part.is_begun())
        {
            return self.execute_rest(instance, header, payload, reader);
        }
        if self.execution.current.is_none() {
            let Some((commands, reply)) = self.take_commands(header, payload, reader)? else { return Ok(false) };
            self.execution.current = Some(Current { commands, replies: Vec::new(), reply });
        }
        let Some(current) = &mut self.execution.current else { return Ok(false) };
        let work = Work { instance, time_ms, commands: &current.commands };
        let result = execute_in_order(&work, &OnEngine::new(&self.engine), &mut current.replies);
        if !self.has_room(result)? {
            return Ok(false);
        }
        if let Some(Current { commands, replies, reply }) = self.execution.current.take() {
            self.batch_executed(instance, header, commands.len(), reply.map(|reply| (reply, replies)));
        }
        Ok(true)
    }

    /// Executes what is left of a batch that was executed ahead in part.
    fn execute_rest(
        &mut self,
        instance: Instance,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<bool, Fault> {
        let planned = self.execution.plan.get_mut(instance);
        let Some((mut part, time_ms)) = planned.and_then(|it| Some((it.part.take()?, it.time_ms))) else {
            return Ok(false);
        };
        let result = self.execute_part(&mut part, instance, time_ms, header, payload, reader);
        let is_over = matches!(result, Ok(true));
        if is_over {
            let own = self.batches.take(&header.id).and_then(|own| own.reply);
            let answer = own.and_then(|reply| Some((reply, part.take_replies()?)));
            self.batch_executed(instance, header, part.len(), answer);
        } else if let Some(planned) = self.execution.plan.get_mut(instance) {
            planned.part = Some(part);
        }
        result
    }

    fn execute_part(
        &mut self,
        part: &mut Part,
        instance: Instance,
        time_ms: u64,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<bool, Fault> {
        if part.is_whole() {
            return Ok(true);
        }
        if part.loaded.is_none() {
            let own = self.batches.get(&header.id).map(|own| own.commands.clone());
            let is_own = own.is_some();
            let commands = match own {
                Some(commands) => Some(commands),
                None => self.read_commands(header, payload, reader)?,
            };
            let Some(commands) = commands else { return Ok(false) };
            part.load(Loaded::new(commands, |key| self.engine.hash(key)), is_own);
        }
        let work = Work { instance, time_ms, commands: &[] };
        let result = part.execute_rest(&work, &OnEngine::new(&self.engine));
        self.has_room(result)
    }

    /// Whether the disk had room for something that was executed.
    fn has_room(&mut self, result: Result<(), Fault>) -> Result<bool, Fault> {
        match result {
            Err(fault) if fault.is_transient() => self.execution.note_room(Some(&fault.to_string())),
            result => {
                result?;
                self.execution.note_room(None);
            }
        }
        Ok(!self.execution.is_full)
    }

    /// All of a batch is executed, and all before it.
    pub(super) fn batch_executed(
        &mut self,
        instance: Instance,
        header: &Header,
        commands: usize,
        answer: Option<(BatchReply, Vec<Reply>)>,
    ) {
        self.execution.progress.deliver(instance, header);
        self.payloads.forget(&header.id);
        self.execution.batches += 1;
        self.execution.commands += commands as u64;
        if let Some((reply, replies)) = answer {
            self.outputs.push(Output::Answer(reply, Ok(replies)));
        }
    }

    /// The commands in a batch's payload; `None` if it isn't here yet.
    pub(super) fn read_commands(
        &self,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<Option<Vec<LocalCommand>>, Fault> {
        let position = payload.or_else(|| self.protocol.payload(&header.id));
        let bytes = match (self.payloads.get(&header.id), position) {
            (Some(bytes), _) => bytes.clone(),
            // A second copy, of a payload that a cut left behind.
            (None, Some(position)) if !self.log.is_written(position) => return Ok(None),
            (None, Some(position)) => Bytes::from(reader.read(position)?),
            (None, None) => return Ok(None),
        };
        let damaged = |what: String| match position {
            Some(position) => log::damaged(self.engine.log_files(), position, what),
            None => Fault::Refused(format!("a payload from another replica is wrong: {what}")),
        };
        if let Content::Commands { payload_crc, payload_len, .. } = header.content
            && (payload_len as usize != bytes.len() || payload_crc != crc32fast::hash(&bytes))
        {
            return Err(damaged("a payload is not the one that its header speaks of".into()));
        }
        let commands = batch::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect()))
    }

    /// Where a replica comes back without its disk, everything before is without it.
    pub(super) fn barrier_passed(&mut self, barrier: Barrier) -> Result<(), Fault> {
        let is_own = barrier.replica == self.own && Some(barrier.incarnation) == self.protocol.incarnation(self.own);
        if is_own { self.count_start() } else { Ok(()) }
    }

    /// Lets reads go on that wait for nothing any more, once what they wait for was executed ahead, if it can be.
    pub(super) fn pass_reads(&mut self) -> Result<(), Fault> {
        let engine = Arc::clone(&self.engine);
        let mut reader = BodyReader::new(engine.log_files());
        let executed = self.execution.progress.instance;
        let mut reads = std::mem::take(&mut self.reads);
        let mut result = Ok(());
        let known = self.execution.known();
        let mut ready = |touches: &Touches, index: Instance| match self.ready(touches, index, &mut reader) {
            Ok(ready) => ready,
            Err(fault) => {
                result = Err(fault);
                Ready::At(index)
            }
        };
        let passing = reads.pass(executed, known, &mut ready);
        self.reads = reads;
        self.execution.has_answered |= passing.iter().any(|passing| passing.passes != Passes::Some(Vec::new()));
        let views = &self.execution.early.views;
        let (is_in_order, is_behind) = (self.execution.is_in_order(), self.is_behind());
        self.outputs.extend(passing.into_iter().map(|Passing { tell, passes, is_wide }| {
            let view = match is_wide {
                // A checkpoint that takes the place of this state may be older than what the read must see.
                _ if !is_in_order => View::Now,
                false => View::Later,
                true if is_behind => View::Now,
                true => View::Held(Arc::clone(views)),
            };
            Output::Pass(tell, passes, Ok(view))
        }));
        result
    }

    /// Whether a read may be answered that must see what is decided up to an instance, once what it waits for was executed
    /// ahead, if it can be.
    fn ready(&mut self, touches: &Touches, index: Instance, reader: &mut BodyReader<'_>) -> Result<Ready, Fault> {
        let executed = self.execution.progress.instance;
        // What was executed ahead, or handed over, may be seen only with all that is before it (R1).
        let upto = match touches.is_wide() {
            true => index.max(self.execution.plan.last_early()).max(self.execution.floor.unwrap_or_default()),
            false => index,
        };
        if upto <= executed && self.execution.floor.is_none() {
            return Ok(Ready::Now);
        }
        // R2, also for what is parked: another state may have taken the place of the one that the plan was of.
        if upto > self.execution.known() || !self.options.recovery.executes_ahead() {
            return Ok(Ready::At(upto));
        }
        if self.execution.floor.is_some() {
            let Touches::Keys(keys) = touches else { return Ok(Ready::At(upto)) };
            // All of them are asked for at once.
            let missing = keys.iter().filter(|key| !self.is_handed_over(**key)).count();
            if missing > 0 {
                return Ok(Ready::At(upto));
            }
        }
        if self.execution.plan.ready_at(touches, upto).is_some() {
            self.demand(touches, upto, reader)?;
        }
        let ready = self.execution.plan.ready_at(touches, upto).map_or(Ready::Now, Ready::At);
        self.execution.early.reads += u64::from(ready == Ready::Now);
        Ok(ready)
    }

    /// Whether it has just started and has much to execute: what its clients wait for is that it gets in touch with the
    /// others, and then what they ask for, both of which the first batches would delay, as they need all segments.
    fn is_just_started(&self) -> bool {
        self.now < CONTACT_TICKS && self.is_behind() && !self.execution.has_answered
    }

    /// Whether a donor's cut may come, or its answer is on its way, so that what is delivered need not be looked at.
    pub(super) fn may_still_jump(&self) -> bool {
        self.handoffs.is_asking() || self.is_just_started() && self.looks_for_first_donor()
    }

    /// Whether so much is to be executed that it is worth to execute ahead what somebody waits for.
    pub(super) fn is_behind(&self) -> bool {
        let is_far = self.execution.delivered.len() > self.early_lag() || self.execution.floor.is_some();
        self.options.recovery.executes_ahead() && is_far
    }

    /// Whether the state is that of what is executed: nothing was executed ahead of order, or in part.
    pub fn is_in_order(&self) -> bool {
        self.execution.is_in_order()
    }

    /// The last instance of which something was executed ahead of order; what is below what is executed is over.
    pub fn last_early(&self) -> Instance {
        self.execution.plan.last_early()
    }

    /// Enters what was delivered into the plan, if somebody here waits for what is behind other batches.
    pub(super) fn plan_ahead(&mut self) {
        let executed = self.execution.progress.instance;
        self.execution.plan.release(executed);
        if self.execution.plan.entered().is_none() {
            self.execution.early.clear();
        }
        let is_asked = self.reads.highest_index(self.execution.covered()).is_some_and(|index| index > executed);
        let is_read = is_asked || self.reads.parked() > 0;
        let is_behind = self.is_behind() && self.batches.len() > 0;
        if is_read || is_behind || self.handoffs.is_open() || self.execution.plan.entered().is_some() {
            self.enter_delivered();
        }
    }
}
