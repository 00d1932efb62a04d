//! What each request does.

use super::operation;
use super::session::{MAX_QUEUED, Queued, Session};
use super::{Connection, Waiting, fault_text, max_request_len, refusal_text};
use crate::information;
use crate::redis::{
    CommandSpec, ConnectionRequest, Flags, Hello, Request, RequestError, Shape, WRONG_PASSWORD, catalog, encode_reply,
    transaction,
};
use crate::resp::{Frame, ProtocolVersion, ReplyWriter};
use bytes::Bytes;
use skink_engine::command::{Command, CommandError, Footprint, MAX_KEY_LEN, MAX_REPLY_LEN, Precondition};
use skink_engine::error::Fault;
use skink_engine::evaluate::Context;
use skink_engine::position::Revision;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest that `WAIT` waits, in milliseconds.
const MAX_WAIT_MS: u64 = 60_000;

impl Connection {
    /// Answers what is no command, or not with so many arguments: that spoils a transaction.
    pub(super) fn refuse(&mut self, error: &RequestError) {
        self.session.spoil_transaction();
        // A client that sends EXEC takes the transaction for over.
        if *error == RequestError::WrongArity("exec") {
            self.session.end_transaction();
            let text = error.to_string();
            let why = text.trim_start_matches("ERR ");
            return self.reply(|writer| {
                writer.error(format_args!("EXECABORT Transaction discarded because of: {why}"));
            });
        }
        self.reply(|writer| writer.error(error));
    }

    /// Begins a request, or queues it inside `MULTI`. As in Redis, what is wrong with a queued command's arguments is
    /// its answer to `EXEC`, and the others are executed.
    pub(super) fn begin_or_queue(&mut self, spec: &'static CommandSpec, request: Result<Request, RequestError>) {
        let queued = match &mut self.session.queued {
            Some(queued) if !spec.flags.has(Flags::NOT_QUEUED) => queued,
            _ => {
                return match request {
                    Ok(request) => self.begin(request),
                    Err(error) => self.reply(|writer| writer.error(error)),
                };
            }
        };
        let entry = match request {
            Ok(Request::Execute { command, shape }) => Some((command.size(), (Some(command), shape))),
            Ok(Request::Connection(ConnectionRequest::Unwatch)) => Some((0, (None, Shape::Answer(Frame::OK)))),
            Ok(Request::Connection(request)) => request.fixed_answer().map(|answer| {
                let len = if let Frame::Bulk(text) = &answer { text.len() } else { 0 };
                (len, (None, Shape::Answer(answer)))
            }),
            Err(error) => {
                let text = error.to_string();
                Some((text.len(), (None, Shape::Answer(Frame::error(text)))))
            }
        };
        let error = match entry {
            None => "ERR Command not allowed inside a transaction",
            Some((len, entry)) => {
                queued.bytes += len;
                if queued.commands.len() < MAX_QUEUED && queued.bytes <= max_request_len(&self.context) {
                    queued.commands.push(entry);
                    return self.reply(|writer| writer.simple("QUEUED"));
                }
                "ERR the transaction is too large"
            }
        };
        self.session.spoil_transaction();
        self.reply(|writer| writer.error(error));
    }

    pub(super) fn begin(&mut self, request: Request) {
        match request {
            Request::Execute { command, shape } => self.begin_command(command, shape),
            Request::Connection(request) => self.begin_connection(request),
        }
    }

    /// Whether requests on the state can begin; where not, the request begins when they can.
    pub(super) fn is_serving(&mut self, request: impl FnOnce() -> Request) -> bool {
        if !self.context.is_serving.get() {
            self.operation = Some(operation::when_serving(self.context.server.phase.clone(), request()));
        }
        self.context.is_serving.get()
    }

    pub(super) fn begin_command(&mut self, command: Command, shape: Shape) {
        if !self.context.is_serving.get() {
            self.is_serving(|| Request::Execute { command, shape });
            return;
        }
        if command.is_read_only() {
            return self.begin_read(command, shape);
        }
        if !command.is_flat() {
            return self.reply(|writer| writer.error("ERR a transaction cannot hold another one"));
        }
        if self.waiting_ordered == 0 && !self.waiting.is_empty() {
            // Reads that still wait must not see it.
            self.held = Some(Request::Execute { command, shape });
            return;
        }
        let (size, max) = (command.size(), max_request_len(&self.context));
        if size > max {
            let error = format!("ERR the command takes {size} bytes in the log; at most {max} are allowed");
            return self.reply(|writer| writer.error(error));
        }
        if let Err(refusal) = self.context.server.replica.admit(command.only_deletes()) {
            return self.reply(|writer| writer.error(refusal_text(&refusal)));
        }
        self.submit(command, shape, true);
    }

