//! `MULTI` and `WATCH`.

use super::{check, say};
use skink_tests::wire::pipeline;
use skink_tests::{Server, Watchdog};

#[test]
fn a_transaction_with_a_mistake_does_nothing() {
    let _watchdog = Watchdog::minutes(5, "a_transaction_with_a_mistake_does_nothing");
    let server = Server::start(&[]);
    for mut connection in [server.connect(), server.connect_resp3()] {
        for mistake in ["SET k", "NONSENSE", "GET", "INFO x"] {
            check(&mut connection, &[("MULTI", "+OK"), ("SET k v", "+QUEUED")]);
            assert!(say(&mut connection, mistake).starts_with("-ERR "), "{mistake}");
            check(
                &mut connection,
                &[
                    ("SET k w", "+QUEUED"),
                    ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                    ("GET k", "nil"),
                    ("EXEC", "-ERR EXEC without MULTI"),
                ],
            );
        }
    }
}

#[test]
fn wrong_arguments_are_answered_by_exec_and_leave_the_other_commands() {
    let _watchdog = Watchdog::minutes(5, "wrong_arguments_are_answered_by_exec_and_leave_the_other_commands");
    let server = Server::start(&[]);
    for version in ["2", "3"] {
        let mut wire = server.wire();
        wire.say(&format!("HELLO {version}"));
        assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
        let refused =
            "-EXECABORT Transaction discarded because of: wrong number of arguments for \\'exec\\' command\\r\\n";
        assert_eq!(wire.say("EXEC k"), refused);
        assert_eq!(wire.say("SET k 1"), "+OK\\r\\n");
        assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
        let lines =
            ["SET k 2", "SET k v WHAT", "PING", "ECHO x", "PING a b", "SELECT 0", "SELECT x", "UNWATCH", "INCR k"];
        for line in lines {
            assert_eq!(wire.say(line), "+QUEUED\\r\\n", "{line}");
        }
        let expected = "*9\r\n+OK\r\n-ERR syntax error\r\n+PONG\r\n$1\r\nx\r\n\
                        -ERR wrong number of arguments for 'ping' command\r\n+OK\r\n\
                        -ERR value is not an integer or out of range\r\n+OK\r\n:3\r\n";
        assert_eq!(String::from_utf8(wire.call(&[b"EXEC"])).unwrap(), expected);
        // Nothing for the engine in it.
        wire.send(&pipeline(&["MULTI", "PING", "EXEC"]));
        let replies: Vec<Vec<u8>> = (0..3).map(|_| wire.reply()).collect();
        assert_eq!(replies[2], b"*1\r\n+PONG\r\n");
        // They take room in memory, too.
        let long = vec![b'x'; 15 << 20];
        assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
        let replies: Vec<Vec<u8>> = (0..6).map(|_| wire.call(&[b"ECHO", &long])).collect();
        assert!(replies.contains(&b"-ERR the transaction is too large\r\n".to_vec()));
        assert!(wire.say("EXEC").starts_with("-EXECABORT "));
    }
}

#[test]
fn an_error_in_a_transaction_leaves_the_other_commands() {
    let _watchdog = Watchdog::minutes(5, "an_error_in_a_transaction_leaves_the_other_commands");
    let server = Server::start(&[]);
    let mut wire = server.wire();
    let lines = ["MULTI", "SET k v", "INCR k", "SET l w", "GETDEL k", "GETEX l PERSIST", "MGET k l", "EXEC"];
    wire.send(&pipeline(&lines));
    (1..lines.len()).for_each(|_| drop(wire.reply()));
    let reply = String::from_utf8(wire.reply()).unwrap();
    let expected = "*6\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n$1\r\nv\r\n$1\r\nw\r\n\
                    *2\r\n$-1\r\n$1\r\nw\r\n";
    assert_eq!(reply, expected);
    assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
    assert_eq!(wire.say("MULTI"), "-ERR MULTI calls can not be nested\\r\\n");
    assert_eq!(wire.say("WATCH k"), "-ERR WATCH inside MULTI is not allowed\\r\\n");
    assert_eq!(wire.say("EXEC"), "*0\\r\\n");
}

