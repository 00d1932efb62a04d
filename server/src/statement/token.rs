//! Tokens: the text's words, strings and symbols, one ahead of the grammar.
//!
//! What the grammar asks for at a place and does not find is remembered until it goes on, so that an error there
//! can tell everything that was expected. Only one token is held at a time: memory is bounded by the statements.

use super::Limits;
use super::error::{Failure, printable};
use super::hint;
use bytes::Bytes;
use winnow::Parser;
use winnow::combinator::{alt, opt, repeat};
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{any, take_till, take_while};

/// The text, with its position.
pub(super) type Input<'a> = LocatingSlice<&'a [u8]>;

/// Most characters of a token that an error shows.
const SHOWN_CHARS: usize = 40;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Keywords, numbers, durations, and whatever else stands without quotes.
    Word(&'a [u8]),
    /// A string, without its quotes.
    Text(Bytes),
    /// What stands in double quotes, which is nothing in this language.
    DoubleQuoted(&'a [u8]),
    /// Commas, comparisons, semicolons.
    Symbol(&'static str),
    /// A byte that starts no token.
    Stray(u8),
    /// There is no more.
    End,
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    input: Input<'a>,
    limits: Limits,
    /// The next token and where it starts, once it was looked at.
    next: Option<(Token<'a>, usize)>,
    /// What was asked for at this place, in vain.
    expected: Vec<&'static str>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], limits: Limits) -> Tokens<'a> {
        Tokens { input: LocatingSlice::new(text), limits, next: None, expected: Vec::new() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The next token, and where it starts.
    pub(super) fn peek(&mut self) -> Result<(&Token<'a>, usize), Failure> {
        let next = match self.next.take() {
            Some(next) => next,
            None => {
                blanks.parse_next(&mut self.input)?;
                let offset = self.input.current_token_start();
                (token.parse_next(&mut self.input)?, offset)
            }
        };
        let (token, offset) = self.next.insert(next);
        Ok((token, *offset))
    }

    /// Takes the next token if `wanted` makes something of it; else remembers that `what` was expected.
    pub(super) fn take<T>(
        &mut self,
        what: &'static str,
        wanted: impl FnOnce(&Token<'a>) -> Option<T>,
    ) -> Result<Option<(T, usize)>, Failure> {
        let (token, offset) = self.peek()?;
        let Some(taken) = wanted(token) else {
            if !self.expected.contains(&what) {
                self.expected.push(what);
            }
            return Ok(None);
        };
        self.next = None;
        self.expected.clear();
        Ok(Some((taken, offset)))
    }

    /// As [`Tokens::take`], but an error if it is not there.
    pub(super) fn require<T>(
        &mut self,
        what: &'static str,
        wanted: impl FnOnce(&Token<'a>) -> Option<T>,
    ) -> Result<(T, usize), Failure> {
        match self.take(what, wanted)? {
            Some(taken) => Ok(taken),
            None => Err(self.unexpected()),
        }
    }

    /// Takes a keyword, if it comes next.
    pub(super) fn keyword(&mut self, keyword: &'static str) -> Result<bool, Failure> {
        Ok(self.take(keyword, |token| is_word(token, keyword).then_some(()))?.is_some())
    }

    /// Takes a keyword, which must come next.
    pub(super) fn require_keyword(&mut self, keyword: &'static str) -> Result<(), Failure> {
        self.require(keyword, |token| is_word(token, keyword).then_some(())).map(|_| ())
    }

    /// Takes a symbol, if it comes next.
    pub(super) fn symbol(&mut self, symbol: &'static str) -> Result<bool, Failure> {
        Ok(self.take(symbol, |token| (*token == Token::Symbol(symbol)).then_some(()))?.is_some())
    }

    /// Takes a symbol, which must come next.
    pub(super) fn require_symbol(&mut self, symbol: &'static str) -> Result<(), Failure> {
        self.require(symbol, |token| (*token == Token::Symbol(symbol)).then_some(())).map(|_| ())
    }

    /// Takes a string, which must come next and be short enough; `what` says what it is for.
    pub(super) fn text(&mut self, what: &'static str, noun: &str, max_len: usize) -> Result<(Bytes, usize), Failure> {
        let (text, offset) = self.require(what, |token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        })?;
        if text.len() > max_len {
            return Err(Failure::new(
                offset,
                format!("the {noun} has {} bytes; at most {max_len} are allowed", text.len()),
            ));
        }
        Ok((text, offset))
    }

    /// Takes a word that starts like a number, which must come next; `what` says what it is for.
    pub(super) fn number(&mut self, what: &'static str) -> Result<(&'a str, usize), Failure> {
        self.require(what, |token| match token {
            Token::Word(word) if word.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') => {
                std::str::from_utf8(word).ok()
            }
            _ => None,
        })
    }

    /// Whether the next token is this keyword, without expecting it.
    pub(super) fn is_at(&mut self, keyword: &str) -> Result<bool, Failure> {
        Ok(is_word(self.peek()?.0, keyword))
    }

    /// The error that nothing of what was expected comes next.
    pub(super) fn unexpected(&mut self) -> Failure {
        let expected = std::mem::take(&mut self.expected);
        let (token, offset) = match self.peek() {
            Ok((token, offset)) => (token.clone(), offset),
            Err(failure) => return failure,
        };
        let failure = Failure::new(offset, format!("expected {}, but found {}", listed(&expected), described(&token)));
        let wants_text = expected.iter().any(|what| what.ends_with("in single quotes"));
        let bare = match token {
            Token::Word(word) => match hint::meant(word, &expected) {
                Some(keyword) => return failure.hint(format!("did you mean {keyword}?")),
                None => word,
            },
            Token::DoubleQuoted(inside) => inside,
            _ => return failure,
        };
        if wants_text { failure.hint(format!("strings are in single quotes: '{}'", shown(bare))) } else { failure }
    }
}

fn is_word(token: &Token<'_>, keyword: &str) -> bool {
    matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
}

/// `A, B or C`.
fn listed(expected: &[&str]) -> String {
    match expected {
        [] => "nothing".to_string(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn described(token: &Token<'_>) -> String {
    match token {
        Token::Word(word) => shown(word),
        Token::Text(text) => format!("the string '{}'", shown(text)),
        Token::DoubleQuoted(inside) => format!("\"{}\"", shown(inside)),
        Token::Symbol(symbol) => (*symbol).to_string(),
        Token::Stray(byte) if byte.is_ascii_graphic() => char::from(*byte).to_string(),
        Token::Stray(byte) => format!("the byte 0x{byte:02x}"),
        Token::End => "the end".to_string(),
    }
}

/// The start of a token, so that an error shows it.
pub(super) fn shown(token: &[u8]) -> String {
    let near = token.get(..4 * (SHOWN_CHARS + 1)).unwrap_or(token);
    let near = printable(near);
    let cut: String = near.chars().take(SHOWN_CHARS).collect();
    if cut.len() < near.len() { cut + "…" } else { cut }
}

/// Blanks and comments.
fn blanks(input: &mut Input<'_>) -> Result<(), Failure> {
    let blank = take_while(1.., |byte: u8| byte.is_ascii_whitespace()).void();
    let comment = ("--", take_till(0.., b'\n')).void();
    repeat(0.., alt((blank, comment))).parse_next(input)
}

/// The token that starts here.
fn token<'a>(input: &mut Input<'a>) -> Result<Token<'a>, Failure> {
    let symbol = |symbol: &'static str| symbol.value(Token::Symbol(symbol));
    match *input.as_ref() {
        [] => Ok(Token::End),
        [b'\'', ..] => quoted(input),
        [b'x' | b'X', b'\'', ..] => hexadecimal(input),
        [b'"', ..] => {
            ('"', take_till(0.., b"\"\n"), opt('"')).map(|(_, inside, _)| Token::DoubleQuoted(inside)).parse_next(input)
        }
        [byte, ..] if is_word_byte(*byte) => word(input),
        [b'-', digit, ..] if digit.is_ascii_digit() => word(input),
        _ => alt((
            alt((symbol("<="), symbol("<"), symbol(">="), symbol(">"))),
            alt((symbol("="), symbol(","), symbol(";"))),
            any.map(Token::Stray),
        ))
        .parse_next(input),
    }
}

/// Bytes of words. Colons and the like are none in this language, but people write keys without quotes.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_:./@".contains(&byte) || byte >= 0x80
}

/// A word; a minus may stand before it and, unless it is the start of a comment, in it.
fn word<'a>(input: &mut Input<'a>) -> Result<Token<'a>, Failure> {
    let run = || take_while(1.., is_word_byte);
    (opt('-'), run(), repeat::<_, _, (), _, _>(0.., ('-', run()))).take().map(Token::Word).parse_next(input)
}

/// A string in single quotes; two of them are one.
fn quoted<'a>(input: &mut Input<'a>) -> Result<Token<'a>, Failure> {
    let start = input.current_token_start();
    '\''.parse_next(input)?;
    let mut text = Vec::new();
    loop {
        text.extend_from_slice(take_till(0.., b'\'').parse_next(input)?);
        if opt('\'').parse_next(input)?.is_none() {
            return Err(Failure::new(start, "the string that starts here has no end")
                .hint("a quote inside a string is written twice: 'it''s'"));
        }
        if opt('\'').parse_next(input)?.is_none() {
            return Ok(Token::Text(text.into()));
        }
        text.push(b'\'');
    }
}

/// A string of hexadecimal digits: `X'00ff'`.
fn hexadecimal<'a>(input: &mut Input<'a>) -> Result<Token<'a>, Failure> {
    let start = input.current_token_start();
    (any, '\'').void().parse_next(input)?;
    let digits = take_while(0.., |byte: u8| byte.is_ascii_hexdigit()).parse_next(input)?;
    let end = input.current_token_start();
    if opt('\'').parse_next(input)?.is_none() {
        return Err(match input.first() {
            None => Failure::new(start, "the string that starts here has no end"),
            Some(_) => Failure::new(end, "expected a hexadecimal digit or the quote that ends the string"),
        });
    }
    if digits.len() % 2 != 0 {
        return Err(Failure::new(start, "a hexadecimal string has two digits for a byte; this one has an odd number"));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, &next| (byte << 4) | digit(next)));
    Ok(Token::Text(bytes.collect()))
}
