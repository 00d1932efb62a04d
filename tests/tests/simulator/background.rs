//! The thread in the background of a process: checkpoints, checks of what donors send, compaction, the next log file, sweeps.

use crate::mistakes::Mistake;
use crate::plan::MS;
use crate::process::{Input, Job};
use crate::world::{Next, World};
use skink_engine::error::Fault;

impl World {
    pub fn push_job(&mut self, at: usize, job: Job) {
        let Some(process) = &mut self.machines[at].process else { return };
        process.jobs.push_back(job);
        if process.jobs.len() == 1 {
            self.plan_job(at);
        }
    }

    /// The first job is done after a while.
    fn plan_job(&mut self, at: usize) {
        let life = self.machines[at].life;
        let usual = if self.random.percent(15) { self.random.between(30, 300) } else { self.random.between(1, 30) };
        let duration = (usual * MS).max(self.machines[at].slow_until.saturating_sub(self.now));
        self.plan_in(duration, Next::Background { at, life });
    }

    pub fn background(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        let Some(job) = process.jobs.pop_front() else { return Ok(()) };
        let has_more = !process.jobs.is_empty();
        match job {
            Job::Checkpoint { cut, replies } => {
                let result = process.engine.checkpoint(&cut, false);
                let answer = result.as_ref().map(|info| *info).map_err(ToString::to_string);
                replies.into_iter().for_each(|reply| reply(answer.clone()));
                match result {
                    Err(fault) if !fault.is_transient() => return self.failed(at, &fault),
                    result => {
                        self.note(|| format!("{at} has its checkpoint at {}: {}", cut.instance, result.is_ok()));
                        if self.plan.mistake != Some(Mistake::CheckpointIsDoneEarly) {
                            self.input(at, Input::CheckpointDone(result.ok()));
                        }
                    }
                }
            }
            Job::CheckIncoming(incoming) => {
                let checked = incoming.finish().map(Box::new);
                self.note(|| format!("{at} has checked a donor's checkpoint: {}", checked.is_ok()));
                self.input(at, Input::IncomingChecked(checked));
            }
        }
        if has_more {
            self.plan_job(at);
        }
        let engine = self.machines[at].process.as_ref().map(|process| process.engine.clone());
        match engine.map(|engine| self.machines[at].checkpoint_changed(&engine)) {
            Some(Err(fault)) => self.failed(at, &fault),
            _ => Ok(()),
        }
    }

    /// A little work, if there is any.
    pub fn maintain(&mut self, at: usize) -> Result<(), String> {
        let life = self.machines[at].life;
        let pause = self.random.between(10 * MS, 60 * MS);
        self.plan_in(pause, Next::Maintain { at, life });
        match self.try_maintain(at) {
            Err(fault) if !fault.is_transient() => self.failed(at, &fault),
            _ => Ok(()),
        }
    }

    fn try_maintain(&mut self, at: usize) -> Result<(), Fault> {
        let chance = self.random.below(100);
        let Some(process) = &mut self.machines[at].process else { return Ok(()) };
        let engine = &process.engine;
        if engine.maintain(&|_| ())? {
            return Ok(());
        }
        match chance {
            0..20 => engine.log_files().prepare(process.node.next_log_file())?,
            20..25 => engine.refresh_images(0)?,
            25..28 => engine.directory().remove_put_aside(engine.environment())?,
            28..31 => engine.scrub(chance as usize % engine.segment_count())?,
            _ => {}
        }
        if engine.expiring_count() > 0 {
            let now_ms = engine.environment().clock.now_ms();
            let (keys, cursor) = engine.expired_keys(process.sweep_cursor, now_ms, 100)?;
            process.sweep_cursor = cursor;
            if !keys.is_empty() {
                self.input(at, Input::Sweep(keys));
            }
        }
        Ok(())
    }
}
