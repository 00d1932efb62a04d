//! `redis-cli`.

use skink_tests::wire::request;
use skink_tests::{Server, Watchdog, tools};

/// Runs redis-cli with these arguments and this input; what it printed.
fn cli(server: &Server, arguments: &[&str], input: &str) -> String {
    let all = [&["-h", "127.0.0.1", "-p", server.port()], arguments].concat();
    tools::run("redis-cli", &all, input)
}

#[test]
fn redis_cli_shows_replies_of_both_versions() {
    let _watchdog = Watchdog::minutes(5, "redis_cli_shows_replies_of_both_versions");
    if !tools::is_there("redis-cli") {
        return;
    }
    let server = Server::start(&[]);
    for version in ["-2", "-3"] {
        let say =
            |line: &str| cli(&server, &[&["--no-raw", version][..], &line.split(' ').collect::<Vec<_>>()].concat(), "");
        assert_eq!(say("PING"), "PONG\n");
        assert_eq!(say("FLUSHALL"), "OK\n");
        assert_eq!(say("SET k v"), "OK\n");
        assert_eq!(say("GET k"), "\"v\"\n");
        assert_eq!(say("GET none"), "(nil)\n");
        assert_eq!(say("INCR n"), "(integer) 1\n");
        assert_eq!(say("MGET k none n"), "1) \"v\"\n2) (nil)\n3) \"1\"\n");
        assert_eq!(say("INCR k"), "(error) ERR value is not an integer or out of range\n");
        assert_eq!(say("NONSENSE"), "(error) ERR unknown command 'NONSENSE', with args beginning with: \n");
        let map = if version == "-3" { "1# \"databases\" => \"1\"\n" } else { "1) \"databases\"\n2) \"1\"\n" };
        assert_eq!(say("CONFIG GET databases"), map);
        assert!(say("INFO server").contains("skink_version:"));
        assert!(say("COMMAND DOCS get").contains("Returns the value of a key."));
    }
}

#[test]
fn redis_cli_runs_transactions_from_its_input() {
    let _watchdog = Watchdog::minutes(5, "redis_cli_runs_transactions_from_its_input");
    if !tools::is_there("redis-cli") {
        return;
    }
    let server = Server::start(&[]);
    let input = "MULTI\nSET k \"two words\"\nINCR n\nINCR k\nPING\nSET k v WHAT\nEXEC\nGET k\n\
                 WATCH k\nSET k w\nMULTI\nSET k x\nEXEC\nGET k\nMULTI\nDISCARD\n";
    let expected = "OK\nQUEUED\nQUEUED\nQUEUED\nQUEUED\nQUEUED\nOK\n1\nERR value is not an integer or out of range\n\
                    PONG\nERR syntax error\n\ntwo words\nOK\nOK\nOK\nQUEUED\n\nw\nOK\nOK\n";
    assert_eq!(cli(&server, &[], input).replace("\n\n", "\n"), expected.replace("\n\n", "\n"));
    // One connection of redis-cli's, a command again and again.
    assert_eq!(cli(&server, &["-r", "5", "INCRBY", "n", "3"], ""), "4\n7\n10\n13\n16\n");
}

#[test]
fn redis_cli_inserts_a_mass_and_walks_it() {
    let _watchdog = Watchdog::minutes(5, "redis_cli_inserts_a_mass_and_walks_it");
    if !tools::is_there("redis-cli") {
        return;
    }
    const KEYS: usize = 20_000;
    let mut server = Server::start(&["--io-threads", "2"]);
    let mut mass = String::new();
    for number in 0..KEYS {
        let (key, value) = (format!("key:{number}"), "v".repeat(number % 50));
        mass.push_str(&String::from_utf8(request(&[b"SET", key.as_bytes(), value.as_bytes()])).unwrap());
    }
    let largest = "x".repeat(100_000);
    mass.push_str(&String::from_utf8(request(&[b"SET", b"largest", largest.as_bytes()])).unwrap());
    mass.push_str("INCR largest\r\n");
    let output = tools::output("redis-cli", &["-p", server.port(), "--pipe"], &mass);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let counts = format!("errors: 1, replies: {}", KEYS + 2);
    assert!(text.contains(&counts) && text.contains("ERR value is not an integer"), "{text}");
    server.kill9();
    server.restart();
    assert_eq!(cli(&server, &["DBSIZE"], ""), format!("{}\n", KEYS + 1));
    let mut keys: Vec<String> = cli(&server, &["--scan"], "").lines().map(str::to_string).collect();
    keys.sort();
    let mut expected: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    expected.push("largest".to_string());
    expected.sort();
    assert!(keys == expected, "{} keys", keys.len());
    let some = cli(&server, &["--scan", "--pattern", "key:1999?"], "");
    assert_eq!(some.lines().count(), 10, "{some}");
    let text = cli(&server, &["--bigkeys"], "");
    let biggest = "Biggest string found '\"largest\"' has 100000 bytes";
    assert!(text.contains(biggest) && text.contains(&format!("{} strings with", KEYS + 1)), "{text}");
}
