//! The same commands to Redis and to Skink: the same bytes come back.
//!
//! What may differ, each said in `docs/protocol.md`:
//!
//! | commands | differ | here |
//! | --- | --- | --- |
//! | `COMMAND` `CONFIG GET` `INFO` `TIME` `LASTSAVE` `CLIENT ID`, `HELP` of a command | they tell of the server | sent with mistakes alone |
//! | `HELLO` | version and number of the connection | left out of the comparison |
//! | `TTL` `PTTL` `EXPIRETIME` `PEXPIRETIME` | clocks: the second server is asked later | compared to 5 s |
//! | `SCAN` `KEYS` | order; cursors | compared in order of the lines, not sent in `MULTI` |
//! | `DBSIZE` | when keys go that expired | sent behind an `EXISTS` of all keys, with which they go |
//! | `SETRANGE` `APPEND` | the longest value, and the error's text | [`is_deliberate`] |
//! | `GETEX` | a wrong time is an error without the key, too | [`is_deliberate`] |
//! | `EXPIRE` and the like | `XX` with `LT` is refused | not sent |
//! | `WATCH` | a key that was made and deleted meanwhile has not changed | keys are made before |
//! | `HELLO` `CLIENT` `CONFIG` `COMMAND` `WAIT` `BGSAVE` in `MULTI` | can't be queued | not sent there |
//! | `READONLY` `READWRITE` | accepted without a cluster | not sent |
//! | errors that repeat an argument | what is no text has signs in its place | sent with text |

use super::random::{self, Words};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_tests::wire::request;
use skink_tests::{RedisServer, Server, Watchdog, Wire, seed, tools};
use std::collections::{BTreeSet, VecDeque};

/// Commands that are sent in each version of the protocol.
const COMMANDS: usize = 5000;

/// A connection to each server.
struct Pair {
    redis: Wire,
    skink: Wire,
    /// Names of what is queued; `None` outside of `MULTI`.
    queued: Option<Vec<String>>,
}

fn name(words: &Words) -> String {
    String::from_utf8_lossy(&words[0]).to_lowercase()
}

fn shown(words: &Words) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

impl Pair {
    fn new(redis: &RedisServer, skink: &Server) -> Pair {
        Pair { redis: redis.wire(), skink: skink.wire(), queued: None }
    }

