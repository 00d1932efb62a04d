//! Proposals: batches of this replica's clients to the leader, and at the leader into the order.

use super::message::PeerMessage;
use super::{Channel, Node, PAYLOAD_GRACE, SMALL_PAYLOAD};
use crate::batch::{LocalBatch, LocalCommand};
use crate::header::{BatchId, Content, Header};
use crate::paxos::{Leadership, ReplicaId, Request};
use crate::replay::Progress;
use crate::replica::BatchReply;
use skink_engine::command::Command;
use skink_engine::error::Fault;
use skink_engine::position::Instance;
use std::sync::Arc;

impl Node {
    pub(super) fn own_batch(&mut self, commands: Vec<Command>) -> LocalBatch {
        let commands: Vec<LocalCommand> =
            commands.into_iter().map(|command| LocalCommand { command, is_ordered: true }).collect();
        let (content, payload) = self.encoder.encode(&commands, |key| self.engine.hash(key));
        let time_ms = self.engine.environment().clock.now_ms();
        LocalBatch { proxy: 0, time_ms, commands, content, payload }
    }

    pub(super) fn add_batch(&mut self, proxy: u16, batch: LocalBatch, reply: Option<BatchReply>) -> Option<BatchId> {
        // Numbers of proxies are those of the whole cluster.
        let proxy = u32::from(self.own.get()) << 16 | u32::from(proxy);
        self.foresee_batch(&batch.commands);
        let id = self.batches.add(proxy, batch, reply, self.now)?;
        if let Some(own) = self.batches.get(&id) {
            let (header, payload) = (Arc::clone(&own.header), own.payload.clone());
            let peers: Vec<ReplicaId> = self.sessions.keys().copied().collect();
            if needs_payload(&header) {
                for peer in peers {
                    self.send_payload(peer, id, payload.clone());
                }
            }
            self.propose(vec![header]);
        }
        self.is_stirred = true;
        Some(id)
    }

    /// Hands headers to whoever leads; to nobody, if nobody is known to: they are proposed again.
    fn propose(&mut self, headers: Vec<Arc<Header>>) {
        // What is proposed before a donor has its cut might be in it: nobody here would know the reply.
        if headers.is_empty() || self.handoffs.is_asking() {
            return;
        }
        match self.leader() {
            Some(leader) if leader == self.own => self.proposed(headers),
            Some(leader) => self.send(leader, Channel::Control, &PeerMessage::Propose(headers)),
            None => {}
        }
    }

    /// Proposes everything again that was not executed yet.
    pub(super) fn propose_all(&mut self) {
        let all = self.batches.propose_all(self.now);
        if let Some(leader) = self.leader().filter(|leader| *leader != self.own) {
            for (header, payload) in &all {
                // Large ones are asked for if they did not get there.
                if needs_payload(header) && payload.len() <= SMALL_PAYLOAD {
                    self.send_payload(leader, header.id, payload.clone());
                }
            }
        }
        self.propose(all.into_iter().map(|(header, _)| header).collect());
    }

    pub(super) fn proposed(&mut self, headers: Vec<Arc<Header>>) {
        // Who follows may know of it before it is so.
        if matches!(self.protocol.leadership(), Leadership::Leads | Leadership::Prepares) {
            for header in headers {
                self.inbox.push(header);
            }
            self.is_stirred = true;
        }
    }

    /// Gives places to proposals whose payloads are here, while there is room.
    pub(super) fn propose_waiting(&mut self) -> Result<(), Fault> {
        if !self.leads() || self.log.is_blocked() || self.has_long_log() || self.lacks_start() {
            return Ok(());
        }
        let ballot = self.protocol.promise();
        if !self.inbox.has_begun(ballot) {
            let Progress { instance, ids, .. } = &self.execution.progress;
            let mut placed = ids.clone();
            for id in self.protocol.ids_after(*instance) {
                placed.deliver(&id);
            }
            self.inbox.begin(ballot, placed);
        }
        for proxy in self.inbox.proxies() {
            while let Some(header) = self.inbox.next(proxy).cloned() {
                if needs_payload(&header) && !self.store_payload(header.id)? {
                    let since = self.payloads.want(header.id, self.now);
                    let from = ReplicaId::new((proxy >> 16) as u8).filter(|from| *from != self.own);
                    if let Some(from) = from
                        && self.now.saturating_sub(since) >= PAYLOAD_GRACE
                    {
                        let request = Request::Payload { id: header.id, instance: Instance::ZERO };
                        self.send(from, Channel::Control, &PeerMessage::Ask(request));
                    }
                    break;
                }
                if self.protocol.try_propose(header).is_err() {
                    // No room: it goes on when something was decided.
                    return Ok(());
                }
                self.inbox.proposed(proxy);
            }
        }
        Ok(())
    }
}

fn needs_payload(header: &Header) -> bool {
    matches!(header.content, Content::Commands { .. })
}
