//! Programs of others, which may not be there.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Whether a program can be run; where not, that is printed.
pub fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("skipped: there is no {program} here");
    }
    is_there
}

/// Runs a program with this input, checks that it succeeds, and gives what it printed on stdout.
///
/// # Panics
/// It fails.
pub fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let output = output(program, arguments, input);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Runs a program with this input.
///
/// # Panics
/// It can't be run.
pub fn output(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} can't be run: {error}"));
    std::thread::scope(|scope| {
        // What is long is written while the output is read. A program that ends early does not want the rest.
        if let Some(mut stdin) = child.stdin.take() {
            scope.spawn(move || stdin.write_all(input.as_bytes()));
        }
        child.wait_with_output().expect("a child can be waited for")
    })
}
