//! The proxy: groups the commands of one IO thread's connections into batches, and hands replies back.
//!
//! ```text
//! connections --submit--> pending --flush--> batch --> replica ... --> outcome --> mailboxes of the connections
//! ```
//!
//! Reads of a replica among others go out in the same way, not as commands but as a question: each is executed at its
//! connection when the state of what it touches is here as new as everything that was acknowledged when it was asked. One
//! that waits for old commands keeps back no other, but those behind it on its own connection.
//!
//! A batch goes out as soon as the pipeline has room: when idle one command is a batch, under load what gathered
//! while earlier batches were under way. All of it belongs to one thread, so nothing is locked.

use skink_engine::command::Command;
use skink_engine::command::Reply;
use skink_engine::error::Fault;

use skink_engine::evaluate;
use skink_engine::position::Revision;
use skink_replication::batch::{BatchEncoder, BatchOutcome, LocalBatch, LocalCommand, Refusal, max_len};
use skink_replication::node::{Passes, Question, Touches, View};
use skink_replication::replica::Replica;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, mpsc};

/// Batches under way at the same time. All that wait for the log go out with its next write, so a low bound would leave
/// commands behind that could go with it.
const MAX_IN_FLIGHT: usize = 64;
/// The same where batches go to other replicas, which costs more for each: what gathers behind these goes together.
const MAX_IN_FLIGHT_AMONG_OTHERS: usize = 4;
/// Questions for reads of which nothing is known yet, at the same time.
const MAX_QUESTIONS: usize = 4;
/// Commands in a batch, at most.
const MAX_BATCH_COMMANDS: usize = 16_384;
/// Bytes of commands in a batch after which no more are taken.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What a connection waits for.
pub enum Delivery {
    /// The reply to a command.
    Reply(Result<Reply, Refusal>),
    /// A read may be executed now, as long as the view is kept.
    Pass(Result<View, Refusal>),
    /// A read was executed.
    Read(Result<Reply, Fault>),
}

/// Replies for one connection, in the order of its commands.
#[derive(Default)]
pub struct Mailbox {
    /// Those of reads have a place from the beginning, as they come in any order.
    replies: RefCell<VecDeque<Option<Delivery>>>,
    /// How many were taken.
    taken: Cell<u64>,
    waker: Cell<Option<Waker>>,
}

impl Mailbox {
    /// The next reply, if it is there.
    pub fn take(&self) -> Option<Delivery> {
        let next = self.replies.borrow_mut().pop_front_if(|next| next.is_some()).flatten();
        if next.is_some() {
            self.taken.set(self.taken.get() + 1);
        }
        next
    }

