//! Reading a command's arguments in order.

use super::{CommandSpec, RequestError};
use crate::resp::{Arguments, parse_integer};
use bytes::Bytes;
use skink_engine::command::Expiry;

/// The arguments after a command's name, of a request whose arity is right.
pub(super) struct ArgumentReader {
    spec: &'static CommandSpec,
    rest: smallvec::IntoIter<[Bytes; 4]>,
}

impl ArgumentReader {
    /// A reader behind the name, or behind the names of command and subcommand.
    pub(super) fn new(spec: &'static CommandSpec, arguments: Arguments) -> ArgumentReader {
        let mut rest = arguments.into_iter();
        for _ in spec.name.split('|') {
            rest.next();
        }
        ArgumentReader { spec, rest }
    }

    /// The command.
    pub(super) fn spec(&self) -> &'static CommandSpec {
        self.spec
    }

    /// How many arguments are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next argument, if there is one.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.rest.next()
    }

    /// The next argument but this many, without taking it.
    pub(super) fn peek(&self, skip: usize) -> Option<&Bytes> {
        self.rest.as_slice().get(skip)
    }

    /// The next argument, which must be there.
    pub(super) fn required(&mut self) -> Result<Bytes, RequestError> {
        self.next().ok_or(RequestError::Syntax)
    }

    /// The next argument, a 64-bit integer.
    pub(super) fn integer(&mut self) -> Result<i64, RequestError> {
        integer(&self.required()?)
    }

    /// The next argument, a time that is later than none.
    pub(super) fn positive_expiry(&mut self, form: TimeForm) -> Result<Expiry, RequestError> {
        let number = self.required()?;
        self.positive_expiry_of(form, &number)
    }

    /// An argument that was taken before, a time that is later than none.
    pub(super) fn positive_expiry_of(&self, form: TimeForm, number: &[u8]) -> Result<Expiry, RequestError> {
        let number = integer(number)?;
        match form.expiry(number) {
            Some(expiry) if number > 0 => Ok(expiry),
            _ => Err(self.invalid_expire_time()),
        }
    }

    /// That this command's time is none.
    pub(super) fn invalid_expire_time(&self) -> RequestError {
        RequestError::InvalidExpireTime(self.spec.name)
    }

    /// That this command does not take so many arguments.
    pub(super) fn wrong_arity(&self) -> RequestError {
        RequestError::WrongArity(self.spec.name)
    }

    /// That no argument is left.
    pub(super) fn end(&self) -> Result<(), RequestError> {
        if self.len() == 0 { Ok(()) } else { Err(RequestError::Syntax) }
    }

    /// All arguments that are left.
    pub(super) fn all(self) -> Vec<Bytes> {
        self.rest.collect()
    }
}

/// An argument as a 64-bit integer.
pub(super) fn integer(argument: &[u8]) -> Result<i64, RequestError> {
    parse_integer(argument).ok_or(RequestError::NotAnInteger)
}

/// Whether an argument is this keyword (given in upper case).
pub(super) fn is_keyword(argument: &[u8], keyword: &str) -> bool {
    argument.eq_ignore_ascii_case(keyword.as_bytes())
}

/// Longest time from now on, in milliseconds: with a clock up to the year 2248, it ends before time does. What is longer
/// is refused here, where the error can name the command, as Redis' does.
const MAX_IN_MS: i64 = i64::MAX - (1 << 43);

/// How a time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeForm {
    /// Seconds from now on.
    InSeconds,
    /// Milliseconds from now on.
    InMs,
    /// Seconds since 1970.
    AtSeconds,
    /// Milliseconds since 1970.
    AtMs,
}

impl TimeForm {
    /// The form that an option (`EX`, `PX`, `EXAT`, `PXAT`) announces.
    pub(super) fn of_option(option: &[u8]) -> Option<TimeForm> {
        [("EX", TimeForm::InSeconds), ("PX", TimeForm::InMs), ("EXAT", TimeForm::AtSeconds), ("PXAT", TimeForm::AtMs)]
            .into_iter()
            .find_map(|(keyword, form)| is_keyword(option, keyword).then_some(form))
    }

    /// The expiry that a number in this form is; `None` past the end of time.
    pub(super) fn expiry(self, number: i64) -> Option<Expiry> {
        Some(match self {
            TimeForm::InSeconds => Expiry::InMs(number.checked_mul(1000).filter(|in_ms| *in_ms <= MAX_IN_MS)?),
            TimeForm::InMs => Expiry::InMs(Some(number).filter(|in_ms| *in_ms <= MAX_IN_MS)?),
            TimeForm::AtSeconds => Expiry::AtMs(number.checked_mul(1000)?),
            TimeForm::AtMs => Expiry::AtMs(number),
        })
    }
}
