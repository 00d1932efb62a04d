//! The proxy: groups the commands of one IO thread's connections into batches, and hands replies back.
//!
//! ```text
//! connections --submit--> pending --flush--> batch --> replica ... --> outcome --> mailboxes of the connections
//! ```
//!
//! Reads of a replica among others go out in the same way, not as commands but as a question: they are executed at the
//! connection when the state here is as new as everything that was acknowledged when they were asked.
//!
//! A batch goes out as soon as the pipeline has room: when idle one command is a batch, under load what gathered
//! while earlier batches were under way. All of it belongs to one thread, so nothing is locked.

use skink_engine::command::Command;
use skink_engine::command::Reply;
use skink_replication::batch::{BatchEncoder, BatchOutcome, LocalBatch, LocalCommand, Refusal, max_len};
use skink_replication::header::{Digests, KeyDigest};
use skink_replication::replica::Replica;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, mpsc};

/// Batches under way at the same time. All that wait for the log go out with its next write, so a low bound would leave
/// commands behind that could go with it.
const MAX_IN_FLIGHT: usize = 64;
/// The same where batches go to other replicas, which costs more for each: what gathers behind these goes together.
const MAX_IN_FLIGHT_AMONG_OTHERS: usize = 4;
/// Questions for reads under way at the same time.
const MAX_QUESTIONS: usize = 4;
/// Keys that a question names; one of more is over everything.
const MAX_TOUCHED: usize = 4096;
/// Commands in a batch, at most.
const MAX_BATCH_COMMANDS: usize = 16_384;
/// Bytes of commands in a batch after which no more are taken.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What a connection waits for.
pub enum Delivery {
    /// The reply to a command.
    Reply(Result<Reply, Refusal>),
    /// A read may be executed now.
    Pass(Result<(), Refusal>),
}

/// Replies for one connection, in the order of its commands.
#[derive(Default)]
pub struct Mailbox {
    replies: RefCell<VecDeque<Delivery>>,
    waker: Cell<Option<Waker>>,
}

impl Mailbox {
    /// The next reply, if it is there.
    pub fn take(&self) -> Option<Delivery> {
        self.replies.borrow_mut().pop_front()
    }

