//! A cluster whose replicas come and go: a process for each, on a loopback address of its own.

use rand::RngExt;
use skink_tests::{Server, Wire, server};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const OPTIONS: &[&str] = &["--segments", "8", "--log-file-mb", "4", "--max-value-mb", "1", "--checkpoint-log-mb", "4"];

/// Where clients find the replicas that run.
pub type Clients = Arc<Mutex<BTreeMap<usize, String>>>;

/// The replicas, which end with this value.
pub struct Cluster {
    net: (u8, u8),
    servers: BTreeMap<usize, Server>,
    clients: Clients,
    /// Removed last.
    folder: TempDir,
}

fn peer(net: (u8, u8), replica: usize) -> String {
    format!("127.{}.{}.{replica}:7380", net.0, net.1)
}

/// Addresses that nobody has: no connection that goes out ever takes one there.
fn free_net() -> (u8, u8) {
    let mut random = rand::rng();
    let mut any = (0..100).map(|_| (random.random_range(1..=254), random.random_range(0..=254)));
    any.find(|net| (1..=5).all(|replica| TcpListener::bind(peer(*net, replica)).is_ok())).unwrap()
}

impl Cluster {
    /// A new cluster of the replicas from 1 on.
    pub fn start(replicas: usize) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster { net: free_net(), servers: BTreeMap::new(), clients: Clients::default(), folder };
        // None is ready before all are there.
        let launched: Vec<_> = (1..=replicas).map(|replica| (replica, cluster.begin(replica, replicas))).collect();
        for (replica, server) in launched {
            cluster.take_in(replica, server);
        }
        cluster.leader(1);
        cluster
    }

    fn begin(&self, replica: usize, known: usize) -> JoinHandle<Server> {
        let members: Vec<String> = (1..=known).map(|it| format!("{it}={}", peer(self.net, it))).collect();
        let (members, number, data) = (members.join(","), replica.to_string(), self.data(replica));
        std::thread::spawn(move || {
            let own = ["--replica", &number, "--cluster", &members];
            Server::on(&data, &own.iter().chain(OPTIONS).copied().collect::<Vec<_>>())
        })
    }

    fn data(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("data-{replica}"))
    }

    /// Starts a replica that may not be a member yet. It knows itself and those before it.
    pub fn launch_before(&self, replica: usize) -> JoinHandle<Server> {
        self.begin(replica, replica)
    }

    /// Waits until a replica that was started is ready.
    pub fn take_in(&mut self, replica: usize, launched: JoinHandle<Server>) {
        let server = launched.join().unwrap();
        self.clients.lock().unwrap().insert(replica, server.address().to_string());
        self.servers.insert(replica, server);
    }

    /// Starts a replica that is a member, with an empty folder.
    pub fn launch(&mut self, replica: usize) {
        let launched = self.launch_before(replica);
        self.take_in(replica, launched);
    }

    pub fn clients(&self) -> Clients {
        Arc::clone(&self.clients)
    }

    pub fn server(&self, replica: usize) -> &Server {
        &self.servers[&replica]
    }

    pub fn kill9(&mut self, replica: usize) {
        self.clients.lock().unwrap().remove(&replica);
        self.servers.get_mut(&replica).unwrap().kill9();
    }

    pub fn restart(&mut self, replica: usize) {
        let server = self.servers.get_mut(&replica).unwrap();
        server.restart();
        self.clients.lock().unwrap().insert(replica, server.address().to_string());
    }

    /// Runs `skink replica`, said to a replica. A number after `add` gets its address.
    fn replica(&self, at: usize, arguments: &[&str]) -> server::Ended {
        let mut line: Vec<String> = vec!["replica".into()];
        line.extend(arguments.iter().map(ToString::to_string));
        if line[1] == "add" {
            let number: usize = line[2].parse().unwrap();
            line[2] = format!("{number}={}", peer(self.net, number));
        }
        line.extend(["--connect".into(), self.server(at).address().to_string()]);
        server::run(line)
    }

    /// The members change; what was told meanwhile.
    pub fn command(&mut self, at: usize, arguments: &[&str]) -> String {
        let ended = self.replica(at, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.text);
        if let ["remove", number] = arguments {
            self.clients.lock().unwrap().remove(&number.parse().unwrap());
        }
        ended.text
    }

    /// The members don't change; why.
    pub fn refused(&self, at: usize, arguments: &[&str]) -> String {
        let ended = self.replica(at, arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.text);
        ended.text
    }

    /// Rows of a `SHOW` statement, without the names of columns.
    fn show(&self, at: usize, what: &str) -> Vec<Vec<String>> {
        let mut connection = self.server(at).connect();
        let rows: redis::RedisResult<Vec<Vec<String>>> =
            redis::cmd("STATEMENT").arg(format!("SHOW {what}")).query(&mut connection);
        rows.unwrap_or_default().into_iter().skip(1).collect()
    }

    /// How a replica stands, as another one sees it.
    pub fn state(&self, at: usize, replica: usize) -> String {
        let rows = self.show(at, "REPLICAS");
        rows.into_iter().find(|row| row[0] == replica.to_string()).map(|row| row[2].clone()).unwrap_or_default()
    }

    /// Who leads.
    pub fn leader(&self, at: usize) -> usize {
        let leads = || self.show(at, "REPLICAS").into_iter().find(|row| row[1] == "leader");
        self.until("somebody leads", |_| leads().is_some());
        leads().map_or_else(|| self.leader(at), |row| row[0].parse().unwrap())
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&Cluster) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            let stand = || self.servers.keys().map(|it| (*it, self.show(*it, "REPLICAS"))).collect::<Vec<_>>();
            assert!(began.elapsed() < PATIENCE, "never {what}: {:?}", stand());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Replicas have executed the same, and a checkpoint of it has the same content; nobody may write meanwhile.
    pub fn assert_states_equal(&self, replicas: &[usize]) {
        let executed = |replica: usize| {
            let rows = self.show(replica, "REPLICAS");
            rows.into_iter().find(|row| row[0] == replica.to_string()).map(|row| row[4].clone())
        };
        let states = |replica: usize| -> Vec<(String, String, String)> {
            let rows = self.show(replica, "SEGMENTS");
            rows.into_iter().map(|row| (row[0].clone(), row[3].clone(), row[5].clone())).collect()
        };
        let first = replicas[0];
        self.until("all have executed the same", |_| replicas.iter().all(|it| executed(*it) == executed(first)));
        assert_eq!(self.server(first).wire().say("CHECKPOINT"), "+OK\\r\\n");
        self.until("all states are equal", |_| replicas.iter().all(|it| states(*it) == states(first)));
    }

    /// All of these keys are at a replica, each with itself as its value.
    pub fn assert_there(&self, replica: usize, keys: &[String]) {
        let mut connection = self.server(replica).connect();
        let values: Vec<Option<String>> = redis::cmd("MGET").arg(keys).query(&mut connection).unwrap();
        for (key, value) in keys.iter().zip(values) {
            assert_eq!(value.as_ref(), Some(key), "at replica {replica}");
        }
    }

    /// Stops all, these first, and verifies their directories.
    pub fn stop(mut self, replicas: &[usize]) {
        std::thread::scope(|scope| {
            for (_, server) in self.servers.iter_mut().filter(|(replica, _)| replicas.contains(replica)) {
                scope.spawn(|| server.stop());
            }
        });
        for server in self.servers.values_mut() {
            if server.is_alive() {
                server.stop();
            }
            server.assert_verifies();
        }
    }
}

/// A connection to any of these.
pub fn connect_any(clients: &Clients, number: usize) -> Option<Wire> {
    let addresses: Vec<String> = clients.lock().unwrap().values().cloned().collect();
    Wire::try_connect(addresses.get(number % addresses.len().max(1))?).ok()
}
