//! How results look: as a table, a list or JSON for statements, as redis-cli prints them for commands of Redis.
//!
//! ```text
//! reply, what was asked -> View (a table or a message) -> text in one of three modes
//! reply of a command of Redis ----------------------------> text
//! ```

mod cell;
mod list;
mod redis;
mod table;
mod view;

pub use cell::harmless;
pub use redis::reply_of_command;
pub use view::{View, views};

use std::io::{self, Write};

/// How the results of statements are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// With lines around the columns.
    #[default]
    Table,
    /// A row a line, `|` between the columns.
    List,
    /// An array of objects for each result, in one line.
    Json,
}

impl Mode {
    /// All modes.
    pub const ALL: [Mode; 3] = [Mode::Table, Mode::List, Mode::Json];

    /// Its name, as `.mode` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Table => "table",
            Mode::List => "list",
            Mode::Json => "json",
        }
    }
}

/// Writes one result.
///
/// # Errors
/// The output fails.
pub fn write_view(view: &View, mode: Mode, width: Option<usize>, now_ms: u64, out: &mut dyn Write) -> io::Result<()> {
    match mode {
        Mode::Table => table::write(view, width, now_ms, out),
        Mode::List => list::write_list(view, now_ms, out),
        Mode::Json => list::write_json(view, out),
    }
}
