//! Clients: each asks for one thing at a time, at the replica that it is connected to, gives up after a while, and goes to
//! another one then.

use crate::batches::Fate;
use crate::checkers;
use crate::history::{Call, Ending};
use crate::mistakes::Mistake;
use crate::operations::{Request, outcome_of, random_request};
use crate::plan::{MAX_VALUE_LEN, MS, Plan};
use crate::process::PROXIES;
use crate::world::{Next, Told, World};
use skink_engine::command::Reply;
use skink_engine::evaluate::Context;
use skink_replication::batch::{BatchOutcome, LocalBatch, Refusal};
use skink_replication::node::{Passes, Question, Touches, View};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Batches of a proxy that are under way at the same time.
const MAX_IN_FLIGHT: usize = 4;

#[derive(Debug)]
struct Client {
    /// The replica that it is connected to.
    home: usize,
    proxy: u16,
    /// What it waits for.
    waits_for: Option<u64>,
}

/// Something that a client has asked for.
#[derive(Debug)]
struct Operation {
    client: usize,
    request: Request,
    invoked: u64,
    at: usize,
    batch: Option<u64>,
}

/// Something that a client has asked for and waits for no more.
#[derive(Debug)]
pub struct Abandoned {
    pub call: Call,
    pub object: String,
    /// The batch it went into. A proxy hands in what it was given, also when nobody waits for it any more.
    pub batch: Option<u64>,
}

/// All clients, and what they wait for.
pub struct Clients {
    clients: Vec<Client>,
    last: u64,
    operations: BTreeMap<u64, Operation>,
    /// Those that nobody waits for any more, and that may have happened.
    abandoned: BTreeMap<u64, Abandoned>,
    last_question: u64,
    /// Which reads wait for the same answer, and in which life of which machine.
    questions: BTreeMap<u64, (usize, u64, Vec<Option<u64>>)>,
    pub answered: u64,
    /// Reads that passed while others of their question had to wait, or after those.
    pub passed_early: u64,
    pub have_stopped: bool,
}

impl Clients {
    pub fn new(plan: &Plan) -> Clients {
        let client = |number: usize| Client {
            home: number % plan.members,
            proxy: (number / plan.members) as u16 % PROXIES + 1,
            waits_for: None,
        };
        Clients {
            clients: (0..plan.clients).map(client).collect(),
            last: 0,
            operations: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            last_question: 0,
            questions: BTreeMap::new(),
            answered: 0,
            passed_early: 0,
            have_stopped: false,
        }
    }

    pub fn are_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// What nobody waited for in the end.
    pub fn take_abandoned(&mut self) -> impl Iterator<Item = Abandoned> + use<> {
        std::mem::take(&mut self.abandoned).into_values()
    }
}

impl World {
    /// A client that waits for nothing asks for something.
    pub fn client_acts(&mut self, number: usize) -> Result<(), String> {
        let client = &self.clients.clients[number];
        if self.clients.have_stopped || client.waits_for.is_some() {
            return Ok(());
        }
        let (at, proxy) = (client.home, client.proxy);
        if self.machines[at].process.is_none() {
            self.goes_elsewhere(number);
            return Ok(());
        }
        self.clients.last += 1;
        let operation = self.clients.last;
        let request = random_request(&mut self.random, operation);
        let invoked = self.history.stamp();
        self.note(|| format!("client {number} asks {at} as {operation}: {:?}", request.tracked));
        self.queue(at, proxy, operation, &request);
        let patience = self.random.between(200, 2500) * MS;
        self.plan_in(patience, Next::Timeout { operation });
        self.clients.clients[number].waits_for = Some(operation);
        let operation_of = Operation { client: number, request, invoked, at, batch: None };
        self.clients.operations.insert(operation, operation_of);
        if self.plan.mistake == Some(Mistake::ReadsDoNotWait)
            && self.clients.operations[&operation].request.read().is_some()
        {
            return self.read(at, operation);
        }
        self.wake(at);
        Ok(())
    }

    fn queue(&mut self, at: usize, proxy: u16, operation: u64, request: &Request) {
        let Some(process) = &mut self.machines[at].process else { return };
        let proxy = process.proxy(proxy);
        match request.read() {
            // With the proxy's mistake it is executed at once.
            Some(_) if self.plan.mistake == Some(Mistake::ReadsDoNotWait) => {}
            Some(command) => proxy.reads.push((operation, command.clone())),
            None => proxy.writes.push_back((operation, request.commands.clone())),
        }
    }

    /// Proxies hand in what has gathered.
    pub fn hand_in(&mut self, at: usize) {
        for proxy in 1..=PROXIES {
            self.hand_in_reads(at, proxy);
            self.hand_in_writes(at, proxy);
        }
    }

