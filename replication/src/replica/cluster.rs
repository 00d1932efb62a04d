//! The thread of a replica among others: its sockets, its node, its ticks.
//!
//! ```text
//! poll: sockets, jobs, time -> node -> begin_cycle -> send -> write -> end_cycle -> send, answer
//! ```
//!
//! One thread reads and writes the sockets of the other replicas, orders, logs and executes: on small machines each
//! hop between threads costs more than what it would do there. While the log is written the sockets gather what the next
//! cycle works on.

use super::joining::{Joined, transport_fault};
use super::members::Roster;
use super::watch::Watch;
use super::{Job, Phase, Shared};
use crate::background::{BackgroundJob, Handle};
use crate::batch::Refusal;
use crate::log_preparation::LogPreparation;
use crate::node::{
    Channel as NodeChannel, DEFAULT_BURST, DEFAULT_EARLY_LAG, HandoffOptions, Node, NodeOptions, Output, Passes,
};
use crate::paxos::{self, ReplicaId, SessionNumber, Ticks};
use crate::transport::{self, Agreement, Channel, Sent, Transport, TransportEvent};
use skink_engine::error::Fault;
use skink_engine::key::HASH_VERSION;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// From a crash of the leader to a new one it is two to three election timeouts. A checkpoint may keep a replica from
/// answering for some tens of milliseconds.
const TICKS: Ticks = Ticks { election: 20, resend: 40, retry: 5, probe: 10, stall: 40 };
/// Bytes of a checkpoint that may wait to be sent to a peer.
const DONATION_BACKLOG: usize = 1 << 20;
/// Cycles between two looks at how all stand.
const STATUS_STEP: Duration = Duration::from_millis(50);
/// Time for what clients have asked to be answered when the replica stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What the order does in a server.
pub(super) fn node_options(shared: &Shared) -> NodeOptions {
    let options = &shared.options;
    NodeOptions {
        order: paxos::Options { ticks: TICKS, ..paxos::Options::default() },
        tick: TICK,
        checkpoint_log_bytes: options.checkpoint_log_bytes,
        checkpoint_interval: options.checkpoint_interval,
        request_timeout: options.cluster.as_ref().map_or(STOP_PATIENCE, |cluster| cluster.request_timeout),
        recovery: options.recovery,
        burst: DEFAULT_BURST,
        early_lag: DEFAULT_EARLY_LAG,
        handoff: HandoffOptions::default(),
    }
}

/// What both ends of a session must have in common.
pub(super) fn agreement(joined: &Joined) -> Agreement {
    let founding = &joined.founding;
    let versions = (paxos::VERSION, crate::node::message::VERSION, HASH_VERSION);
    let bytes = match postcard::to_stdvec(&(founding, versions)) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("plain data can be encoded: {error}"),
    };
    let description = format!(
        "cluster {:016x}, {} segments, values up to {} bytes, messages {}.{}, key hash {}",
        founding.cluster, founding.segments, founding.max_value_len, versions.0, versions.1, versions.2
    );
    Agreement::new(&bytes, &description)
}

/// The thread's state.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) node: Node,
    pub(super) transport: Transport,
    pub(super) background: Handle,
    pub(super) log_preparation: Option<LogPreparation>,
    sessions: BTreeMap<ReplicaId, SessionNumber>,
    events: Vec<TransportEvent>,
    next_tick: Instant,
    status_due: Instant,
    is_stopping: Option<Instant>,
    pub(super) roster: Roster,
    watch: Watch,
}

impl Runner {
    pub(super) fn new(
        began: Instant,
        shared: Arc<Shared>,
        node: Node,
        (transport, events): (Transport, Vec<TransportEvent>),
        roster: Roster,
        background: Handle,
        log_preparation: LogPreparation,
    ) -> Runner {
        let watch = Watch::new(began, shared.options.recovery, &node);
        Runner {
            watch,
            shared,
            node,
            transport,
            background,
            log_preparation: Some(log_preparation),
            sessions: BTreeMap::new(),
            events,
            next_tick: Instant::now(),
            status_due: Instant::now(),
            is_stopping: None,
            roster,
        }
    }

    pub(super) fn run(mut self, background_thread: JoinHandle<Result<(), Fault>>) -> Result<(), Fault> {
        self.shared.set_phase(Phase::Serving);
        let configuration = self.node.configuration().clone();
        self.members_changed(&configuration);
        let result = self.serve();
        if let Err(fault) = &result {
            tracing::error!(%fault, "the replica takes part no more");
        }
        self.shared.must_stop.store(true, Ordering::Release);
        self.background.close();
        let background = background_thread
            .join()
            .unwrap_or_else(|_| Err(Fault::Refused("a broken invariant stopped the background thread".into())));
        let log_preparation = self.log_preparation.take().map_or(Ok(()), LogPreparation::join);
        result.and(background).and(log_preparation)
    }

