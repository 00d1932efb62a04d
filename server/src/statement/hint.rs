//! Guesses at what somebody meant who wrote something else.

/// What other languages call a statement of this one.
const SYNONYMS: &[(&str, &str)] = &[
    ("SELECT", "READ"),
    ("GET", "READ"),
    ("MGET", "READ"),
    ("FETCH", "READ"),
    ("INSERT", "CREATE"),
    ("ADD", "CREATE"),
    ("SET", "UPSERT"),
    ("PUT", "UPSERT"),
    ("REPLACE", "UPSERT"),
    ("MERGE", "UPSERT"),
    ("DEL", "DELETE"),
    ("REMOVE", "DELETE"),
    ("INCR", "INCREMENT"),
    ("INCRBY", "INCREMENT"),
    ("START", "BEGIN"),
    ("MULTI", "BEGIN"),
    ("EXEC", "COMMIT"),
    ("END", "COMMIT"),
    ("ABORT", "ROLLBACK"),
    ("DISCARD", "ROLLBACK"),
    ("DESCRIBE", "EXPLAIN"),
    ("TTL", "EXPIRE"),
    ("EX", "EXPIRE"),
    ("WHEN", "IF"),
];

/// Longer words are nobody's misspelling of a keyword.
const MAX_WORD_LEN: usize = 16;

/// The expected keyword that the word was most likely meant to be.
pub(super) fn meant<'k>(word: &[u8], expected: &[&'k str]) -> Option<&'k str> {
    let word = std::str::from_utf8(word).ok().filter(|word| word.len() <= MAX_WORD_LEN)?.to_ascii_uppercase();
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, keyword)| *keyword);
    if let Some(keyword) = expected.iter().find(|keyword| Some(**keyword) == synonym) {
        return Some(keyword);
    }
    let keywords = expected.iter().filter(|keyword| keyword.bytes().all(|byte| byte.is_ascii_uppercase()));
    keywords
        .map(|keyword| (distance(word.as_bytes(), keyword.as_bytes()), *keyword))
        // One slip in a short word, two in a long one: more is another word.
        .filter(|(distance, keyword)| *distance <= if keyword.len() < 5 { 1 } else { 2 })
        .min()
        .map(|(_, keyword)| keyword)
}

/// How many slips lie between two words: a letter too many, too few, wrong, or swapped with its neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, meant};

    #[test]
    fn slips_are_counted() {
        assert_eq!(distance(b"DELETE", b"DELETE"), 0);
        assert_eq!(distance(b"DELTE", b"DELETE"), 1);
        assert_eq!(distance(b"DLEETE", b"DELETE"), 1);
        assert_eq!(distance(b"", b"IF"), 2);
        assert_eq!(distance(b"READ", b"CREATE"), 3);
    }

    #[test]
    fn only_what_is_expected_and_near_is_meant() {
        assert_eq!(meant(b"delet", &["CREATE", "DELETE"]), Some("DELETE"));
        assert_eq!(meant(b"select", &["CREATE", "READ"]), Some("READ"));
        assert_eq!(meant(b"select", &["EXPIRE"]), None);
        assert_eq!(meant(b"of", &["IF", "a key"]), Some("IF"));
        assert_eq!(meant(b"banana", &["CREATE", "READ"]), None);
    }
}
