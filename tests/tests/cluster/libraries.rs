//! Client libraries through a failover: they see errors, connect again, and go on.

use crate::SMALL;
use redis::{Commands, RedisResult};
use skink_tests::cluster::{REPLICAS, others};
use skink_tests::{Cluster, Watchdog, tools};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks one replica after the other until one answers.
fn retry<T>(cluster: &[redis::Client], ask: impl Fn(&mut redis::Connection) -> RedisResult<T>) -> T {
    let began = Instant::now();
    for client in cluster.iter().cycle() {
        let answer = client.get_connection_with_timeout(Duration::from_secs(1)).and_then(|mut connection| {
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            ask(&mut connection)
        });
        match answer {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < PATIENCE, "no replica answers: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!("the replicas are tried again and again")
}

#[test]
fn the_redis_crate_goes_on_after_a_failover() {
    let _watchdog = Watchdog::minutes(5, "the_redis_crate_goes_on_after_a_failover");
    let mut cluster = Cluster::start(SMALL);
    let addresses = cluster.addresses();
    let open = |query: &str| {
        let client = |replica| redis::Client::open(format!("redis://{}/{query}", addresses.client(replica))).unwrap();
        REPLICAS.map(client)
    };
    for (round, clients) in [open(""), open("?protocol=resp3")].iter().enumerate() {
        let leader = cluster.leader();
        // A connection that was there before.
        let mut connection = clients[leader % 3].get_connection().unwrap();
        let () = connection.set("before", round).unwrap();
        cluster.kill9(leader);
        let () = retry(clients, |connection| connection.set("k", round));
        // One to another replica has held, and at most heard of a missing majority.
        let began = Instant::now();
        while let Err(error) = connection.get::<_, usize>("k") {
            assert!(began.elapsed() < PATIENCE, "{error}");
        }
        assert_eq!(connection.get::<_, usize>("before").unwrap(), round);
        let mut pipe = redis::pipe();
        pipe.atomic().set("a", round).get("k");
        let ((), seen): ((), usize) = retry(clients, |connection| pipe.query(connection));
        assert_eq!(seen, round);
        cluster.restart(leader);
        let only = &clients[leader - 1..leader];
        assert_eq!(retry(only, |connection| connection.get::<_, usize>("a")), round);
    }
    cluster.finish();
}

#[test]
fn many_tasks_of_the_redis_crate_go_on_after_a_failover() {
    let _watchdog = Watchdog::minutes(5, "many_tasks_of_the_redis_crate_go_on_after_a_failover");
    let mut cluster = Cluster::start(SMALL);
    let leader = cluster.leader();
    let open = |replica| redis::Client::open(format!("redis://{}/", cluster.addresses().client(replica))).unwrap();
    let clients: Vec<redis::Client> = others(leader).into_iter().map(open).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for task in 0..30_i64 {
            let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
            let client = &clients[task as usize % clients.len()];
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
            tasks.push(tokio::spawn(async move {
                for round in 0..40_i64 {
                    // Neither of these replicas goes away, and a new leader is there before the wait is over.
                    let () = redis::AsyncCommands::set(&mut connection, format!("task:{task}"), round).await.unwrap();
                    let key = format!("task:{task}");
                    let own: i64 = redis::AsyncCommands::get(&mut connection, key).await.unwrap();
                    assert_eq!(own, round);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.kill9(leader);
        for task in tasks {
            task.await.unwrap();
        }
    });
    cluster.restart(leader);
    cluster.finish();
}

/// What redis-py is to do: it prints `go` when the leader may be killed, and `done` at the end.
const PYTHON: &str = r#"
import sys, time, redis
from redis.retry import Retry
from redis.backoff import ConstantBackoff
hosts = [address.split(":") for address in sys.argv[1:]]
retry = lambda: Retry(ConstantBackoff(0.1), 100)
errors = [redis.ConnectionError, redis.TimeoutError, redis.ResponseError]
dbs = [redis.Redis(host=host, port=int(port), retry=retry(), retry_on_error=errors) for host, port in hosts]
for number in range(600):
    db = dbs[number % len(dbs)]
    assert db.set("k", number)
    for other in dbs:
        assert int(other.get("k")) == number, (number, other.get("k"))
    if number == 200:
        print("go", flush=True)
    if number >= 200:
        time.sleep(0.005)
print("done", flush=True)
"#;

#[test]
fn redis_py_goes_on_after_a_failover() {
    let _watchdog = Watchdog::minutes(5, "redis_py_goes_on_after_a_failover");
    if !tools::is_there("python3") {
        return;
    }
    if !tools::output("python3", &["-c", "import redis"], "").status.success() {
        eprintln!("skipped: python3 has no package redis here");
        return;
    }
    let mut cluster = Cluster::start(SMALL);
    let mut child = Command::new("python3")
        .args(["-c", PYTHON])
        .args(REPLICAS.map(|replica| cluster.addresses().client(replica)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "go");
    let leader = cluster.leader();
    cluster.kill9(leader);
    std::thread::sleep(Duration::from_millis(700));
    cluster.restart(leader);
    assert_eq!(lines.next().map(Result::unwrap).as_deref(), Some("done"));
    assert!(child.wait().unwrap().success());
    cluster.finish();
}
