//! Numbers as people read them.

/// A number with its digits in groups.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds, or seconds where they are many.
pub fn milliseconds(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::{milliseconds, thousands};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [thousands(0), thousands(999), thousands(1_000), thousands(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn long_times_are_seconds() {
        assert_eq!([milliseconds(0), milliseconds(999), milliseconds(61_040)], ["0 ms", "999 ms", "61.0 s"]);
    }
}
