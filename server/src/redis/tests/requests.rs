//! What each request becomes, and every error text.

use super::super::request::{ClientAttribute, CommandQuery, Credentials, Hello, Password};
use super::super::{ConnectionRequest, Request, Shape, WRONG_PASSWORD, parse};
use super::arguments;
use crate::resp::{Arguments, Frame, ProtocolVersion};
use bytes::Bytes;
use skink_engine::command::{
    Command, Condition, Expiry, ExpiryRule, MAX_RANGE_LIMIT, Pattern, Put, PutMode, Range, RangeQuery, Transaction,
    Unmet,
};
use skink_engine::position::Revision;
use skink_replication::paxos::{MembershipChange, ReplicaId};

fn key() -> Bytes {
    Bytes::from_static(b"k")
}

fn keys() -> Vec<Bytes> {
    vec![key(), Bytes::from_static(b"l")]
}

fn put() -> Put {
    Put { unmet: Unmet::Missing, ..Put::new(PutMode::Upsert, "k", "v") }
}

fn set_expiry(expiry: Expiry, rule: ExpiryRule) -> Command {
    Command::SetExpiry { key: key(), expiry, rule }
}

fn read_then(then: Command) -> Command {
    let commands = vec![Command::Read { key: key() }, then];
    Command::Transaction(Transaction { preconditions: vec![], commands, all_or_nothing: false })
}