    fn hand_in_reads(&mut self, at: usize, proxy: u16) {
        let Some(process) = &mut self.machines[at].process else { return };
        let reads = std::mem::take(&mut process.proxy(proxy).reads);
        if reads.is_empty() {
            return;
        }
        self.clients.last_question += 1;
        let question = self.clients.last_question;
        let engine = &process.engine;
        let touches = reads.iter().map(|(_, command)| Touches::of(command, |key| engine.hash(key))).collect();
        let teller = self.teller.clone();
        let tell = Arc::new(move |passes, result| drop(teller.send(Told::Reads { question, passes, result })));
        process.node.when_current(Question { touches, tell });
        let operations = reads.into_iter().map(|(operation, _)| Some(operation)).collect();
        self.clients.questions.insert(question, (at, self.machines[at].life, operations));
    }

    fn hand_in_writes(&mut self, at: usize, proxy: u16) {
        let life = self.machines[at].life;
        loop {
            let most = self.random.between(1, 6) as usize;
            let Some(process) = &mut self.machines[at].process else { return };
            let queue = process.proxy(proxy);
            if queue.writes.is_empty() || queue.in_flight >= MAX_IN_FLIGHT {
                return;
            }
            let count = most.min(queue.writes.len());
            let operations: Vec<_> = queue.writes.drain(..count).collect();
            queue.in_flight += 1;
            let numbers: Vec<u64> = operations.iter().map(|(operation, _)| *operation).collect();
            let only_deletes =
                |operation: &u64| self.clients.operations.get(operation).is_some_and(|it| it.request.only_deletes());
            let has_room = process.engine.check_room(numbers.iter().all(only_deletes)).is_ok();
            let number = self.batches.add(at, life, proxy, operations);
            for operation in numbers {
                if let Some(operation) = self.clients.operations.get_mut(&operation) {
                    operation.batch = Some(number);
                } else if let Some(abandoned) = self.clients.abandoned.get_mut(&operation) {
                    abandoned.batch = Some(number);
                }
            }
            let teller = self.teller.clone();
            let reply = Box::new(move |outcome| drop(teller.send(Told::Batch { number, outcome })));
            // What is known of the room is some milliseconds old.
            if !has_room && !self.random.percent(10) {
                reply(Err(Refusal::DiskFull("there is no room".into())));
                continue;
            }
            let commands = self.batches.commands(number).unwrap_or_default().to_vec();
            let Some(process) = &mut self.machines[at].process else { return };
            let engine = &process.engine;
            let (content, payload) = process.encoder.encode(&commands, |key| engine.hash(key));
            let time_ms = engine.environment().clock.now_ms();
            let batch = LocalBatch { proxy: u32::from(proxy), time_ms, commands, content, payload };
            process.node.submit(proxy, batch, reply);
        }
    }

    /// The proxy hears what became of a batch.
    pub fn batch_told(&mut self, number: u64, outcome: BatchOutcome) -> Result<(), String> {
        self.note(|| format!("batch {number} is {outcome:?}"));
        let Some(batch) = self.batches.get_mut(number) else { return Err(format!("batch {number} is unknown")) };
        checkers::e3::check_told(number, batch)?;
        batch.is_told = true;
        let at = batch.at;
        if batch.life != self.machines[at].life {
            return Ok(());
        }
        let operations = batch.operations.clone();
        batch.fate = match &outcome {
            Ok(_) => Fate::Answered,
            Err(refusal) if may_have_happened(refusal) => Fate::Open,
            Err(_) => Fate::Refused,
        };
        let fate = batch.fate;
        let proxy = batch.proxy;
        if let Some(process) = &mut self.machines[at].process {
            let proxy = process.proxy(proxy);
            proxy.in_flight = proxy.in_flight.saturating_sub(1);
        }
        match outcome {
            Ok(replies) => {
                checkers::e1::check_replies(&self.reference, number, &replies)?;
                checkers::acknowledged::check(self, number)?;
                if let (Some(process), Some(known)) = (&self.machines[at].process, self.reference.executed(number)) {
                    let last = process.executed.max(process.node.last_early());
                    checkers::e3::check_executed(known.instance, process.came_with, last)?;
                }
                // The first is the batch's own.
                let mut rest = replies.get(1..).unwrap_or_default();
                for (operation, count) in operations {
                    let (own, after) = rest.split_at_checked(count).unwrap_or_default();
                    rest = after;
                    self.answered(operation, own)?;
                }
            }
            Err(_) => {
                for (operation, _) in operations {
                    match fate {
                        Fate::Refused => self.refused(operation),
                        _ => self.gives_up(operation),
                    }
                }
            }
        }
        self.wake(at);
        Ok(())
    }

