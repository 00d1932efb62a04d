//! A cluster of three replicas, each a process of its own.
//!
//! Every cluster has loopback addresses of its own, so that tests that run at the same time don't meet, and a replica
//! that starts again finds its ports free: no connection that goes out ever takes one there.

use crate::forwarder::Network;
use crate::server::Refusal;
use crate::{Server, Wire};
use rand::RngExt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Numbers of the replicas.
pub const REPLICAS: [usize; 3] = [1, 2, 3];
/// The replicas but this one.
pub fn others(replica: usize) -> Vec<usize> {
    REPLICAS.into_iter().filter(|other| *other != replica).collect()
}

/// How long a cluster may take to get somewhere on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// In which steps a replica looks whether there is a leader.
const ELECTION: Duration = Duration::from_millis(200);

const CLIENT_PORT: u16 = 7379;
const PEER_PORT: u16 = 7380;

/// Where the replicas of a cluster are: `127.A.B.N` is that of replica N, and `127.A.B.NM` the way from N to M.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    net: (u8, u8),
}

impl Addresses {
    /// Some that nobody has.
    ///
    /// # Panics
    /// There are none.
    pub fn free() -> Addresses {
        let mut random = rand::rng();
        let any = (0..100).map(|_| Addresses { net: (random.random_range(1..=254), random.random_range(0..=254)) });
        let is_free = |addresses: &Addresses| {
            let mut all = REPLICAS.iter().flat_map(|replica| [addresses.client(*replica), addresses.peer(*replica)]);
            all.all(|address| TcpListener::bind(address).is_ok())
        };
        any.into_iter().find(is_free).expect("some of the loopback addresses are free")
    }

    fn host(self, last: usize) -> String {
        format!("127.{}.{}.{last}", self.net.0, self.net.1)
    }

    /// Where a replica listens for clients.
    pub fn client(self, replica: usize) -> String {
        format!("{}:{CLIENT_PORT}", self.host(replica))
    }

    /// Where a replica listens for others.
    pub fn peer(self, replica: usize) -> String {
        format!("{}:{PEER_PORT}", self.host(replica))
    }

    /// Where a replica reaches another one, if something lies in between.
    pub fn way(self, from: usize, to: usize) -> String {
        format!("{}:{PEER_PORT}", self.host(10 * from + to))
    }

    /// What `--cluster` is at a replica.
    pub fn members(self, own: usize, has_network: bool) -> String {
        let entry = |replica: usize| match has_network && replica != own {
            true => format!("{replica}={}", self.way(own, replica)),
            false => format!("{replica}={}", self.peer(replica)),
        };
        REPLICAS.map(entry).join(",")
    }

    /// All options that make a server this replica.
    pub fn options(self, replica: usize, has_network: bool, more: &[&str]) -> Vec<String> {
        let (number, members) = (replica.to_string(), self.members(replica, has_network));
        let own = ["--listen", &self.client(replica), "--replica", &number, "--cluster", &members];
        own.iter().chain(more).map(ToString::to_string).collect()
    }
}

/// Three replicas, which end with this value.
pub struct Cluster {
    servers: Vec<Server>,
    addresses: Addresses,
    network: Option<Network>,
    /// Removed last.
    folder: TempDir,
}

impl Cluster {
    /// A new cluster.
    ///
    /// # Panics
    /// A replica does not start.
    pub fn start(options: &[&str]) -> Cluster {
        Cluster::start_on(options, |folder, replica| folder.join(format!("data-{replica}")))
    }

    /// A new cluster whose data directories are these.
    ///
    /// # Panics
    /// A replica does not start.
    pub fn start_on(options: &[&str], data: impl Fn(&Path, usize) -> PathBuf) -> Cluster {
        Cluster::begin(Addresses::free(), None, [options; 3], data)
    }

    /// A new cluster each of whose replicas has options of its own.
    ///
    /// # Panics
    /// A replica does not start.
    pub fn start_each(options: [&[&str]; 3]) -> Cluster {
        Cluster::begin(Addresses::free(), None, options, |folder, replica| folder.join(format!("data-{replica}")))
    }

    /// A new cluster with a network that can be cut.
    ///
    /// # Panics
    /// A replica does not start.
    pub fn start_with_network(options: &[&str]) -> Cluster {
        let addresses = Addresses::free();
        let network = Network::new(addresses);
        Cluster::begin(addresses, Some(network), [options; 3], |folder, replica| folder.join(format!("data-{replica}")))
    }

