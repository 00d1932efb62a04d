//! While a replica reads its disk, sessions with the others are opened: both take about as long.

use super::joining::transport_fault;
use super::spawn;
use crate::transport::{Transport, TransportError, TransportEvent, Waker};
use skink_engine::error::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that are kept until somebody takes them. Then it waits, and so do those that send.
const MAX_EVENTS: usize = 1024;
/// How long one poll waits; it is interrupted when the disk has been read.
const STEP: Duration = Duration::from_millis(100);

/// A transport, and what has happened at it.
type Met = (Transport, Vec<TransportEvent>);

/// A thread that polls a transport.
pub(super) struct Meeting {
    is_over: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<Result<Met, TransportError>>>,
}

/// Where the disk can't be read, nobody takes what happened.
impl Drop for Meeting {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Else it ends with the next step.
        let _ = self.waker.wake();
    }
}

impl Meeting {
    pub(super) fn begin(mut transport: Transport) -> Result<Meeting, Fault> {
        let (is_over, waker) = (Arc::new(AtomicBool::new(false)), transport.waker());
        let must_end = Arc::clone(&is_over);
        let thread = spawn("skink-meeting", move || {
            let mut events = Vec::new();
            while !must_end.load(Ordering::Acquire) {
                if events.len() < MAX_EVENTS {
                    transport.poll(STEP, &mut events)?;
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok((transport, events))
        })?;
        Ok(Meeting { is_over, waker, thread: Some(thread) })
    }

    /// The transport, and what has happened meanwhile.
    ///
    /// # Errors
    /// Those of the transport.
    pub(super) fn end(mut self) -> Result<Met, Fault> {
        let thread = self.thread.take();
        drop(self);
        let met = thread.and_then(|thread| thread.join().ok());
        let met =
            met.ok_or_else(|| Fault::Refused("a broken invariant stopped the thread that meets the others".into()))?;
        met.map_err(transport_fault)
    }
}
