//! Statements: what is understood is printed so that it is understood as the same.

use skink_server::statement::{Limits, parse, parse_script};

const LIMITS: Limits = Limits { max_text_len: 1 << 16, max_statements: 64, max_value_len: 1 << 12 };

/// Any text.
pub fn statement(data: &[u8]) {
    match parse_script(data, LIMITS) {
        Ok(_) => {}
        Err(error) => assert!(error.offset <= data.len() && !error.to_string().is_empty()),
    }
    let Ok(statements) = parse(data, LIMITS) else { return };
    for statement in statements {
        let Some(text) = statement.to_text() else { panic!("no text for {statement:?}") };
        let again = parse(text.as_bytes(), Limits::default());
        assert_eq!(again.as_deref(), Ok(std::slice::from_ref(&statement)), "{text}");
    }
}

/// Seeds of [`statement`].
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "CREATE 'user:1' = 'Ann' EXPIRE 60s;",
        "READ 'a', X'00ff'; -- comment",
        "READ WHERE KEY LIKE 'user:%' AND KEY >= 'user:5' LIMIT 10;",
        "READ STALE 'k'; READ STALE WHERE KEY = 'k';",
        "COUNT WHERE KEY BETWEEN 'a' AND 'b'",
        "UPDATE 'k' = 'it''s' EXPIRE NEVER IF VALUE = 'x';",
        "UPSERT 'k' = '' IF REVISION = 42;",
        "DELETE 'a', 'b'; DELETE 'c' IF VALUE = X'';",
        "BEGIN; INCREMENT 'n' BY -5; COMMIT;",
        "BEGIN; READ 'n'; ROLLBACK; EXPLAIN READ 'k';",
        "SHOW STATUS; CHECKPOINT; BACKUP TO '/tmp/x';",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