    /// Ready when a reply is there.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.replies.borrow().is_empty() {
            return Poll::Ready(());
        }
        let waker = self.waker.take().filter(|waker| waker.will_wake(context.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }

    fn put(&self, reply: Delivery) {
        self.replies.borrow_mut().push_back(reply);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A batch that was handed in.
struct InFlight {
    /// Who gets the replies, one for each command.
    owners: Vec<Rc<Mailbox>>,
    /// What its connections count for it.
    bytes: usize,
    /// What came of it, where an earlier batch has no outcome yet.
    outcome: Option<BatchOutcome>,
}

/// A command that is in no batch yet.
struct Pending {
    local: LocalCommand,
    owner: Rc<Mailbox>,
    bytes: usize,
}

/// What came of something that was handed in.
pub enum Outcome {
    /// Of the batch with this number.
    Batch(u64, BatchOutcome),
    /// Of the oldest question for reads.
    Reads(Result<(), Refusal>),
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    /// Reads that no question was asked for yet, and what they touch.
    pending_reads: Vec<Rc<Mailbox>>,
    touched: Vec<KeyDigest>,
    touch_everything: bool,
    /// Reads that wait for an answer, by question. Answers come in the order of the questions.
    asked_reads: VecDeque<Vec<Rc<Mailbox>>>,
    /// Bytes of all that was submitted and has no reply yet.
    bytes: usize,
    in_flight: VecDeque<InFlight>,
    /// Number of the first batch in flight.
    first: u64,
    encoder: BatchEncoder,
}

/// The proxy of one IO thread.
pub struct Proxy {
    id: u32,
    replica: Arc<Replica>,
    /// What fits the log; no command is longer.
    max_batch_len: usize,
    max_in_flight: usize,
    state: RefCell<State>,
    has_pending: Notify,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

impl Proxy {
    /// The proxy with this number, and the channel on which outcomes of its batches come; for [`Proxy::run`].
    pub fn new(id: u32, replica: Arc<Replica>) -> (Rc<Proxy>, mpsc::UnboundedReceiver<Outcome>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let max_batch_len = max_len(replica.engine().log_files().max_body_len());
        let max_in_flight = if replica.is_among_others() { MAX_IN_FLIGHT_AMONG_OTHERS } else { MAX_IN_FLIGHT };
        let (state, has_pending) = (RefCell::default(), Notify::new());
        (Rc::new(Proxy { id, replica, max_batch_len, max_in_flight, state, has_pending, outcomes }), receiver)
    }

    /// Takes a command of a connection. `is_ordered` is false for reads that only have to come after the connection's
    /// earlier writes. `bytes` is what it and its reply take, about.
    pub fn submit(&self, command: Command, is_ordered: bool, bytes: usize, mailbox: &Rc<Mailbox>) {
        let mut state = self.state.borrow_mut();
        let local = LocalCommand { command, is_ordered };
        state.pending.push_back(Pending { local, owner: Rc::clone(mailbox), bytes });
        state.bytes += bytes;
        if state.pending.len() == 1 {
            // The flush runs after the connections that are ready now, so that their commands share a batch.
            self.has_pending.notify_one();
        }
    }

    /// Takes a read of a connection that has no write under way: the mailbox gets a pass for it.
    pub fn submit_read(&self, command: &Command, mailbox: &Rc<Mailbox>) {
        let mut state = self.state.borrow_mut();
        let engine = self.replica.engine();
        match Digests::of(std::iter::once(command), |key| engine.hash(key)) {
            Digests::Keys(keys) if state.touched.len() < MAX_TOUCHED => state.touched.extend(keys),
            _ => state.touch_everything = true,
        }
        state.pending_reads.push(Rc::clone(mailbox));
        if state.pending_reads.len() == 1 {
            self.has_pending.notify_one();
        }
    }

    /// Bytes of what was submitted and has no reply yet.
    pub fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// Asks for all reads that have gathered.
    fn flush_reads(&self) {
        let mut state = self.state.borrow_mut();
        if state.pending_reads.is_empty() || state.asked_reads.len() >= MAX_QUESTIONS {
            return;
        }
        let reads = std::mem::take(&mut state.pending_reads);
        state.asked_reads.push_back(reads);
        let mut touched = std::mem::take(&mut state.touched);
        touched.sort_unstable();
        touched.dedup();
        let is_everything = std::mem::take(&mut state.touch_everything);
        let touches = if is_everything { Digests::Everything } else { Digests::Keys(touched) };
        drop(state);
        let outcomes = self.outcomes.clone();
        self.replica.when_current(touches, Box::new(move |result| drop(outcomes.send(Outcome::Reads(result)))));
    }

    fn flush(&self) {
        self.flush_reads();
        let mut state = self.state.borrow_mut();
        while state.in_flight.len() < self.max_in_flight && !state.pending.is_empty() {
            let count = state.pending.len().min(MAX_BATCH_COMMANDS);
            let (mut commands, mut owners) = (Vec::with_capacity(count), Vec::with_capacity(count));
            let (mut len, mut bytes) = (0, 0);
            // Both bound it: a batch fits the log, and its replies are all there at once.
            while commands.len() < MAX_BATCH_COMMANDS && len.max(bytes) < MAX_BATCH_BYTES {
                let next_len = state.pending.front().map_or(0, |next| next.local.command.size());
                if !commands.is_empty() && len + next_len > self.max_batch_len {
                    break;
                }
                let Some(next) = state.pending.pop_front() else { break };
                len += next_len;
                bytes += next.bytes;
                commands.push(next.local);
                owners.push(next.owner);
            }
            let engine = self.replica.engine();
            let (content, payload) = state.encoder.encode(&commands, |key| engine.hash(key));
            let time_ms = engine.environment().clock.now_ms();
            let number = state.first + state.in_flight.len() as u64;
            state.in_flight.push_back(InFlight { owners, bytes, outcome: None });
            let outcomes = self.outcomes.clone();
            let batch = LocalBatch { proxy: self.id, time_ms, commands, content, payload };
            self.replica.submit(batch, Box::new(move |outcome| drop(outcomes.send(Outcome::Batch(number, outcome)))));
        }
    }

    fn take_outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Batch(number, outcome) => self.complete(number, outcome),
            Outcome::Reads(result) => {
                let reads = self.state.borrow_mut().asked_reads.pop_front().unwrap_or_default();
                reads.iter().for_each(|owner| owner.put(Delivery::Pass(result.clone())));
            }
        }
    }

    /// Takes a batch's outcome. Outcomes come in any order: what is refused while the replica stops is refused at once,
    /// before what was handed in earlier is executed. Replies go out in the order of the batches.
    fn complete(&self, number: u64, outcome: BatchOutcome) {
        let state = &mut *self.state.borrow_mut();
        let at = number.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        if let Some(batch) = at.and_then(|at| state.in_flight.get_mut(at)) {
            batch.outcome = Some(outcome);
        }
        while let Some(outcome) = state.in_flight.front_mut().and_then(|batch| batch.outcome.take()) {
            let Some(InFlight { owners, bytes, .. }) = state.in_flight.pop_front() else { return };
            state.first += 1;
            state.bytes -= bytes;
            match outcome {
                Ok(replies) => {
                    owners.iter().zip(replies).for_each(|(owner, reply)| owner.put(Delivery::Reply(Ok(reply))))
                }
                Err(refusal) => owners.iter().for_each(|owner| owner.put(Delivery::Reply(Err(refusal.clone())))),
            }
        }
    }

    /// Sends batches and hands out replies, until the thread ends.
    pub async fn run(self: Rc<Self>, mut outcomes: mpsc::UnboundedReceiver<Outcome>) {
        loop {
            tokio::select! {
                outcome = outcomes.recv() => {
                    let Some(outcome) = outcome else { return };
                    self.take_outcome(outcome);
                    while let Ok(outcome) = outcomes.try_recv() {
                        self.take_outcome(outcome);
                    }
                    // Connections whose replies came get to send their next commands first.
                    tokio::task::yield_now().await;
                }
                () = self.has_pending.notified() => {}
            }
            self.flush();
        }
    }
}
