//! The commands' meaning, held against the model and against what Redis does in corner cases.

mod against_model;
mod expiry;
mod partial;
mod transaction;

use crate::command::{Command, Expiry, Put, PutMode, Reply};
use crate::evaluate::Context;
use crate::position::Revision;
use crate::testing::state::MapState;
use bytes::Bytes;

/// A state at a time; every command executed gets the next revision.
struct Session {
    state: MapState,
    context: Context,
}

impl Session {
    fn new() -> Session {
        let context = Context { revision: Revision::ZERO, now_ms: 1_000, max_value_len: 64 };
        Session { state: MapState::new(), context }
    }

    /// With a key that has this value.
    fn with(key: &'static str, value: &'static str) -> Session {
        let mut session = Session::new();
        session.run(put(key, value, Expiry::Never));
        session
    }

    fn run(&mut self, command: Command) -> Reply {
        self.context.revision = Revision::from_raw(self.context.revision.get() + 1);
        self.state.execute(&command, self.context)
    }

    /// The key's value, expired or not.
    fn value(&self, key: &str) -> Option<&[u8]> {
        self.state.entries().get(key.as_bytes()).map(|version| version.value.as_ref())
    }

    /// When the key expires, 0 for never.
    fn expires_at_ms(&self, key: &str) -> Option<u64> {
        self.state.entries().get(key.as_bytes()).map(|version| version.expires_at_ms)
    }
}

fn put(key: &'static str, value: &'static str, expiry: Expiry) -> Command {
    Command::Put(Put { expiry, ..Put::new(PutMode::Upsert, key, value) })
}

fn read(key: &'static str) -> Command {
    Command::Read { key: Bytes::from_static(key.as_bytes()) }
}
