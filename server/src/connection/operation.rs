//! Operations: what takes a connection longer than a command, without holding up others.

use crate::redis::{Request, Shape};
use crate::resp::Frame;
use bytes::Bytes;
use parking_lot::Mutex;
use skink_engine::command::{Command, Reply};
use skink_engine::error::Fault;
use skink_replication::batch::Refusal;
use skink_replication::node::{Passes, Question, Touches, View};
use skink_replication::paxos::MembershipChange;
use skink_replication::replica::{Phase, Replica};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// An operation under way.
pub(super) type Operation = Pin<Box<dyn Future<Output = OperationResult>>>;

/// What came of it.
pub(super) enum OperationResult {
    /// A reply of the engine, and how it looks.
    Reply(Result<Reply, Fault>, Shape),
    /// A reply.
    Frame(Frame),
    /// The replica serves: begin with this.
    Begin(Request),
    /// The state is current: these keys can be watched.
    Watch(Vec<Bytes>, Result<(), Refusal>),
    /// The state can't be made current.
    Refused(Refusal),
    /// The replica has stopped.
    Close,
}

/// Waits until the replica has replayed its log, then begins the request.
pub(super) fn when_serving(mut phase: watch::Receiver<Phase>, request: Request) -> Operation {
    Box::pin(async move {
        match phase.wait_for(|phase| *phase != Phase::Replaying).await.map(|phase| *phase) {
            Ok(Phase::Serving) => OperationResult::Begin(request),
            _ => OperationResult::Close,
        }
    })
}

/// Waits until the state is as new as all that was acknowledged by now, and looks at it there, in the replica's thread.
fn when_current<T: Send + 'static>(
    replica: &Replica,
    touches: Touches,
    look: impl Fn() -> T + Send + Sync + 'static,
) -> oneshot::Receiver<Result<T, Refusal>> {
    let (sender, current) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let tell = move |passes: Passes, result: Result<View, Refusal>| {
        // One read, told of once; that it is known says nothing of it yet.
        if passes != Passes::Some(Vec::new())
            && let Some(sender) = sender.lock().take()
        {
            let _ = sender.send(result.map(|_| look()));
        }
    };
    replica.when_current(Question { touches: vec![touches], tell: Arc::new(tell) });
    current
}

/// Waits until these keys can be watched.
pub(super) fn watch(replica: &Arc<Replica>, keys: Vec<Bytes>) -> Operation {
    let current = when_current(replica, Touches::Everything, || ());
    Box::pin(async move {
        match current.await {
            Ok(result) => OperationResult::Watch(keys, result),
            Err(_) => OperationResult::Close,
        }
    })
}

/// Reads over many keys, at a point between two batches, in a thread of its own: the present one, or, if the client
/// takes that, one that may be stale.
pub(super) fn read_at_pin(replica: &Arc<Replica>, command: Command, shape: Shape, is_stale: bool) -> Operation {
    let replica = Arc::clone(replica);
    Box::pin(async move {
        let cut = if is_stale || !replica.is_among_others() {
            let (sender, pinned) = oneshot::channel();
            replica.pin(move |cut| drop(sender.send(cut)));
            pinned.await.map(Ok)
        } else {
            // Where the replica tells that it may be read, as later something may be executed ahead of order.
            let pins = Arc::clone(&replica);
            when_current(&replica, Touches::Everything, move || pins.pin_here()).await
        };
        let cut = match cut {
            Ok(Ok(cut)) => cut,
            Ok(Err(refusal)) => return OperationResult::Refused(refusal),
            Err(_) => return OperationResult::Close,
        };
        match tokio::task::spawn_blocking(move || cut.read(&command)).await {
            Ok(result) => OperationResult::Reply(result, shape),
            Err(error) => OperationResult::Frame(Frame::error(format!("ERR the read failed: {error}"))),
        }
    })
}

/// Takes a checkpoint.
pub(super) fn checkpoint(replica: &Arc<Replica>) -> Operation {
    let (sender, done) = oneshot::channel();
    replica.checkpoint(Box::new(move |result| drop(sender.send(result))));
    Box::pin(async move {
        match done.await {
            Ok(Ok(_)) => OperationResult::Frame(Frame::OK),
            Ok(Err(what)) => OperationResult::Frame(Frame::error(format!("ERR the checkpoint failed: {what}"))),
            Err(_) => OperationResult::Close,
        }
    })
}

/// Changes the members of the cluster.
pub(super) fn change_members(replica: &Arc<Replica>, change: MembershipChange) -> Operation {
    let (sender, done) = oneshot::channel();
    replica.change_members(change, Box::new(move |result| drop(sender.send(result))));
    Box::pin(async move {
        match done.await {
            Ok(Ok(())) => OperationResult::Frame(Frame::OK),
            Ok(Err(what)) => OperationResult::Frame(Frame::error(format!("ERR {what}"))),
            Err(_) => OperationResult::Close,
        }
    })
}

/// Takes a checkpoint and copies it to a folder that must not exist.
pub(super) fn backup(replica: &Arc<Replica>, folder: PathBuf) -> Operation {
    let (sender, done) = oneshot::channel();
    replica.checkpoint(Box::new(move |result| drop(sender.send(result))));
    let replica = Arc::clone(replica);
    Box::pin(async move {
        let error = |what: &dyn std::fmt::Display| {
            OperationResult::Frame(Frame::error(format!("ERR the backup failed: {what}")))
        };
        match done.await {
            Ok(Ok(_)) => {}
            Ok(Err(what)) => return error(&what),
            Err(_) => return OperationResult::Close,
        }
        match tokio::task::spawn_blocking(move || replica.engine().backup(&folder)).await {
            Ok(Ok(info)) => OperationResult::Frame(Frame::Array(vec![
                Frame::bulk("instance"),
                Frame::Integer(info.instance.get() as i64),
                Frame::bulk("keys"),
                Frame::Integer(info.live_records as i64),
                Frame::bulk("bytes"),
                Frame::Integer(info.bytes as i64),
            ])),
            Ok(Err(fault)) => error(&fault),
            Err(failure) => error(&failure),
        }
    })
}

/// Answers after a while.
pub(super) fn after(duration: std::time::Duration, frame: Frame) -> Operation {
    Box::pin(async move {
        tokio::time::sleep(duration).await;
        OperationResult::Frame(frame)
    })
}
