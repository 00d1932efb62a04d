//! The demo's servers: this program, as other processes, which never outlive their handles.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a server may take until it listens, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest line that says where a server listens; the path in it has up to 4096 bytes.
const MAX_READY_LEN: u64 = 8192;
/// Bytes of the server's log that an error shows, from its end.
const SHOWN_LOG_LEN: usize = 6000;

/// Why there is no server, or no end of it.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The process can't be made, watched or ended.
    #[error("{action} the server's process")]
    Process {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It does not say where it listens.
    #[error("the server did not get ready")]
    NotReady,
    /// It does not stop.
    #[error("the server did not stop within {} s of SIGTERM", PATIENCE.as_secs())]
    NotStopped,
    /// It ended by itself, or not cleanly.
    #[error("the server ended with {0}")]
    Ended(ExitStatus),
}

/// Where a server keeps its data, and its log.
#[derive(Debug, Clone)]
pub struct Place {
    /// The data directory.
    pub data: PathBuf,
    log: PathBuf,
}

impl Place {
    /// Under this name in a folder.
    pub fn new(folder: &Path, name: &str) -> Place {
        Place { data: folder.join(name), log: folder.join(name).with_extension("log") }
    }
}

/// A server process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Gives the line that says where it listens.
    ready: mpsc::Receiver<String>,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server there with these arguments, and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(place: &Place, arguments: &[String]) -> Result<Server, ServerError> {
        let mut server = Server::launch(place, arguments)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts a server there with these arguments. It may wait for others before it listens.
    ///
    /// # Errors
    /// There is no process.
    pub fn launch(place: &Place, arguments: &[String]) -> Result<Server, ServerError> {
        let process = |action| move |source| ServerError::Process { action, source };
        let program = std::env::current_exe().map_err(process("finding the program of"))?;
        let stderr =
            OpenOptions::new().create(true).append(true).open(&place.log).map_err(process("opening the log of"))?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--data")
            .arg(&place.data)
            .args(["--log", "warn"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(process("starting"))?;
        let (sender, ready) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // It ends with the line or with the server.
            std::thread::spawn(move || drop(sender.send(first_line(stdout))));
        }
        Ok(Server { child, ready, address: String::new() })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It does not, or has ended.
    pub fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let line = self.ready.recv_timeout(PATIENCE).unwrap_or_default();
        self.address = address_in(&line).ok_or(ServerError::NotReady)?.to_string();
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills the process, as `kill -9` does.
    ///
    /// # Errors
    /// The system refuses, or the server had ended by itself.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(status) =
            self.child.try_wait().map_err(|source| ServerError::Process { action: "watching", source })?
        {
            return Err(ServerError::Ended(status));
        }
        self.child.kill().map_err(|source| ServerError::Process { action: "killing", source })?;
        self.child.wait().map_err(|source| ServerError::Process { action: "waiting for the end of", source })?;
        Ok(())
    }

    /// Asks the server to stop, and waits until it has.
    ///
    /// # Errors
    /// It does not stop, or not cleanly.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| ServerError::Process { action: "signalling", source: error.into() })?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            let status = self.child.try_wait().map_err(|source| ServerError::Process { action: "watching", source })?;
            match status {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(ServerError::Ended(status)),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(ServerError::NotStopped)
    }
}

/// The ends of the logs in a folder.
pub fn log_ends(folder: &Path) -> String {
    // What can't be read is not shown.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    let ends = logs.iter().map(|path| {
        let mut log = Vec::new();
        let _ = File::open(path).and_then(|mut file| file.read_to_end(&mut log));
        let end = log.get(log.len().saturating_sub(SHOWN_LOG_LEN)..).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match String::from_utf8_lossy(end).trim() {
            "" => format!("{name}: (it is empty)"),
            end => format!("{name}:\n{end}"),
        }
    });
    ends.collect::<Vec<String>>().join("\n")
}

/// The first line that the server prints, empty where there is none.
fn first_line(stdout: ChildStdout) -> String {
    let mut line = String::new();
    let _ = BufReader::new(stdout.take(MAX_READY_LEN)).read_line(&mut line);
    line
}

/// The address in `skink 0.1.0 ready on 127.0.0.1:7379 (data DIR)`.
fn address_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" ready on ")?;
    rest.split_once(" (data").map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_ready_line_tells_the_address() {
        assert_eq!(address_in("skink 0.1.0 ready on 127.0.0.1:40001 (data /tmp/a b)\n"), Some("127.0.0.1:40001"));
        assert_eq!(address_in("error: the port is taken\n"), None);
        assert_eq!(address_in(""), None);
    }
}
