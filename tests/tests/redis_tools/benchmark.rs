//! `redis-benchmark`.

use skink_tests::{Server, Watchdog, tools};

/// Requests of each test, and clients.
const REQUESTS: usize = 4000;
const CLIENTS: &str = "50";

/// Runs it and gives its lines of CSV: a test's name and its requests a second.
fn run(server: &Server, arguments: &[&str]) -> Vec<(String, f64)> {
    let requests = REQUESTS.to_string();
    let mut all = vec!["-p", server.port(), "-n", &requests, "-c", CLIENTS, "--csv"];
    all.extend_from_slice(arguments);
    let output = tools::output("redis-benchmark", &all, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{said}");
    // It goes on after errors of the server, and prints them among its lines.
    assert!(!text.to_lowercase().contains("error") && !said.to_lowercase().contains("error"), "{text}\n{said}");
    let rows = text.lines().filter(|line| !line.starts_with("\"test\"")).map(|line| {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim_matches('"')).collect();
        (cells[0].to_string(), cells[1].parse().unwrap())
    });
    rows.collect()
}

#[test]
fn redis_benchmark_runs_without_errors_and_its_writes_are_there() {
    let _watchdog = Watchdog::minutes(5, "redis_benchmark_runs_without_errors_and_its_writes_are_there");
    if !tools::is_there("redis-benchmark") {
        return;
    }
    let mut server = Server::start(&["--io-threads", "2"]);
    let rows = run(&server, &["-t", "ping,set,get,incr,mset", "-P", "16"]);
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]);
    assert!(rows.iter().all(|(_, rate)| *rate > 0.0), "{rows:?}");
    let mut wire = server.wire();
    // A test ends with the pipeline that reaches the number.
    let pipelines = REQUESTS.div_ceil(16) * 16;
    let counted = wire.say("GET counter:__rand_int__").split("\\r\\n").nth(1).unwrap().parse::<usize>().unwrap();
    assert!((REQUESTS..=pipelines + 50 * 16).contains(&counted), "{counted}");
    // The others write to one key each.
    assert_eq!(wire.say("EXISTS key:__rand_int__ counter:__rand_int__"), ":2\\r\\n");
    assert_eq!(wire.say("STRLEN key:__rand_int__"), ":3\\r\\n");
    assert_eq!(wire.say("DBSIZE"), ":2\\r\\n");
    // With random keys, one client's request at a time.
    run(&server, &["-t", "set,incr", "-r", "100"]);
    let keys: Vec<String> = redis::cmd("KEYS").arg("counter:0*").query(&mut server.connect()).unwrap();
    assert!((50..=100).contains(&keys.len()), "{keys:?}");
    let counts: Vec<usize> = redis::cmd("MGET").arg(&keys).query(&mut server.connect()).unwrap();
    let sum: usize = counts.iter().sum();
    assert!((REQUESTS..REQUESTS + 50).contains(&sum), "{sum}");
    server.kill9();
    server.restart();
    let again: Vec<usize> = redis::cmd("MGET").arg(&keys).query(&mut server.connect()).unwrap();
    assert_eq!(again, counts);
}
