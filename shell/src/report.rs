//! Errors as people read them: what failed and, a line each, why.

use crate::shell::harmless;
use std::error::Error;
use std::process::ExitCode;

/// The program's exit code; an error is reported first.
pub fn conclude(result: Result<ExitCode, impl Error>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            print(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error and its causes on stderr.
pub fn print(error: &dyn Error) {
    use std::io::Write;
    // There is nobody to tell that stderr is closed.
    let _ = std::io::stderr().write_all(text("error", error).as_bytes());
}

/// Prints something that is wrong and stops nothing, and what follows from it, on stderr.
pub fn warn(error: &dyn Error, what_follows: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("{}  {what_follows}\n", text("warning", error)).as_bytes());
}

fn text(what: &str, error: &dyn Error) -> String {
    let mut said = harmless(&error.to_string());
    let mut text = format!("{what}: {said}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = harmless(&error.to_string());
        // Some errors tell their cause themselves.
        if !said.contains(&why) {
            text.push_str(&format!("  because: {why}\n"));
            said = why;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;
    use std::io;
    use thiserror::Error;

    #[derive(Debug, Error)]
    enum Failure {
        #[error("can't open the door")]
        Door(#[source] Box<Failure>),
        #[error("turning the key: {0}")]
        Key(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_told_once() {
        let key = Failure::Key(io::Error::other("it is rusty"));
        let expected = "error: can't open the door\n  because: turning the key: it is rusty\n";
        assert_eq!(text("error", &Failure::Door(Box::new(key))), expected);
    }
}
