//! Rounds and their results: contenders take turns, every metric keeps one value a contender and round.
//!
//! Two ways of saying the same thing, for different uses: the table has medians, ranges and ratios; the CSV file
//! has every value. A ratio compares values of the same round, which were taken within the same minutes, and is
//! the median over the rounds; it is formed against the best *other* contender, so its own row says for the
//! contender under test by how much it leads or trails. Differences can be negative; those have no ratio.

mod goal;

pub use goal::{Goal, Reach};

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Which direction is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Throughput.
    Higher,
    /// Latency, memory, disk.
    Lower,
}

/// One value that one contender reached in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What was measured, the same for all contenders.
    pub metric: String,
    /// The unit of `value`.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// The value.
    pub value: f64,
}

impl Measurement {
    /// A value where more is better.
    pub fn higher(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { metric: metric.into(), unit, better: Better::Higher, value }
    }

    /// A value where less is better.
    pub fn lower(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { metric: metric.into(), unit, better: Better::Lower, value }
    }
}

/// The values of one contender for one metric, with their rounds.
#[derive(Debug, Clone)]
struct Series {
    contender: String,
    values: Vec<(usize, f64)>,
}

#[derive(Debug, Clone)]
struct Metric {
    name: String,
    unit: &'static str,
    better: Better,
    series: Vec<Series>,
}

/// All values of one program's run.
#[derive(Debug, Clone)]
pub struct Report {
    name: String,
    notes: Vec<String>,
    metrics: Vec<Metric>,
    goals: Vec<Goal>,
}

/// Runs `measure` for every contender in every round. The order turns by one each round, so that no contender
/// always follows the same other one.
pub fn interleave<C, E>(
    contenders: &[C],
    rounds: usize,
    mut measure: impl FnMut(&C, usize) -> Result<(), E>,
) -> Result<(), E> {
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            measure(&contenders[(round + turn) % contenders.len()], round)?;
        }
    }
    Ok(())
}

impl Report {
    /// An empty report; `name` is its heading and the stem of its files.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), notes: Vec::new(), metrics: Vec::new(), goals: Vec::new() }
    }

    /// Adds a line that stands above the table: sizes, durations, versions.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a goal, which stands in a table of its own where both of its sides were measured.
    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    /// Adds a value.
    pub fn add(&mut self, contender: &str, round: usize, measurement: Measurement) {
        let Measurement { metric: name, unit, better, value } = measurement;
        let index = match self.metrics.iter().position(|metric| metric.name == name) {
            Some(index) => index,
            None => {
                self.metrics.push(Metric { name, unit, better, series: Vec::new() });
                self.metrics.len() - 1
            }
        };
        let series = &mut self.metrics[index].series;
        match series.iter_mut().find(|series| series.contender == contender) {
            Some(series) => series.values.push((round, value)),
            None => series.push(Series { contender: contender.to_owned(), values: vec![(round, value)] }),
        }
    }

    fn series(&self, metric: &str, contender: &str) -> Option<&Series> {
        let metric = self.metrics.iter().find(|candidate| candidate.name == metric)?;
        metric.series.iter().find(|series| series.contender == contender)
    }

    /// Median of a metric for a contender.
    pub fn median(&self, metric: &str, contender: &str) -> Option<f64> {
        self.series(metric, contender).and_then(Series::median)
    }

    /// Values of a metric for a contender.
    pub fn values(&self, metric: &str, contender: &str) -> Vec<f64> {
        self.series(metric, contender)
            .map(|series| series.values.iter().map(|(_, value)| *value).collect())
            .unwrap_or_default()
    }

    /// For each round, the contender's value divided by another one's.
    pub fn ratios_to(&self, metric: &str, contender: &str, other: &str) -> Vec<f64> {
        let sides = self.series(metric, contender).zip(self.series(metric, other));
        sides.map(|(subject, other)| subject.ratios_to(other)).unwrap_or_default()
    }

    /// Median over the rounds of the contender's value divided by that of the best other contender.
    pub fn ratio(&self, metric: &str, contender: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|candidate| candidate.name == metric)?;
        metric.ratio(metric.series.iter().find(|series| series.contender == contender)?)
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.name);
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        out.push_str("\n| what | contender | median | range | rounds | to the best other |\n");
        out.push_str("| --- | --- | ---: | --- | ---: | ---: |\n");
        for metric in &self.metrics {
            for series in &metric.series {
                let median = series.median().map(|value| format!("{} {}", short(value), metric.unit));
                let sorted = series.sorted();
                let range =
                    sorted.first().zip(sorted.last()).map(|(low, high)| format!("{}-{}", short(*low), short(*high)));
                let ratio = metric.ratio(series).map(|ratio| format!("{ratio:.2} x"));
                let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} |",
                    metric.name,
                    series.contender,
                    or_none(median),
                    or_none(range),
                    series.values.len(),
                    or_none(ratio),
                );
            }
        }
        out.push_str(&goal::table(self, &self.goals));
        out
    }

    /// Every value, one a line.
    pub fn csv(&self) -> String {
        let mut out = String::from("report,metric,unit,better,contender,round,value\n");
        for metric in &self.metrics {
            let better = match metric.better {
                Better::Higher => "higher",
                Better::Lower => "lower",
            };
            for series in &metric.series {
                for (round, value) in &series.values {
                    let fields =
                        [&self.name, &metric.name, metric.unit, better, &series.contender].map(quote).join(",");
                    let _ = writeln!(out, "{fields},{round},{value}");
                }
            }
        }
        out
    }

    /// Prints the table and, if a folder is given, writes `NAME.md` and `NAME.csv` into it.
    pub fn publish(&self, folder: Option<&Path>) -> io::Result<()> {
        println!("{}", self.markdown());
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(format!("{}.md", self.name)), self.markdown())?;
            fs::write(folder.join(format!("{}.csv", self.name)), self.csv())?;
        }
        Ok(())
    }
}

