//! Error texts, as they are shown. Change them here when you change them there, and read them once more.

use crate::statement::literal::is_printable;
use crate::statement::{Limits, parse, parse_script};

fn error(text: impl AsRef<[u8]>) -> String {
    parse_script(text.as_ref(), Limits::default()).unwrap_err().to_string()
}

/// Each case is a text and its whole error.
#[test]
fn errors_say_what_where_and_what_to_do() {
    let cases = [
        (
            "DELTE 'user:1'",
            "expected CREATE, READ, COUNT, UPDATE, UPSERT, DELETE, INCREMENT, BEGIN, COMMIT, ROLLBACK, CHECKPOINT, EXPLAIN, SHOW or BACKUP, but found DELTE
LINE 1: DELTE 'user:1'
        ^
hint: did you mean DELETE?",
        ),
        (
            "READ user:1;",
            "expected STALE, WHERE or a key in single quotes, but found user:1
LINE 1: READ user:1;
             ^
hint: strings are in single quotes: 'user:1'",
        ),
        (
            "READ \"user:1\";",
            "expected STALE, WHERE or a key in single quotes, but found \"user:1\"
LINE 1: READ \"user:1\";
             ^
hint: strings are in single quotes: 'user:1'",
        ),
        (
            "COUNT;\n  UPDATE 'user:1' 'Bob'",
            "expected =, but found the string 'Bob'
LINE 2:   UPDATE 'user:1' 'Bob'
                          ^",
        ),
        (
            "UPSERT 'k' = 'v' EXPIRES 60s",
            "expected EXPIRE, IF, ; or the end, but found EXPIRES
LINE 1: UPSERT 'k' = 'v' EXPIRES 60s
                         ^
hint: did you mean EXPIRE?",
        ),
        (
            "CREATE 'k' = 'v' IF VALUE = 'w'",
            "expected EXPIRE, ; or the end, but found IF
LINE 1: CREATE 'k' = 'v' IF VALUE = 'w'
                         ^",
        ),
        (
            "CREATE 'k' = 'v' EXPIRE 60",
            "60 has no unit
LINE 1: CREATE 'k' = 'v' EXPIRE 60
                                ^
hint: write 60s for seconds; units are ms, s, m, h and d",
        ),
        (
            "CREATE 'k' = 'v' EXPIRE 60weeks",
            "60weeks is not a duration
LINE 1: CREATE 'k' = 'v' EXPIRE 60weeks
                                ^
hint: write 500ms, 60s, 5m, 2h or 7d",
        ),
        (
            "CREATE 'Zoë' = 'unended",
            "the string that starts here has no end
LINE 1: CREATE 'Zoë' = 'unended
                       ^
hint: a quote inside a string is written twice: 'it''s'",
        ),
        (
            "READ X'0g'",
            "expected a hexadecimal digit or the quote that ends the string
LINE 1: READ X'0g'
                ^",
        ),
        (
            "READ X'123'",
            "a hexadecimal string has two digits for a byte; this one has an odd number
LINE 1: READ X'123'
             ^",
        ),
        (
            "DELETE 'a', 'b' IF VALUE = 'c'",
            "IF stands with one key only
LINE 1: DELETE 'a', 'b' IF VALUE = 'c'
                        ^
hint: delete each key with a condition of its own, between BEGIN and COMMIT",
        ),
        (
            "READ",
            "expected STALE, WHERE or a key in single quotes, but found the end
LINE 1: READ
            ^",
        ),
        (
            "READ WHERE KEY LIKE 'a' AND KEY LIKE 'b'",
            "there can be one LIKE only
LINE 1: READ WHERE KEY LIKE 'a' AND KEY LIKE 'b'
                                        ^",
        ),
        (
            "READ WHERE KEY > 'a' LIMIT 100000",
            "a limit is a number from 0 to 65536
LINE 1: READ WHERE KEY > 'a' LIMIT 100000
                                   ^
hint: to read on, add AND KEY > the last key read",
        ),
        (
            "INCREMENT 'k' BY 9223372036854775808",
            "9223372036854775808 is not a 64-bit integer
LINE 1: INCREMENT 'k' BY 9223372036854775808
                         ^",
        ),
        (
            "SHOW SEGMENT",
            "expected STATUS, REPLICAS, SEGMENTS, CHECKPOINTS, RECOVERY or CONFIG, but found SEGMENT
LINE 1: SHOW SEGMENT
             ^
hint: did you mean SEGMENTS?",
        ),
        (
            "EXPLAIN SHOW STATUS",
            "expected CREATE, READ, COUNT, UPDATE, UPSERT, DELETE or INCREMENT, but found SHOW
LINE 1: EXPLAIN SHOW STATUS
                ^",
        ),
        (
            "COUNT;\nCOMMIT",
            "COMMIT without a BEGIN before it
LINE 2: COMMIT
        ^",
        ),
        (
            "COUNT; BEGIN; COUNT;",
            "this BEGIN has no COMMIT or ROLLBACK after it
LINE 1: COUNT; BEGIN; COUNT;
               ^",
        ),
        (
            "BACKUP TO ''",
            "a folder's name is not empty and has no zero byte
LINE 1: BACKUP TO ''
                  ^",
        ),
        (
            "SELECT 1",
            "expected CREATE, READ, COUNT, UPDATE, UPSERT, DELETE, INCREMENT, BEGIN, COMMIT, ROLLBACK, CHECKPOINT, EXPLAIN, SHOW or BACKUP, but found SELECT
LINE 1: SELECT 1
        ^
hint: did you mean READ?",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "\n{}\n", error(text));
    }
}

#[test]
fn what_is_too_long_is_refused_with_its_place() {
    let key = "k".repeat(4097);
    for text in [
        format!("COUNT; READ 'a', '{key}'"),
        format!("COUNT; READ 'a', X'{}'", "00".repeat(4097)),
        format!("READ WHERE KEY > '{key}'"),
    ] {
        let error = parse(text.as_bytes(), Limits::default()).unwrap_err();
        assert_eq!(error.message, "the key has 4097 bytes; at most 4096 are allowed");
        assert_eq!(error.offset, 17);
    }
    assert!(parse(format!("READ '{}'", "k".repeat(4096)).as_bytes(), Limits::default()).is_ok());

    let limits = Limits { max_text_len: 30, max_statements: 2, max_value_len: 3 };
    let message = |text: &str| parse(text.as_bytes(), limits).unwrap_err().message;
    assert_eq!(message("CREATE 'k' = '1234'"), "the value has 4 bytes; at most 3 are allowed");
    assert_eq!(message("COUNT; COUNT; COUNT"), "a text has at most 2 statements");
    assert_eq!(message(&" ".repeat(31)), "the text has 31 bytes; at most 30 are allowed");

    let many = format!("READ 'k'{}", ",'k'".repeat(65_536));
    let error = parse(many.as_bytes(), Limits::default()).unwrap_err();
    assert_eq!(error.message, "a statement names at most 65536 keys");
}

#[test]
fn hostile_texts_get_a_short_error() {
    for text in [
        "x".repeat(1 << 20),
        format!("READ {}", "'k' ".repeat(1 << 18)),
        format!("READ 'k' {}", "é".repeat(1 << 19)),
        "EXPLAIN ".repeat(1 << 17),
        format!("INCREMENT 'k' BY {}", "9".repeat(1 << 20)),
        format!("CREATE 'k' = 'v' EXPIRE {}", "9".repeat(1 << 20)),
        "CREATE 'k' = 'v' EXPIRE 6\u{9b}31m\u{202e}".to_string(),
        "DELETE 'k' IF REVISION = 6\u{9b}31m\u{202e}".to_string(),
        format!("READ \"{}", "\u{1b}[31m".repeat(1 << 17)),
    ] {
        let shown = error(&text);
        assert!(shown.len() < 1000, "{} bytes", shown.len());
        let unseen = |shown: char| shown != '\n' && !is_printable(shown);
        assert!(!shown.contains(unseen), "{}", shown.escape_debug());
    }
}

#[test]
fn the_caret_stands_below_the_place_in_a_long_line() {
    let text = format!("READ '{}', banana, '{}'", "é".repeat(500), "b".repeat(500));
    let shown = error(text);
    let lines: Vec<&str> = shown.lines().collect();
    let caret = lines[2].chars().count() - 1;
    let pointed: String = lines[1].chars().skip(caret).take(6).collect();
    assert_eq!(pointed, "banana");
    assert!(lines[1].chars().count() < 140 && lines[1].contains("LINE 1: …"));
}