    /// Reads may be executed, or not.
    pub fn reads_told(&mut self, question: u64, passes: Passes, result: Result<View, Refusal>) -> Result<(), String> {
        self.note(|| format!("{passes:?} of reads {question} are {result:?}"));
        let Some((at, life, operations)) = self.clients.questions.get_mut(&question) else { return Ok(()) };
        let (at, life) = (*at, *life);
        let told: Vec<u64> = match passes {
            Passes::Rest => operations.iter_mut().filter_map(Option::take).collect(),
            Passes::Some(numbers) => {
                let mut told = Vec::new();
                for number in numbers {
                    let operation = operations.get_mut(number).and_then(Option::take);
                    told.push(operation.ok_or_else(|| format!("READS {number} of {question} is told of twice"))?);
                }
                self.clients.passed_early += told.len() as u64;
                told
            }
        };
        if operations.iter().all(Option::is_none) {
            self.clients.questions.remove(&question);
        }
        if life != self.machines[at].life {
            return Ok(());
        }
        for operation in told {
            match &result {
                Err(_) => self.refused(operation),
                Ok(view) if !matches!(view, View::Now) && self.random.percent(30) => {
                    let delay = self.random.between(0, 3 * MS);
                    self.plan_in(delay, Next::Read { at, life, operation, view: view.clone() });
                }
                Ok(_) => self.read(at, operation)?,
            }
        }
        Ok(())
    }

    /// Executes a read on the state as it is.
    pub fn read(&mut self, at: usize, operation: u64) -> Result<(), String> {
        let command = self.clients.operations.get(&operation).and_then(|it| it.request.read().cloned());
        let (Some(command), Some(process)) = (command, &self.machines[at].process) else { return Ok(()) };
        let now_ms = process.node.time_ms().max(process.engine.environment().clock.now_ms());
        let revision = process.node.executed().revision(0);
        let context = Context { revision, now_ms, max_value_len: MAX_VALUE_LEN as usize };
        match process.engine.execute(&command, context) {
            Ok(reply) => self.answered(operation, &[reply]),
            Err(fault) => self.failed(at, &fault),
        }
    }

    fn answered(&mut self, operation: u64, replies: &[Reply]) -> Result<(), String> {
        let Some(Operation { client, request, invoked, .. }) = self.clients.operations.remove(&operation) else {
            return Ok(());
        };
        self.note(|| format!("client {client} hears {replies:?}"));
        self.clients.answered += 1;
        if let Some((object, action)) = request.tracked {
            let outcome = outcome_of(&action, replies)?;
            let returned = self.history.stamp();
            self.history.add(&object, Call { action, invoked, returned, ending: Ending::Answered(outcome) });
        }
        self.clients.clients[client].waits_for = None;
        let thinks =
            if self.random.percent(70) { self.random.between(0, 2 * MS) } else { self.random.between(0, 40 * MS) };
        self.plan_in(thinks, Next::Client(client));
        Ok(())
    }

    /// Nothing of it has happened: the client tries somewhere else.
    fn refused(&mut self, operation: u64) {
        if let Some(Operation { client, .. }) = self.clients.operations.remove(&operation) {
            self.goes_elsewhere(client);
        }
    }

    /// The client waits no more. It may have happened, or may still happen.
    pub fn gives_up(&mut self, operation: u64) {
        if self.plan.mistake == Some(Mistake::RetriesAreNewBatches) && self.tries_again(operation) {
            return;
        }
        let Some(Operation { client, request, invoked, batch, .. }) = self.clients.operations.remove(&operation) else {
            return;
        };
        self.note(|| format!("client {client} gives up {operation}"));
        let returned = self.history.stamp();
        if let Some((object, action)) = request.tracked {
            let call = Call { action, invoked, returned, ending: Ending::Unknown };
            self.clients.abandoned.insert(operation, Abandoned { call, object, batch });
        }
        self.goes_elsewhere(client);
    }

    fn tries_again(&mut self, operation: u64) -> bool {
        let Some(Operation { client, request, at, .. }) = self.clients.operations.get_mut(&operation) else {
            return false;
        };
        if request.read().is_some() || self.clients.have_stopped {
            return false;
        }
        *at = (*at + 1) % self.machines.len();
        let (at, client, request) = (*at, *client, request.clone());
        self.clients.clients[client].home = at;
        let proxy = self.clients.clients[client].proxy;
        self.queue(at, proxy, operation, &request);
        self.plan_in(500 * MS, Next::Timeout { operation });
        self.wake(at);
        true
    }

    fn goes_elsewhere(&mut self, client: usize) {
        let members = self.plan.members as u64;
        self.clients.clients[client].home = self.random.below(members) as usize;
        self.clients.clients[client].waits_for = None;
        let pause = self.random.between(MS, 50 * MS);
        self.plan_in(pause, Next::Client(client));
    }

    /// The process is gone: its clients see their connections close.
    pub fn connections_closed(&mut self, at: usize) {
        let at_home = |it: &(&u64, &Operation)| it.1.at == at;
        let lost: Vec<u64> = self.clients.operations.iter().filter(at_home).map(|(operation, _)| *operation).collect();
        for operation in lost {
            self.gives_up(operation);
        }
    }
}

/// Whether a refused batch may have been executed, or may still be.
fn may_have_happened(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Late(_) => true,
        Refusal::NoMajority(text) => text.contains("may still be executed") || text.contains("may have been executed"),
        _ => false,
    }
}
