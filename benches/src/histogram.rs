//! Latencies in a histogram of fixed size, precise to 0.1 %.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Longer latencies count as this one.
const LONGEST: Duration = Duration::from_secs(600);

/// Latencies of many requests.
#[derive(Debug, Clone)]
pub struct Latencies {
    nanoseconds: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let nanoseconds = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        Self { nanoseconds: nanoseconds.expect("1 < LONGEST and 3 digits are valid bounds") }
    }

    /// Adds `count` requests that took `latency`.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.saturating_record_n(nanoseconds.max(1), count);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.nanoseconds.add(&other.nanoseconds).expect("both have the same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.nanoseconds.len()
    }

    /// The latency that a share of `quantile` (0 to 1) of the requests didn't exceed.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.nanoseconds.value_at_quantile(quantile))
    }

    /// The longest, as precise as the histogram is.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_survive_a_merge() {
        let (mut low, mut high) = (Latencies::new(), Latencies::new());
        (1..=50).for_each(|ms| low.record(Duration::from_millis(ms), 1));
        (51..=100).for_each(|ms| high.record(Duration::from_millis(ms), 1));
        low.merge(&high);
        assert_eq!(low.count(), 100);
        assert!((low.quantile(0.5).as_secs_f64() / 0.050 - 1.0).abs() < 0.002);
        assert!((low.max().as_secs_f64() / 0.100 - 1.0).abs() < 0.002);
    }

    #[test]
    fn extremes_saturate() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO, 1);
        latencies.record(Duration::from_secs(10_000), 1);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.max() >= LONGEST);
    }
}