    fn serve(&mut self) -> Result<(), Fault> {
        while !self.is_done() {
            self.gather()?;
            self.cycle()?;
            self.donate()?;
            self.publish();
            self.publish_recovery();
        }
        if !self.shared.must_stop.load(Ordering::Acquire)
            && let Some(cut) = self.node.last_cut()
        {
            self.background.push(BackgroundJob::LastCheckpoint { cut, is_clean: false });
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_late = |asked: Instant| self.node.outstanding() == 0 || asked.elapsed() >= STOP_PATIENCE;
        self.shared.must_stop.load(Ordering::Acquire) || self.is_stopping.is_some_and(is_late)
    }

    /// Waits for something to happen, and tells the node.
    fn gather(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        let has_work = self.node.has_work() || !self.events.is_empty() || !self.shared.queue.lock().jobs.is_empty();
        let patience = if has_work { Duration::ZERO } else { self.next_tick.saturating_duration_since(now) };
        let mut events = std::mem::take(&mut self.events);
        self.transport.poll(patience, &mut events).map_err(transport_fault)?;
        for event in events.drain(..) {
            self.event(event)?;
        }
        self.events = events;
        let jobs = std::mem::take(&mut self.shared.queue.lock().jobs);
        for job in jobs {
            self.job(job)?;
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.node.tick()?;
            // What was missed while the disk or another process took its time is not made up for.
            self.next_tick = (self.next_tick + TICK).max(now);
            if self.background.wants_checkpoint() && !self.node.is_taking_checkpoint() {
                self.node.checkpoint(Box::new(|_| ()));
            }
            self.leave_others_alone_if_stalled();
            self.tick_roster();
        }
        Ok(())
    }

    fn event(&mut self, event: TransportEvent) -> Result<(), Fault> {
        match event {
            TransportEvent::Connected { peer, session, incarnation } => {
                tracing::info!(%peer, "connected");
                self.sessions.insert(peer, session);
                self.node.connected(peer, session, incarnation);
            }
            TransportEvent::Disconnected { peer, session } => {
                tracing::info!(%peer, "disconnected");
                self.sessions.remove(&peer);
                self.node.disconnected(peer, session);
            }
            TransportEvent::Received { peer, channel: Channel::Heartbeat, body, .. } => {
                self.node.heartbeat_received(peer, &body);
            }
            TransportEvent::Received { peer, session, body, .. } => self.node.received(peer, session, &body)?,
            TransportEvent::Discovered { peer, blob } => self.discovered(peer, &blob)?,
            TransportEvent::Trouble { text, .. } => tracing::warn!("{text}"),
        }
        Ok(())
    }

    fn job(&mut self, job: Job) -> Result<(), Fault> {
        match job {
            Job::Batch(batch, reply) if self.is_stopping.is_some() => {
                drop(batch);
                reply(Err(Refusal::ShuttingDown));
            }
            Job::Batch(batch, reply) => {
                let proxy = u16::try_from(batch.proxy).unwrap_or(u16::MAX);
                self.node.submit(proxy, batch, reply);
            }
            Job::Current(question) => self.node.when_current(question),
            Job::Pin(reply) => {
                let time_ms = self.node.time_ms().max(self.shared.engine.environment().clock.now_ms());
                reply(self.shared.engine.pin(self.node.executed(), time_ms));
            }
            Job::Sweep(keys) => self.node.sweep(keys),
            Job::Checkpoint(reply) => self.node.checkpoint(reply),
            Job::CheckpointDone(info) => self.node.checkpoint_done(info.as_ref()),
            Job::IncomingChecked(checked) => self.node.incoming_checked(checked)?,
            Job::ChangeMembers(change, reply) => self.node.change_members(change, reply),
            Job::Stop => {
                self.is_stopping.get_or_insert_with(Instant::now);
                self.shared.queue.lock().is_closed = true;
            }
        }
        Ok(())
    }

    fn cycle(&mut self) -> Result<(), Fault> {
        self.node.begin_cycle()?;
        self.send();
        self.node.write()?;
        self.node.end_cycle()?;
        self.publish_progress();
        self.send();
        let next_log_file = self.node.next_log_file().get();
        if self.shared.next_log_file.swap(next_log_file, Ordering::AcqRel) != next_log_file {
            self.log_preparation.iter().for_each(LogPreparation::wake);
        }
        Ok(())
    }

    fn send(&mut self) {
        for output in self.node.take_outputs() {
            match output {
                Output::Send { peer, session, channel, head, body } => {
                    self.send_one(peer, session, channel, &head, &body);
                }
                Output::Heartbeat { peer, bytes } => {
                    if let Some(session) = self.sessions.get(&peer) {
                        // A late one is worth nothing.
                        let _ = self.transport.send(peer, *session, Channel::Heartbeat, &[&bytes]);
                    }
                }
                Output::RestartSession { peer, session, reason } => {
                    tracing::warn!(%peer, reason, "the session begins again");
                    self.transport.restart_session(peer, session);
                }
                Output::RefusePeer { peer, known } => {
                    let text = format!(
                        "replica {peer} comes with a disk from before it lost one (known is {known}): \
                         start it with an empty data directory"
                    );
                    tracing::error!("{text}");
                    if let Some(session) = self.sessions.get(&peer) {
                        self.transport.refuse_peer(peer, *session, text);
                    }
                }
                Output::Answer(reply, outcome) => {
                    if outcome.is_ok() {
                        self.watch.answered();
                    }
                    reply(outcome);
                }
                Output::Pass(tell, passes, result) => {
                    if result.is_ok() && passes != Passes::Some(Vec::new()) {
                        self.watch.answered();
                    }
                    tell(passes, result);
                }
                Output::Checkpoint { cut, replies } => self.background.push(BackgroundJob::Checkpoint { cut, replies }),
                Output::CheckIncoming(incoming) => self.background.push(BackgroundJob::CheckIncoming(incoming)),
                Output::LeadershipChanged(leadership) => {
                    tracing::info!(?leadership, "who leads has changed");
                    *self.shared.cluster_status.lock() = Some(self.node.status());
                }
                Output::MembersChanged(configuration) => {
                    self.members_changed(&configuration);
                    *self.shared.cluster_status.lock() = Some(self.node.status());
                }
                Output::AnswerChange(reply, result) => {
                    // Who hears of it may ask at once how the members stand.
                    *self.shared.cluster_status.lock() = Some(self.node.status());
                    reply(result);
                }
            }
        }
        self.transport.flush();
    }

    fn send_one(&mut self, peer: ReplicaId, session: SessionNumber, channel: NodeChannel, head: &[u8], body: &[u8]) {
        let wire = match channel {
            NodeChannel::Control => Channel::Control,
            NodeChannel::Payload => Channel::Payload,
        };
        match (self.transport.send(peer, session, wire, &[head, body]), channel) {
            (Sent::Buffered | Sent::NoSession, _) => {}
            // A payload that is missing is asked for.
            (Sent::Full, NodeChannel::Payload) => {}
            (Sent::Full, NodeChannel::Control) => {
                tracing::warn!(%peer, "it takes too long to take what is sent to it; the session begins again");
                self.transport.restart_session(peer, session);
            }
            (Sent::TooLong, _) => {
                tracing::error!(%peer, len = head.len() + body.len(), "a message is too long to be sent")
            }
        }
    }

    fn donate(&mut self) -> Result<(), Fault> {
        let peers = self.node.donations();
        for peer in &peers {
            let backlog = self.transport.backlog(*peer, Channel::Payload);
            if let Some(room) = DONATION_BACKLOG.checked_sub(backlog).filter(|room| *room > 0) {
                self.node.donate(*peer, room)?;
            }
        }
        if !peers.is_empty() {
            self.send();
        }
        Ok(())
    }

    /// A replica that can write nothing takes part in nothing, and does not lead: the others must see that.
    fn leave_others_alone_if_stalled(&mut self) {
        if self.node.is_stalled() || self.node.is_in_the_way() {
            for (peer, session) in self.sessions.clone() {
                let own = self.shared.options.cluster.as_ref().map_or(ReplicaId::FIRST, |cluster| cluster.own);
                let text = format!("the disk of replica {own} is full: it takes part again when there is room");
                self.transport.refuse_peer(peer, session, text);
            }
        }
    }

    /// What reads and people must know before anybody is answered.
    fn publish_progress(&self) {
        let shared = &self.shared;
        shared.time_ms.store(self.node.time_ms(), Ordering::Release);
        let statistics = &shared.statistics;
        statistics.instance.store(self.node.settled().get(), Ordering::Relaxed);
        let (commands, batches, writes) = self.node.counts();
        statistics.commands.store(commands, Ordering::Relaxed);
        statistics.batches.store(batches, Ordering::Relaxed);
        statistics.cycles.store(writes, Ordering::Relaxed);
        statistics.parallel_batches.store(self.node.parallel_batches(), Ordering::Relaxed);
        let early = self.node.early_counts();
        statistics.parked_reads.store(early.parked_reads, Ordering::Relaxed);
        statistics.parked_batches.store(early.parked_batches, Ordering::Relaxed);
        statistics.early_reads.store(early.reads, Ordering::Relaxed);
        statistics.early_commands.store(early.commands, Ordering::Relaxed);
        let longest_ms = early.longest_wait.saturating_mul(TICK.as_millis() as u64);
        statistics.longest_wait_ms.store(longest_ms, Ordering::Relaxed);
        shared.is_stalled.store(self.node.is_full(), Ordering::Relaxed);
    }

    /// Tells of the recovery, as long as it goes on.
    fn publish_recovery(&mut self) {
        if let Some(report) = self.watch.look(&self.node) {
            *self.shared.recovery.lock() = Some(report);
        }
    }

    fn publish(&mut self) {
        let now = Instant::now();
        if now >= self.status_due {
            self.status_due = now + STATUS_STEP;
            *self.shared.cluster_status.lock() = Some(self.node.status());
        }
    }
}

/// The transport's waker, for whoever has a job.
pub(super) fn waker(transport: &Transport) -> transport::Waker {
    transport.waker()
}