    /// Sends a command to both; what they answered where it differs.
    fn differs(&mut self, words: &Words) -> Option<(Vec<u8>, Vec<u8>)> {
        let bytes = request(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        self.redis.send(&bytes);
        self.skink.send(&bytes);
        let (redis, skink) = (self.redis.reply(), self.skink.reply());
        let name = name(words);
        let about = match name.as_str() {
            "exec" => self.queued.take().unwrap_or_default(),
            _ => vec![name.clone()],
        };
        match name.as_str() {
            "multi" if redis.starts_with(b"+OK") => self.queued = Some(Vec::new()),
            "discard" | "reset" if redis.starts_with(b"+") => self.queued = None,
            _ if redis.starts_with(b"+QUEUED") => self.queued.iter_mut().for_each(|queued| queued.push(name.clone())),
            _ => {}
        }
        (!is_same(&about, &redis, &skink)).then_some((redis, skink))
    }

    fn say(&mut self, line: &str) {
        let words = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(self.differs(&words), None, "{line}");
    }

    fn may_send(&self, name: &str) -> bool {
        let outside_of_transactions =
            ["hello", "client", "config", "command", "wait", "bgsave", "dbsize", "scan", "keys"];
        self.queued.is_none() || !outside_of_transactions.contains(&name)
    }
}

/// Looks at all keys.
fn exists() -> Words {
    [&[b"EXISTS".as_slice()], random::keys()].concat().into_iter().map(<[u8]>::to_vec).collect()
}

/// Whether the replies to these commands are the same, but for what may differ.
fn is_same(names: &[String], redis: &[u8], skink: &[u8]) -> bool {
    let has = |some: &[&str]| names.iter().any(|name| some.contains(&name.as_str()));
    if redis == skink {
        return true;
    }
    let (mut redis, mut skink) = (lines(redis), lines(skink));
    if has(&["hello"]) {
        mask(&mut redis);
        mask(&mut skink);
    }
    if has(&["scan", "keys"]) {
        redis.sort();
        skink.sort();
    }
    let is_clock = has(&["ttl", "pttl", "expiretime", "pexpiretime"]);
    redis.len() == skink.len()
        && redis.iter().zip(&skink).all(|(redis, skink)| {
            redis == skink || is_deliberate(names, redis, skink) || is_clock && is_near(redis, skink)
        })
}

fn lines(reply: &[u8]) -> Vec<String> {
    reply.escape_ascii().to_string().replace("\\'", "'").split("\\r\\n").map(str::to_string).collect()
}

/// Takes from the answer to HELLO what is the server's and the connection's own.
fn mask(lines: &mut [String]) {
    for at in 2..lines.len() {
        if ["version", "id"].contains(&lines[at - 1].as_str()) {
            lines[at] = String::new();
            if lines[at - 1] == "version" && at + 1 < lines.len() {
                lines[at + 1] = String::new();
            }
        }
    }
}

fn is_deliberate(names: &[String], redis: &str, skink: &str) -> bool {
    let has = |name: &str| names.iter().any(|other| other == name);
    let is_too_long = redis == "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        && skink.starts_with("-ERR the value would have ");
    let is_wrong_time = ["-ERR invalid expire time in 'getex' command", "-ERR value is not an integer or out of range"]
        .contains(&skink)
        && ["$-1", "_"].contains(&redis);
    is_too_long && (has("setrange") || has("append")) || is_wrong_time && has("getex")
}

/// Long times that differ by less than two clocks do.
fn is_near(redis: &str, skink: &str) -> bool {
    let number = |line: &str| line.strip_prefix(':').and_then(|number| number.parse::<i64>().ok());
    matches!((number(redis), number(skink)), (Some(one), Some(other)) if one > 10_000 && (one - other).abs() < 5000)
}

fn compare(version: &str, redis: &RedisServer, skink: &Server, random: &mut StdRng) {
    let mut pairs = [Pair::new(redis, skink), Pair::new(redis, skink)];
    let mut history = VecDeque::new();
    for number in 0..COMMANDS {
        if number % 500 == 0 {
            for pair in &mut pairs {
                pair.say("RESET");
                pair.say(&format!("HELLO {version}"));
                pair.say("FLUSHALL");
            }
        }
        let other = usize::from(random.random_bool(0.2));
        let pair = &mut pairs[other];
        let words = random::command(random);
        let name = name(&words);
        if !pair.may_send(&name) {
            continue;
        }
        let mut batch = Vec::new();
        if name == "watch" && words.len() > 1 {
            batch.extend(words[1..].iter().map(|key| vec![b"SETNX".to_vec(), key.clone(), b"1".to_vec()]));
        }
        if name == "dbsize" {
            batch.push(exists());
        }
        batch.push(words);
        // Both change the version.
        if name == "hello" || name == "reset" {
            batch.push(vec![b"HELLO".to_vec(), version.as_bytes().to_vec()]);
        }
        for words in batch {
            if !pair.may_send(&self::name(&words)) {
                continue;
            }
            if history.len() == 20 {
                history.pop_front();
            }
            history.push_back(format!("{other}: {}", shown(&words)));
            if let Some((redis, skink)) = pair.differs(&words) {
                let history: Vec<String> = history.into();
                panic!(
                    "RESP{version}, command {number}:\n{}\nRedis: {}\nSkink: {}",
                    history.join("\n"),
                    redis.escape_ascii(),
                    skink.escape_ascii()
                );
            }
        }
    }
    // What has come of it all.
    let [mut pair, mut other] = pairs;
    pair.say("RESET");
    other.say("RESET");
    assert_eq!(pair.differs(&exists()), None);
    pair.say("DBSIZE");
    for key in random::keys() {
        for command in ["GET", "PTTL", "TYPE"] {
            let words = vec![command.as_bytes().to_vec(), key.to_vec()];
            assert_eq!(pair.differs(&words), None, "{}", shown(&words));
        }
    }
}

#[test]
fn replies_are_those_of_redis_byte_by_byte() {
    let test = "replies_are_those_of_redis_byte_by_byte";
    let _watchdog = Watchdog::minutes(5, test);
    if !tools::is_there("redis-server") {
        return;
    }
    let mut random = StdRng::seed_from_u64(seed(test));
    let (redis, skink) = (RedisServer::start(), Server::start(&["--io-threads", "2"]));
    for version in ["2", "3"] {
        compare(version, &redis, &skink, &mut random);
    }
}

#[test]
fn every_command_that_redis_has_too_is_compared() {
    let _watchdog = Watchdog::minutes(5, "every_command_that_redis_has_too_is_compared");
    let server = Server::start(&[]);
    let all: Vec<String> = redis::cmd("COMMAND").arg("LIST").query(&mut server.connect()).unwrap();
    // Skink's own, those that tell of the server, and the one that ends the connection.
    let left_out = ["create", "read", "update", "delete", "statement", "checkpoint", "replica"];
    let left_out = [&left_out[..], &["readonly", "readwrite", "info", "time", "lastsave", "quit"]].concat();
    let compared: BTreeSet<&str> = random::names().collect();
    let missing: Vec<&String> = all
        .iter()
        .filter(|name| {
            let name = name.split('|').next().unwrap_or_default();
            !compared.contains(name) && !left_out.contains(&name)
        })
        .collect();
    assert!(all.len() > 60 && missing.is_empty(), "{missing:?}");
}
