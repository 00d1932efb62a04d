//! The end of a hand-off: all is here, or another state took its place.

use super::super::{Channel, Node, Output};
use super::Receiving;
use super::message::Handoff;
use crate::batch::Refusal;
use crate::header::Content;
use crate::paxos::{Delivered, DeliveredContent};
use skink_engine::error::Fault;

impl Node {
    /// Ends a hand-off of which everything is here: the state is that of the cut.
    pub(in crate::node) fn finish_handoff(&mut self) -> Result<(), Fault> {
        let Some(open) = self.handoffs.open() else { return Ok(()) };
        let floor = open.floor;
        let is_covered = self.execution.covered() >= floor;
        if !self.handoffs.open().is_some_and(|open| open.is_whole()) || !is_covered {
            return Ok(());
        }
        while let Some(delivered) = self.execution.take_up_to(floor) {
            self.pass_over(delivered)?;
        }
        if let Receiving::Open(open) = std::mem::take(&mut self.handoffs.receiving)
            && let Some(donor) = open.donor
        {
            self.hand(donor, Channel::Control, Handoff::Done { instance: floor });
        }
        if let Some(report) = &mut self.handoffs.report {
            report.is_done = true;
        }
        self.execution.set_floor(None);
        // Unless execution gets further and further behind.
        self.handoffs.worth = self.execution.delivered.len().saturating_mul(4);
        self.engine.keep_tombstones(false);
        let ids = &self.execution.progress.ids;
        self.checkpoints.want_again(|id| ids.is_over(id));
        tracing::info!(instance = %floor, "the state is handed over");
        self.is_stirred = true;
        self.handoffs.cut_due = Some(self.now + self.options.handoff.cut_after);
        Ok(())
    }

    /// What is up to the cut needs no execution.
    fn pass_over(&mut self, delivered: Delivered) -> Result<(), Fault> {
        let Delivered { instance, content, .. } = delivered;
        match content {
            DeliveredContent::Header { header, .. } => {
                self.execution.progress.deliver(instance, &header);
                self.payloads.forget(&header.id);
                if header.content != Content::CheckpointMarker
                    && let Some(reply) = self.batches.take(&header.id).and_then(|own| own.reply)
                {
                    let why = "the command was executed, and its reply is lost, as the replica got the state from another one";
                    self.outputs.push(Output::Answer(reply, Err(Refusal::Late(why.into()))));
                }
                Ok(())
            }
            DeliveredContent::Barrier(barrier) => {
                self.execution.progress.pass(instance);
                self.barrier_passed(barrier)
            }
            DeliveredContent::StopSign(_) => Err(Fault::Refused(format!(
                "another replica handed over its state across a change of the members at instance {instance}: start again"
            ))),
        }
    }

    /// Another state took the place of the one that was being handed over: what is behind it must be executed, and needs its
    /// payloads.
    pub(in crate::node) fn abandon_handoff(&mut self) {
        if self.handoffs.is_open() {
            let needed = self.execution.delivered.iter().filter_map(|it| Some((it.instance, it.lacks_payload()?)));
            self.protocol.need_payloads(needed);
        }
        if let Receiving::Open(open) = std::mem::take(&mut self.handoffs.receiving)
            && let Some(donor) = open.donor
        {
            self.hand(donor, Channel::Control, Handoff::Done { instance: open.floor });
        }
        self.execution.set_floor(None);
        self.engine.keep_tombstones(false);
    }
}
