//! From text, as it comes, to what can be run one after the other.
//!
//! | starts with | is | ends at |
//! | --- | --- | --- |
//! | a keyword of the statement language | a statement | `;` outside quotes and comments |
//! | `BEGIN` | a transaction, all of it | the `;` of its `COMMIT` or `ROLLBACK` |
//! | `.` | a command to the shell itself | the line's end |
//! | another word | a command of Redis' protocol | the line's end, or a `;` with a blank behind it |
//!
//! ```text
//! Between --word--> Word --keyword--> Statement <--> Quoted, DoubleQuoted, Comment
//!    ^               \----other-----> Command   <--> CommandQuoted
//!    +-------- end of the unit, or of a statement in a transaction --------+
//! ```
//!
//! Each byte is looked at once. Whether the text is right is for the server to say.

/// Words that statements start with.
pub const STATEMENT_KEYWORDS: [&str; 14] = [
    "BACKUP",
    "BEGIN",
    "CHECKPOINT",
    "COMMIT",
    "COUNT",
    "CREATE",
    "DELETE",
    "EXPLAIN",
    "INCREMENT",
    "READ",
    "ROLLBACK",
    "SHOW",
    "UPDATE",
    "UPSERT",
];

/// What is run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// A statement, or a transaction.
    Statement(Vec<u8>),
    /// A command of Redis' protocol.
    Command(Vec<u8>),
    /// A command to the shell, which starts with a point.
    Dot(Vec<u8>),
}

/// Splits a text that comes in pieces.
#[derive(Debug, Default)]
pub struct Splitter {
    text: Vec<u8>,
    /// Up to here the text was looked at.
    at: usize,
    place: Place,
    /// Where the present unit starts, once something of it was seen.
    start: Option<usize>,
    transaction: Transaction,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a unit, or before a statement of a transaction.
    #[default]
    Between,
    /// In the first word, which starts here.
    Word(usize),
    Statement,
    Quoted,
    DoubleQuoted,
    Comment {
        in_statement: bool,
    },
    Command,
    CommandQuoted {
        quote: u8,
        escaped: bool,
    },
    Dot,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    #[default]
    None,
    Begun,
    /// In its last statement.
    Ending,
}

impl Splitter {
    /// Adds text behind what there is.
    pub fn push(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Bytes that are held since their unit is not complete.
    pub fn held(&self) -> usize {
        self.text.len()
    }

    /// Whether the text ends inside a unit.
    pub fn is_inside(&self) -> bool {
        self.start.is_some()
    }

    /// The next unit that is complete.
    pub fn next_unit(&mut self) -> Option<Unit> {
        while let Some(&byte) = self.text.get(self.at) {
            // A word is classified by the byte behind it, which is then looked at in its new place.
            if let Place::Word(start) = self.place
                && !byte.is_ascii_alphabetic()
                && self.at > start
            {
                if byte == b'-' && self.word(start) == b"-" {
                    if self.start == Some(start) {
                        self.start = None;
                    }
                    self.place = Place::Comment { in_statement: false };
                } else {
                    self.classify(start);
                }
                continue;
            }
            let previous = self.at.checked_sub(1).and_then(|before| self.text.get(before)).copied();
            self.at += 1;
            match (self.place, byte) {
                (Place::Between, b';') => {}
                (Place::Between, byte) if byte.is_ascii_whitespace() => {}
                (Place::Between, byte) => {
                    self.at -= 1;
                    self.start.get_or_insert(self.at);
                    self.place = self.first_place(byte);
                    self.at += usize::from(matches!(self.place, Place::Word(_)));
                }
                (Place::Statement, b'\'') => self.place = Place::Quoted,
                (Place::Statement, b'"') => self.place = Place::DoubleQuoted,
                (Place::Statement, b'-') if previous == Some(b'-') => {
                    self.place = Place::Comment { in_statement: true };
                }
                (Place::Statement, b';') => match self.transaction {
                    Transaction::Begun => self.place = Place::Between,
                    Transaction::None | Transaction::Ending => return self.take().map(Unit::Statement),
                },
                (Place::Quoted, b'\'') => self.place = Place::Statement,
                (Place::DoubleQuoted, b'"' | b'\n') => self.place = Place::Statement,
                (Place::Comment { in_statement }, b'\n') => {
                    self.place = if in_statement { Place::Statement } else { Place::Between };
                }
                (Place::Command | Place::CommandQuoted { .. }, b'\n') => return self.take().map(command),
                (Place::Command, byte) if byte.is_ascii_whitespace() && previous == Some(b';') => {
                    return self.take().map(command);
                }
                (Place::Command, quote @ (b'\'' | b'"')) => {
                    self.place = Place::CommandQuoted { quote, escaped: false };
                }
                (Place::CommandQuoted { quote, escaped }, byte) => {
                    self.place = if byte == quote && !escaped {
                        Place::Command
                    } else {
                        Place::CommandQuoted { quote, escaped: byte == b'\\' && !escaped }
                    };
                }
                (Place::Dot, b'\n') => return self.take().map(Unit::Dot),
                _ => {}
            }
        }
        if self.start.is_none() {
            self.text.clear();
            self.at = 0;
        }
        None
    }

    /// What is left at the text's end, as if it were complete. Call it when there is no next unit.
    pub fn finish(&mut self) -> Option<Unit> {
        if let Place::Word(start) = self.place {
            self.classify(start);
        }
        let place = self.place;
        let text = self.take()?;
        Some(match place {
            Place::Command | Place::CommandQuoted { .. } => command(text),
            Place::Dot => Unit::Dot(text),
            _ => Unit::Statement(text),
        })
    }

    /// Where a unit is, or a statement of a transaction, that starts with this byte.
    fn first_place(&self, byte: u8) -> Place {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'-' => Place::Word(self.at),
            _ if self.transaction != Transaction::None => Place::Statement,
            b'.' => Place::Dot,
            _ => Place::Command,
        }
    }

