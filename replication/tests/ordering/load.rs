//! What proxies and clients do: batches with their payloads, proposals, repeats, reads; and checkpoints now and then.

use crate::replica::Replica;
use crate::world::{Next, Side, World};
use skink_replication::header::{BatchId, Content, Digests, Header};
use skink_replication::paxos::{Event, Leadership};
use std::sync::Arc;

impl World {
    pub fn load(&mut self) -> Result<(), String> {
        let pause = self.random.between(2, 12);
        self.plan_in(pause, Next::Load);
        let members = self.plan.members as u64;
        let at = self.random.below(members) as usize;
        if self.random.percent(20) && self.replicas[at].running.is_some() {
            let read = self.reads.arrive(self.agreement.len());
            self.event(at, Event::ReadArrived { read })?;
        }
        if self.has_load && self.pending.len() < 20 {
            self.sequence += 1;
            self.pending.push(self.sequence);
            let id = id(self.sequence);
            for to in 0..self.plan.members {
                if self.random.percent(75) {
                    let delay = self.random.between(1, 8);
                    self.plan_in(delay, Next::Side { from: to, to, message: Side::Payload(id) });
                }
            }
        }
        if self.takes_checkpoints
            && self.random.percent(10)
            && let Some(checkpoint) = self.replicas[at].cut()
        {
            let (life, delay) = (self.replicas[at].life, self.random.between(1, 40));
            self.plan_in(delay, Next::CheckpointDurable { at, life, checkpoint });
        }
        self.propose(at)
    }

    /// The proxy of an unanswered batch tries a replica.
    fn propose(&mut self, at: usize) -> Result<(), String> {
        let is_leader =
            |it: &Replica| it.running.as_ref().is_some_and(|it| it.protocol.leadership() == Leadership::Leads);
        if self.pending.is_empty() || !is_leader(&self.replicas[at]) && !self.random.percent(5) {
            return Ok(());
        }
        for _ in 0..self.random.between(1, 3) {
            let sequence = self.pending[self.random.below(self.pending.len() as u64) as usize];
            if self.random.percent(80) {
                self.plan_in(1, Next::Side { from: at, to: at, message: Side::Payload(id(sequence)) });
            }
            self.event(at, Event::Proposed { header: header(sequence) })?;
            if self.pending.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

fn id(sequence: u64) -> BatchId {
    BatchId { proxy: 1, incarnation: 1, sequence }
}

fn header(sequence: u64) -> Arc<Header> {
    let content = Content::Commands { payload_len: 100, payload_crc: 0, digests: Digests::Keys(Vec::new()) };
    Arc::new(Header { id: id(sequence), time_ms: 0, content })
}