#[test]
fn commands_on_the_state() {
    let first = || Shape::Pick { index: 0, of: 2, shape: Box::new(Shape::Value) };
    let create = |expiry| Command::Put(Put { expiry, ..Put::new(PutMode::Create, "k", "v") });
    let update = |expiry, condition| Command::Put(Put { expiry, condition, ..Put::new(PutMode::Update, "k", "v") });
    let scan = |cursor, limit, pattern| Command::Scan { cursor, limit, pattern };
    let glob = |text: &'static str| Some(Pattern::Glob(text.into()));
    let cases = [
        ("get k", Command::Read { key: key() }, Shape::Value),
        ("GeT k", Command::Read { key: key() }, Shape::Value),
        ("set k v", Command::Put(put()), Shape::Status),
        ("SET k v NX", Command::Put(Put { mode: PutMode::Create, ..put() }), Shape::Status),
        (
            "SET k v ex 10 xx get",
            Command::Put(Put { mode: PutMode::Update, expiry: Expiry::InMs(10_000), return_previous: true, ..put() }),
            Shape::Value,
        ),
        ("SET k v PX 10", Command::Put(Put { expiry: Expiry::InMs(10), ..put() }), Shape::Status),
        ("SET k v EXAT 10", Command::Put(Put { expiry: Expiry::AtMs(10_000), ..put() }), Shape::Status),
        (
            "SET k v PXAT 10 NX",
            Command::Put(Put { expiry: Expiry::AtMs(10), mode: PutMode::Create, ..put() }),
            Shape::Status,
        ),
        ("SET k v KEEPTTL", Command::Put(Put { expiry: Expiry::Keep, ..put() }), Shape::Status),
        ("SET k v KEEPTTL KEEPTTL", Command::Put(Put { expiry: Expiry::Keep, ..put() }), Shape::Status),
        ("SET k v EX x EX 10", Command::Put(Put { expiry: Expiry::InMs(10_000), ..put() }), Shape::Status),
        ("SETNX k v", Command::Put(Put { mode: PutMode::Create, ..put() }), Shape::Flag),
        ("SETEX k 10 v", Command::Put(Put { expiry: Expiry::InMs(10_000), ..put() }), Shape::Status),
        ("PSETEX k 10 v", Command::Put(Put { expiry: Expiry::InMs(10), ..put() }), Shape::Status),
        ("GETSET k v", Command::Put(Put { return_previous: true, ..put() }), Shape::Value),
        ("GETDEL k", read_then(Command::Delete { key: key(), condition: None }), first()),
        ("GETEX k", Command::Read { key: key() }, Shape::Value),
        ("GETEX k PERSIST", read_then(set_expiry(Expiry::Never, ExpiryRule::Always)), first()),
        ("GETEX k EXAT 2", read_then(set_expiry(Expiry::AtMs(2000), ExpiryRule::Always)), first()),
        ("GETEX k PX 1 PX 2", read_then(set_expiry(Expiry::InMs(2), ExpiryRule::Always)), first()),
        ("MGET k l", Command::ReadMany { keys: keys() }, Shape::Values),
        (
            "MSET k l",
            Command::PutMany { entries: vec![("k".into(), "l".into())], only_if_none_exists: false },
            Shape::Status,
        ),
        (
            "MSETNX k l",
            Command::PutMany { entries: vec![("k".into(), "l".into())], only_if_none_exists: true },
            Shape::Integer,
        ),
        ("INCR k", Command::Increment { key: key(), by: 1 }, Shape::Integer),
        ("DECR k", Command::Increment { key: key(), by: -1 }, Shape::Integer),
        ("INCRBY k -7", Command::Increment { key: key(), by: -7 }, Shape::Integer),
        ("DECRBY k -7", Command::Increment { key: key(), by: 7 }, Shape::Integer),
        ("APPEND k v", Command::Append { key: key(), bytes: "v".into() }, Shape::Integer),
        ("STRLEN k", Command::Length { key: key() }, Shape::Integer),
        ("GETRANGE k 0 -1", Command::ReadPart { key: key(), start: 0, end: -1 }, Shape::Bytes),
        ("SUBSTR k 0 -1", Command::ReadPart { key: key(), start: 0, end: -1 }, Shape::Bytes),
        ("SETRANGE k 3 v", Command::WritePart { key: key(), offset: 3, bytes: "v".into() }, Shape::Integer),
        ("DEL k", Command::Delete { key: key(), condition: None }, Shape::Integer),
        ("DEL k l", Command::DeleteMany { keys: keys() }, Shape::Integer),
        ("UNLINK k l", Command::DeleteMany { keys: keys() }, Shape::Integer),
        ("EXISTS k l", Command::Exists { keys: keys() }, Shape::Integer),
        ("TOUCH k l", Command::Exists { keys: keys() }, Shape::Integer),
        ("SCAN 0", scan(0, 10, None), Shape::Scan),
        ("SCAN 18446744073709551615 count 5 match a*", scan(u64::MAX, 5, glob("a*")), Shape::Scan),
        ("SCAN 7 MATCH * COUNT 9999999999 TYPE String", scan(7, MAX_RANGE_LIMIT, None), Shape::Scan),
        ("SCAN 0 TYPE hash", scan(0, 10, None), Shape::ScanOfNone),
        (
            "KEYS a*",
            Command::ReadRange(RangeQuery {
                range: Range::all(),
                pattern: glob("a*"),
                limit: MAX_RANGE_LIMIT,
                with_values: false,
            }),
            Shape::Keys,
        ),
        ("TYPE k", Command::TimeToLive { key: key() }, Shape::Type),
        ("TTL k", Command::TimeToLive { key: key() }, Shape::TtlSeconds),
        ("PTTL k", Command::TimeToLive { key: key() }, Shape::TtlMs),
        ("EXPIRETIME k", Command::TimeToLive { key: key() }, Shape::ExpireTimeSeconds),
        ("PEXPIRETIME k", Command::TimeToLive { key: key() }, Shape::ExpireTimeMs),
        ("EXPIRE k 10", set_expiry(Expiry::InMs(10_000), ExpiryRule::Always), Shape::Integer),
        ("EXPIRE k -1 NX", set_expiry(Expiry::InMs(-1000), ExpiryRule::IfNone), Shape::Integer),
        ("PEXPIRE k 10 xx", set_expiry(Expiry::InMs(10), ExpiryRule::IfSome), Shape::Integer),
        ("EXPIREAT k 10 GT", set_expiry(Expiry::AtMs(10_000), ExpiryRule::IfLater), Shape::Integer),
        ("EXPIREAT k 10 XX GT", set_expiry(Expiry::AtMs(10_000), ExpiryRule::IfLater), Shape::Integer),
        ("PEXPIREAT k 10 LT", set_expiry(Expiry::AtMs(10), ExpiryRule::IfEarlier), Shape::Integer),
        ("PERSIST k", set_expiry(Expiry::Never, ExpiryRule::Always), Shape::Integer),
        ("DBSIZE", Command::Count, Shape::Integer),
        ("FLUSHALL", Command::Flush, Shape::Status),
        ("FLUSHDB async", Command::Flush, Shape::Status),
        ("CREATE k v", create(Expiry::Never), Shape::Status),
        ("CREATE k v PX 5", create(Expiry::InMs(5)), Shape::Status),
        ("READ k", Command::Read { key: key() }, Shape::Value),
        ("READ k l", Command::ReadMany { keys: keys() }, Shape::Values),
        ("UPDATE k v", update(Expiry::Keep, None), Shape::Status),
        ("UPDATE k v EX 1 IFVALUE w", update(Expiry::InMs(1000), Some(Condition::ValueIs("w".into()))), Shape::Status),
        (
            "UPDATE k v ifrevision 7 EXAT 2",
            update(Expiry::AtMs(2000), Some(Condition::RevisionIs(Revision::from_raw(7)))),
            Shape::Status,
        ),
        ("DELETE k", Command::Delete { key: key(), condition: None }, Shape::Integer),
        ("DELETE k l", Command::DeleteMany { keys: keys() }, Shape::Integer),
        ("DELETE IFVALUE", Command::Delete { key: "IFVALUE".into(), condition: None }, Shape::Integer),
        (
            "DELETE k IFVALUE w",
            Command::Delete { key: key(), condition: Some(Condition::ValueIs("w".into())) },
            Shape::Integer,
        ),
        (
            "DELETE k IFREVISION 7",
            Command::Delete { key: key(), condition: Some(Condition::RevisionIs(Revision::from_raw(7))) },
            Shape::Integer,
        ),
    ];
    for (line, command, shape) in cases {
        assert_eq!(parse(arguments(line)), Ok(Request::Execute { command, shape }), "{line}");
    }
}