    /// Sends a command through the proxy, behind the connection's earlier ones.
    fn submit(&mut self, command: Command, shape: Shape, is_ordered: bool) {
        let bytes = command.size().saturating_add(self.reply_bytes(&command));
        self.waiting_growth = self.waiting_growth.saturating_add(command.growth());
        self.waiting_bytes += bytes;
        self.waiting_ordered += 1;
        self.waiting.push_back(Waiting::Ordered(shape, bytes));
        self.context.proxy.submit(command, is_ordered, bytes, &self.mailbox);
    }

    /// About the bytes of values that the reply will carry: the present ones, and what writes before it may add.
    fn reply_bytes(&self, command: &Command) -> usize {
        let engine = self.context.server.replica.engine();
        let mut bytes = 0_usize;
        command.answered_keys(&mut |key| {
            let len = engine.read(key, 0, |stored| stored.map_or(0, |stored| stored.value.len()));
            let growth = usize::try_from(self.waiting_growth).unwrap_or(usize::MAX);
            bytes = bytes.saturating_add(len.unwrap_or(0)).saturating_add(growth);
        });
        bytes.min(MAX_REPLY_LEN)
    }

    fn begin_read(&mut self, command: Command, shape: Shape) {
        let is_over_ranges = matches!(command, Command::ReadRange(_) | Command::CountRange(_) | Command::Scan { .. });
        if is_over_ranges {
            if !self.waiting.is_empty() {
                self.held = Some(Request::Execute { command, shape });
                return;
            }
            let is_stale = self.session.reads_stale();
            self.operation = Some(operation::read_at_pin(&self.context.server.replica, command, shape, is_stale));
            return;
        }
        if self.waiting_ordered > 0 {
            return self.submit(command, shape, false);
        }
        // Over everything, but inside a transaction: no command may be in flight.
        if command.footprint(&mut |_, _| ()) == Footprint::Everything && command != Command::Count {
            if !self.waiting.is_empty() {
                self.held = Some(Request::Execute { command, shape });
                return;
            }
            return self.submit(command, shape, false);
        }
        if self.context.server.replica.is_among_others() && !self.session.reads_stale() {
            let bytes = command.size();
            self.waiting_bytes += bytes;
            self.context.proxy.submit_read(&command, &self.mailbox);
            self.waiting.push_back(Waiting::Read(command, shape, bytes));
            return;
        }
        if !self.waiting.is_empty() {
            self.held = Some(Request::Execute { command, shape });
            return;
        }
        self.read_now(&command, &shape);
    }

    /// Answers a read from the state as it is.
    pub(super) fn read_now(&mut self, command: &Command, shape: &Shape) {
        let replica = &self.context.server.replica;
        let engine = replica.engine();
        let now_ms = replica.read_time_ms();
        let result = match (command, shape) {
            (Command::Read { key }, Shape::Value) if key.len() <= MAX_KEY_LEN => {
                let mut writer = ReplyWriter::new(&mut self.output, self.version);
                engine.read(key, now_ms, |stored| writer.optional_bulk(stored.map(|stored| stored.value)))
            }
            _ => {
                let max_value_len = engine.format().shape.max_value_len as usize;
                let context = Context { revision: Revision::ZERO, now_ms, max_value_len };
                engine
                    .execute(command, context)
                    .map(|reply| encode_reply(&reply, shape, self.version, &mut self.output))
            }
        };
        self.tell_fault(result);
    }

    /// Tells of a read that failed.
    pub(super) fn tell_fault(&mut self, result: Result<(), Fault>) {
        if let Err(fault) = result {
            tracing::error!(%fault, "a read failed");
            ReplyWriter::new(&mut self.output, self.version).error(fault_text(&fault));
        }
    }

