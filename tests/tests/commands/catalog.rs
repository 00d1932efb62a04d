//! Each command at least once.

use super::{check, say};
use redis::Value;
use skink_tests::{Server, Watchdog};
use std::collections::BTreeSet;

const VALUES: &[(&str, &str)] = &[
    ("SET k v", "+OK"),
    ("GET k", "\"v\""),
    ("SETNX k w", ":0"),
    ("SETNX new w", ":1"),
    ("SETEX e 100 v", "+OK"),
    ("PSETEX p 100000 v", "+OK"),
    ("GETSET k w", "\"v\""),
    ("GETSET none w", "nil"),
    ("GETDEL none", "\"w\""),
    ("GETDEL none", "nil"),
    ("GETEX k EX 100", "\"w\""),
    ("TTL k", ":100"),
    ("GETEX k PERSIST", "\"w\""),
    ("TTL k", ":-1"),
    ("GETEX none", "nil"),
    ("MGET k none new", "[\"w\" nil \"w\"]"),
    ("MSET a 1 b 2 a 3", "+OK"),
    ("MGET a b", "[\"3\" \"2\"]"),
    ("MSETNX c 1 a 1", ":0"),
    ("MSETNX c 1 d 1", ":1"),
    ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
    ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
    ("SET k x NX", "nil"),
    ("SET k x XX GET", "\"w\""),
    ("SET k y NX GET", "\"x\""),
    ("SET none y XX", "nil"),
    ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
    ("SET k v EX 1 PX 1", "-ERR syntax error"),
    ("SET k", "-ERR wrong number of arguments for 'set' command"),
    ("INCR n", ":1"),
    ("INCRBY n 10", ":11"),
    ("DECR n", ":10"),
    ("DECRBY n 20", ":-10"),
    ("INCR k", "-ERR value is not an integer or out of range"),
    ("SET n 9223372036854775807", "+OK"),
    ("INCR n", "-ERR increment or decrement would overflow"),
    ("APPEND t abc", ":3"),
    ("APPEND t def", ":6"),
    ("STRLEN t", ":6"),
    ("STRLEN none", ":0"),
    ("GETRANGE t 1 -2", "\"bcde\""),
    ("SUBSTR t 0 0", "\"a\""),
    ("SETRANGE t 8 xy", ":10"),
    ("GET t", "\"abcdef\\x00\\x00xy\""),
    ("SETRANGE none 5 ", ":0"),
];

const KEYS: &[(&str, &str)] = &[
    ("FLUSHALL", "+OK"),
    ("DBSIZE", ":0"),
    ("MSET a 1 b 2 c 3 d 4", "+OK"),
    ("EXISTS a b none a", ":3"),
    ("TOUCH a none", ":1"),
    ("TYPE a", "+string"),
    ("TYPE none", "+none"),
    ("DEL a none", ":1"),
    ("UNLINK b none", ":1"),
    ("DBSIZE", ":2"),
    ("KEYS c*", "[\"c\"]"),
    ("KEYS x*", "[]"),
    ("SCAN 0 COUNT 1000 MATCH d", "[\"0\" [\"d\"]]"),
    ("SCAN 0 TYPE list COUNT 1000", "[\"0\" []]"),
    ("SCAN x", "-ERR invalid cursor"),
    ("EXPIRE c 100", ":1"),
    ("EXPIRE c 200 NX", ":0"),
    ("EXPIRE c 50 GT", ":0"),
    ("EXPIRE c 50 LT", ":1"),
    ("EXPIRE none 100", ":0"),
    ("TTL c", ":50"),
    ("PEXPIRE c 100000", ":1"),
    ("PTTL none", ":-2"),
    ("PTTL d", ":-1"),
    ("EXPIREAT c 33177117420", ":1"),
    ("EXPIRETIME c", ":33177117420"),
    ("PEXPIREAT c 33177117420123", ":1"),
    ("PEXPIRETIME c", ":33177117420123"),
    ("PERSIST c", ":1"),
    ("PERSIST c", ":0"),
    ("EXPIRE c -1", ":1"),
    ("EXISTS c", ":0"),
    ("FLUSHDB ASYNC", "+OK"),
    ("DBSIZE", ":0"),
    ("CREATE k v", "+OK"),
    ("CREATE k v", "-KEYEXISTS ..."),
    ("READ k", "\"v\""),
    ("READ k none", "[\"v\" nil]"),
    ("READ none", "nil"),
    ("UPDATE k w IFVALUE v", "+OK"),
    ("UPDATE k x IFVALUE v", "-CONDITIONFAILED ..."),
    ("UPDATE none x", "-NOTFOUND ..."),
    ("DELETE k IFVALUE v", "-CONDITIONFAILED ..."),
    ("DELETE k IFREVISION 1", "-CONDITIONFAILED ..."),
    ("DELETE k IFVALUE w", ":1"),
    ("DELETE k k", ":0"),
    ("STATEMENT COUNT", ":0"),
    ("MULTI", "+OK"),
    ("SET k v", "+QUEUED"),
    ("EXEC", "[+OK]"),
    ("MULTI", "+OK"),
    ("DISCARD", "+OK"),
    ("EXEC", "-ERR EXEC without MULTI"),
    ("DISCARD", "-ERR DISCARD without MULTI"),
    ("WATCH k", "+OK"),
    ("UNWATCH", "+OK"),
];