    /// Ready when the next reply is there.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.replies.borrow().front().is_some_and(Option::is_some) {
            return Poll::Ready(());
        }
        let waker = self.waker.take().filter(|waker| waker.will_wake(context.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }

    fn put(&self, reply: Delivery) {
        self.replies.borrow_mut().push_back(Some(reply));
        self.wake();
    }

    /// A place for a reply, behind those that are there.
    fn reserve(&self) -> u64 {
        let mut replies = self.replies.borrow_mut();
        replies.push_back(None);
        self.taken.get() + replies.len() as u64 - 1
    }

    /// Puts a reply in its place.
    fn fill(&self, place: u64, reply: Delivery) {
        let at = place.checked_sub(self.taken.get()).and_then(|at| usize::try_from(at).ok());
        let mut replies = self.replies.borrow_mut();
        if let Some(place) = at.and_then(|at| replies.get_mut(at)) {
            *place = Some(reply);
        }
        drop(replies);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A read that waits for its pass.
struct WaitingRead {
    owner: Rc<Mailbox>,
    /// Where the pass goes in the mailbox.
    place: u64,
}

/// Reads that were asked for together.
struct Asked {
    /// `None` are those that have their pass.
    reads: Vec<Option<WaitingRead>>,
    waiting: usize,
    /// Whether anything was heard of it: then more may be asked.
    is_known: bool,
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
    /// Of reads of the question with this number; those that had to be executed at once, by their numbers.
    Reads(u64, Passes, Result<View, Refusal>, Vec<ReadReply>),
}

/// The number of a read of its question, and what came of it.
type ReadReply = (usize, Result<Reply, Fault>);

/// Executes those of the reads that pass, in the thread that tells of them.
fn read_at_once(replica: &Replica, reads: &[Command], passes: &Passes) -> Vec<ReadReply> {
    let engine = replica.engine();
    let max_value_len = engine.format().shape.max_value_len as usize;
    let context = evaluate::Context { revision: Revision::ZERO, now_ms: replica.read_time_ms(), max_value_len };
    let passing: &mut dyn Iterator<Item = usize> = match passes {
        Passes::Rest => &mut (0..reads.len()),
        Passes::Some(numbers) => &mut numbers.iter().copied(),
    };
    let read = |number: usize| Some((number, engine.execute(reads.get(number)?, context)));
    passing.filter_map(read).collect()
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    /// Reads that no question was asked for yet, and what they touch.
    pending_reads: Vec<Option<WaitingRead>>,
    pending_touches: Vec<Touches>,
    /// The reads themselves, where they may have to be executed at once.
    pending_commands: Vec<Command>,
    /// Reads that wait for an answer, by question.
    asked_reads: BTreeMap<u64, Asked>,
    last_question: u64,
    /// Questions of which nothing was heard.
    unknown_questions: usize,
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
        let touches = Touches::of(command, |key| engine.hash(key));
        if self.replica.is_among_others() {
            state.pending_commands.push(command.clone());
        }
        state.pending_touches.push(touches);
        state.pending_reads.push(Some(WaitingRead { owner: Rc::clone(mailbox), place: mailbox.reserve() }));
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
        if state.pending_reads.is_empty() || state.unknown_questions >= MAX_QUESTIONS {
            return;
        }
        let reads = std::mem::take(&mut state.pending_reads);
        let touches = std::mem::take(&mut state.pending_touches);
        let commands = std::mem::take(&mut state.pending_commands);
        state.last_question += 1;
        let number = state.last_question;
        let waiting = reads.len();
        state.asked_reads.insert(number, Asked { reads, waiting, is_known: false });
        state.unknown_questions += 1;
        drop(state);
        let outcomes = self.outcomes.clone();
        let replica = Arc::downgrade(&self.replica);
        let tell = move |passes: Passes, result| {
            let replies = match (&result, replica.upgrade()) {
                (Ok(View::Now), Some(replica)) => read_at_once(&replica, &commands, &passes),
                _ => Vec::new(),
            };
            let _ = outcomes.send(Outcome::Reads(number, passes, result, replies));
        };
        self.replica.when_current(Question { touches, tell: Arc::new(tell) });
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
            Outcome::Reads(number, passes, result, replies) => self.pass(number, passes, &result, replies),
        }
    }

    /// Hands out passes.
    fn pass(&self, number: u64, passes: Passes, result: &Result<View, Refusal>, replies: Vec<ReadReply>) {
        let state = &mut *self.state.borrow_mut();
        let Some(asked) = state.asked_reads.get_mut(&number) else { return };
        if !std::mem::replace(&mut asked.is_known, true) {
            state.unknown_questions -= 1;
        }
        for (read, reply) in replies {
            if let Some(WaitingRead { owner, place }) = asked.reads.get_mut(read).and_then(Option::take) {
                asked.waiting -= 1;
                owner.fill(place, Delivery::Read(reply));
            }
        }
        let passing: Vec<WaitingRead> = match passes {
            Passes::Rest => asked.reads.iter_mut().filter_map(Option::take).collect(),
            Passes::Some(reads) => reads.into_iter().filter_map(|read| asked.reads.get_mut(read)?.take()).collect(),
        };
        asked.waiting -= passing.len();
        for WaitingRead { owner, place } in passing {
            owner.fill(place, Delivery::Pass(result.clone()));
        }
        if asked.waiting == 0 {
            state.asked_reads.remove(&number);
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
