//! How a replica comes back: what happens before it answers its clients.

use crate::node::HandoffReport;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// What a replica that comes back does before it answers (the paper's section V). One way through the code, with steps left
/// out, so that they can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// All segments are installed and all old commands are executed first.
    Classic,
    /// All segments are installed first; what somebody waits for is executed ahead of other old commands.
    Speedy,
    /// Segments are installed when something needs them; what somebody waits for is executed ahead of other old commands.
    OnDemand,
    /// No old command is executed: what they wrote comes from another replica, first what somebody waits for. Where little
    /// was missed, or nobody can give anything, as on demand.
    #[default]
    Handoff,
}

impl RecoveryMode {
    /// All of them, from the slowest to the fastest.
    pub const ALL: [RecoveryMode; 4] =
        [RecoveryMode::Classic, RecoveryMode::Speedy, RecoveryMode::OnDemand, RecoveryMode::Handoff];

    /// Whether the whole state is installed before anything else.
    pub fn installs_first(self) -> bool {
        matches!(self, RecoveryMode::Classic | RecoveryMode::Speedy)
    }

    /// Whether another replica is asked for what old commands wrote.
    pub fn hands_over(self) -> bool {
        self == RecoveryMode::Handoff
    }

    /// Whether something may be executed ahead of order.
    pub fn executes_ahead(self) -> bool {
        self != RecoveryMode::Classic
    }
}

impl fmt::Display for RecoveryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecoveryMode::Classic => "classic",
            RecoveryMode::Speedy => "speedy",
            RecoveryMode::OnDemand => "on-demand",
            RecoveryMode::Handoff => "handoff",
        })
    }
}

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no way of recovery {0:?}: it is classic, speedy, on-demand or handoff")]
pub struct UnknownMode(String);

impl FromStr for RecoveryMode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<RecoveryMode, UnknownMode> {
        RecoveryMode::ALL.into_iter().find(|mode| mode.to_string() == name).ok_or_else(|| UnknownMode(name.to_owned()))
    }
}

/// How far a replica that came back has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryState {
    /// It does not know yet what it has missed.
    Connecting,
    /// It executes what it has missed, and answers.
    CatchingUp,
    /// It has executed all that it had missed when it came back.
    UpToDate,
}

impl fmt::Display for RecoveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecoveryState::Connecting => "connecting",
            RecoveryState::CatchingUp => "catching up",
            RecoveryState::UpToDate => "up to date",
        })
    }
}

/// How the last start went, or goes on. Times count from the start of the process.
#[derive(Debug, Clone)]
pub struct RecoveryReport {
    /// What is done before the first answer.
    pub mode: RecoveryMode,
    /// How far it is.
    pub state: RecoveryState,
    /// How long it has been going on, or took.
    pub since_start: Duration,
    /// Batches between its checkpoint and what was decided when it came back.
    pub old_batches: u64,
    /// Those that are not executed.
    pub left_batches: u64,
    /// Batches executed in a second, lately.
    pub batches_per_second: u64,
    /// About how long it will take; `None` where that can't be said.
    pub time_left: Option<Duration>,
    /// When the first request was answered.
    pub first_answer: Option<Duration>,
    /// When all old batches were executed.
    pub up_to_date: Option<Duration>,
    /// What another replica handed over, if one did.
    pub handoff: Option<HandoffReport>,
}

#[cfg(test)]
mod tests {
    use super::RecoveryMode;

    #[test]
    fn names_come_back() {
        for mode in RecoveryMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("fast".parse::<RecoveryMode>().is_err());
        assert_eq!(RecoveryMode::default(), RecoveryMode::Handoff);
    }
}
