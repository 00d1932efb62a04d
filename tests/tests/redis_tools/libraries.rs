//! Client libraries: the redis crate, with and without threads of its own, and redis-py.

use redis::{AsyncCommands, Commands, Pipeline, RedisResult, Value};
use skink_tests::{Server, Watchdog, tools};
use std::collections::HashMap;

#[test]
fn the_redis_crate_works_in_both_versions() {
    let _watchdog = Watchdog::minutes(5, "the_redis_crate_works_in_both_versions");
    let server = Server::start(&[]);
    for mut connection in [server.connect(), server.connect_resp3()] {
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        let () = connection.set("k", "v").unwrap();
        let () = connection.set_ex("e", b"\0\xff".as_slice(), 100).unwrap();
        let values: (String, Vec<u8>, Option<String>) = connection.mget(&["k", "e", "none"]).unwrap();
        assert_eq!(values, ("v".to_string(), b"\0\xff".to_vec(), None));
        assert_eq!(connection.ttl::<_, i64>("e").unwrap(), 100);
        assert!(connection.exists::<_, bool>("k").unwrap());
        assert!(connection.incr::<_, _, i64>("k", 1).is_err());
        let settings: HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("data*").query(&mut connection).unwrap();
        assert_eq!(settings["databases"], "1");
        // More than a SCAN gives at once.
        let pairs: Vec<(String, usize)> = (0..500).map(|number| (format!("many:{number}"), number)).collect();
        let () = connection.mset(&pairs).unwrap();
        let mut found: Vec<String> = connection.scan_match("many:*").unwrap().map(Result::unwrap).collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 500);
        // A pipeline, with a mistake in it that is nobody else's.
        let mut pipe = Pipeline::new();
        pipe.set("a", 1).ignore().incr("a", 41).get("a").cmd("INCR").arg("k").cmd("STRLEN").arg("k");
        pipe.ignore_errors();
        let (sum, text, failed, len): (i64, String, RedisResult<i64>, i64) = pipe.query(&mut connection).unwrap();
        assert_eq!((sum, text.as_str(), len), (42, "42", 1));
        assert!(failed.is_err());
        // A transaction that others get in the way of: the function runs again.
        let mut other = server.connect();
        let mut runs = 0;
        let (result,): (i64,) = redis::transaction(&mut connection, &["a"], |connection, pipe| {
            runs += 1;
            let seen: i64 = connection.get("a")?;
            if runs == 1 {
                let () = other.set("a", 7)?;
            }
            pipe.set("a", seen + 1).ignore().get("a").query(connection)
        })
        .unwrap();
        assert_eq!((runs, result), (2, 8));
    }
}

#[test]
fn many_tasks_share_a_connection_of_the_redis_crate() {
    let _watchdog = Watchdog::minutes(5, "many_tasks_share_a_connection_of_the_redis_crate");
    let server = Server::start(&["--io-threads", "2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for query in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://{}/{query}", server.address())).unwrap();
        runtime.block_on(async {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            let tasks: Vec<_> = (0..50)
                .map(|task: i64| {
                    let mut connection = connection.clone();
                    tokio::spawn(async move {
                        for round in 0..20_i64 {
                            let () = connection.set(format!("task:{task}"), round).await.unwrap();
                            let mut pipe = redis::pipe();
                            pipe.atomic().incr("all", 1).get(format!("task:{task}"));
                            let (all, own): (i64, i64) = pipe.query_async(&mut connection).await.unwrap();
                            assert!(all > 0 && own == round, "{all} {own}");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let all: i64 = connection.get("all").await.unwrap();
            assert_eq!(all, 1000);
            let size: Value = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
            assert_eq!(size, Value::Int(51));
        });
    }
}

/// What redis-py is to do; it prints `done` at the end.
const PYTHON: &str = r#"
import sys, redis
for protocol in (2, 3):
    try:
        db = redis.Redis(port=int(sys.argv[1]), protocol=protocol)
    except TypeError:
        db = redis.Redis(port=int(sys.argv[1]))
    assert db.flushall() and db.ping()
    assert db.set("user:1", "Ann", ex=3600) and db.get("user:1") == b"Ann" and 3590 < db.ttl("user:1") <= 3600
    assert db.set("user:1", "Bob", nx=True) is None and db.getset("user:1", "Bob") == b"Ann"
    assert db.mset({"a": 1, "b": b"\x00\xff"}) and db.mget("a", "b", "none") == [b"1", b"\x00\xff", None]
    assert db.incrby("a", 41) == 42 and db.append("a", "0") == 3 and db.getrange("a", 0, 1) == b"42"
    for number in range(300):
        db.set("many:%d" % number, number)
    assert len(set(db.scan_iter("many:*"))) == 300
    with db.pipeline(transaction=True) as transaction:
        transaction.incr("visits").set("last", "user:1").get("last")
        assert transaction.execute() == [1, True, b"user:1"]
    with db.pipeline() as transaction:
        transaction.watch("visits")
        db.incr("visits")
        transaction.multi()
        transaction.set("visits", 0)
        try:
            transaction.execute()
            raise SystemExit("the transaction went through")
        except redis.WatchError:
            pass
    try:
        db.incr("user:1")
        raise SystemExit("text was incremented")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)
    assert db.delete("a", "b", "none") == 2 and db.info("server")["skink_version"] and db.dbsize() > 300
print("done")
"#;

#[test]
fn redis_py_works() {
    let _watchdog = Watchdog::minutes(5, "redis_py_works");
    if !tools::is_there("python3") {
        return;
    }
    if !tools::output("python3", &["-c", "import redis"], "").status.success() {
        eprintln!("skipped: python3 has no package redis here");
        return;
    }
    let server = Server::start(&[]);
    assert_eq!(tools::run("python3", &["-c", PYTHON, server.port()], ""), "done\n");
}