    fn begin(
        addresses: Addresses,
        network: Option<Network>,
        options: [&[&str]; 3],
        data: impl Fn(&Path, usize) -> PathBuf,
    ) -> Cluster {
        let folder = tempfile::tempdir().expect("a folder for the data");
        let data: Vec<PathBuf> = REPLICAS.iter().map(|replica| data(folder.path(), *replica)).collect();
        let has_network = network.is_some();
        // None is ready before all are there.
        let servers = std::thread::scope(|scope| {
            let start = |replica: usize, data: &Path| {
                let options = addresses.options(replica, has_network, options[replica - 1]);
                Server::on(data, &options.iter().map(String::as_str).collect::<Vec<_>>())
            };
            let starts = REPLICAS.iter().zip(&data).map(|(replica, data)| scope.spawn(move || start(*replica, data)));
            let starts: Vec<_> = starts.collect();
            starts.into_iter().map(|start| start.join().expect("a replica starts")).collect()
        });
        let cluster = Cluster { servers, addresses, network, folder };
        cluster.leader();
        cluster
    }

    /// Where its replicas are.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The network between the replicas.
    ///
    /// # Panics
    /// The cluster was started without.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the cluster was started with a network")
    }

    /// The folder with all data directories but those that lie elsewhere.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A replica's server.
    pub fn server(&self, replica: usize) -> &Server {
        &self.servers[replica - 1]
    }

    /// A replica's server.
    pub fn server_mut(&mut self, replica: usize) -> &mut Server {
        &mut self.servers[replica - 1]
    }

    /// A client of a replica.
    ///
    /// # Panics
    /// The replica does not take it.
    pub fn wire(&self, replica: usize) -> Wire {
        self.server(replica).wire()
    }

    /// Kills a replica as `kill -9` does.
    ///
    /// # Panics
    /// It had ended by itself.
    pub fn kill9(&mut self, replica: usize) {
        self.server_mut(replica).kill9();
    }

    /// Kills all replicas at once.
    ///
    /// # Panics
    /// One had ended by itself.
    pub fn kill9_all(&mut self) {
        std::thread::scope(|scope| self.servers.iter_mut().for_each(|server| drop(scope.spawn(|| server.kill9()))));
    }

    /// Starts a replica again.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self, replica: usize) {
        self.server_mut(replica).restart();
    }

    /// Starts all replicas again.
    ///
    /// # Panics
    /// One does not start.
    pub fn restart_all(&mut self) {
        std::thread::scope(|scope| self.servers.iter_mut().for_each(|server| drop(scope.spawn(|| server.restart()))));
    }

    /// Starts a replica again that may refuse to.
    ///
    /// # Errors
    /// It ended before it was ready.
    ///
    /// # Panics
    /// It still runs.
    pub fn try_restart(&mut self, replica: usize) -> Result<(), Refusal> {
        self.server_mut(replica).try_restart()
    }

    /// What a replica says of itself in `INFO`; `None` where it does not answer.
    pub fn info(&self, replica: usize, field: &str) -> Option<String> {
        let mut wire = Wire::try_connect(&self.addresses.client(replica)).ok()?;
        wire.set_patience(Duration::from_secs(5));
        wire.try_send(&crate::wire::request(&[b"INFO", b"all"])).ok()?;
        let text = String::from_utf8(wire.try_reply().ok()?).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(|value| value.trim().to_string())
    }

    /// Waits until a field of `INFO` is as it should be.
    ///
    /// # Panics
    /// It never is.
    pub fn wait_for_info(&self, replica: usize, field: &str, is_right: impl Fn(&str) -> bool) {
        let found = || self.info(replica, field).unwrap_or_default();
        wait_until(&format!("{field} of replica {replica}"), || is_right(&found()), || self.tell(found()));
    }

    /// The replica that leads, once all that run and are not paused agree on it.
    ///
    /// # Panics
    /// They never do.
    pub fn leader(&self) -> usize {
        self.leader_of(&REPLICAS)
    }

    /// The replica that leads, once these agree on it and it is one of them.
    ///
    /// # Panics
    /// They never do.
    pub fn leader_of(&self, replicas: &[usize]) -> usize {
        let seen = || replicas.iter().filter_map(|replica| self.info(*replica, "leader_id")).collect::<Vec<_>>();
        let agreed = || {
            let seen = seen();
            let leader: usize = seen.first()?.parse().ok()?;
            let is_one = seen.iter().all(|other| *other == seen[0]) && replicas.contains(&leader);
            let leads = || self.info(leader, "replica_role").as_deref() == Some("leader");
            (is_one && leads()).then_some(leader)
        };
        wait_until("one leader", || agreed().is_some(), || self.tell(seen()));
        agreed().unwrap_or_else(|| self.leader_of(replicas))
    }

    /// A replica that does not lead.
    ///
    /// # Panics
    /// Nobody leads.
    pub fn follower(&self) -> usize {
        self.leader() % REPLICAS.len() + 1
    }

    /// Lets a replica lead: whoever does is paused until it is this one's turn.
    ///
    /// # Panics
    /// It never is.
    pub fn make_leader(&mut self, replica: usize) {
        for attempt in 0..30 {
            let leader = self.leader();
            if leader == replica {
                return;
            }
            if attempt > 0 {
                // Of two that see that there is no leader, always the same one may be the first, as their timers keep
                // their distance: a start changes that, but one at an even pace would always change it to the same.
                std::thread::sleep(ELECTION.mul_f64(rand::rng().random_range(0.0..2.0)));
                let third = others(replica).into_iter().find(|other| *other != leader).expect("there are three");
                self.kill9(third);
                self.restart(third);
                self.leader_of(&REPLICAS);
            }
            self.server(leader).pause();
            self.leader_of(&others(leader));
            self.server(leader).resume();
        }
        panic!("replica {replica} never leads: {}", self.tell(()));
    }

    /// Rows of a `SHOW` statement, without the names of columns.
    ///
    /// # Panics
    /// There is no such thing to show.
    pub fn show(&self, replica: usize, what: &str) -> Vec<Vec<String>> {
        let mut connection = self.server(replica).connect();
        let text = format!("SHOW {what}");
        let rows: Vec<Vec<String>> = redis::cmd("STATEMENT").arg(text).query(&mut connection).expect("it can be shown");
        rows.into_iter().skip(1).collect()
    }

    /// Waits until all replicas have executed the same and takes a checkpoint of it, in which their states must be the
    /// same; nobody may write meanwhile.
    ///
    /// # Panics
    /// They never get there.
    pub fn assert_states_equal(&self) {
        let states = |replica: usize| -> Vec<(String, String, String)> {
            let rows = self.show(replica, "SEGMENTS");
            rows.into_iter().map(|row| (row[0].clone(), row[3].clone(), row[5].clone())).collect()
        };
        let executed = || REPLICAS.map(|replica| self.info(replica, "executed_instance"));
        let is_level = || executed().iter().all(|instance| instance.is_some() && *instance == executed()[0]);
        wait_until("all replicas to execute the same", is_level, || self.tell(executed()));
        let marker = self.checkpoint(1);
        for replica in REPLICAS {
            let is_there = |instance: &str| instance.parse::<u64>().is_ok_and(|instance| instance >= marker);
            self.wait_for_info(replica, "checkpoint_instance", is_there);
        }
        let are_equal = || states(1) == states(2) && states(1) == states(3);
        wait_until("all states to be equal", are_equal, || self.tell((states(1), states(2), states(3))));
    }

    /// Takes a checkpoint at a replica, when it can, and says at which instance.
    ///
    /// # Panics
    /// It never can.
    pub fn checkpoint(&self, replica: usize) -> u64 {
        let reply = || self.wire(replica).say("CHECKPOINT");
        wait_until("a checkpoint", || reply() == "+OK\\r\\n", || self.tell(reply()));
        self.info(replica, "checkpoint_instance").and_then(|instance| instance.parse().ok()).expect("an instance")
    }

    /// Checks that all states are equal, stops all replicas in order, and runs `skink verify` on all directories.
    ///
    /// # Panics
    /// Something is wrong.
    pub fn finish(mut self) {
        self.leader();
        self.assert_states_equal();
        std::thread::scope(|scope| self.servers.iter_mut().for_each(|server| drop(scope.spawn(|| server.stop()))));
        self.servers.iter().for_each(Server::assert_verifies);
    }

    fn tell(&self, found: impl std::fmt::Debug) -> String {
        let one = |replica: usize| {
            let fields = ["leader_id", "replica_role", "replica_state", "executed_instance", "durable_instance"];
            fields.map(|field| self.info(replica, field).unwrap_or_default()).join(" ")
        };
        format!("{found:?}; leader, role, state, executed, durable: {:?}", REPLICAS.map(one))
    }
}

/// Waits until something is so.
///
/// # Panics
/// It never is; the message has what was found in the end.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool, found: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {}", found());
        std::thread::sleep(Duration::from_millis(20));
    }
}
