//! Clients that write as fast as they are answered, until the server is gone.

use crate::client::{Client, Reply};
use crate::demo::ledger::Ledger;
use crate::demo::{DemoError, TIMEOUTS};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the clients share.
#[derive(Debug)]
pub struct Load {
    address: String,
    acknowledged: AtomicU64,
    /// The server is about to be killed: failures are expected.
    end_is_near: AtomicBool,
    /// The clients are to end.
    ended: AtomicBool,
}

/// Ends the clients when it is dropped.
pub struct EndOnDrop<'a>(&'a Load);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// On the server there.
    pub fn new(address: String) -> Load {
        Load {
            address,
            acknowledged: AtomicU64::new(0),
            end_is_near: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Writes that were acknowledged to all clients so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// From now on a failure means that the server was killed.
    pub fn expect_the_end(&self) {
        self.end_is_near.store(true, Ordering::SeqCst);
    }

    /// Ends the clients when the answer is dropped.
    pub fn end_on_drop(&self) -> EndOnDrop<'_> {
        EndOnDrop(self)
    }

    /// One client: writes its keys over and over, and notes what is sent and what is acknowledged.
    ///
    /// # Errors
    /// The server fails, or refuses a write, before it was killed.
    pub fn write(&self, mut ledger: Ledger) -> Result<Ledger, DemoError> {
        match self.write_until_the_end(&mut ledger) {
            // The order matters: the flag is set before the kill, so whoever sees the kill's effect sees the flag.
            Err(DemoError::Client(_)) if self.end_is_near.load(Ordering::SeqCst) => Ok(ledger),
            Err(error) => Err(error),
            Ok(()) => Ok(ledger),
        }
    }

    fn write_until_the_end(&self, ledger: &mut Ledger) -> Result<(), DemoError> {
        let mut client = Client::connect(&self.address, TIMEOUTS)?;
        loop {
            for index in 0..ledger.len() {
                if self.ended.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let (key, value) = (ledger.key_name(index), ledger.send(index));
                match client.request(&[b"SET", key.as_bytes(), &value])? {
                    Reply::Status(status) if status == "OK" => {}
                    reply => return Err(DemoError::Unexpected { request: "SET", reply: format!("{reply:?}") }),
                }
                ledger.acknowledge(index);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
