//! Statements over the protocol.

use super::{say, send};
use redis::Connection;
use skink_tests::{Server, Watchdog};

fn statement(connection: &mut Connection, text: &str) -> String {
    send(connection, &[b"STATEMENT", text.as_bytes()])
}

#[test]
fn statements_create_read_update_and_delete() {
    let _watchdog = Watchdog::minutes(5, "statements_create_read_update_and_delete");
    let server = Server::start(&[]);
    for mut connection in [server.connect(), server.connect_resp3()] {
        let dialogue = [
            ("CREATE 'ann' = 'one'", "+OK"),
            ("create 'ann' = 'two';", "-KEYEXISTS ..."),
            ("READ 'ann'", "\"one\""),
            ("READ 'none'", "nil"),
            ("READ STALE 'ann'", "\"one\""),
            ("READ STALE 'ann', 'none'", "[\"one\" nil]"),
            ("READ STALE WHERE KEY LIKE 'a%'", "[[\"ann\" \"one\"]]"),
            ("BEGIN; READ STALE 'ann'; COMMIT", "-SYNTAX ..."),
            ("READ STALE 'ann'; READ 'ann'", "-ERR READ STALE must be sent in a text of its own"),
            ("READ 'ann', 'none'", "[\"one\" nil]"),
            ("UPDATE 'ann' = 'two' IF VALUE = 'one'", "+OK"),
            ("UPDATE 'ann' = 'three' IF VALUE = 'one'", "-CONDITIONFAILED ..."),
            ("UPDATE 'none' = 'x'", "-NOTFOUND ..."),
            ("UPSERT 'ben' = 'it''s'", "+OK"),
            ("READ 'ben'", "\"it\\'s\""),
            ("INCREMENT 'n' BY 5", ":5"),
            ("INCREMENT 'ben'", "-ERR value is not an integer or out of range"),
            ("COUNT", ":3"),
            ("READ WHERE KEY LIKE 'a%'", "[[\"ann\" \"two\"]]"),
            ("COUNT WHERE KEY LIKE 'b%'", ":1"),
            ("DELETE 'ann' IF VALUE = 'one'", "-CONDITIONFAILED ..."),
            ("DELETE 'ann', 'none'", ":1"),
            ("BEGIN; CREATE 'x' = '1'; INCREMENT 'x'; READ 'x'; COMMIT", "[+OK :2 \"2\"]"),
            (
                "BEGIN; UPDATE 'x' = '9'; UPDATE 'none' = '1'; COMMIT",
                "-NOTFOUND transaction rolled back at command 2...",
            ),
            ("READ 'x'", "\"2\""),
            ("BEGIN; UPDATE 'x' = '9'; ROLLBACK", "+ROLLBACK"),
            ("READ 'x'", "\"2\""),
            ("BEGIN; READ 'x'", "-SYNTAX ..."),
            ("COMMIT", "-SYNTAX ..."),
            ("CREATE 'y' = '1'; READ 'y'; DELETE 'y'; READ 'y'", "[+OK \"1\" :1 nil]"),
            ("CREATE 'y' = '1' EXPIRE 1ms", "+OK"),
            ("CHECKPOINT", "+OK"),
            ("SHOW STATUS", "[[\"name\" \"value\"]..."),
            ("SHOW REPLICAS", "[..."),
            ("SHOW SEGMENTS", "[..."),
            ("SHOW CHECKPOINTS", "[..."),
            ("SHOW RECOVERY", "[..."),
            ("SHOW CONFIG", "[..."),
            ("EXPLAIN READ 'x'", "[\"read \\'x\\': segment..."),
            ("SELECT * FROM x", "-SYNTAX ..."),
            ("READ 'x", "-SYNTAX ..."),
            ("CREATE 'x' = 'y' EXPIRE 5", "-SYNTAX ..."),
            ("READ WHERE KEY LIKE 'a%'; COUNT", "-ERR ..."),
            ("CHECKPOINT; COUNT", "-ERR ..."),
        ];
        for (text, expected) in dialogue {
            let reply = statement(&mut connection, text);
            let is_right = expected.strip_suffix("...").map_or(reply == expected, |start| reply.starts_with(start));
            assert!(is_right, "{text}: {reply}, not {expected}");
        }
        let rows = send(&mut connection, &[b"STATEMENT", b"ROWS", b"READ 'x', 'none'"]);
        assert!(rows.starts_with("[[\"x\" \"2\" :"), "{rows}");
        let revision = rows.trim_start_matches("[[\"x\" \"2\" :").split(' ').next().unwrap();
        let update = format!("UPDATE 'x' = '3' IF REVISION = {revision}");
        assert_eq!(statement(&mut connection, &update), "+OK");
        assert!(statement(&mut connection, &update).starts_with("-CONDITIONFAILED "));
        assert_eq!(say(&mut connection, "FLUSHALL"), "+OK");
    }
}

#[test]
fn several_statements_may_be_the_first_thing_that_a_server_is_asked() {
    let _watchdog = Watchdog::minutes(5, "several_statements_may_be_the_first_thing_that_a_server_is_asked");
    let mut server = Server::start(&[]);
    for number in 0..3 {
        let mut connection = server.connect();
        let text = format!("UPSERT 'a' = '{number}'; READ 'a'; INCREMENT 'n'; READ 'n'");
        let expected = format!("[+OK \"{number}\" :{n} \"{n}\"]", n = number + 1);
        assert_eq!(statement(&mut connection, &text), expected);
        assert_eq!(say(&mut connection, "PING"), "+PONG");
        server.kill9();
        server.restart();
    }
}

#[test]
fn statements_keep_their_place_among_commands() {
    let _watchdog = Watchdog::minutes(5, "statements_keep_their_place_among_commands");
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let mut pipe = redis::pipe();
    let mut expected = Vec::new();
    for number in 0..200_i64 {
        pipe.cmd("SET").arg("k").arg(number).ignore();
        pipe.cmd("STATEMENT").arg("INCREMENT 'k'");
        pipe.cmd("STATEMENT").arg("READ 'k'");
        pipe.cmd("STATEMENT").arg("COUNT");
        expected.extend([number + 1, number + 1, 1]);
    }
    let replies: Vec<i64> = pipe.query(&mut connection).unwrap();
    assert_eq!(replies, expected);
}

#[test]
fn a_backup_is_a_copy_that_verifies() {
    let _watchdog = Watchdog::minutes(5, "a_backup_is_a_copy_that_verifies");
    let server = Server::start(&[]);
    let mut connection = server.connect();
    for number in 0..500 {
        let _: () = redis::cmd("SET").arg(number).arg(number).query(&mut connection).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let text = format!("BACKUP TO '{}'", backup.display());
    let reply = statement(&mut connection, &text);
    assert!(reply.contains("\"keys\" :500"), "{reply}");
    let again = statement(&mut connection, &text);
    assert!(again.starts_with("-ERR the backup failed"), "{again}");
    let verified = skink_tests::server::verify(&backup);
    assert!(verified.is_clean, "{}", verified.text);
}