    fn word(&self, start: usize) -> &[u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Decides by its first word what a unit is.
    fn classify(&mut self, start: usize) {
        let word = self.word(start).to_ascii_uppercase();
        self.place = Place::Statement;
        match (self.transaction, word.as_slice()) {
            (Transaction::None, b"BEGIN") => self.transaction = Transaction::Begun,
            (Transaction::None, word) if !is_statement_keyword(word) => self.place = Place::Command,
            (Transaction::Begun, b"COMMIT" | b"ROLLBACK") => self.transaction = Transaction::Ending,
            _ => {}
        }
    }

    /// The unit's text; the rest moves to the front.
    fn take(&mut self) -> Option<Vec<u8>> {
        let start = self.start.take()?;
        let unit = self.text.get(start..self.at).unwrap_or_default().trim_ascii().to_vec();
        self.text.drain(..self.at);
        *self = Splitter { text: std::mem::take(&mut self.text), ..Splitter::default() };
        Some(unit)
    }
}

/// Whether a statement can start with this word, in capitals.
fn is_statement_keyword(word: &[u8]) -> bool {
    STATEMENT_KEYWORDS.iter().any(|keyword| keyword.as_bytes() == word)
}

/// A command without the semicolon that people end it with.
fn command(mut text: Vec<u8>) -> Unit {
    if text.last() == Some(&b';') {
        text.pop();
    }
    Unit::Command(text.trim_ascii_end().to_vec())
}

#[cfg(test)]
mod tests {
    use super::{Splitter, Unit};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    fn units(text: &str) -> Vec<Unit> {
        split(text.as_bytes(), text.len().max(1))
    }

    fn split(text: &[u8], piece: usize) -> Vec<Unit> {
        let mut splitter = Splitter::default();
        let mut units = Vec::new();
        for piece in text.chunks(piece) {
            splitter.push(piece);
            units.extend(std::iter::from_fn(|| splitter.next_unit()));
        }
        units.extend(splitter.finish());
        units
    }

    fn statement(text: &str) -> Unit {
        Unit::Statement(text.as_bytes().to_vec())
    }

    fn command(text: &str) -> Unit {
        Unit::Command(text.as_bytes().to_vec())
    }

