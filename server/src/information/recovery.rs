//! What the server tells of its start: `SHOW RECOVERY`, and the section Recovery of `INFO`.

use super::Fields;
use skink_replication::recovery::RecoveryReport;
use skink_replication::replica::Statistics;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn ms(duration: Option<Duration>) -> String {
    duration.map(|duration| duration.as_millis().to_string()).unwrap_or_default()
}

/// The rows of `SHOW RECOVERY`, without those about segments.
pub(super) fn rows(report: &RecoveryReport, statistics: &Statistics) -> Fields {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
    vec![
        ("state", report.state.to_string()),
        ("mode", report.mode.to_string()),
        ("since_start_ms", report.since_start.as_millis().to_string()),
        ("first_answer_ms", ms(report.first_answer)),
        ("up_to_date_ms", ms(report.up_to_date)),
        ("old_batches", report.old_batches.to_string()),
        ("left_batches", report.left_batches.to_string()),
        ("batches_per_second", report.batches_per_second.to_string()),
        ("time_left_ms", ms(report.time_left)),
        ("parked_reads", count(&statistics.parked_reads)),
        ("parked_batches", count(&statistics.parked_batches)),
        ("early_reads", count(&statistics.early_reads)),
        ("early_commands", count(&statistics.early_commands)),
    ]
}

/// The fields of `INFO`.
pub(super) fn info(report: &RecoveryReport) -> Fields {
    vec![
        ("recovery_mode", report.mode.to_string()),
        ("recovery_state", report.state.to_string()),
        ("recovery_old_batches", report.old_batches.to_string()),
        ("recovery_left_batches", report.left_batches.to_string()),
        ("recovery_time_left_ms", ms(report.time_left)),
        ("recovery_first_answer_ms", ms(report.first_answer)),
        ("recovery_up_to_date_ms", ms(report.up_to_date)),
    ]
}

#[cfg(test)]
mod tests {
    use super::{info, rows};
    use skink_replication::recovery::{RecoveryMode, RecoveryReport, RecoveryState};
    use skink_replication::replica::Statistics;
    use std::time::Duration;

    #[test]
    fn what_is_not_known_is_empty() {
        let report = RecoveryReport {
            mode: RecoveryMode::OnDemand,
            state: RecoveryState::CatchingUp,
            since_start: Duration::from_millis(120),
            old_batches: 900,
            left_batches: 300,
            batches_per_second: 6000,
            time_left: Some(Duration::from_millis(50)),
            first_answer: Some(Duration::from_micros(12_900)),
            up_to_date: None,
        };
        let rows = rows(&report, &Statistics::default());
        let value = |name| rows.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
        assert_eq!((value("state"), value("mode")), (Some("catching up"), Some("on-demand")));
        assert_eq!((value("first_answer_ms"), value("up_to_date_ms")), (Some("12"), Some("")));
        assert_eq!(
            (value("left_batches"), value("time_left_ms"), value("parked_reads")),
            (Some("300"), Some("50"), Some("0"))
        );
        assert!(info(&report).contains(&("recovery_left_batches", "300".to_string())));
    }
}