    fn begin_connection(&mut self, request: ConnectionRequest) {
        if let Some(answer) = request.fixed_answer() {
            return self.reply(|writer| answer.write(writer));
        }
        match request {
            ConnectionRequest::Hello(hello) => self.hello(hello),
            ConnectionRequest::Quit => {
                self.ok();
                self.is_closing = true;
            }
            // As with HELLO: what is still to be answered was asked in the old version.
            ConnectionRequest::Reset if !self.waiting.is_empty() => {
                self.held = Some(Request::Connection(ConnectionRequest::Reset));
            }
            ConnectionRequest::Reset => {
                self.session = Session::new(self.session.id);
                self.reply(|writer| writer.simple("RESET"));
                self.version = ProtocolVersion::default();
            }
            ConnectionRequest::ClientSetName(name) => {
                self.session.name = Bytes::copy_from_slice(&name);
                self.ok();
            }
            ConnectionRequest::ClientGetName => {
                let name = self.session.name.clone();
                self.reply(|writer| writer.optional_bulk((!name.is_empty()).then_some(&name)));
            }
            ConnectionRequest::ClientId => {
                let id = self.session.id as i64;
                self.reply(|writer| writer.integer(id));
            }
            ConnectionRequest::ClientStaleReads(stale_reads) => {
                self.session.stale_reads = stale_reads;
                self.ok();
            }
            ConnectionRequest::Command(query) => self.reply(|writer| catalog::reply(&query).write(writer)),
            ConnectionRequest::Help(spec) => self.reply(|writer| catalog::help(spec).write(writer)),
            ConnectionRequest::ConfigGet(patterns) => {
                let frame = information::config(&self.context.server, &patterns);
                self.reply(|writer| frame.write(writer));
            }
            ConnectionRequest::Info(sections) => {
                let text = information::info(&self.context.server, &sections);
                self.reply(|writer| writer.bulk(text.as_bytes()));
            }
            ConnectionRequest::Multi => self.multi(),
            ConnectionRequest::Exec => self.exec(),
            // Without a transaction, what is watched stays watched.
            ConnectionRequest::Discard if self.session.queued.is_none() => {
                self.reply(|writer| writer.error("ERR DISCARD without MULTI"));
            }
            ConnectionRequest::Discard => {
                self.session.end_transaction();
                self.ok();
            }
            ConnectionRequest::Watch(keys) => self.watch(keys),
            ConnectionRequest::Unwatch => {
                self.session.watched.clear();
                self.ok();
            }
            ConnectionRequest::Statement { text, rows } => self.begin_statement(text, rows),
            ConnectionRequest::Checkpoint => {
                if self.is_drained(|| Request::Connection(ConnectionRequest::Checkpoint)) {
                    self.operation = Some(operation::checkpoint(&self.context.server.replica));
                }
            }
            ConnectionRequest::ChangeMembers(change) => {
                if self.is_drained(|| Request::Connection(ConnectionRequest::ChangeMembers(change.clone()))) {
                    self.operation = Some(operation::change_members(&self.context.server.replica, change));
                }
            }
            ConnectionRequest::BackgroundSave => {
                self.context.server.replica.checkpoint(Box::new(|_| ()));
                self.reply(|writer| writer.simple("Background saving started"));
            }
            ConnectionRequest::LastSave => {
                let ms = self.context.server.replica.statistics().last_checkpoint_ms.load(Ordering::Relaxed);
                self.reply(|writer| writer.integer((ms / 1000) as i64));
            }
            ConnectionRequest::Wait { replicas, timeout_ms } => self.wait(replicas, timeout_ms),
            ConnectionRequest::Time => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.reply(|writer| {
                    writer.array(2);
                    writer.bulk(now.as_secs().to_string().as_bytes());
                    writer.bulk(now.subsec_micros().to_string().as_bytes());
                });
            }
            ConnectionRequest::Ping(_)
            | ConnectionRequest::Echo(_)
            | ConnectionRequest::Auth(_)
            | ConnectionRequest::Select(_)
            | ConnectionRequest::Accepted
            | ConnectionRequest::ClientSetInfo { .. }
            | ConnectionRequest::SlowLogGet(_)
            | ConnectionRequest::SlowLogLen
            | ConnectionRequest::SlowLogReset
            | ConnectionRequest::LatencyLatest
            | ConnectionRequest::LatencyReset => unreachable!("it has a fixed answer"),
        }
    }

    /// Whether everything asked before is answered and the state can be used; where not, the request is begun when it is.
    pub(super) fn is_drained(&mut self, request: impl FnOnce() -> Request) -> bool {
        if !self.waiting.is_empty() {
            self.held = Some(request());
            return false;
        }
        self.is_serving(request)
    }

    fn hello(&mut self, hello: Hello) {
        if hello.auth.is_some_and(|credentials| !credentials.are_accepted()) {
            return self.reply(|writer| writer.error(WRONG_PASSWORD));
        }
        if let Some(name) = hello.name {
            self.session.name = Bytes::copy_from_slice(&name);
        }
        // What is still to be answered was asked in the old version, and is written in the new one only if it can be: so wait.
        if let Some(version) = hello.version
            && version != self.version
        {
            if !self.waiting.is_empty() {
                let hello = Hello { version: Some(version), ..Hello::default() };
                self.held = Some(Request::Connection(ConnectionRequest::Hello(hello)));
                return;
            }
            self.version = version;
        }
        let (version, id) = (self.version.number(), self.session.id as i64);
        let role = information::redis_role(&self.context.server.replica.status());
        self.reply(|writer| {
            writer.map(7);
            writer.bulk(b"server");
            writer.bulk(b"redis");
            writer.bulk(b"version");
            writer.bulk(information::REDIS_VERSION.as_bytes());
            writer.bulk(b"proto");
            writer.integer(version);
            writer.bulk(b"id");
            writer.integer(id);
            writer.bulk(b"mode");
            writer.bulk(b"standalone");
            writer.bulk(b"role");
            writer.bulk(role.as_bytes());
            writer.bulk(b"modules");
            writer.array(0);
        });
    }

    fn multi(&mut self) {
        if self.session.queued.is_some() {
            return self.reply(|writer| writer.error("ERR MULTI calls can not be nested"));
        }
        self.session.queued = Some(Queued::default());
        self.ok();
    }

    fn exec(&mut self) {
        let Some(queued) = self.session.queued.take() else {
            return self.reply(|writer| writer.error("ERR EXEC without MULTI"));
        };
        let watched = std::mem::take(&mut self.session.watched);
        if queued.is_spoiled {
            return self.reply(|writer| {
                writer.error("EXECABORT Transaction discarded because of previous errors.");
            });
        }
        if queued.commands.is_empty() && watched.is_empty() {
            return self.reply(|writer| writer.array(0));
        }
        let (command, shape) = transaction(queued.commands, watched, false);
        self.begin_command(command, shape);
    }

    fn watch(&mut self, keys: Vec<Bytes>) {
        if self.session.queued.is_some() {
            return self.reply(|writer| writer.error("ERR WATCH inside MULTI is not allowed"));
        }
        // They are kept until EXEC, so that their number and their lengths are bounded.
        if let Some(longest) = keys.iter().map(Bytes::len).max().filter(|len| *len > MAX_KEY_LEN) {
            let error = CommandError::KeyTooLong { len: longest, max: MAX_KEY_LEN };
            return self.reply(|writer| writer.error(format!("ERR {error}")));
        }
        // What is kept must not keep all that was read with it.
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        let again = keys.clone();
        if !self.is_drained(|| Request::Connection(ConnectionRequest::Watch(again))) {
            return;
        }
        if self.session.watched.len() + keys.len() > MAX_QUEUED {
            return self.reply(|writer| writer.error("ERR too many keys are watched"));
        }
        let replica = &self.context.server.replica;
        if replica.is_among_others() {
            self.operation = Some(operation::watch(replica, keys));
            return;
        }
        self.watch_now(keys);
    }

    /// Watches keys as they are in the state now.
    pub(super) fn watch_now(&mut self, keys: Vec<Bytes>) {
        let replica = Rc::clone(&self.context).server.replica.clone();
        let now_ms = replica.read_time_ms();
        for key in keys {
            match replica.engine().read(&key, now_ms, |stored| stored.map(|stored| stored.revision)) {
                Ok(revision) => self.session.watched.push(Precondition { key, revision }),
                Err(fault) => {
                    tracing::error!(%fault, "a read failed");
                    return self.reply(|writer| writer.error(fault_text(&fault)));
                }
            }
        }
        self.ok();
    }

    /// One replica: whatever was acknowledged is durable here, and nowhere else.
    fn wait(&mut self, replicas: i64, timeout_ms: u64) {
        let request = || Request::Connection(ConnectionRequest::Wait { replicas, timeout_ms });
        if !self.is_drained(request) {
            return;
        }
        if replicas <= 0 || timeout_ms == 0 {
            return self.reply(|writer| writer.integer(0));
        }
        let duration = Duration::from_millis(timeout_ms.min(MAX_WAIT_MS));
        self.operation = Some(operation::after(duration, Frame::Integer(0)));
    }
}