impl Series {
    fn sorted(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self) -> Option<f64> {
        median(self.sorted())
    }

    fn ratios_to(&self, other: &Self) -> Vec<f64> {
        let ratios = self.values.iter().filter_map(|(round, value)| {
            let (_, other) = other.values.iter().find(|(other_round, _)| other_round == round)?;
            (*other > 0.0 && *value >= 0.0).then(|| value / other)
        });
        ratios.collect()
    }
}

impl Metric {
    fn ratio(&self, subject: &Series) -> Option<f64> {
        let others = self.series.iter().filter(|series| series.contender != subject.contender);
        let medians = others.filter_map(|series| Some((series, series.median()?)));
        let (best, _) = match self.better {
            Better::Higher => medians.max_by(|left, right| left.1.total_cmp(&right.1)),
            Better::Lower => medians.min_by(|left, right| left.1.total_cmp(&right.1)),
        }?;
        median(subject.ratios_to(best))
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => values.get(middle).copied(),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Three significant digits: more would pretend that the machine repeats itself.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn quote<T: AsRef<str> + ?Sized>(field: &T) -> String {
    let field = field.as_ref();
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::new("sample");
        for (round, (skink, first, second)) in
            [(20.0, 10.0, 9.0), (30.0, 10.0, 11.0), (60.0, 20.0, 5.0)].iter().enumerate()
        {
            report.add("skink", round, Measurement::higher("updates", "k/s", *skink));
            report.add("first", round, Measurement::higher("updates", "k/s", *first));
            report.add("second", round, Measurement::higher("updates", "k/s", *second));
        }
        report
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn ratios_pair_the_rounds_with_the_best_other() {
        let report = sample();
        assert_eq!(report.median("updates", "skink"), Some(30.0));
        assert_eq!(report.ratio("updates", "skink"), Some(3.0), "2, 3 and 3 times the first");
        assert_eq!(report.ratio("updates", "first"), Some(1.0 / 3.0), "the best other is skink");
    }

    #[test]
    fn for_latencies_the_best_is_the_lowest() {
        let mut report = Report::new("latency");
        for (contender, value) in [("skink", 2.0), ("slow", 8.0), ("quick", 4.0)] {
            report.add(contender, 0, Measurement::lower("p50", "ms", value));
        }
        assert_eq!(report.ratio("p50", "skink"), Some(0.5));
        assert_eq!(report.ratio("p50", "slow"), Some(4.0));
    }

    #[test]
    fn one_contender_has_no_ratio() {
        let mut report = Report::new("alone");
        report.add("skink", 0, Measurement::higher("updates", "k/s", 1.0));
        assert_eq!(report.ratio("updates", "skink"), None);
        assert!(report.markdown().contains("| updates | skink | 1.00 k/s | 1.00-1.00 | 1 | - |"));
    }

    #[test]
    fn files_hold_every_value() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = sample();
        report.add("odd, name", 0, Measurement::lower("disk", "MB", 0.5));
        report.note("three rounds");
        report.publish(Some(folder.path())).unwrap();
        let csv = fs::read_to_string(folder.path().join("sample.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + 9 + 1);
        assert!(csv.contains("sample,updates,k/s,higher,skink,2,60\n"));
        assert!(csv.contains("sample,disk,MB,lower,\"odd, name\",0,0.5\n"));
        let markdown = fs::read_to_string(folder.path().join("sample.md")).unwrap();
        assert!(markdown.contains("- three rounds\n") && markdown.contains("3.00 x"));
    }

    #[test]
    fn contenders_take_turns() {
        let mut order = Vec::new();
        interleave(&["a", "b"], 2, |contender, round| {
            order.push((*contender, round));
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(order, [("a", 0), ("b", 0), ("b", 1), ("a", 1)]);
    }
}
