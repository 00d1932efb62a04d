//! How a start goes on, for people: what was missed, how much of it is executed, when the first request was answered.

use crate::node::Node;
use crate::recovery::{RecoveryMode, RecoveryReport, RecoveryState};
use skink_engine::position::Instance;
use std::time::{Duration, Instant};

/// Between two looks at how fast it goes.
const STEP: Duration = Duration::from_millis(250);

/// Watches a replica from the start of its process until it is up to date.
pub(super) struct Watch {
    began: Instant,
    report: RecoveryReport,
    /// What must be executed; known once a leader is.
    target: Option<Instance>,
    from: Instance,
    looked: (Instant, Instance),
    /// When the hand-off of this cut began.
    handing: Option<(Instance, Instant)>,
    /// The first answer, as far as it was told of.
    told_answer: Option<Duration>,
}

impl Watch {
    pub(super) fn new(began: Instant, mode: RecoveryMode, node: &Node) -> Watch {
        let from = node.settled();
        let report = RecoveryReport {
            mode,
            state: RecoveryState::Connecting,
            since_start: Duration::ZERO,
            old_batches: 0,
            left_batches: 0,
            batches_per_second: 0,
            time_left: None,
            first_answer: None,
            up_to_date: None,
            handoff: None,
        };
        Watch { began, report, target: None, from, looked: (Instant::now(), from), handing: None, told_answer: None }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self) {
        if self.report.first_answer.is_none() {
            let elapsed = self.began.elapsed();
            self.report.first_answer = Some(elapsed);
            tracing::info!(ms = elapsed.as_millis() as u64, "the first request since the start is answered");
        }
    }

    /// Looks at the node; what is to be told, if that is something new.
    pub(super) fn look(&mut self, node: &Node) -> Option<RecoveryReport> {
        if self.report.state == RecoveryState::UpToDate {
            // The first request may come later.
            let has_news =
                std::mem::replace(&mut self.told_answer, self.report.first_answer) != self.report.first_answer;
            return has_news.then(|| self.report.clone());
        }
        let (now, executed) = (Instant::now(), node.settled());
        if self.target.is_none()
            && let Some(target) = node.known_decided()
        {
            let old = target.get().saturating_sub(self.from.get());
            self.target = Some(target);
            self.report.old_batches = old;
            self.report.state = RecoveryState::CatchingUp;
            tracing::info!(
                old_batches = old,
                ms = self.began.elapsed().as_millis() as u64,
                "it is known what was missed"
            );
        }
        self.report.since_start = now - self.began;
        self.report.handoff = node.handoff();
        if let Some(target) = self.target {
            self.report.left_batches = target.get().saturating_sub(executed.get());
            if now - self.looked.0 >= STEP {
                let (since, before) = std::mem::replace(&mut self.looked, (now, executed));
                let done = executed.get().saturating_sub(before.get());
                self.report.batches_per_second = (done as f64 / (now - since).as_secs_f64()) as u64;
                self.report.time_left = self.handoff_left(now).or_else(|| self.time_left());
            }
            if self.report.left_batches == 0 {
                self.report.state = RecoveryState::UpToDate;
                self.report.time_left = None;
                self.report.up_to_date = Some(self.began.elapsed());
                tracing::info!(
                    old_batches = self.report.old_batches,
                    ms = self.began.elapsed().as_millis() as u64,
                    "all that was missed is executed"
                );
            }
        }
        self.told_answer = self.report.first_answer;
        Some(self.report.clone())
    }

    /// How long the hand-off will take that goes on, by the segments that are here and the time that it took.
    fn handoff_left(&mut self, now: Instant) -> Option<Duration> {
        let handoff = self.report.handoff.filter(|handoff| !handoff.is_done)?;
        let began = match self.handing {
            Some((instance, began)) if instance == handoff.instance => began,
            _ => self.handing.insert((handoff.instance, now)).1,
        };
        left_of(now - began, handoff.segments)
    }

    fn time_left(&self) -> Option<Duration> {
        let rate = self.report.batches_per_second;
        (rate > 0).then(|| Duration::from_secs_f64(self.report.left_batches as f64 / rate as f64))
    }
}

/// The time that is left of something of which so many parts of all are done after a time.
fn left_of(elapsed: Duration, (done, all): (u64, u64)) -> Option<Duration> {
    (done > 0).then(|| elapsed.mul_f64(all.saturating_sub(done) as f64 / done as f64))
}

#[cfg(test)]
mod tests {
    use super::left_of;
    use std::time::Duration;

    #[test]
    fn the_time_left_goes_by_what_is_done() {
        let after = Duration::from_secs(3);
        assert_eq!(left_of(after, (0, 256)), None);
        assert_eq!(left_of(after, (64, 256)), Some(Duration::from_secs(9)));
        assert_eq!(left_of(after, (256, 256)), Some(Duration::ZERO));
    }
}
