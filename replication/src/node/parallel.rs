//! Execution by a crew: decided batches go to it, some at a time, and come back executed.
//!
//! What is no batch of commands, or was executed ahead in part, is executed by the node itself, when the crew has nothing.

use super::Node;
use super::execution::{MAX_BURST_BYTES, MAX_BURST_COMMANDS};
use crate::batch::LocalCommand;
use crate::crew::Crew;
use crate::header::{Content, Header};
use crate::identity::Verdict;
use crate::paxos::DeliveredContent;
use crate::replica::BatchReply;
use crate::workers::{Done, Work};
use skink_engine::error::Fault;
use skink_engine::log::BodyReader;
use skink_engine::position::{Instance, LogPosition};
use std::collections::VecDeque;
use std::sync::Arc;

/// Ticks after a start from which on it does not matter any more which segments are installed.
const INSTALL_TICKS: u64 = 100;

/// A batch that the crew has.
struct InFlight {
    instance: Instance,
    header: Arc<Header>,
    commands: usize,
    reply: Option<BatchReply>,
}

/// The commands of a batch, and who gets their replies.
type Taken = (Vec<LocalCommand>, Option<BatchReply>);

/// A crew, and what it is at.
#[derive(Default)]
pub(super) struct Parallel {
    crew: Option<Box<dyn Crew>>,
    in_flight: VecDeque<InFlight>,
    done: Vec<Done>,
}

impl Parallel {
    /// Whether the crew has something that waits for room.
    pub(super) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

impl Node {
    /// From now on this crew executes.
    pub fn set_crew(&mut self, crew: Box<dyn Crew>) {
        self.execution.parallel.crew = Some(crew);
    }

    /// Batches, since the start, of which several workers could execute commands at the same time.
    pub fn parallel_batches(&self) -> u64 {
        self.execution.parallel.crew.as_ref().map_or(0, |crew| crew.parallel())
    }

    /// Looks whether a batch is as quick as it will be: each of the first ones installs many segments, and takes as long as a
    /// whole turn does later.
    pub(super) fn look_at_segments(&mut self) {
        let are_installed = || self.engine.installed_count() == self.engine.segment_count();
        if !self.execution.are_installed {
            self.execution.are_installed = self.now >= INSTALL_TICKS || are_installed();
        }
    }

    /// Batches that one turn executes at most.
    pub(super) fn burst(&self) -> usize {
        if self.execution.are_installed { self.options.burst } else { 1 }
    }

    /// Delivered batches from which on it is worth to execute ahead what somebody waits for.
    pub(super) fn early_lag(&self) -> usize {
        if self.execution.are_installed { self.options.early_lag } else { self.options.early_lag / 32 }
    }

    /// Hands the next batches to the crew and waits for it, as far as one turn goes; how many commands and bytes that were.
    /// Nothing if there is no crew, or the next is nothing for it.
    pub(super) fn execute_by_crew(&mut self, reader: &mut BodyReader<'_>) -> Result<(u64, usize), Fault> {
        let Some(mut crew) = self.execution.parallel.crew.take() else { return Ok((0, 0)) };
        let result = self.turn(crew.as_mut(), reader);
        self.execution.parallel.crew = Some(crew);
        result
    }

    fn turn(&mut self, crew: &mut dyn Crew, reader: &mut BodyReader<'_>) -> Result<(u64, usize), Fault> {
        let mut bytes = 0;
        if crew.in_flight() == 0 {
            let mut ahead = self.execution.progress.clone();
            let (mut commands, burst) = (0, self.burst());
            while self.execution.parallel.in_flight.len() < burst
                && commands < MAX_BURST_COMMANDS
                && bytes < MAX_BURST_BYTES
            {
                let number = self.execution.parallel.in_flight.len();
                let Some(next) = self.execution.delivered.get(number) else { break };
                let (instance, DeliveredContent::Header { header, payload }) = (next.instance, next.content.clone())
                else {
                    break;
                };
                let Content::Commands { payload_len, .. } = header.content else { break };
                let planned = self.execution.plan.get(instance);
                let is_begun = planned.and_then(|it| it.part.as_ref()).is_some_and(|part| part.is_begun());
                if is_begun || ahead.ids.verdict(&header.id) == Verdict::Skip {
                    break;
                }
                let Some((local, reply)) = self.take_commands(&header, payload, reader)? else { break };
                let (time_ms, _) = ahead.deliver(instance, &header);
                commands += local.len() as u64;
                bytes += payload_len as usize;
                let in_flight = InFlight { instance, header, commands: local.len(), reply };
                self.execution.parallel.in_flight.push_back(in_flight);
                crew.submit(Work { instance, time_ms, commands: local });
            }
        }
        if self.execution.parallel.in_flight.is_empty() {
            return Ok((0, 0));
        }
        let mut done = std::mem::take(&mut self.execution.parallel.done);
        let outcome = crew.join(&mut done);
        let executed = self.execution.commands;
        for Done { instance, replies } in done.drain(..) {
            let Some(in_flight) = self.execution.parallel.in_flight.pop_front() else { break };
            assert_eq!(in_flight.instance, instance, "E1: batches are done in their order");
            let answer = in_flight.reply.map(|reply| (reply, replies));
            self.batch_executed(instance, &in_flight.header, in_flight.commands, answer);
            self.execution.delivered.pop_front();
        }
        self.execution.parallel.done = done;
        let stalled = outcome?;
        self.execution.note_room(stalled.as_deref());
        Ok((self.execution.commands - executed, bytes))
    }

    /// The commands of a batch, and who gets their replies; `None` if its payload isn't here yet.
    pub(super) fn take_commands(
        &mut self,
        header: &Header,
        payload: Option<LogPosition>,
        reader: &mut BodyReader<'_>,
    ) -> Result<Option<Taken>, Fault> {
        if let Some(own) = self.batches.take(&header.id) {
            return Ok(Some((own.commands, own.reply)));
        }
        Ok(self.read_commands(header, payload, reader)?.map(|commands| (commands, None)))
    }
}
