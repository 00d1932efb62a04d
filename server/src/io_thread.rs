//! IO threads: each runs its connections and its proxy on an event loop of its own.

use crate::config::ServerConfig;
use crate::connection::Connection;
use crate::proxy::Proxy;
use skink_replication::replica::{Phase, Replica};
use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Time for the last replies to be written when the server stops.
const LAST_REPLIES: Duration = Duration::from_millis(50);

/// What all connections of the server share.
pub struct ServerContext {
    /// The replica.
    pub replica: Arc<Replica>,
    /// What the server was started with.
    pub config: ServerConfig,
    /// Where clients connect.
    pub address: std::net::SocketAddr,
    /// When the process started to serve.
    pub started: Instant,
    /// Connections now, ever, and those that were refused.
    pub connections: AtomicUsize,
    /// Connections ever.
    pub connections_total: AtomicU64,
    /// Connections that were refused as there were too many.
    pub connections_refused: AtomicU64,
    /// Requests, errors of the protocol included.
    pub requests: AtomicU64,
    /// What the replica is doing.
    pub phase: watch::Receiver<Phase>,
}

/// What the connections of one IO thread share.
pub struct ThreadContext {
    /// What all share.
    pub server: Arc<ServerContext>,
    /// The thread's proxy.
    pub proxy: Rc<Proxy>,
    /// Whether the replica serves; once it does, it goes on until it stops.
    pub is_serving: Cell<bool>,
}

/// Runs one IO thread until no more connections can come and the proxy's work is done.
pub fn run(proxy: u32, server: Arc<ServerContext>, mut sockets: mpsc::UnboundedReceiver<TcpStream>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "an event loop can't be started");
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let (proxy, outcomes) = Proxy::new(proxy, Arc::clone(&server.replica));
        tokio::task::spawn_local(Rc::clone(&proxy).run(outcomes));
        let context = Rc::new(ThreadContext { server, proxy, is_serving: Cell::new(false) });
        while let Some(socket) = sockets.recv().await {
            let id = context.server.connections_total.fetch_add(1, Ordering::Relaxed) + 1;
            context.server.connections.fetch_add(1, Ordering::Relaxed);
            match Connection::new(Rc::clone(&context), socket, id) {
                Ok(connection) => {
                    let context = Rc::clone(&context);
                    tokio::task::spawn_local(async move {
                        connection.run().await;
                        context.server.connections.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(error) => {
                    context.server.connections.fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a connection can't be served");
                }
            }
        }
        // The server stops: replies that are on their way get out.
        tokio::time::sleep(LAST_REPLIES).await;
    });
}
