//! The runtime around a node, as the thread of a replica among others is one: it feeds the node, and does what comes out.
//!
//! ```text
//! what gathered, tick -> node -> begin_cycle -> send -> (the time that a log write takes) -> write -> end_cycle -> send, answer
//! ```

use crate::machine::StartError;
use crate::mistakes::Mistake;
use crate::network::Channel;
use crate::plan::{MS, TICK, index};
use crate::process::{Input, Job, Phase};
use crate::world::{Next, Told, World};
use bytes::Bytes;
use skink_engine::engine::CheckpointInfo;
use skink_engine::error::Fault;
use skink_replication::node::{Channel as NodeChannel, Output};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of a checkpoint that may be on their way to a peer.
const DONATION_BACKLOG: usize = 128 << 10;

impl World {
    pub fn start(&mut self, at: usize) -> Result<(), String> {
        if self.machines[at].process.is_some() {
            return Ok(());
        }
        self.before_start(at);
        match self.machines[at].start(&self.plan) {
            Ok(()) => {}
            Err(StartError::Wrong(what)) => return Err(what),
            Err(StartError::Fault(fault)) => return self.failed(at, &fault),
        }
        let life = self.machines[at].life;
        self.note(|| format!("{at} starts its life {life}"));
        let phase = self.random.below(TICK);
        self.plan_in(phase, Next::Tick { at, life });
        self.plan_in(20 * MS, Next::Maintain { at, life });
        for peer in (0..self.plan.members).filter(|peer| *peer != at) {
            let delay = self.random.between(MS, 10 * MS);
            self.plan_in(delay, Next::Connect(at.min(peer), at.max(peer)));
        }
        self.after_start(at)
    }

    pub fn tick(&mut self, at: usize) -> Result<(), String> {
        let life = self.machines[at].life;
        self.plan_in(TICK, Next::Tick { at, life });
        if let Some(process) = &mut self.machines[at].process {
            process.is_tick_due = true;
        }
        self.wake(at);
        Ok(())
    }

    /// The node's thread looks for work soon, if it isn't busy.
    pub fn wake(&mut self, at: usize) {
        let (life, paused_until) = (self.machines[at].life, self.machines[at].paused_until);
        let Some(process) = &mut self.machines[at].process else { return };
        if process.phase == Phase::Ready && !process.is_wake_planned {
            process.is_wake_planned = true;
            let delay = self.random.between(5, 150).max(paused_until.saturating_sub(self.now));
            self.plan_in(delay, Next::Wake { at, life });
        }
    }

    /// Tells the node what gathered, and begins a cycle.
    pub fn begin_cycle(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        process.is_wake_planned = false;
        if process.phase == Phase::Writing {
            return Ok(());
        }
        if let Err(fault) = self.gather(at) {
            return self.failed(at, &fault);
        }
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        if let Err(fault) = process.node.begin_cycle() {
            return self.failed(at, &fault);
        }
        process.phase = Phase::Writing;
        let has_write = process.node.has_work();
        let life = self.machines[at].life;
        self.perform(at)?;
        if self.machines[at].life == life {
            let duration = if has_write { self.write_duration(at) } else { 5 };
            self.plan_in(duration, Next::Written { at, life });
        }
        Ok(())
    }

    fn write_duration(&mut self, at: usize) -> u64 {
        let usual =
            if self.random.percent(8) { self.random.between(MS, 10 * MS) } else { self.random.between(80, 500) };
        usual.max(self.machines[at].slow_until.saturating_sub(self.now))
    }

    fn gather(&mut self, at: usize) -> Result<(), Fault> {
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        let inputs = std::mem::take(&mut process.inputs);
        for input in inputs {
            let node = &mut process.node;
            match input {
                Input::Connected { peer, session, incarnation } => node.connected(peer, session, incarnation),
                Input::Disconnected { peer, session } => node.disconnected(peer, session),
                Input::Received { peer, session, bytes } => node.received(peer, session, &bytes)?,
                Input::Heartbeat { peer, bytes } => node.heartbeat_received(peer, &bytes),
                Input::CheckpointDone(info) => node.checkpoint_done(info.as_ref()),
                Input::IncomingChecked(checked) => node.incoming_checked(checked)?,
                Input::Sweep(keys) => node.sweep(keys),
            }
        }
        self.hand_in(at);
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        if std::mem::take(&mut process.is_tick_due) {
            process.node.tick()?;
            if process.node.is_stalled() {
                let peers: Vec<usize> = process.sessions.keys().map(|peer| index(*peer)).collect();
                peers.into_iter().for_each(|peer| self.refuse(at, peer));
            }
        }
        Ok(())
    }

