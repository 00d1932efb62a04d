//! What is seen while the load goes on: steps that stay, and below them how the replicas stand.

use crate::demo::report::step_line;
use crate::live::LiveArea;
use std::io::{self, IsTerminal, Stdout};
use std::sync::{Mutex, PoisonError};

/// The terminal, or what is there in its place.
pub struct Screen {
    area: Mutex<LiveArea<Stdout>>,
    in_terminal: bool,
}

impl Screen {
    /// On stdout.
    pub fn new() -> Screen {
        let out = io::stdout();
        Screen { in_terminal: out.is_terminal(), area: Mutex::new(LiveArea::new(out)) }
    }

    /// Whether there is a terminal, in which something can be painted again and again.
    pub fn in_terminal(&self) -> bool {
        self.in_terminal
    }

    /// Writes a line that stays.
    pub fn say(&self, line: &str) {
        // Whoever closed stdout still gets the exit code.
        let _ = self.area.lock().unwrap_or_else(PoisonError::into_inner).say(line);
    }

    /// A step, and what came of it.
    pub fn step(&self, name: &str, what: &str) {
        self.say(&step_line(name, what));
    }

    /// Shows this in place of what was shown last; in a terminal only.
    pub fn paint(&self, text: &str) {
        if self.in_terminal {
            let _ = self.area.lock().unwrap_or_else(PoisonError::into_inner).paint(text);
        }
    }
}
