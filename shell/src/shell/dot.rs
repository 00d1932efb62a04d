//! Commands to the shell itself: `.help`, `.mode`, `.timing`, `.quit`.

use super::render::Mode;

/// A command to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotCommand {
    /// `.help`
    Help,
    /// `.quit` or `.exit`
    Quit,
    /// `.mode table|list|json`
    Mode(Mode),
    /// `.timing on|off`
    Timing(bool),
}

/// Names that the editor completes.
pub const DOT_COMMANDS: [&str; 4] = [".help", ".mode", ".quit", ".timing"];

/// What `.help` prints.
pub const HELP: &str = "\
Statements end with a semicolon; keywords in any case, strings in single quotes or as X'00ff':
  CREATE 'user:1' = 'Ann' [EXPIRE 60s];       an error if the key exists
  READ 'user:1', 'user:2';
  READ WHERE KEY LIKE 'user:%' LIMIT 10;      in key order; also =, <, <=, >, >=, BETWEEN, joined by AND
  READ STALE 'user:1';                        from this replica at once, which may be behind
  COUNT [WHERE KEY LIKE 'user:%'];
  UPDATE 'user:1' = 'Bob' [EXPIRE 60s | EXPIRE NEVER] [IF VALUE = 'Ann' | IF REVISION = 42];
  UPSERT 'user:1' = 'Bob';                    creates or updates
  DELETE 'user:1' [IF VALUE = 'Bob'];
  INCREMENT 'visits' [BY -5];
  BEGIN; ...; COMMIT;                         all or nothing
  EXPLAIN <statement>;   SHOW STATUS | REPLICAS | SEGMENTS | CHECKPOINTS | RECOVERY | CONFIG;
  CHECKPOINT;   BACKUP TO '<folder>';
Other words are commands of Redis, a line each: GET user:1, INFO, SCAN 0, ...
Commands to this shell:
  .mode table|list|json    how results look
  .timing on|off           whether the time that a statement took is shown
  .help   .quit
";

/// Understands a line that starts with a point; the error says what would have been understood.
pub fn parse(line: &[u8]) -> Result<DotCommand, String> {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
    match words.as_slice() {
        [".help"] => Ok(DotCommand::Help),
        [".quit" | ".exit"] => Ok(DotCommand::Quit),
        [".timing", "on"] => Ok(DotCommand::Timing(true)),
        [".timing", "off"] => Ok(DotCommand::Timing(false)),
        [".timing", ..] => Err("expected .timing on or .timing off".to_string()),
        [".mode", name] if let Some(mode) = mode(name) => Ok(DotCommand::Mode(mode)),
        [".mode", ..] => Err("expected .mode table, .mode list or .mode json".to_string()),
        [name, ..] => Err(format!("there is no command {name}; .help shows those that there are")),
        [] => Err("expected a command; .help shows those that there are".to_string()),
    }
}

fn mode(name: &str) -> Option<Mode> {
    Mode::ALL.into_iter().find(|mode| mode.name() == name)
}

#[cfg(test)]
mod tests {
    use super::{DOT_COMMANDS, DotCommand, parse};
    use crate::shell::render::Mode;

    #[test]
    fn commands_and_their_mistakes() {
        assert_eq!(parse(b".mode  json;"), Ok(DotCommand::Mode(Mode::Json)));
        assert_eq!(parse(b".timing off"), Ok(DotCommand::Timing(false)));
        assert_eq!(parse(b".exit"), Ok(DotCommand::Quit));
        assert!(parse(b".mode xml").unwrap_err().contains(".mode json"));
        assert!(parse(b".timing").unwrap_err().contains("on or"));
        assert!(parse(b".tables").unwrap_err().contains("no command .tables"));
        assert!(parse(b".\xff").is_err());
    }

    #[test]
    fn what_is_completed_exists() {
        for name in DOT_COMMANDS {
            let outcome = parse(name.as_bytes());
            assert!(!outcome.is_err_and(|error| error.starts_with("there is no")), "{name}");
        }
    }
}