    fn dot(text: &str) -> Unit {
        Unit::Dot(text.as_bytes().to_vec())
    }

    #[test]
    fn statements_end_at_semicolons_outside_quotes_and_comments() {
        let cases = [
            ("", vec![]),
            (" ;; -- nothing\n ;", vec![]),
            ("read 'a'", vec![statement("read 'a'")]),
            ("READ 'a;''b'; COUNT;", vec![statement("READ 'a;''b';"), statement("COUNT;")]),
            ("READ -- not; here\n 'a';COUNT", vec![statement("READ -- not; here\n 'a';"), statement("COUNT")]),
            ("READ \"a;b\"; COUNT", vec![statement("READ \"a;b\";"), statement("COUNT")]),
            ("READ \"a;\nb; COUNT", vec![statement("READ \"a;\nb;"), statement("COUNT")]),
            ("-- first\nREAD 'it''s; ", vec![statement("READ 'it''s;")]),
            ("UPDATE 'a' = X'00' IF REVISION = -1;", vec![statement("UPDATE 'a' = X'00' IF REVISION = -1;")]),
        ];
        for (text, expected) in cases {
            assert_eq!(units(text), expected, "{text}");
        }
    }

    #[test]
    fn a_transaction_is_one_unit() {
        let text = "BEGIN; CREATE 'a' = 'COMMIT;'; -- COMMIT;\n delete 'b'; commit;COUNT;";
        let begun = "BEGIN; CREATE 'a' = 'COMMIT;'; -- COMMIT;\n delete 'b'; commit;";
        assert_eq!(units(text), [statement(begun), statement("COUNT;")]);
        assert_eq!(units("BEGIN; GET a\n.quit; ROLLBACK"), [statement("BEGIN; GET a\n.quit; ROLLBACK")]);
        assert_eq!(units("BEGIN; READ 'a';"), [statement("BEGIN; READ 'a';")]);
        assert_eq!(units("COMMIT; COUNT"), [statement("COMMIT;"), statement("COUNT")]);
    }

    #[test]
    fn other_words_are_commands_up_to_the_lines_end() {
        let cases = [
            ("GET k\nPING", vec![command("GET k"), command("PING")]),
            ("SET k a;b; GET k;", vec![command("SET k a;b"), command("GET k")]),
            ("SET k \"a; \\\" b\" ; COUNT;", vec![command("SET k \"a; \\\" b\""), statement("COUNT;")]),
            ("SET k 'open ; \nPING", vec![command("SET k 'open"), command("PING")]),
            ("READS 'a'; x", vec![command("READS 'a'"), command("x")]),
            ("'GET; ' k; PING", vec![command("'GET; ' k"), command("PING")]),
            ("- 1\n-x", vec![command("- 1"), command("-x")]),
        ];
        for (text, expected) in cases {
            assert_eq!(units(text), expected, "{text}");
        }
    }

    #[test]
    fn points_start_commands_to_the_shell() {
        assert_eq!(units(".mode json\nREAD 'a'"), [dot(".mode json"), statement("READ 'a'")]);
        assert_eq!(units("READ '\n.quit'"), [statement("READ '\n.quit'")]);
    }

    #[test]
    fn a_unit_that_is_not_complete_is_waited_for() {
        let mut splitter = Splitter::default();
        for (text, inside) in
            [("READ", true), (" 'a'", true), ("; ", false), ("BEGIN; COUNT;", true), ("COMMIT;", false)]
        {
            splitter.push(text.as_bytes());
            while splitter.next_unit().is_some() {}
            assert_eq!(splitter.is_inside(), inside, "{text}");
        }
        assert_eq!(splitter.held(), 0);
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(
            words in prop::collection::vec("[a-z]{1,2}|'|\"|;|-|--| |\n|\\.|\\\\|READ|BEGIN|COMMIT", 0..30),
            piece in 1_usize..5,
        ) {
            let text = words.concat();
            prop_assert_eq!(split(text.as_bytes(), piece), units(&text));
        }

        #[test]
        fn any_bytes_are_split_without_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            split(&text, 7);
        }
    }
}
