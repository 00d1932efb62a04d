//! Servers as child processes: started on a free loopback port with a data folder, stopped by their own handle.

use crate::resp::{Client, Reply};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a server may take to come up or to stop; a large log takes Redis minutes.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Time between two attempts to reach a starting server: well below the milliseconds that are measured.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// A server didn't do what it was started for.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A call to the system failed.
    #[error("{server}: {source}")]
    Io {
        /// Which server.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The process ended by itself.
    #[error("{server} ended: {status}; the end of its output:\n{output}")]
    Ended {
        /// Which server.
        server: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// It didn't answer, or didn't stop.
    #[error("{server}: nothing happened for {PATIENCE:?}")]
    Timeout {
        /// Which server.
        server: String,
    },
    /// It answered wrongly.
    #[error("{server} answered {request} with {reply}")]
    Unexpected {
        /// Which server.
        server: String,
        /// What was asked.
        request: String,
        /// The answer.
        reply: String,
    },
}

/// How to start a server. `{port}` and `{dir}` stand for the port and the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCommand {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

impl ServerCommand {
    /// `program` with `arguments`, called `name` in reports.
    pub fn new(name: &str, program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.to_owned(), program: program.into(), arguments: arguments.into_iter().collect() }
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// With more arguments.
    pub fn with(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// Starts the process on a free port, without waiting until it answers. Data goes into `folder/data`, output into
    /// `folder/output`; both stay when the server is stopped, so that it can be started again.
    pub fn spawn(&self, folder: &Path) -> Result<Server, ServerError> {
        let io = |source| ServerError::Io { server: self.name.clone(), source };
        self.spawn_on(folder, free_port().map_err(io)?)
    }

    /// The same on this port: for replicas, whose clients and peers know where they are.
    pub fn spawn_on(&self, folder: &Path, port: u16) -> Result<Server, ServerError> {
        self.try_spawn(folder, port).map_err(|source| ServerError::Io { server: self.name.clone(), source })
    }

    fn try_spawn(&self, folder: &Path, port: u16) -> io::Result<Server> {
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let data = fs::canonicalize(data)?;
        let output = folder.join("output");
        let log = File::options().create(true).append(true).open(&output)?;
        let fill_in =
            |argument: &String| argument.replace("{port}", &port.to_string()).replace("{dir}", &data.to_string_lossy());
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(fill_in)).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Server { name: self.name.clone(), child, address, data, output, started })
    }

    /// Starts the process and waits until it answers.
    pub fn start(&self, folder: &Path) -> Result<Server, ServerError> {
        let mut server = self.spawn(folder)?;
        server.await_reply(&[b"PING"], |reply| reply == Reply::Simple(b"PONG"))?;
        Ok(server)
    }
}

impl FromStr for ServerCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or("the command is empty")?;
        if !command.contains("{port}") || !command.contains("{dir}") {
            return Err("the command needs {port} and {dir}".to_owned());
        }
        Ok(Self::new(name, program, words))
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    address: SocketAddr,
    data: PathBuf,
    output: PathBuf,
    started: Instant,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When its process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// A connection for single requests. Replies may take long: a checkpoint answers when it is done.
    pub fn client(&self) -> Result<Client, ServerError> {
        Client::connect(self.address, PATIENCE).map_err(|source| self.io(source))
    }

    /// Repeats `request`, over new connections if need be, until `accept` takes the reply. Returns the time since
    /// the process was started.
    pub fn await_reply(
        &mut self,
        request: &[&[u8]],
        accept: impl Fn(Reply<'_>) -> bool,
    ) -> Result<Duration, ServerError> {
        let mut client: Option<Client> = None;
        while self.started.elapsed() < PATIENCE {
            let reply = match &mut client {
                Some(connected) => connected.request(request).map(&accept),
                None => match Client::connect(self.address, PATIENCE) {
                    Ok(connected) => client.insert(connected).request(request).map(&accept),
                    Err(error) => Err(error),
                },
            };
            match reply {
                Ok(true) => return Ok(self.started.elapsed()),
                Ok(false) => {}
                Err(_) => client = None,
            }
            self.check_alive()?;
            thread::sleep(POLL_INTERVAL);
        }
        Err(self.timeout())
    }

    /// Fails with its output if the process has ended.
    pub fn check_alive(&mut self) -> Result<(), ServerError> {
        match self.child.try_wait().map_err(|source| self.io(source))? {
            None => Ok(()),
            Some(status) => {
                let output = fs::read(&self.output).unwrap_or_default();
                let tail = output.len().saturating_sub(2000);
                Err(ServerError::Ended {
                    server: self.name.clone(),
                    status: status.to_string(),
                    output: String::from_utf8_lossy(&output[tail..]).into_owned(),
                })
            }
        }
    }

    /// Asks the process to end (SIGTERM) and waits until it has.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.signal(Signal::TERM)?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.child.try_wait().map_err(|source| self.io(source))?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(self.timeout())
    }

    /// Ends the process without warning (SIGKILL).
    pub fn kill(mut self) -> Result<(), ServerError> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|source| self.io(source))
    }

    /// Lets the process stand still (SIGSTOP) until it is resumed.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| self.io(error.into()))
    }

    /// A field of INFO, such as `rdb_bgsave_in_progress`.
    pub fn info(&self, client: &mut Client, field: &str) -> Result<Option<String>, ServerError> {
        let reply = client.request(&[b"INFO"]).map_err(|source| self.io(source))?;
        let Reply::Bulk(text) = reply else { return Err(self.unexpected("INFO", reply)) };
        let text = String::from_utf8_lossy(text);
        Ok(text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned())))
    }

    /// Sends a request whose reply must not be an error.
    pub fn ask(&self, client: &mut Client, request: &str) -> Result<(), ServerError> {
        let words: Vec<&[u8]> = request.split_whitespace().map(str::as_bytes).collect();
        match client.request(&words).map_err(|source| self.io(source))? {
            reply @ Reply::Error(_) => Err(self.unexpected(request, reply)),
            _ => Ok(()),
        }
    }

    /// The error that says that something took too long.
    pub fn timeout(&self) -> ServerError {
        ServerError::Timeout { server: self.name.clone() }
    }

    fn io(&self, source: io::Error) -> ServerError {
        ServerError::Io { server: self.name.clone(), source }
    }

    fn unexpected(&self, request: &str, reply: Reply<'_>) -> ServerError {
        let reply = match reply {
            Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        };
        ServerError::Unexpected { server: self.name.clone(), request: request.to_owned(), reply }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where it has ended already, both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_is_a_name_and_a_command_with_both_places() {
        let command: ServerCommand = "skink=bin/skink serve --data {dir} --listen 127.0.0.1:{port}".parse().unwrap();
        assert_eq!(command.name(), "skink");
        assert_eq!(command.arguments, ["serve", "--data", "{dir}", "--listen", "127.0.0.1:{port}"]);
        for wrong in ["skink", "skink=", "skink=skink --data {dir}", "skink=skink --listen {port}"] {
            assert!(wrong.parse::<ServerCommand>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_that_ends_by_itself_is_noticed_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let command = ServerCommand::new("broken", "ls", ["/nowhere/{port}/{dir}".to_owned()]);
        let error = command.start(folder.path()).unwrap_err();
        assert!(matches!(&error, ServerError::Ended { output, .. } if output.contains("nowhere")), "{error}");
    }
}
