//! What the server tells of its start: `SHOW RECOVERY`, and the section Recovery of `INFO`.

use super::Fields;
use skink_replication::node::HandoffReport;
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
    let mut rows = vec![
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
        ("longest_wait_ms", count(&statistics.longest_wait_ms)),
    ];
    rows.extend(handoff(report.handoff.as_ref()));
    rows
}

/// What another replica handed over; empty where none did.
fn handoff(report: Option<&HandoffReport>) -> Fields {
    let text = |value: fn(&HandoffReport) -> u64| report.map(|it| value(it).to_string()).unwrap_or_default();
    vec![
        ("handoff_from", text(|it| it.donor.get().into())),
        ("handoff_instance", text(|it| it.instance.get())),
        ("handoff_segments", text(|it| it.segments.0)),
        ("handoff_pulled_keys", text(|it| it.pulled_keys)),
        ("handoff_versions", text(|it| it.versions)),
        ("handoff_bytes", text(|it| it.bytes)),
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
    use super::{HandoffReport, info, rows};
    use skink_engine::position::Instance;
    use skink_replication::paxos::ReplicaId;
    use skink_replication::recovery::{RecoveryMode, RecoveryReport, RecoveryState};
    use skink_replication::replica::Statistics;
    use std::time::Duration;

    #[test]
    fn what_is_not_known_is_empty() {
        let report = RecoveryReport {
            mode: RecoveryMode::Handoff,
            state: RecoveryState::CatchingUp,
            since_start: Duration::from_millis(120),
            old_batches: 900,
            left_batches: 300,
            batches_per_second: 6000,
            time_left: Some(Duration::from_millis(50)),
            first_answer: Some(Duration::from_micros(12_900)),
            up_to_date: None,
            handoff: Some(HandoffReport {
                donor: ReplicaId::FIRST,
                instance: Instance::ZERO,
                segments: (3, 256),
                pulled_keys: 4,
                versions: 70,
                bytes: 9000,
                is_done: false,
            }),
        };
        let rows = rows(&report, &Statistics::default());
        let value = |name| rows.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
        assert_eq!((value("state"), value("mode")), (Some("catching up"), Some("handoff")));
        assert_eq!((value("first_answer_ms"), value("up_to_date_ms")), (Some("12"), Some("")));
        assert_eq!(
            (value("left_batches"), value("time_left_ms"), value("parked_reads")),
            (Some("300"), Some("50"), Some("0"))
        );
        assert_eq!(
            (value("handoff_from"), value("handoff_segments"), value("handoff_versions")),
            (Some("1"), Some("3"), Some("70"))
        );
        assert!(info(&report).contains(&("recovery_left_batches", "300".to_string())));
    }
}