    /// The log is written, and the cycle ends.
    pub fn end_cycle(&mut self, at: usize) -> Result<(), String> {
        let (life, now) = (self.machines[at].life, self.now);
        if self.machines[at].slow_until > now || self.machines[at].paused_until > now {
            let until = self.machines[at].slow_until.max(self.machines[at].paused_until);
            self.plan_in(until - now, Next::Written { at, life });
            return Ok(());
        }
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        process.phase = Phase::Ready;
        if let Err(fault) = process.node.write() {
            return self.failed(at, &fault);
        }
        if let Err(fault) = self.look_at_log(at)? {
            return self.failed(at, &fault);
        }
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        if let Err(fault) = process.node.end_cycle() {
            return self.failed(at, &fault);
        }
        if let Err(fault) = self.look_at_state(at)? {
            return self.failed(at, &fault);
        }
        self.perform(at)?;
        if self.machines[at].life == life {
            self.donate(at)?;
        }
        if self.machines[at].life == life && self.machines[at].process.as_ref().is_some_and(|it| it.has_work()) {
            self.wake(at);
        }
        Ok(())
    }

    fn donate(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        let peers = process.node.donations();
        let is_donor = !peers.is_empty();
        for peer in peers {
            let backlog = self.network.backlog(at, index(peer), Channel::Payload);
            if let Some(room) = DONATION_BACKLOG.checked_sub(backlog).filter(|room| *room > 0)
                && let Err(fault) = process.node.donate(peer, room)
            {
                return self.failed(at, &fault);
            }
        }
        if is_donor { self.perform(at) } else { Ok(()) }
    }

    /// Does what the node wants done, in its order. A crash may come between any two things.
    pub fn perform(&mut self, at: usize) -> Result<(), String> {
        let life = self.machines[at].life;
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        let mut outputs = VecDeque::from(process.node.take_outputs());
        while let Some(output) = outputs.pop_front() {
            if self.has_faults && self.random.below(40 * self.plan.calm_ms) == 0 {
                // What stands before is done, what comes after is not.
                drop((output, outputs));
                return self.crash_for_a_while(at);
            }
            self.perform_one(at, output)?;
            if self.machines[at].life != life {
                return Ok(());
            }
            for told in self.take_told() {
                self.hear(told)?;
            }
        }
        Ok(())
    }

    fn perform_one(&mut self, at: usize, output: Output) -> Result<(), String> {
        match output {
            Output::Send { peer, session, channel, mut head, body } => {
                head.extend_from_slice(&body);
                let bytes = Bytes::from(head);
                self.look_at_message(at, peer, &bytes)?;
                let channel = match channel {
                    NodeChannel::Control => Channel::Control,
                    NodeChannel::Payload => Channel::Payload,
                };
                self.send(at, peer, session, channel, bytes);
            }
            Output::Heartbeat { peer, bytes } => {
                let session = self.machines[at].process.as_ref().and_then(|it| it.sessions.get(&peer).copied());
                if let Some(session) = session {
                    self.send(at, peer, session, Channel::Heartbeat, bytes.into());
                }
            }
            Output::RestartSession { peer, session, reason } => {
                self.note(|| format!("{at} restarts its session {session:?} with {peer}: {reason}"));
                if self.network.session(at, index(peer)) == Some(session.get()) {
                    self.cut(at, index(peer), 2 * MS);
                }
            }
            Output::RefusePeer { peer, known } => {
                self.note(|| format!("{at} refuses {peer}, known is {known}"));
                self.refuse(at, index(peer));
            }
            Output::Answer(reply, outcome) => reply(outcome),
            Output::Pass(tell, passes, result) => tell(passes, result),
            Output::Checkpoint { cut, replies } => {
                self.note(|| format!("{at} cuts at {}", cut.instance));
                if self.plan.mistake == Some(Mistake::CheckpointIsDoneEarly) {
                    let info = CheckpointInfo {
                        instance: cut.instance,
                        new_bytes: 0,
                        live_records: 0,
                        digest: 0,
                        duration: Duration::ZERO,
                    };
                    self.input(at, Input::CheckpointDone(Some(info)));
                }
                self.push_job(at, Job::Checkpoint { cut, replies });
            }
            Output::CheckIncoming(incoming) => self.push_job(at, Job::CheckIncoming(incoming)),
            Output::LeadershipChanged(leadership) => self.note(|| format!("{at}: {leadership:?}")),
            Output::MembersChanged(_) | Output::AnswerChange(..) => {
                return Err("members change, and nobody asked for it".into());
            }
        }
        Ok(())
    }

    /// Something for the node.
    pub fn input(&mut self, at: usize, input: Input) {
        if let Some(process) = &mut self.machines[at].process {
            process.inputs.push(input);
            self.wake(at);
        }
    }

    fn hear(&mut self, told: Told) -> Result<(), String> {
        match told {
            Told::Batch { number, outcome } => self.batch_told(number, outcome),
            Told::Reads { question, passes, result } => self.reads_told(question, passes, result),
        }
    }
}
