//! Starting and stopping a server.

use crate::config::ServerConfig;
use crate::io_thread::{self, ServerContext};
use skink_engine::env::Environment;
use skink_engine::error::Fault;
use skink_replication::replica::Replica;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Why a server could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(transparent)]
    Data(#[from] Fault),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; {}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address is reachable from other machines.
    #[error(
        "{0} is reachable from other machines, and this version has no passwords and no encryption: listen on 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// A thread can't be started.
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another process listens there: stop it, or name another --listen address",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: name a higher one",
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "name another --listen address",
    }
}

/// A server that runs.
pub struct RunningServer {
    address: SocketAddr,
    context: Arc<ServerContext>,
    must_stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Asks a server to stop in order.
#[derive(Clone)]
pub struct Stopper {
    replica: Arc<Replica>,
}

impl Stopper {
    /// What clients have sent is executed and answered, a last checkpoint is taken.
    pub fn stop(&self) {
        self.replica.stop();
    }
}

/// Starts a server. When it returns, clients can connect; requests on the state wait until the log is replayed.
///
/// # Errors
/// The address or the data directory can't be used.
pub fn start(config: ServerConfig) -> Result<RunningServer, StartError> {
    let started = Instant::now();
    if !config.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.listen));
    }
    let listen_error = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let mut replica_options = config.replica.clone();
    replica_options.engine = config.engine;
    let replica = Arc::new(Replica::start(Environment::real(), &config.data, replica_options)?);
    let (phase_sender, phase) = watch::channel(replica.phase());
    replica.on_phase(move |phase| {
        let _ = phase_sender.send(phase);
    });
    let io_threads = config.effective_io_threads();
    let context = Arc::new(ServerContext {
        replica: Arc::clone(&replica),
        config,
        address,
        started,
        connections: AtomicUsize::new(0),
        connections_total: AtomicU64::new(0),
        connections_refused: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        phase,
    });
    let must_stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let mut senders = Vec::new();
    for number in 0..io_threads {
        let (sender, receiver) = mpsc::unbounded_channel();
        senders.push(sender);
        let context = Arc::clone(&context);
        // Proxy 0 is the replica itself.
        let run = move || io_thread::run(number as u32 + 1, context, receiver);
        let builder = std::thread::Builder::new().name(format!("skink-io-{number}"));
        threads.push(builder.spawn(run).map_err(StartError::Thread)?);
    }
    let acceptor = {
        let (context, must_stop) = (Arc::clone(&context), Arc::clone(&must_stop));
        move || accept(&listener, &context, &must_stop, &senders)
    };
    let builder = std::thread::Builder::new().name("skink-accept".into());
    // It is not joined: it ends with the process, or when it is woken after a stop.
    builder.spawn(acceptor).map_err(StartError::Thread)?;
    Ok(RunningServer { address, context, must_stop, threads })
}

fn accept(
    listener: &TcpListener,
    context: &ServerContext,
    must_stop: &AtomicBool,
    senders: &[mpsc::UnboundedSender<TcpStream>],
) {
    let mut next = 0;
    loop {
        let accepted = listener.accept();
        if must_stop.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((mut socket, peer)) => {
                if context.connections.load(Ordering::Relaxed) >= context.config.max_connections {
                    context.connections_refused.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.write_all(b"-ERR max number of clients reached\r\n");
                    continue;
                }
                if let Err(error) = socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)) {
                    tracing::debug!(%error, %peer, "a connection broke at once");
                    continue;
                }
                let _ = senders[next % senders.len()].send(socket);
                next += 1;
            }
            Err(error) => {
                // Mostly too many open files: waiting lets connections end.
                tracing::warn!(%error, "can't accept a connection");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}

impl RunningServer {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What asks it to stop; can be sent to other threads.
    pub fn stopper(&self) -> Stopper {
        Stopper { replica: Arc::clone(&self.context.replica) }
    }

    /// The replica.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.context.replica
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub fn wait(self) -> Result<(), Fault> {
        let result = self.context.replica.wait();
        self.must_stop.store(true, Ordering::Release);
        // The acceptor waits in accept: a connection wakes it, and it lets the IO threads end.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an IO thread panicked");
            }
        }
        result
    }
}