#[test]
fn a_watched_key_that_changes_stops_the_transaction() {
    let _watchdog = Watchdog::minutes(5, "a_watched_key_that_changes_stops_the_transaction");
    let server = Server::start(&["--io-threads", "2"]);
    let (mut one, mut other) = (server.connect(), server.connect_resp3());
    let begin = [("WATCH k l", "+OK"), ("MULTI", "+OK"), ("SET k mine", "+QUEUED")];
    let changes = [
        "SET k theirs",
        "DEL k",
        "SET l theirs",
        "APPEND k x",
        "FLUSHALL",
        "INCR l",
        "EXPIRE l 100",
        "MSET a b k d",
        "GETDEL l",
        "SETRANGE k 0 x",
        "PEXPIRE l 1",
    ];
    for change in changes {
        check(&mut other, &[("MSET k 1 l 1", "+OK")]);
        check(&mut one, &begin);
        say(&mut other, change);
        let (k, l) = (say(&mut other, "GET k"), say(&mut other, "GET l"));
        if change.starts_with("PEXPIRE") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(say(&mut one, "EXEC"), "nil", "{change}");
        assert_eq!(say(&mut other, "GET k"), k, "{change}");
        assert!(change.starts_with("PEXPIRE") || say(&mut other, "GET l") == l, "{change}");
    }
    // What does not change a key does not stop it; watching ends with the transaction.
    let others = ["GET k", "SET m 1", "SET k new NX", "DEL none", "EXPIRE none 100"];
    for other_command in others {
        check(&mut other, &[("MSET k 1 l 1", "+OK")]);
        check(&mut one, &begin);
        say(&mut other, other_command);
        assert_eq!(say(&mut one, "EXEC"), "[+OK]", "{other_command}");
        check(&mut other, &[("SET k 2", "+OK")]);
        check(&mut one, &[("MULTI", "+OK"), ("GET k", "+QUEUED"), ("EXEC", "[\"2\"]")]);
    }
    for stop in ["UNWATCH", "DISCARD"] {
        check(&mut one, &[("WATCH k", "+OK")]);
        if stop == "DISCARD" {
            check(&mut one, &[("MULTI", "+OK")]);
        }
        check(&mut one, &[(stop, "+OK")]);
        check(&mut other, &[("SET k 3", "+OK")]);
        check(&mut one, &[("MULTI", "+OK"), ("GET k", "+QUEUED"), ("EXEC", "[\"3\"]")]);
    }
    // A DISCARD that drops nothing does not stop the watching.
    check(&mut one, &[("WATCH k", "+OK"), ("DISCARD", "-ERR DISCARD without MULTI")]);
    check(&mut other, &[("SET k 4", "+OK")]);
    check(&mut one, &[("MULTI", "+OK"), ("GET k", "+QUEUED"), ("EXEC", "nil")]);
    // A key that is not there is watched too.
    check(&mut one, &[("DEL k", ":1"), ("WATCH k", "+OK"), ("MULTI", "+OK"), ("SET k mine", "+QUEUED")]);
    check(&mut other, &[("SET k theirs", "+OK")]);
    check(&mut one, &[("EXEC", "nil"), ("GET k", "\"theirs\"")]);
}

#[test]
fn counters_by_optimistic_transactions_lose_nothing() {
    let _watchdog = Watchdog::minutes(5, "counters_by_optimistic_transactions_lose_nothing");
    let server = Server::start(&["--io-threads", "2"]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let mut done = 0;
                while done < 50 {
                    redis::cmd("WATCH").arg("n").exec(&mut connection).unwrap();
                    let n: Option<i64> = redis::cmd("GET").arg("n").query(&mut connection).unwrap();
                    let mut pipe = redis::pipe();
                    pipe.atomic().cmd("SET").arg("n").arg(n.unwrap_or(0) + 1);
                    let result: Option<Vec<String>> = pipe.query(&mut connection).unwrap();
                    done += u32::from(result.is_some());
                }
            });
        }
    });
    assert_eq!(server.wire().say("GET n"), "$3\\r\\n150\\r\\n");
}
