//! One client's connection: bytes in, requests, replies in their order, bytes out.
//!
//! ```text
//! socket -> input -> decoder -> request --read of keys, nothing waiting--> engine --> output -> socket
//!                                  |      (of several replicas: proxy --> pass --^)   |
//!                                  |----write, or read behind a write----> proxy --> mailbox --^
//!                                  '----over a range, a checkpoint-------> operation ---------^
//! ```
//!
//! Commands of a connection take effect in its order. `waiting` holds what was asked and not answered yet; while it is
//! not empty, reads go through the proxy behind the writes. What needs more than one key's segment waits until
//! nothing is waiting. A connection that asks faster than it reads is not read from: memory is bounded.

mod operation;
mod requests;
mod session;
mod statements;

use crate::io_thread::ThreadContext;
use crate::proxy::{Delivery, Mailbox};
use crate::redis::{self, Request, Shape, encode_reply};
use crate::resp::{ProtocolVersion, ReplyWriter, RequestDecoder, RequestLimits};
use bytes::{Buf, Bytes, BytesMut};
use operation::{Operation, OperationResult};
use session::Session;
use skink_engine::command::Command;
use skink_replication::batch::{Refusal, max_len};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests without an answer after which a connection is not read from, and bytes of them and of their replies.
const MAX_WAITING: usize = 2048;
const MAX_WAITING_BYTES: usize = 4 << 20;
/// The same bytes for all connections of an IO thread: beyond it each has one request under way.
const MAX_THREAD_BYTES: usize = 128 << 20;
/// Bytes of replies that the client has not read after which it is not read from.
const MAX_OUTPUT: usize = 1 << 20;
/// Room in the input buffer for one read, in bytes.
const READ_LEN: usize = 16 << 10;
/// Buffers larger than this are given back when they are empty.
const KEEP_BUFFER: usize = 64 << 10;
/// Requests that are taken before other connections get their turn.
const MAX_BURST: usize = 128;
/// Bytes that are taken and dropped behind a request that can't be answered, and for how long.
const LINGER_LEN: u64 = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A place in the order of replies.
enum Waiting {
    /// The mailbox' next reply, in this shape; so many bytes for the request and the reply, about.
    Ordered(Shape, usize),
    /// A read, to be executed when the mailbox' next pass comes.
    Read(Command, Shape, usize),
    /// Something that was answered at once, behind something that was not.
    Ready(Bytes),
}

/// A client's connection.
pub(crate) struct Connection {
    context: Rc<ThreadContext>,
    socket: TcpStream,
    decoder: RequestDecoder,
    input: BytesMut,
    output: BytesMut,
    mailbox: Rc<Mailbox>,
    waiting: VecDeque<Waiting>,
    /// How many of them are commands that go through the order, or behind such.
    waiting_ordered: usize,
    /// Bytes of what waits.
    waiting_bytes: usize,
    /// Bytes that values may have become longer by writes that wait, or did when last something waited.
    waiting_growth: u64,
    /// Statements of a text that are still to begin.
    script: VecDeque<(Command, Shape)>,
    /// A request that must not begin before all waiting ones are answered.
    held: Option<Request>,
    operation: Option<Operation>,
    session: Session,
    version: ProtocolVersion,
    is_closing: bool,
    /// It closes because of what the client sent, who may still be sending.
    is_refused: bool,
}

/// Why a connection ends.
enum End {
    /// The client closed it, or it broke.
    Closed,
}

impl Connection {
    /// Takes over an accepted socket.
    pub(crate) fn new(context: Rc<ThreadContext>, socket: std::net::TcpStream, id: u64) -> io::Result<Connection> {
        let max_value_len = context.server.replica.engine().format().shape.max_value_len as usize;
        let limits = RequestLimits::new(max_value_len, max_request_len(&context));
        Ok(Connection {
            socket: TcpStream::from_std(socket)?,
            decoder: RequestDecoder::new(limits),
            input: BytesMut::new(),
            output: BytesMut::new(),
            mailbox: Rc::default(),
            waiting: VecDeque::new(),
            waiting_ordered: 0,
            waiting_bytes: 0,
            waiting_growth: 0,
            script: VecDeque::new(),
            held: None,
            operation: None,
            session: Session::new(id),
            version: ProtocolVersion::default(),
            is_closing: false,
            is_refused: false,
            context,
        })
    }

