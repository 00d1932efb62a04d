//! The proxy: groups the commands of one IO thread's connections into batches, and hands replies back.
//!
//! ```text
//! connections --submit--> pending --flush--> batch --> replica ... --> outcome --> mailboxes of the connections
//! ```
//!
//! A batch goes out as soon as the pipeline has room: when idle one command is a batch, under load what gathered
//! while earlier batches were under way. All of it belongs to one thread, so nothing is locked.

use skink_engine::command::Command;
use skink_engine::command::Reply;
use skink_replication::batch::{BatchEncoder, BatchOutcome, LocalBatch, LocalCommand, Refusal, max_len};
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
/// Commands in a batch, at most.
const MAX_BATCH_COMMANDS: usize = 16_384;
/// Bytes of commands in a batch after which no more are taken.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Replies for one connection, in the order of its commands.
#[derive(Default)]
pub struct Mailbox {
    replies: RefCell<VecDeque<Result<Reply, Refusal>>>,
    waker: Cell<Option<Waker>>,
}

impl Mailbox {
    /// The next reply, if it is there.
    pub fn take(&self) -> Option<Result<Reply, Refusal>> {
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

    fn put(&self, reply: Result<Reply, Refusal>) {
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

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
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
    state: RefCell<State>,
    has_pending: Notify,
    outcomes: mpsc::UnboundedSender<(u64, BatchOutcome)>,
}

impl Proxy {
    /// The proxy with this number, and the channel on which outcomes of its batches come; for [`Proxy::run`].
    pub fn new(id: u32, replica: Arc<Replica>) -> (Rc<Proxy>, mpsc::UnboundedReceiver<(u64, BatchOutcome)>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let max_batch_len = max_len(replica.engine().log_files().max_body_len());
        let proxy =
            Proxy { id, replica, max_batch_len, state: RefCell::default(), has_pending: Notify::new(), outcomes };
        (Rc::new(proxy), receiver)
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

    /// Bytes of what was submitted and has no reply yet.
    pub fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    fn flush(&self) {
        let mut state = self.state.borrow_mut();
        while state.in_flight.len() < MAX_IN_FLIGHT && !state.pending.is_empty() {
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
            self.replica.submit(batch, Box::new(move |outcome| drop(outcomes.send((number, outcome)))));
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
                Ok(replies) => owners.iter().zip(replies).for_each(|(owner, reply)| owner.put(Ok(reply))),
                Err(refusal) => owners.iter().for_each(|owner| owner.put(Err(refusal.clone()))),
            }
        }
    }

    /// Sends batches and hands out replies, until the thread ends.
    pub async fn run(self: Rc<Self>, mut outcomes: mpsc::UnboundedReceiver<(u64, BatchOutcome)>) {
        loop {
            tokio::select! {
                outcome = outcomes.recv() => {
                    let Some((number, outcome)) = outcome else { return };
                    self.complete(number, outcome);
                    while let Ok((number, outcome)) = outcomes.try_recv() {
                        self.complete(number, outcome);
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
