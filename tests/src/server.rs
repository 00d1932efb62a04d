//! The real server, as a process of its own.

use crate::{Wire, binary, watchdog};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start or to stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, which ends with this value.
pub struct Server {
    child: Child,
    address: String,
    data: PathBuf,
    log: PathBuf,
    options: Vec<String>,
    /// Removed last.
    _folder: Option<TempDir>,
}

impl Server {
    /// A server on a new data directory.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(options: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder for the data");
        let data = folder.path().join("data");
        let mut server = Server::on(&data, options);
        server._folder = Some(folder);
        server
    }

    /// A server on this data directory, whose log stands beside it.
    ///
    /// # Panics
    /// It does not start.
    pub fn on(data: &Path, options: &[&str]) -> Server {
        match Server::try_on(data, options) {
            Ok(server) => server,
            Err(refusal) => panic!("the server does not start on {}: {refusal:?}", data.display()),
        }
    }

    /// A server on this data directory, or what it printed when it refused to start.
    ///
    /// # Errors
    /// It ended before it was ready.
    ///
    /// # Panics
    /// It neither gets ready nor ends.
    pub fn try_on(data: &Path, options: &[&str]) -> Result<Server, Refusal> {
        let log = data.with_extension("log");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let (child, address) = spawn(data, &log, &options)?;
        Ok(Server { child, address, data: data.to_path_buf(), log, options, _folder: None })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All that its processes logged.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// A client down to bytes.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn wire(&self) -> Wire {
        Wire::connect(&self.address)
    }

    /// A connection of the redis crate.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn connect(&self) -> redis::Connection {
        self.connect_as("")
    }

    /// A connection of the redis crate that speaks RESP3.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn connect_resp3(&self) -> redis::Connection {
        self.connect_as("?protocol=resp3")
    }

    fn connect_as(&self, query: &str) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}/{query}", self.address)).expect("an address of redis'");
        let connection = client.get_connection().expect("the server takes a connection");
        connection.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        connection
    }

    /// Whether the process runs.
    ///
    /// # Panics
    /// The system does not tell.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be watched").is_none()
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Panics
    /// It had ended by itself.
    pub fn kill9(&mut self) {
        let ended = self.child.try_wait().expect("a child can be watched");
        assert!(ended.is_none(), "the server ended by itself with {ended:?}; its log:\n{}", self.log());
        self.child.kill().expect("a child can be killed");
        self.wait_for_end();
    }

    /// Asks it to stop, waits until it has, and checks that it did so in order.
    ///
    /// # Panics
    /// It does not stop, or not with exit code 0.
    pub fn stop(&mut self) {
        let status = self.terminate();
        assert!(status.success(), "the server stopped with {status}; its log:\n{}", self.log());
    }

    /// Sends SIGTERM and waits for the end, whatever it is.
    ///
    /// # Panics
    /// It does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child can be signalled");
        self.wait_for_end()
    }

    /// Stops it as SIGSTOP does: it keeps its sockets, and does nothing.
    ///
    /// # Panics
    /// It has ended.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("a child can be signalled");
    }

    /// Lets it go on after a pause.
    ///
    /// # Panics
    /// It has ended.
    pub fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("a child can be signalled");
    }

    /// Waits for an end that something else brings about.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be watched") {
                watchdog::forget(Pid::from_child(&self.child));
                return status;
            }
            assert!(asked.elapsed() < PATIENCE, "the server does not end; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts it again after its end, on the same data directory.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        match self.try_restart() {
            Ok(()) => {}
            Err(refusal) => panic!("the server does not start again: {refusal:?}; its log:\n{}", self.log()),
        }
    }

    /// Starts it again after its end.
    ///
    /// # Errors
    /// It ended before it was ready.
    ///
    /// # Panics
    /// It still runs.
    pub fn try_restart(&mut self) -> Result<(), Refusal> {
        assert!(!self.is_alive(), "the server still runs");
        (self.child, self.address) = spawn(&self.data, &self.log, &self.options)?;
        Ok(())
    }

    /// Starts it again after its end, and kills it after so long, however far it has got.
    ///
    /// # Panics
    /// It still runs.
    pub fn kill9_while_starting(&mut self, after: Duration) {
        assert!(!self.is_alive(), "the server still runs");
        self.child = process(&self.data, &self.log, &self.options);
        std::thread::sleep(after);
        self.kill9();
    }

    /// A number of INFO.
    ///
    /// # Panics
    /// There is no such field.
    pub fn info(&self, field: &str) -> u64 {
        let text = String::from_utf8(self.wire().call(&[b"INFO"])).expect("INFO is text");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = value.and_then(|value| value.trim().parse().ok());
        number.unwrap_or_else(|| panic!("INFO has no number {field}: {text}"))
    }

    /// Memory of the process that is not pages of mapped files, in bytes.
    ///
    /// # Panics
    /// The system does not tell.
    pub fn anonymous_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells RssAnon");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib << 10
    }

    /// Waits until a number of INFO is as it should be.
    ///
    /// # Panics
    /// It never is.
    pub fn wait_for_info(&self, field: &str, is_right: impl Fn(u64) -> bool) {
        let asked = Instant::now();
        while !is_right(self.info(field)) {
            assert!(asked.elapsed() < PATIENCE, "{field} stays at {}", self.info(field));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Checks that `skink verify` finds the data directory clean.
    ///
    /// # Panics
    /// It does not.
    pub fn assert_verifies(&self) {
        let verified = verify(&self.data);
        assert!(verified.is_clean, "skink verify: {}\nthe server's log:\n{}", verified.text, self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        watchdog::forget(Pid::from_child(&self.child));
        let log = self.log();
        if !std::thread::panicking() {
            assert!(!log.contains("panicked at"), "a thread of the server panicked:\n{log}");
        } else {
            let start = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("the end of the server's log:\n{}", &log[start..]);
        }
    }
}

/// A server that did not start.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What this process printed on stderr.
    pub text: String,
}

fn process(data: &Path, log: &Path, options: &[String]) -> Child {
    let stderr = OpenOptions::new().create(true).append(true).open(log).expect("a file for the log");
    let has_address = options.iter().any(|option| option == "--listen");
    let listen: &[&str] = if has_address { &[] } else { &["--listen", "127.0.0.1:0"] };
    let child = Command::new(binary::skink())
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--log", "info"])
        .args(listen)
        .args(options)
        // The message is enough, and the log is read by people.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("skink can be run");
    watchdog::adopt(Pid::from_child(&child));
    child
}

fn spawn(data: &Path, log: &Path, options: &[String]) -> Result<(Child, String), Refusal> {
    let before = std::fs::metadata(log).map_or(0, |metadata| metadata.len() as usize);
    let mut child = process(data, log, options);
    let line = ready_line(child.stdout.take().expect("stdout is a pipe"));
    if let Some(address) = line.as_deref().and_then(address_in) {
        return Ok((child, address.to_string()));
    }
    // Without the line it has ended, or never will by itself.
    if line.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    watchdog::forget(Pid::from_child(&child));
    let all = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(all.get(before..).unwrap_or_default()).into_owned();
    assert!(line.is_some(), "the server neither got ready nor ended:\n{text}");
    Err(Refusal { status, text })
}

/// The first line on stdout, empty where there is none; `None` if neither it nor the end comes.
fn ready_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    // It ends with the line or with the server.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout.take(8192)).read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.recv_timeout(PATIENCE).ok()
}

/// The address in `skink 0.1.0 ready on 127.0.0.1:7379 (data DIR)`.
fn address_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" ready on ")?;
    rest.split_once(" (data").map(|(address, _)| address)
}

/// What `skink verify` said.
#[derive(Debug)]
pub struct Verified {
    /// It found nothing wrong.
    pub is_clean: bool,
    /// What it printed.
    pub text: String,
}

/// How a run of `skink` ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout and then on stderr.
    pub text: String,
}

/// Runs `skink` with these arguments to its end.
///
/// # Panics
/// It does not run.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    let output = Command::new(binary::skink()).args(arguments).stdin(Stdio::null()).output().expect("skink can be run");
    let text = [output.stdout, output.stderr].concat();
    Ended { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// Runs `skink verify`.
///
/// # Panics
/// It does not run, or ends as no program should.
pub fn verify(folder: &Path) -> Verified {
    let Ended { code, text } = run(["verify".as_ref(), folder.as_os_str()]);
    assert!(matches!(code, Some(0 | 1)), "skink verify ended with {code:?}: {text}");
    Verified { is_clean: code == Some(0), text }
}
