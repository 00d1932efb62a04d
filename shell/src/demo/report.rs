//! What the demo says.

use crate::numbers::thousands;
use std::io::{self, Write};
use std::time::Duration;

/// A step, and what came of it.
pub fn step(name: &str, what: &str) {
    say(&step_line(name, what));
}

/// The line of a step.
pub fn step_line(name: &str, what: &str) -> String {
    format!("  {name:<24} {what}")
}

/// Prints a line; whoever closed stdout still gets the exit code.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// How many writes, and how many of them a second.
pub fn rate(writes: u64, elapsed: Duration) -> String {
    let per_second = (writes as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    format!("{} writes acknowledged, {} a second", thousands(writes), thousands(per_second))
}

/// In milliseconds.
pub fn ms(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1_000.0)
}