    /// Serves the client until one of the two has enough.
    pub(crate) async fn run(mut self) {
        loop {
            self.answer_waiting();
            let mut burst = 0;
            while self.can_begin() {
                if burst == MAX_BURST {
                    // Replies go out and others come in between.
                    break;
                }
                burst += 1;
                if !self.begin_next() {
                    break;
                }
            }
            if self.is_closing && self.waiting.is_empty() && self.operation.is_none() && self.output.is_empty() {
                if self.is_refused {
                    self.linger().await;
                }
                return;
            }
            let has_more = burst == MAX_BURST;
            if std::future::poll_fn(|context| self.poll_events(context, has_more)).await.is_err() {
                return;
            }
        }
    }

    /// Lets the client read why it was refused: closing on unread bytes resets the connection, and the error is lost.
    async fn linger(&mut self) {
        let (socket, mut dropped) = (&mut self.socket, vec![0; READ_LEN]);
        let drain = async {
            let mut left = LINGER_LEN;
            socket.shutdown().await?;
            while left > 0 {
                match socket.read(&mut dropped).await? {
                    0 => break,
                    len => left = left.saturating_sub(len as u64),
                }
            }
            io::Result::Ok(())
        };
        // However it ends, the connection does.
        let _ = tokio::time::timeout(LINGER_TIME, drain).await;
    }

    fn can_begin(&self) -> bool {
        let has_room = self.waiting.is_empty()
            || self.waiting.len() < MAX_WAITING
                && self.waiting_bytes < MAX_WAITING_BYTES
                && self.context.proxy.bytes() < MAX_THREAD_BYTES;
        let may_begin = self.operation.is_none() && !self.is_closing && has_room && self.output.len() < MAX_OUTPUT;
        may_begin && (self.held.is_none() || self.waiting.is_empty())
    }

    /// Begins the next request that is complete; answers `false` where there is none.
    fn begin_next(&mut self) -> bool {
        if let Some(request) = self.held.take() {
            self.begin(request);
            return true;
        }
        if let Some((command, shape)) = self.script.pop_front() {
            self.begin_command(command, shape);
            return true;
        }
        match self.decoder.decode(&mut self.input) {
            Ok(Some(mut arguments)) => {
                if self.session.queued.is_some() {
                    // What is kept must not keep all that was read with it.
                    arguments.iter_mut().for_each(|argument| *argument = Bytes::copy_from_slice(argument));
                }
                self.context.server.requests.fetch_add(1, Ordering::Relaxed);
                match redis::find(&arguments) {
                    Ok(spec) => self.begin_or_queue(spec, spec.parse(arguments)),
                    Err(error) => self.refuse(&error),
                }
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.reply(|writer| writer.error(error));
                self.is_closing = true;
                self.is_refused = true;
                false
            }
        }
    }

