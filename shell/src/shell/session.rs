//! A conversation with one server: units in, results and errors out.

use super::ShellError;
use super::dot::{self, DotCommand, HELP};
use super::render::{Mode, View, harmless, reply_of_command, views, write_view};
use super::split::Unit;
use crate::client::{Client, ClientError, Reply, Timeouts};
use bytes::BytesMut;
use skink_server::resp::{Arguments, RequestDecoder, RequestLimits};
use skink_server::statement::{Limits, Statement, StatementError, parse_script};
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// In which form.
    pub mode: Mode,
    /// Whether with the time that they took.
    pub timing: bool,
    /// Whether for a person in a terminal, to whose width they are cut.
    pub fit_terminal: bool,
}

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It worked.
    Done,
    /// It did not; the reason was printed.
    Failed,
    /// The shell is to end.
    Quit,
}

/// A conversation with one server.
#[derive(Debug)]
pub struct Session {
    address: String,
    /// None after the connection failed, until the next request.
    client: Option<Client>,
    settings: Settings,
}

impl Session {
    /// Over this connection.
    pub fn new(address: String, client: Client, settings: Settings) -> Session {
        Session { address, client: Some(client), settings }
    }

    /// Where the server is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs one unit, and prints what came of it.
    ///
    /// # Errors
    /// The connection fails, or the output does. An error of the server's was printed.
    pub fn run(&mut self, unit: &Unit, out: &mut dyn Write) -> Result<Outcome, ShellError> {
        let started = Instant::now();
        let outcome = match unit {
            Unit::Statement(text) => self.statement(text, out)?,
            Unit::Command(line) => match words(line) {
                Err(problem) => failed(&problem),
                Ok(words) if is_farewell(&words) => Outcome::Quit,
                Ok(words) => self.command(&words, out)?,
            },
            Unit::Dot(line) => return self.dot(line, out),
        };
        if self.settings.timing && outcome != Outcome::Quit {
            writeln!(out, "{}", took(started.elapsed())).map_err(ShellError::Output)?;
        }
        out.flush().map_err(ShellError::Output)?;
        Ok(outcome)
    }

    fn statement(&mut self, text: &[u8], out: &mut dyn Write) -> Result<Outcome, ShellError> {
        let reply = self.request(&[b"STATEMENT", b"ROWS", text])?;
        // The server decides; the shell parses the text to know what the reply is about, and to show the place of
        // an error, for which an error's one line in the protocol has no room.
        let parsed = parse_script(text, Limits::default());
        if let Reply::Error(error) = &reply {
            return Ok(failed(&with_place(error, parsed)));
        }
        let statements: Vec<Statement> = parsed.unwrap_or_default();
        let mut outcome = Outcome::Done;
        for view in views(&statements, &reply) {
            if let View::Error(error) = &view {
                outcome = failed(error);
            }
            write_view(&view, self.settings.mode, self.width(), now_ms(), out).map_err(ShellError::Output)?;
        }
        Ok(outcome)
    }

    fn command(&mut self, words: &Arguments, out: &mut dyn Write) -> Result<Outcome, ShellError> {
        let arguments: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        match self.request(&arguments)? {
            Reply::Error(error) => Ok(failed(&error)),
            reply => {
                reply_of_command(&arguments, &reply, self.settings.fit_terminal, out).map_err(ShellError::Output)?;
                Ok(Outcome::Done)
            }
        }
    }

    fn dot(&mut self, line: &[u8], out: &mut dyn Write) -> Result<Outcome, ShellError> {
        match dot::parse(line) {
            Err(problem) => return Ok(failed(&problem)),
            Ok(DotCommand::Quit) => return Ok(Outcome::Quit),
            Ok(DotCommand::Help) => out.write_all(HELP.as_bytes()).map_err(ShellError::Output)?,
            Ok(DotCommand::Mode(mode)) => self.settings.mode = mode,
            Ok(DotCommand::Timing(timing)) => self.settings.timing = timing,
        }
        Ok(Outcome::Done)
    }

    /// Over the connection that there is, or else a new one.
    fn request(&mut self, arguments: &[&[u8]]) -> Result<Reply, ClientError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.address, Timeouts::default())?,
        };
        let reply = client.request(arguments)?;
        self.client = Some(client);
        Ok(reply)
    }

    /// The terminal's width, if results are to fit one.
    fn width(&self) -> Option<usize> {
        if !self.settings.fit_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        // A terminal that does not know its width says 0.
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }
}

/// Prints an error of the server's, or about what was typed.
fn failed(error: &str) -> Outcome {
    // There is nobody to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "{}", harmless(error));
    Outcome::Failed
}

/// The error with its lines and caret, if it is the one that the server found, too.
fn with_place(error: &str, parsed: Result<Vec<Statement>, StatementError>) -> String {
    match parsed {
        Err(place) if error.contains('\n') || !error.contains(&place.message) => error.to_string(),
        Err(place) => {
            let code = error.split(' ').next().filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase()));
            code.map_or_else(|| place.to_string(), |code| format!("{code} {place}"))
        }
        Ok(_) => error.to_string(),
    }
}

/// The words of a line, by the server's own rules for lines that are typed into telnet.
fn words(line: &[u8]) -> Result<Arguments, String> {
    // The blank keeps a line that starts with an asterisk from being taken for the protocol itself.
    let line = [b" ", line, b"\n"].concat();
    let limits = RequestLimits::new(line.len(), line.len());
    match RequestDecoder::new(limits).decode(&mut BytesMut::from(line.as_slice())) {
        Ok(Some(words)) => Ok(words),
        Ok(None) => Err("expected a command".to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What people type who want to leave.
fn is_farewell(words: &Arguments) -> bool {
    words.len() == 1
        && words.iter().any(|word| word.eq_ignore_ascii_case(b"QUIT") || word.eq_ignore_ascii_case(b"EXIT"))
}

fn took(elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1_000.0),
        seconds => format!("{seconds:.2} s"),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{is_farewell, took, with_place, words};
    use skink_server::statement::{Limits, parse_script};
    use std::time::Duration;

    fn typed(line: &str) -> Result<Vec<String>, String> {
        words(line.as_bytes())
            .map(|words| words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn words_are_split_as_the_server_does() {
        assert_eq!(typed("SET k \"a b\\n\"").unwrap(), ["SET", "k", "a b\n"]);
        assert_eq!(typed("*3").unwrap(), ["*3"]);
        assert!(typed("GET 'k").is_err());
        assert!(typed("").is_err());
        assert!(is_farewell(&words(b"exit").unwrap()));
        assert!(!is_farewell(&words(b"QUIT now").unwrap()));
    }

    #[test]
    fn an_error_in_a_statement_gets_its_lines_back() {
        let text = b"READ user:1;";
        let error = parse_script(text, Limits::default()).unwrap_err();
        let flat = format!("SYNTAX {}", error.to_string().replace('\n', " | "));
        let shown = with_place(&flat, parse_script(text, Limits::default()));
        assert!(shown.starts_with("SYNTAX expected") && shown.contains("\nLINE 1: READ user:1;\n"), "{shown}");
        let other = "READONLY the disk is full";
        assert_eq!(with_place(other, parse_script(text, Limits::default())), other);
        assert_eq!(with_place(other, parse_script(b"COUNT", Limits::default())), other);
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(took(Duration::from_micros(1250)), "1.2 ms");
        assert_eq!(took(Duration::from_millis(2500)), "2.50 s");
    }
}
