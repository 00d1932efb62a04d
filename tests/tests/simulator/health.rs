//! The end of all faults: everybody runs and reaches everybody, and everything must come to an end.

use crate::plan::MS;
use crate::world::{Next, World};
use skink_engine::env::sim::Faults;

impl World {
    fn heal(&mut self) -> Result<(), String> {
        self.has_faults = false;
        self.note(|| "all is well".to_owned());
        for a in 0..self.plan.members {
            if self.machines[a].is_damaged {
                self.crash_for_a_while(a)?;
                self.replace_disk(a);
            }
            let machine = &mut self.machines[a];
            (machine.slow_until, machine.paused_until, machine.full_until) = (0, 0, 0);
            // The power that is off comes back with a start.
            if machine.disk.is_powered() {
                machine.is_faulty = false;
                machine.disk.set_faults(Faults::default());
            }
            self.plan_in(MS, Next::Start(a));
            for b in 0..self.plan.members {
                let link = self.network.link(a, b);
                (link.blocked_until, link.refused_until) = (0, 0);
            }
            self.wake(a);
        }
        for a in 0..self.plan.members {
            for b in a + 1..self.plan.members {
                self.cut(a, b, 20 * MS);
                self.plan_in(30 * MS, Next::Connect(a, b));
            }
        }
        Ok(())
    }

    /// A whole run: faults, then health.
    pub fn run(&mut self) -> Result<(), String> {
        self.run_for(self.plan.faulty_ms)?;
        self.heal()?;
        self.run_for(2000)?;
        let answered = self.clients.answered;
        self.run_for(1000)?;
        if self.clients.answered < answered + 20 {
            let count = self.clients.answered - answered;
            return Err(format!("STUCK: {count} operations are answered in a second in which all is well"));
        }
        self.clients.have_stopped = true;
        for _ in 0..300 {
            if self.is_at_rest() {
                break;
            }
            self.run_for(10)?;
        }
        self.check_rest()?;
        self.check_end()
    }

    fn is_at_rest(&self) -> bool {
        self.clients.are_idle() && self.machines.iter().all(|machine| self.what_is_left(machine.index).is_none())
    }

    /// Why a machine is not done.
    fn what_is_left(&self, at: usize) -> Option<String> {
        let Some(process) = &self.machines[at].process else { return Some("is down".into()) };
        let (executed, last) = (process.node.executed(), self.reference.last());
        if executed != last {
            return Some(format!("has executed {executed} of {last}"));
        }
        let outstanding = process.node.outstanding();
        (outstanding > 0 && !process.node.is_taking_checkpoint())
            .then(|| format!("has {outstanding} batches under way"))
    }

    fn check_rest(&self) -> Result<(), String> {
        if !self.clients.are_idle() {
            return Err("STUCK: clients wait, and all is well".into());
        }
        match (0..self.plan.members).find_map(|at| Some((at, self.what_is_left(at)?))) {
            Some((at, what)) => Err(format!("STUCK: {at} {what}")),
            None => Ok(()),
        }
    }
}