    /// Writes a reply at its place.
    fn reply(&mut self, write: impl FnOnce(&mut ReplyWriter<'_>)) {
        if self.waiting.is_empty() {
            write(&mut ReplyWriter::new(&mut self.output, self.version));
        } else {
            let mut bytes = BytesMut::new();
            write(&mut ReplyWriter::new(&mut bytes, self.version));
            self.waiting_bytes += bytes.len();
            self.waiting.push_back(Waiting::Ready(bytes.freeze()));
        }
    }

    fn ok(&mut self) {
        self.reply(|writer| writer.ok());
    }

    /// Moves answers from the mailbox to the output, as far as they come in order and the client takes them.
    fn answer_waiting(&mut self) {
        while self.output.len() < MAX_OUTPUT {
            let bytes = match self.waiting.front() {
                None => break,
                Some(Waiting::Ready(bytes)) => bytes.len(),
                Some(Waiting::Ordered(_, bytes) | Waiting::Read(_, _, bytes)) => *bytes,
            };
            let delivery = match self.waiting.front() {
                Some(Waiting::Ready(_)) => None,
                _ => match self.mailbox.take() {
                    None => return,
                    delivery => delivery,
                },
            };
            match (self.waiting.pop_front(), delivery) {
                (Some(Waiting::Ready(bytes)), _) => self.output.extend_from_slice(&bytes),
                (Some(Waiting::Ordered(shape, _)), Some(Delivery::Reply(Ok(reply)))) => {
                    encode_reply(&reply, &shape, self.version, &mut self.output);
                    self.waiting_ordered -= 1;
                }
                (Some(Waiting::Ordered(..)), Some(Delivery::Reply(Err(refusal)))) => {
                    ReplyWriter::new(&mut self.output, self.version).error(refusal_text(&refusal));
                    self.waiting_ordered -= 1;
                }
                (Some(Waiting::Read(command, shape, _)), Some(Delivery::Pass(Ok(view)))) => {
                    self.read_now(&command, &shape);
                    drop(view);
                }
                (Some(Waiting::Read(_, shape, _)), Some(Delivery::Read(result))) => {
                    let result = result.map(|reply| encode_reply(&reply, &shape, self.version, &mut self.output));
                    self.tell_fault(result);
                }
                (Some(Waiting::Read(..)), Some(Delivery::Pass(Err(refusal)))) => {
                    ReplyWriter::new(&mut self.output, self.version).error(refusal_text(&refusal));
                }
                _ => unreachable!("what is delivered is in the order of what waits"),
            }
            self.waiting_bytes -= bytes;
        }
        if self.waiting.is_empty() {
            self.waiting_growth = 0;
        }
    }

    /// Ready when something happened: bytes moved, a reply came, an operation ended.
    fn poll_events(&mut self, context: &mut Context<'_>, has_more: bool) -> Poll<Result<(), End>> {
        let mut happened = false;
        if let Some(operation) = &mut self.operation {
            if let Poll::Ready(result) = operation.as_mut().poll(context) {
                self.operation = None;
                self.end_operation(result);
                happened = true;
            }
        } else if !self.waiting.is_empty() && self.output.len() < MAX_OUTPUT && self.mailbox.poll(context).is_ready() {
            happened = true;
        }
        while !self.output.is_empty() {
            match Pin::new(&mut self.socket).poll_write(context, &self.output) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Closed)),
                Poll::Ready(Ok(written)) => {
                    self.output.advance(written);
                    happened = true;
                }
                Poll::Pending => break,
            }
        }
        if self.output.is_empty() && self.output.capacity() > KEEP_BUFFER {
            self.output = BytesMut::new();
        }
        if happened || has_more {
            if has_more {
                context.waker().wake_by_ref();
            }
            return Poll::Ready(Ok(()));
        }
        if !self.can_begin() {
            // What is left to wait for has its waker; a client that only sends is not listened to.
            return Poll::Pending;
        }
        self.poll_read(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.input.is_empty() && self.input.capacity() > KEEP_BUFFER {
            self.input = BytesMut::new();
        }
        let room = self.decoder.room(&self.input, READ_LEN);
        self.input.reserve(room);
        match tokio_util::io::poll_read_buf(Pin::new(&mut self.socket), context, &mut self.input) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Closed)),
            Poll::Ready(Ok(0)) => {
                // All complete requests have begun, or nothing would be read: what is left is to answer them.
                self.is_closing = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        }
    }

    fn end_operation(&mut self, result: OperationResult) {
        match result {
            OperationResult::Reply(Ok(reply), shape) => {
                encode_reply(&reply, &shape, self.version, &mut self.output);
            }
            OperationResult::Reply(Err(fault), _) => self.reply(|writer| writer.error(fault_text(&fault))),
            OperationResult::Frame(frame) => self.reply(|writer| frame.write(writer)),
            OperationResult::Begin(request) => {
                self.context.is_serving.set(true);
                self.held = Some(request);
            }
            OperationResult::Watch(keys, Ok(())) => self.watch_now(keys),
            OperationResult::Watch(_, Err(refusal)) | OperationResult::Refused(refusal) => {
                self.reply(|writer| writer.error(refusal_text(&refusal)));
            }
            OperationResult::Close => self.is_closing = true,
        }
    }
}

/// What a command and its arguments may take in all: a batch of it must fit a log file.
fn max_request_len(context: &ThreadContext) -> usize {
    max_len(context.server.replica.engine().log_files().max_body_len())
}

fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DiskFull(what) => format!("DISKFULL {what}"),
        Refusal::NoMajority(what) => format!("CLUSTERDOWN {what}"),
        Refusal::Late(what) => format!("ERR {what}"),
        Refusal::CatchingUp(what) => format!("TRYAGAIN {what}"),
        Refusal::ShuttingDown => format!("ERR {refusal}"),
    }
}

/// A fault as a client sees it: the file and offset are for the administrator, and tell nothing secret.
fn fault_text(fault: &skink_engine::error::Fault) -> String {
    match fault {
        skink_engine::error::Fault::Full { .. } => format!("DISKFULL {fault}"),
        skink_engine::error::Fault::Corrupt { .. } => format!("DAMAGED {fault}"),
        _ => format!("ERR {fault}"),
    }
}
