//! Staying alive: who leads for too long without accepting, whose log stalls, who has been silent (rules 11 to 13).

use super::admission::Role;
use super::durability::{CycleNumber, Durability};

/// Times, in ticks. A round trip must stay well under the election timeout: from a crash to a new leader it is two to
/// three of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Election timeout: a round of heartbeats.
    pub election: u64,
    /// After this the object says again what got no answer.
    pub resend: u64,
    /// After this a question for a payload, a checkpoint or a read index is asked again.
    pub retry: u64,
    /// After this a leader that has nothing to say says how far it is.
    pub probe: u64,
    /// A replica whose log writes take longer is silent, so that another one leads.
    pub stall: u64,
}

impl Default for Ticks {
    fn default() -> Ticks {
        Ticks { election: 10, resend: 20, retry: 5, probe: 10, stall: 20 }
    }
}

/// Counts ticks.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Ticks in which this replica led and did not accept.
    preparing: u64,
    /// The durable cycle, and the ticks since it moved while there was something to write.
    durable: CycleNumber,
    stalled: u64,
    since_probe: u64,
}

/// What a tick brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Ask the peers again, as at a reconnect.
    pub(super) ask_again: bool,
    /// Say how far this leader is, where nothing else was said.
    pub(super) probe: bool,
}

impl Liveness {
    pub(super) fn tick(&mut self, role: Role, durability: &Durability, ticks: &Ticks) -> Due {
        let cycle = durability.durable().cycle;
        let is_writing = durability.last_closed() > cycle;
        self.stalled = if is_writing && self.durable == cycle { self.stalled + 1 } else { 0 };
        self.durable = cycle;
        self.preparing = if role.leads && !role.accepts { self.preparing + 1 } else { 0 };
        let ask_again = self.preparing >= 2 * ticks.election;
        if ask_again {
            self.preparing = 0;
        }
        self.since_probe += 1;
        let probe = role.leads && role.accepts && self.since_probe >= ticks.probe;
        if probe {
            self.since_probe = 0;
        }
        Due { ask_again, probe }
    }

    /// Whether log writes take so long that another replica should lead (rule 13).
    pub(super) fn is_stalled(&self, ticks: &Ticks) -> bool {
        self.stalled >= ticks.stall
    }
}
