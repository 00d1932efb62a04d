//! Errors in statements: what is wrong, what was expected, the line with a caret below it, and a hint.
//!
//! ```text
//! expected STALE, WHERE or a key in single quotes, but found user:1
//! LINE 1: READ user:1;
//!              ^
//! hint: strings are in single quotes: 'user:1'
//! ```

use super::literal::is_printable;
use super::token::Input;
use std::fmt;
use winnow::error::ParserError;
use winnow::stream::Location;

/// Most characters of the line that are shown before the caret, and after it.
const EXCERPT_CHARS: usize = 60;

/// Why a text is not statements, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementError {
    /// What is wrong.
    pub message: String,
    /// What to do about it, where one can guess.
    pub hint: Option<String>,
    /// The place, in bytes from the text's start.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// What surrounds the place in its line, printable.
    excerpt: String,
    /// Characters of the excerpt before the place.
    caret: usize,
}

impl std::error::Error for StatementError {}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = format!("LINE {}: ", self.line);
        writeln!(f, "{}", self.message)?;
        writeln!(f, "{label}{}", self.excerpt.trim_end())?;
        write!(f, "{:1$}^", "", label.len() + self.caret)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// An error while the text is read; it gets its line when it leaves the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    offset: usize,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Failure {
        Failure { offset, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    pub(super) fn into_error(self, text: &[u8]) -> StatementError {
        let offset = self.offset.min(text.len());
        let (before, after) = text.split_at(offset);
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line_before = before.get(line_start..).unwrap_or_default();
        let line_after = after.split(|&byte| byte == b'\n').next().unwrap_or_default();

        // A character has at most four bytes: no more of a long line need be looked at.
        let near = line_before.len().saturating_sub(4 * (EXCERPT_CHARS + 1));
        let shown_before = printable(line_before.get(near..).unwrap_or_default());
        let too_many = shown_before.chars().count().saturating_sub(EXCERPT_CHARS);
        let mut excerpt: String = shown_before.chars().skip(too_many).collect();
        if near > 0 || too_many > 0 {
            excerpt.insert(0, '…');
        }
        let caret = excerpt.chars().count();
        let shown_after = printable(line_after.get(..4 * (EXCERPT_CHARS + 1)).unwrap_or(line_after));
        excerpt.extend(shown_after.chars().take(EXCERPT_CHARS));
        if shown_after.chars().count() > EXCERPT_CHARS {
            excerpt.push('…');
        }

        StatementError {
            message: self.message,
            hint: self.hint,
            offset,
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(line_before).chars().count(),
            excerpt,
            caret,
        }
    }
}

impl<'a> ParserError<Input<'a>> for Failure {
    type Inner = Failure;

    fn from_input(input: &Input<'a>) -> Failure {
        Failure::new(input.current_token_start(), "this is not a statement")
    }

    fn into_inner(self) -> Result<Failure, Failure> {
        Ok(self)
    }
}

/// Text that can be shown in one line: what is not UTF-8, invisible, or moves the cursor is replaced.
pub(super) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|shown| if is_printable(shown) { shown } else { ' ' }).collect()
}