const SERVER: &[(&str, &str)] = &[
    ("PING", "+PONG"),
    ("PING x", "\"x\""),
    ("ECHO x", "\"x\""),
    ("AUTH x", "-ERR AUTH <password> called..."),
    ("SELECT 0", "+OK"),
    ("SELECT 1", "-ERR DB index is out of range"),
    ("READONLY", "+OK"),
    ("READWRITE", "+OK"),
    ("CLIENT ID", ":..."),
    ("CLIENT SETNAME ann", "+OK"),
    ("CLIENT GETNAME", "\"ann\""),
    ("CLIENT SETINFO LIB-NAME x", "+OK"),
    ("CLIENT NO-EVICT ON", "+OK"),
    ("CLIENT NO-TOUCH OFF", "+OK"),
    ("CLIENT STALE-READS ON", "+OK"),
    ("CLIENT STALE-READS off", "+OK"),
    ("CLIENT STALE-READS maybe", "-ERR syntax error"),
    ("CLIENT HELP", "[..."),
    ("CLIENT KILL x", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP."),
    ("COMMAND", "[..."),
    ("COMMAND COUNT", ":..."),
    ("COMMAND LIST", "[..."),
    ("COMMAND INFO get none", "[[\"get\" :2 [..."),
    ("COMMAND DOCS get", "..."),
    ("COMMAND HELP", "[..."),
    ("CONFIG GET maxmemory", "..."),
    ("CONFIG HELP", "[..."),
    ("CONFIG SET a b", "-ERR ..."),
    ("INFO", "..."),
    ("INFO server nothing", "..."),
    ("TIME", "[..."),
    ("CHECKPOINT", "+OK"),
    ("SAVE", "+OK"),
    ("BGSAVE", "+Background saving started"),
    ("BGSAVE SCHEDULE", "+Background saving started"),
    ("LASTSAVE", ":..."),
    ("WAIT 0 100", ":0"),
    ("WAIT 1 10", ":0"),
    ("SLOWLOG GET 5", "[]"),
    ("SLOWLOG LEN", ":0"),
    ("SLOWLOG RESET", "+OK"),
    ("SLOWLOG HELP", "[..."),
    ("REPLICA HELP", "[..."),
    ("REPLICA ADD 4 127.0.0.1:1", "-ERR..."),
    ("REPLICA REMOVE 4", "-ERR..."),
    ("LATENCY LATEST", "[]"),
    ("LATENCY RESET", ":0"),
    ("LATENCY HELP", "[..."),
    ("HELLO", "..."),
    ("NONSENSE a b", "-ERR unknown command 'NONSENSE', with args beginning with: 'a' 'b' "),
];

/// They leave the connection as the client does not expect it.
const LAST: &[(&str, &str)] = &[("RESET", "+RESET"), ("QUIT", "+OK")];

#[test]
fn every_command_answers_in_both_versions_of_the_protocol() {
    let _watchdog = Watchdog::minutes(5, "every_command_answers_in_both_versions_of_the_protocol");
    for mut connection in [Server::start(&[])].iter().flat_map(|server| [server.connect(), server.connect_resp3()]) {
        say(&mut connection, "FLUSHALL");
        for dialogue in [VALUES, KEYS, SERVER, LAST] {
            check(&mut connection, dialogue);
        }
    }
}

#[test]
fn no_command_is_left_out() {
    let _watchdog = Watchdog::minutes(5, "no_command_is_left_out");
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let all: Vec<Vec<Value>> = redis::cmd("COMMAND").query(&mut connection).unwrap();
    let name = |info: &Value| match info {
        Value::BulkString(name) => String::from_utf8(name.clone()).unwrap(),
        other => panic!("a name: {other:?}"),
    };
    let mut names = BTreeSet::new();
    for info in &all {
        let Value::Array(subcommands) = &info[9] else { panic!("subcommands: {info:?}") };
        for subcommand in subcommands {
            let Value::Array(info) = subcommand else { panic!("a subcommand: {subcommand:?}") };
            names.insert(name(&info[0]).replace('|', " "));
        }
        if subcommands.is_empty() || name(&info[0]) == "command" {
            names.insert(name(&info[0]));
        }
    }
    assert!(names.len() > 80, "{names:?}");
    for (line, _) in [VALUES, KEYS, SERVER, LAST].concat() {
        let words: Vec<String> = line.split(' ').take(2).map(str::to_lowercase).collect();
        names.remove(&words[0]);
        names.remove(&words.join(" "));
    }
    assert!(names.is_empty(), "not tried: {names:?}");
}

#[test]
fn both_versions_of_the_protocol_have_their_own_maps_and_nulls() {
    let _watchdog = Watchdog::minutes(5, "both_versions_of_the_protocol_have_their_own_maps_and_nulls");
    let server = Server::start(&[]);
    let mut wire = server.wire();
    assert_eq!(wire.say("GET none"), "$-1\\r\\n");
    assert_eq!(wire.say("CONFIG GET databases"), "*2\\r\\n$9\\r\\ndatabases\\r\\n$1\\r\\n1\\r\\n");
    assert!(wire.say("HELLO 3").starts_with("%7\\r\\n"));
    assert_eq!(wire.say("GET none"), "_\\r\\n");
    assert_eq!(wire.say("CONFIG GET databases"), "%1\\r\\n$9\\r\\ndatabases\\r\\n$1\\r\\n1\\r\\n");
    assert!(wire.say("HELLO 4").starts_with("-NOPROTO "));
    assert_eq!(wire.say("GET none"), "_\\r\\n");
    assert!(wire.say("HELLO 2").starts_with("*14\\r\\n"));
    assert_eq!(wire.say("GET none"), "$-1\\r\\n");
}
