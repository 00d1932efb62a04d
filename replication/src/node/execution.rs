//! Execution: what is decided, one batch after the other, and the answers to this replica's own ones.
//!
//! A batch whose payload is missing, or for which the disk has no room, holds up what is behind it. What is left of a
//! batch that met a full disk goes on where it stopped: a command is executed wholly or not at all.

use super::dependencies::Dependencies;
use super::{Node, Output};
use crate::batch::{self, LocalCommand};
use crate::executor::{Executor, Work, execute_in_order};
use crate::header::{BatchId, Content, Digests, Header};
use crate::identity::Verdict;
use crate::paxos::{Barrier, Delivered, DeliveredContent};
use crate::replay::Progress;
use crate::replica::BatchReply;

use bytes::Bytes;
use skink_engine::command::{Command, Reply};
use skink_engine::engine::Engine;
use skink_engine::error::Fault;
use skink_engine::evaluate::Context;
use skink_engine::log::{self, BodyReader};
use skink_engine::position::{Instance, LogPosition, Revision};
use std::collections::VecDeque;
use std::sync::Arc;

/// Batches that are executed before heartbeats and messages get their turn.
const MAX_BURST: usize = 64;
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
    delivered: VecDeque<Delivered>,
    /// The first delivered one, if it was begun.
    current: Option<Current>,
    /// The disk had no room for it.
    is_full: bool,
    dependencies: Dependencies,
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
            dependencies: Dependencies::default(),
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

    /// Whether a batch was executed, or never will be.
    pub(super) fn is_over(&self, id: &BatchId) -> bool {
        self.progress.ids.is_over(id)
    }

    /// A checkpoint takes the place of what was executed.
    pub(super) fn install(&mut self, progress: Progress) {
        assert!(self.current.is_none(), "E3: no batch is executed half");
        self.delivered.retain(|delivered| delivered.instance > progress.instance);
        self.progress = progress;
    }

    /// Whether a batch is begun and not done.
    pub(super) fn is_within_a_batch(&self) -> bool {
        self.current.is_some()
    }

    /// The instance up to which headers are here, one after the other, from what was executed.
    fn covered(&self) -> Instance {
        if self.goes_on() { self.delivered() } else { self.progress.instance }
    }

    /// Enters what was delivered into the dependencies.
    fn enter_delivered(&mut self) {
        let Some(first) = self.delivered.front().map(|first| first.instance) else { return };
        let is_entered = (self.dependencies.entered().get() + 1).saturating_sub(first.get());
        for delivered in self.delivered.iter().skip(usize::try_from(is_entered).unwrap_or(usize::MAX)) {
            self.dependencies.enter(delivered.instance, digests(delivered));
        }
    }
}

fn digests(delivered: &Delivered) -> Option<&Digests> {
    match &delivered.content {
        DeliveredContent::Header { header, .. } => match &header.content {
            Content::Commands { digests, .. } => Some(digests),
            Content::CheckpointMarker => None,
        },
        DeliveredContent::Barrier(_) | DeliveredContent::StopSign(_) => None,
    }
}

/// Executes on the engine.
struct OnEngine<'e> {
    engine: &'e Engine,
    max_value_len: usize,
}

impl Executor for OnEngine<'_> {
    fn execute(&self, command: &Command, revision: Revision, time_ms: u64) -> Result<Reply, Fault> {
        self.engine.execute(command, Context { revision, now_ms: time_ms, max_value_len: self.max_value_len })
    }
}

impl Node {
    /// Executes what is decided and here, as far as one turn goes.
    pub(super) fn execute_ready(&mut self) -> Result<(), Fault> {
        let engine = Arc::clone(&self.engine);
        let mut reader = BodyReader::new(engine.log_files());
        for _ in 0..MAX_BURST {
            // What a replica that was added gets may come before the state that it goes on from.
            let Some(next) = self.execution.delivered.front().filter(|_| self.execution.goes_on()) else { break };
            let instance = next.instance;
            let goes_on = match next.content.clone() {
                DeliveredContent::Header { header, payload } => {
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
        if self.execution.current.is_none() {
            let Some(current) = self.begin_batch(header, payload, reader)? else { return Ok(false) };
            self.execution.current = Some(current);
        }
        let Some(current) = &mut self.execution.current else { return Ok(false) };
        let time_ms = self.execution.progress.time_ms.max(header.time_ms);
        let executor =
            OnEngine { engine: &self.engine, max_value_len: self.engine.format().shape.max_value_len as usize };
        let work = Work { instance, time_ms, commands: &current.commands };
        match execute_in_order(&work, &executor, &mut current.replies) {
            Err(fault) if fault.is_transient() => {
                if !std::mem::replace(&mut self.execution.is_full, true) {
                    tracing::error!(%fault, "execution waits for room on the disk");
                }
                return Ok(false);
            }
            result => result?,
        }
        if std::mem::take(&mut self.execution.is_full) {
            tracing::info!("there is room on the disk again");
        }
        self.execution.progress.deliver(instance, header);
        self.payloads.forget(&header.id);
        if let Some(Current { commands, replies, reply }) = self.execution.current.take() {
            self.execution.batches += 1;
            self.execution.commands += commands.len() as u64;
            if let Some(reply) = reply {
                self.outputs.push(Output::Answer(reply, Ok(replies)));
            }
        }
        Ok(true)
    }

    /// The commands of a batch; `None` if its payload isn't here yet.
    fn begin_batch(
        &mut self,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<Option<Current>, Fault> {
        if let Some(own) = self.batches.take(&header.id) {
            return Ok(Some(Current { commands: own.commands, replies: Vec::new(), reply: own.reply }));
        }
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
        let commands = commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect();
        Ok(Some(Current { commands, replies: Vec::new(), reply: None }))
    }

    /// Where a replica comes back without its disk, everything before is without it.
    fn barrier_passed(&mut self, barrier: Barrier) -> Result<(), Fault> {
        let is_own = barrier.replica == self.own && Some(barrier.incarnation) == self.protocol.incarnation(self.own);
        if is_own { self.count_start() } else { Ok(()) }
    }

    /// Lets reads go on that wait for nothing any more.
    pub(super) fn pass_reads(&mut self) {
        let (executed, covered) = (self.execution.progress.instance, self.execution.covered());
        if self.reads.highest_index(covered).is_some_and(|index| index > executed) {
            self.execution.enter_delivered();
        }
        for (tell, passes) in self.reads.pass(executed, covered, &self.execution.dependencies) {
            self.outputs.push(Output::Pass(tell, passes, Ok(())));
        }
        self.execution.dependencies.release(executed);
    }
}
