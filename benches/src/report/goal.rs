//! What a contender is meant to reach: a value, or a ratio to another contender's of the same rounds.

use super::{Report, median, short};
use std::fmt::Write as _;

/// Where the goal lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// As much or more.
    AtLeast(f64),
    /// As much or less.
    AtMost(f64),
}

/// One goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The metric, the same for both sides.
    pub metric: String,
    /// Whose goal.
    pub contender: &'static str,
    /// Beside whom; none where the value itself is meant.
    pub against: Option<&'static str>,
    /// What is meant to be reached.
    pub reach: Reach,
}

impl Reach {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::AtMost(limit) => format!("<= {limit}"),
        }
    }
}

/// A table of goals, those aside for which a side was not measured; empty where that leaves none.
pub(super) fn table(report: &Report, goals: &[Goal]) -> String {
    let mut rows = String::new();
    for goal in goals {
        let mut values = match goal.against {
            Some(other) => report.ratios_to(&goal.metric, goal.contender, other),
            None => report.values(&goal.metric, goal.contender),
        };
        values.sort_by(f64::total_cmp);
        let (Some(middle), Some(low), Some(high)) = (median(values.clone()), values.first(), values.last()) else {
            continue;
        };
        let _ = writeln!(
            rows,
            "| {} | {} | {} | {} ({}-{}) | {} | {} |",
            goal.metric,
            goal.contender,
            goal.against.unwrap_or("-"),
            short(middle),
            short(*low),
            short(*high),
            goal.reach.text(),
            if goal.reach.holds(middle) { "reached" } else { "**missed**" },
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n| what | contender | to | ratio or value (range) | goal | |\n| --- | --- | --- | ---: | ---: | --- |\n{rows}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Measurement;

    #[test]
    fn goals_compare_the_same_rounds_and_leave_out_what_was_not_measured() {
        let mut report = Report::new("goals");
        for (round, (ours, theirs)) in [(10.0, 2.0), (30.0, 10.0), (40.0, 5.0)].into_iter().enumerate() {
            report.add("skink", round, Measurement::higher("updates", "k/s", ours));
            report.add("etcd", round, Measurement::higher("updates", "k/s", theirs));
        }
        let goal = |against, reach| Goal { metric: "updates".to_owned(), contender: "skink", against, reach };
        let goals = [
            goal(Some("etcd"), Reach::AtLeast(6.0)),
            goal(Some("etcd"), Reach::AtMost(6.0)),
            goal(Some("redis"), Reach::AtLeast(1.0)),
            goal(None, Reach::AtMost(30.0)),
        ];
        let text = table(&report, &goals);
        let rows: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            rows,
            [
                "| updates | skink | etcd | 5.00 (3.00-8.00) | >= 6 | **missed** |",
                "| updates | skink | etcd | 5.00 (3.00-8.00) | <= 6 | reached |",
                "| updates | skink | - | 30.0 (10.0-40.0) | <= 30 | reached |",
            ]
        );
        assert_eq!(table(&report, &goals[2..3]), "", "nothing of redis was measured");
    }
}
