//! What the editor knows of the language: when a text is complete, and which words can go on at the cursor.

use super::dot::DOT_COMMANDS;
use super::split::{STATEMENT_KEYWORDS, Splitter};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

/// Words inside statements.
const INNER_KEYWORDS: [&str; 20] = [
    "AND",
    "BETWEEN",
    "BY",
    "CHECKPOINTS",
    "CONFIG",
    "EXPIRE",
    "IF",
    "KEY",
    "LIKE",
    "LIMIT",
    "NEVER",
    "RECOVERY",
    "REPLICAS",
    "REVISION",
    "SEGMENTS",
    "STALE",
    "STATUS",
    "TO",
    "VALUE",
    "WHERE",
];

/// The editor's helper.
pub struct StatementHelper;

impl Helper for StatementHelper {}
impl Highlighter for StatementHelper {}

impl Hinter for StatementHelper {
    type Hint = String;
}

impl Validator for StatementHelper {
    /// A statement goes on in the next line until its semicolon, a transaction until its `COMMIT`.
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for StatementHelper {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completions(line, at))
    }
}

fn is_complete(text: &str) -> bool {
    let mut splitter = Splitter::default();
    splitter.push(text.as_bytes());
    splitter.push(b"\n");
    while splitter.next_unit().is_some() {}
    !splitter.is_inside()
}

/// Where the word at the cursor starts, and what it can become.
fn completions(line: &str, at: usize) -> (usize, Vec<String>) {
    let before = line.get(..at).unwrap_or_default();
    let start = before.rfind(|byte: char| !byte.is_ascii_alphabetic() && byte != '.').map_or(0, |place| place + 1);
    let start = if before.is_char_boundary(start) { start } else { at };
    let word = before.get(start..).unwrap_or_default();
    let in_string = before.matches('\'').count() % 2 == 1;
    if word.is_empty() || in_string {
        return (at, Vec::new());
    }
    if word.starts_with('.') {
        let names = DOT_COMMANDS.iter().filter(|name| start == 0 && name.starts_with(word));
        return (start, names.map(|name| (*name).to_string()).collect());
    }
    let capitals = word.to_ascii_uppercase();
    let earlier = before.get(..start).unwrap_or_default().trim_end();
    let is_first = earlier.is_empty() || earlier.ends_with(';');
    // EXPLAIN has a statement inside.
    let is_start = is_first || earlier.to_ascii_uppercase().ends_with("EXPLAIN");
    let starting = STATEMENT_KEYWORDS.iter().filter(|_| is_start);
    let inner = INNER_KEYWORDS.iter().filter(|_| !is_first);
    let matching = starting.chain(inner).filter(|keyword| keyword.starts_with(&capitals));
    // Who writes in small letters goes on in small letters.
    let in_small = word.bytes().all(|byte| byte.is_ascii_lowercase());
    let written = |keyword: &&str| if in_small { keyword.to_ascii_lowercase() } else { (*keyword).to_string() };
    (start, matching.map(written).collect())
}

#[cfg(test)]
mod tests {
    use super::{completions, is_complete};

    #[test]
    fn statements_need_their_semicolon_and_commands_do_not() {
        for text in ["", "GET k", ".help", "COUNT;", "BEGIN; COUNT; COMMIT;", "READ 'a';\nCOUNT;", "READ 'a'; -- all"] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["COUNT", "READ 'a;", "BEGIN; COUNT;", "COUNT -- ;"] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn keywords_are_completed_outside_strings() {
        let at_end = |line: &str| completions(line, line.len());
        assert_eq!(at_end("RE"), (0, vec!["READ".to_string()]));
        assert_eq!(at_end("COUNT; co").1, ["commit", "count"]);
        assert_eq!(at_end("SHOW RE").1, ["RECOVERY", "REPLICAS", "REVISION"]);
        assert_eq!(at_end("EXPLAIN DE").1, ["DELETE"]);
        assert_eq!(at_end("read wh"), (5, vec!["where".to_string()]));
        assert_eq!(at_end(".m"), (0, vec![".mode".to_string()]));
        assert_eq!(at_end("READ 'wh").1, Vec::<String>::new());
        assert_eq!(at_end("READ 'é' li").1, ["like", "limit"]);
        assert_eq!(at_end("é").1, Vec::<String>::new());
    }
}