#[test]
fn requests_about_the_connection_or_the_server() {
    use ConnectionRequest as C;
    let replica = ReplicaId::new(4).unwrap();
    let credentials = |user: Option<&'static str>| Credentials {
        user: user.map(Bytes::from),
        password: Password::new("secret".into()),
    };
    let cases = [
        ("PING", C::Ping(None)),
        ("ping k", C::Ping(Some(key()))),
        ("ECHO k", C::Echo(key())),
        ("HELLO", C::Hello(Hello::default())),
        ("HELLO 2", C::Hello(Hello { version: Some(ProtocolVersion::Resp2), ..Hello::default() })),
        (
            "HELLO 3 setname k auth ann secret",
            C::Hello(Hello {
                version: Some(ProtocolVersion::Resp3),
                auth: Some(credentials(Some("ann"))),
                name: Some(key()),
            }),
        ),
        (
            "HELLO 3 auth ann secret WHAT",
            C::Hello(Hello { version: Some(ProtocolVersion::Resp3), auth: Some(credentials(Some("ann"))), name: None }),
        ),
        ("AUTH secret", C::Auth(credentials(None))),
        ("AUTH ann secret", C::Auth(credentials(Some("ann")))),
        ("SELECT 0", C::Select(0)),
        ("QUIT", C::Quit),
        ("RESET", C::Reset),
        ("READONLY", C::Accepted),
        ("READWRITE", C::Accepted),
        ("CLIENT ID", C::ClientId),
        ("client getname", C::ClientGetName),
        ("CLIENT SETNAME k", C::ClientSetName(key())),
        ("CLIENT SETINFO lib-name k", C::ClientSetInfo { attribute: ClientAttribute::LibraryName, value: key() }),
        ("CLIENT SETINFO LIB-VER k", C::ClientSetInfo { attribute: ClientAttribute::LibraryVersion, value: key() }),
        ("CLIENT NO-EVICT on", C::Accepted),
        ("CLIENT NO-TOUCH OFF", C::Accepted),
        ("CLIENT STALE-READS on", C::ClientStaleReads(true)),
        ("client stale-reads OFF", C::ClientStaleReads(false)),
        ("COMMAND", C::Command(CommandQuery::All)),
        ("COMMAND COUNT", C::Command(CommandQuery::Count)),
        ("COMMAND LIST", C::Command(CommandQuery::List)),
        ("COMMAND INFO k l", C::Command(CommandQuery::Info(keys()))),
        ("COMMAND DOCS", C::Command(CommandQuery::Docs(vec![]))),
        ("CONFIG GET k l", C::ConfigGet(keys())),
        ("INFO", C::Info(vec![])),
        ("INFO k", C::Info(vec![key()])),
        ("MULTI", C::Multi),
        ("EXEC", C::Exec),
        ("DISCARD", C::Discard),
        ("WATCH k l", C::Watch(keys())),
        ("UNWATCH", C::Unwatch),
        ("STATEMENT k", C::Statement { text: key(), rows: false }),
        ("STATEMENT ROWS", C::Statement { text: "ROWS".into(), rows: false }),
        ("STATEMENT rows k", C::Statement { text: key(), rows: true }),
        ("CHECKPOINT", C::Checkpoint),
        ("SAVE", C::Checkpoint),
        ("REPLICA ADD 4 host:7380", C::ChangeMembers(MembershipChange::Add { replica, address: "host:7380".into() })),
        ("replica remove 4", C::ChangeMembers(MembershipChange::Remove { replica })),
        ("BGSAVE", C::BackgroundSave),
        ("BGSAVE SCHEDULE", C::BackgroundSave),
        ("LASTSAVE", C::LastSave),
        ("WAIT 2 100", C::Wait { replicas: 2, timeout_ms: 100 }),
        ("TIME", C::Time),
        ("SLOWLOG GET", C::SlowLogGet(Some(10))),
        ("SLOWLOG GET -1", C::SlowLogGet(None)),
        ("SLOWLOG LEN", C::SlowLogLen),
        ("SLOWLOG RESET", C::SlowLogReset),
        ("LATENCY LATEST", C::LatencyLatest),
        ("LATENCY RESET", C::LatencyReset),
    ];
    for (line, request) in cases {
        assert_eq!(parse(arguments(line)), Ok(Request::Connection(request)), "{line}");
    }
    let answer = |line| match parse(arguments(line)) {
        Ok(Request::Connection(request)) => request.fixed_answer(),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(answer("AUTH default any"), Some(Frame::OK));
    assert_eq!(answer("AUTH ann any"), Some(Frame::error(WRONG_PASSWORD)));
    assert_eq!(answer("SELECT 1"), Some(Frame::error("ERR DB index is out of range")));
    assert_eq!(answer("CLIENT ID"), None);
    for line in ["CLIENT HELP", "command help", "CONFIG HELP", "SLOWLOG HELP", "LATENCY HELP"] {
        assert!(
            matches!(parse(arguments(line)), Ok(Request::Connection(C::Help(spec))) if !spec.subcommands.is_empty())
        );
    }
}

