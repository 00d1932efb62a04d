//! The editor in a terminal: lines until a unit is complete, and a history that outlives the shell.

use super::complete::StatementHelper;
use super::session::{Outcome, Session};
use super::split::Splitter;
use super::{ShellError, print_error};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const PROMPT: &str = "skink> ";
const MAX_HISTORY: usize = 10_000;

/// Reads and runs until the person leaves; `whose` says whose server it is.
///
/// # Errors
/// The terminal fails.
pub fn run(session: &mut Session, whose: &str, out: &mut dyn Write) -> Result<ExitCode, ShellError> {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "skink {version}, connected to {whose}{}; .help shows what can be written", session.address())
        .map_err(ShellError::Output)?;
    let config = Config::builder().max_history_size(MAX_HISTORY).map_err(ShellError::Editor)?;
    let config = config.completion_type(CompletionType::List).build();
    let mut editor: Editor<StatementHelper, FileHistory> = Editor::with_config(config).map_err(ShellError::Editor)?;
    editor.set_helper(Some(StatementHelper));
    let history = history_file();
    if let Some(history) = &history {
        // There is none at the first start.
        let _ = editor.load_history(history);
    }
    let outcome = converse(session, &mut editor, out);
    if let Some(history) = &history
        && let Err(error) = save(&mut editor, history)
    {
        let _ = writeln!(out, "the history is not saved: {}: {error}", history.display());
    }
    outcome
}

fn converse(
    session: &mut Session,
    editor: &mut Editor<StatementHelper, FileHistory>,
    out: &mut dyn Write,
) -> Result<ExitCode, ShellError> {
    loop {
        let text = match editor.readline(PROMPT) {
            Ok(text) => text,
            // What was begun is dropped; the shell goes on.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(ShellError::Editor(error)),
        };
        if !text.trim().is_empty() {
            // It fails for duplicates, which are not wanted.
            let _ = editor.add_history_entry(text.trim());
        }
        let mut splitter = Splitter::default();
        splitter.push(text.as_bytes());
        splitter.push(b"\n");
        while let Some(unit) = splitter.next_unit().or_else(|| splitter.finish()) {
            match session.run(&unit, out) {
                Ok(Outcome::Done) => {}
                // What follows on the same line may rely on what failed.
                Ok(Outcome::Failed) => break,
                Ok(Outcome::Quit) => return Ok(ExitCode::SUCCESS),
                Err(ShellError::Client(error)) => {
                    print_error(&error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where the history is kept: with the user's data, by the XDG rules. None where the user has no home.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("skink/history"))
}

fn save(editor: &mut Editor<StatementHelper, FileHistory>, history: &PathBuf) -> Result<(), ReadlineError> {
    if let Some(folder) = history.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.save_history(history)
}