#[test]
fn errors_have_redis_texts() {
    let not_an_integer = "ERR value is not an integer or out of range";
    let syntax = "ERR syntax error";
    let cases = [
        ("FOO", "ERR unknown command 'FOO', with args beginning with: "),
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("A-NAME-LONGER-THAN-ANY", "ERR unknown command 'A-NAME-LONGER-THAN-ANY', with args beginning with: "),
        ("CLIENT MAINT_NOTIFICATIONS on", "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."),
        ("command nope", "ERR unknown subcommand 'nope'. Try COMMAND HELP."),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("CLIENT", "ERR wrong number of arguments for 'client' command"),
        ("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command"),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command"),
        ("MSET a b c", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a b c", "ERR wrong number of arguments for 'msetnx' command"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
        ("REPLICA ADD 0 h:1", "ERR a replica's number is from 1 to 15"),
        ("REPLICA REMOVE 16", "ERR a replica's number is from 1 to 15"),
        ("REPLICA REMOVE x", "ERR a replica's number is from 1 to 15"),
        ("REPLICA ADD 4 host", "ERR the address of a replica is HOST:PORT, with a port from 1 to 65535"),
        ("REPLICA ADD 4 host:0", "ERR the address of a replica is HOST:PORT, with a port from 1 to 65535"),
        ("REPLICA ADD 4 :1", "ERR the address of a replica is HOST:PORT, with a port from 1 to 65535"),
        ("REPLICA ADD 4", "ERR wrong number of arguments for 'replica|add' command"),
        ("SLOWLOG GET x 2", "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."),
        ("SET k v NX XX", syntax),
        ("SET k v XX NX", syntax),
        ("SET k v EX", syntax),
        ("SET k v EX 1 PX 1", syntax),
        ("SET k v KEEPTTL EX 1", syntax),
        ("SET k v EX 1 KEEPTTL", syntax),
        ("SET k v WHAT", syntax),
        ("SET k v EX a", not_an_integer),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v PXAT -1", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("PSETEX k 9223372036854775807 v", "ERR invalid expire time in 'psetex' command"),
        ("SET k v EX x EXAT 1", syntax),
        ("SET k v EX x WHAT", syntax),
        ("SET k v EX 1 EX x", not_an_integer),
        ("GETEX k EX 1 EX 0", "ERR invalid expire time in 'getex' command"),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("SETEX k a v", not_an_integer),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX k WHAT", syntax),
        ("GETEX k PERSIST EX", syntax),
        ("GETEX k EX 1 PERSIST", syntax),
        ("INCRBY k 1.5", not_an_integer),
        ("INCRBY k 9223372036854775808", not_an_integer),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("GETRANGE k a 1", not_an_integer),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        ("SCAN a", "ERR invalid cursor"),
        ("SCAN -1", "ERR invalid cursor"),
        ("SCAN +1", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", syntax),
        ("SCAN 0 COUNT a", not_an_integer),
        ("SCAN 0 MATCH", syntax),
        ("SCAN 0 WHAT 1", syntax),
        ("EXPIRE k a", not_an_integer),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("EXPIREAT k 9223372036854775807", "ERR invalid expire time in 'expireat' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIRE k x WHAT", "ERR Unsupported option WHAT"),
        ("EXPIRE k x GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 1 WHAT", "ERR Unsupported option WHAT"),
        ("EXPIRE k 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 1 LT XX", "ERR XX and LT options at the same time are not supported"),
        ("FLUSHALL WHAT", syntax),
        ("FLUSHALL SYNC ASYNC", syntax),
        ("CREATE k v NX", syntax),
        ("CREATE k v EX 1 PX 1", syntax),
        ("CREATE k v EX 0", "ERR invalid expire time in 'create' command"),
        ("UPDATE k v IFVALUE", syntax),
        ("UPDATE k v IFVALUE a IFREVISION 1", syntax),
        ("UPDATE k v EX 1 EX 1", syntax),
        ("UPDATE k v IFREVISION -1", not_an_integer),
        ("DELETE k IFREVISION x", not_an_integer),
        (
            "DELETE k l IFVALUE x",
            "ERR a condition needs exactly one key; delete keys that are named IFVALUE or IFREVISION with DEL",
        ),
        (
            "DELETE k ifvalue",
            "ERR a condition needs exactly one key; delete keys that are named IFVALUE or IFREVISION with DEL",
        ),
        ("STATEMENT COLUMNS k", syntax),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 1", "NOPROTO unsupported protocol version"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO 3 AUTH user", "ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 WHAT", "ERR Syntax error in HELLO option 'WHAT'"),
        ("HELLO 3 SETNAME \u{fc}", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("AUTH a b c", syntax),
        ("SELECT a", not_an_integer),
        ("SELECT 2147483648", "ERR value is out of range, value must between -2147483648 and 2147483647"),
        ("CLIENT SETNAME a\nb", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("CLIENT SETINFO lib-what a", "ERR Unrecognized option 'lib-what'"),
        ("CLIENT SETINFO LIB-NAME a\tb", "ERR lib-name cannot contain spaces, newlines or special characters."),
        ("CLIENT NO-EVICT maybe", syntax),
        ("CLIENT STALE-READS maybe", syntax),
        ("WAIT a 1", not_an_integer),
        ("WAIT 1 a", "ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "ERR timeout is negative"),
        ("SLOWLOG GET a", "ERR count should be greater than or equal to -1"),
        ("SLOWLOG GET -2", "ERR count should be greater than or equal to -1"),
        ("BGSAVE WHAT", syntax),
    ];
    for (line, text) in cases {
        assert_eq!(parse(arguments(line)).map_err(|error| error.to_string()), Err(text.to_string()), "{line}");
    }
}

#[test]
fn unknown_commands_are_repeated_in_part_and_made_harmless() {
    let text = |arguments: Vec<Vec<u8>>| {
        let arguments: Arguments = arguments.into_iter().map(Bytes::from).collect();
        parse(arguments).unwrap_err().to_string()
    };
    let long = text(vec![vec![b'x'; 1000], vec![b'y'; 100], vec![b'z'; 1000], b"last".to_vec()]);
    let (name, first, second) = ("x".repeat(128), "y".repeat(100), "z".repeat(128 - 103));
    assert_eq!(long, format!("ERR unknown command '{name}', with args beginning with: '{first}' '{second}' "));
    let odd = text(vec![b"a\r\nb".to_vec(), b"\xff\x1b[2J".to_vec()]);
    assert_eq!(odd, "ERR unknown command 'a  b', with args beginning with: '\u{fffd} [2J' ");
    assert_eq!(text(vec![vec![]]), "ERR unknown command '', with args beginning with: ");
}

#[test]
fn passwords_are_not_shown() {
    let request = parse(arguments("HELLO 3 AUTH ann secret")).unwrap();
    assert!(!format!("{request:?}").contains("secret"));
}
