//! What goes wrong, and its end.

use crate::disk::replica;
use crate::replica::Replica;
use crate::world::{Next, World};
use skink_replication::paxos::{Event, Leadership};

impl World {
    pub fn start(&mut self, at: usize) -> Result<(), String> {
        let (configuration, options) = (self.configuration(), self.options());
        self.replicas[at].start(configuration, options)?;
        for peer in (0..self.plan.members).filter(|peer| *peer != at) {
            let delay = self.random.between(1, 10);
            self.plan_at(self.now + delay, Next::Connect(at.min(peer), at.max(peer)));
        }
        Ok(())
    }

    /// Ends a session; each end learns of it by itself. A few of its messages stay somewhere and come late.
    pub fn cut(&mut self, a: usize, b: usize) {
        let Some(session) = self.network.session(a, b) else { return };
        for (from, to, bytes) in self.network.cut(a, b) {
            if self.has_faults && self.random.percent(30) {
                let delay = self.random.between(5, 300);
                self.plan_at(self.now + delay, Next::Late { from, to, bytes });
            }
        }
        for (at, peer) in [(a, b), (b, a)] {
            let (life, delay) = (self.replicas[at].life, self.random.between(0, 15));
            self.plan_at(self.now + delay, Next::Disconnected { at, life, peer, session });
        }
    }

    fn crash(&mut self, at: usize) -> Result<(), String> {
        for peer in 0..self.plan.members {
            self.cut(at, peer);
        }
        self.replicas[at].crash(&mut self.random)
    }

    pub fn crash_for_a_while(&mut self, at: usize) -> Result<(), String> {
        if self.replicas[at].running.is_some() {
            self.crash(at)?;
        }
        let delay = self.random.between(10, 300);
        self.plan_at(self.now + delay, Next::Start(at));
        Ok(())
    }

    /// Whether the disk may be lost: a majority of the others has everything then.
    fn may_lose_disk(&self, at: usize) -> bool {
        let executed = self.agreement.len() as u64;
        let is_whole = |index: usize| {
            let running = self.replicas[index].running.as_ref();
            running.is_some_and(|it| !it.protocol.is_silent() && it.executed.get() + 5 >= executed)
        };
        is_whole(at) && (0..self.plan.members).filter(|other| *other != at).all(is_whole)
    }

    pub fn fault(&mut self) -> Result<(), String> {
        if !self.has_faults {
            return Ok(());
        }
        // Some runs are calm, some are wild.
        let calm = [30, 80, 200, 500][(self.plan.seed % 4) as usize];
        let pause = self.random.between(1, calm);
        self.plan_at(self.now + pause, Next::Fault);
        let members = self.plan.members as u64;
        let (a, b) = (self.random.below(members) as usize, self.random.below(members) as usize);
        let long = 1 << self.random.between(3, 10);
        match self.random.below(100) {
            0..=24 if a != b => {
                self.cut(a, b);
                let delay = self.random.between(1, 200);
                self.plan_at(self.now + delay, Next::Connect(a.min(b), a.max(b)));
            }
            25..=39 => self.block(a, b, long),
            40..=44 => (0..self.plan.members).for_each(|to| self.block(a, to, long)),
            45..=49 => (0..self.plan.members).for_each(|from| self.block(from, a, long)),
            50..=54 => {
                for other in 0..self.plan.members {
                    self.block(a, other, long);
                    self.block(other, a, long);
                }
            }
            55..=64 => self.replicas[a].slow_until = self.now + long / 2,
            65..=84 if self.replicas[a].running.is_some() => {
                self.crash(a)?;
                let delay = self.random.between(10, 2 * long);
                self.plan_at(self.now + delay, Next::Start(a));
            }
            85..=86 if self.may_lose_disk(a) => {
                self.crash(a)?;
                self.replicas[a].lose_disk();
                let delay = self.random.between(10, 2 * long);
                self.plan_at(self.now + delay, Next::Start(a));
            }
            87..=89 => {
                // All at once, as when the power fails.
                for at in 0..self.plan.members {
                    if self.replicas[at].running.is_some() {
                        self.crash(at)?;
                    }
                    let delay = self.random.between(10, 100);
                    self.plan_at(self.now + delay, Next::Start(at));
                }
            }
            90..=94 if a != b => {
                if let Some(session) = self.network.session(a, b) {
                    // One end alone takes the session for lost for a while.
                    let session = skink_replication::paxos::SessionNumber::new(session);
                    self.cut(a, b);
                    self.event(a, Event::Disconnected { peer: replica(b), session })?;
                    self.plan_at(self.now + 1, Next::Connect(a.min(b), a.max(b)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn block(&mut self, from: usize, to: usize, long: u64) {
        if from != to {
            let until = self.now + long;
            let link = self.network.link(from, to);
            link.blocked_until = link.blocked_until.max(until);
        }
    }

    /// The end of all faults: everybody runs and reaches everybody.
    fn heal(&mut self) {
        self.has_faults = false;
        for a in 0..self.plan.members {
            self.replicas[a].slow_until = 0;
            self.plan_at(self.now + 1, Next::Start(a));
            (0..self.plan.members).for_each(|b| self.network.link(a, b).blocked_until = 0);
        }
        self.reconnect_all();
    }

    fn reconnect_all(&mut self) {
        for a in 0..self.plan.members {
            for b in a + 1..self.plan.members {
                self.cut(a, b);
                self.plan_at(self.now + 30, Next::Connect(a, b));
            }
        }
    }

    /// The leader's log writes stall while all is well: the others must go on without it.
    fn stall_leader(&mut self) -> Result<(), String> {
        let leads = |replica: &Replica| {
            replica.running.as_ref().is_some_and(|it| it.protocol.leadership() == Leadership::Leads)
        };
        let Some(leader) = self.replicas.iter().position(leads).filter(|_| self.plan.seed % 4 == 1) else {
            return Ok(());
        };
        self.replicas[leader].slow_until = self.now + 2500;
        let before = self.agreement.len();
        self.run_until(self.now + 2400)?;
        if self.agreement.len() < before + 20 {
            return Err(format!("STUCK: {} are executed while the leader stalls", self.agreement.len() - before));
        }
        self.run_until(self.now + 500)
    }

    /// A whole run: faults, then health, in which everything must come to an end.
    pub fn run(&mut self) -> Result<(), String> {
        self.run_until(self.plan.faulty_ms)?;
        self.heal();
        let before = self.agreement.len();
        self.run_until(self.now + 2500)?;
        // Who lags may need a checkpoint, and with it new sessions, as long as there are new ones.
        self.takes_checkpoints = false;
        self.run_until(self.now + 500)?;
        if self.agreement.len() < before + 20 {
            return Err(format!("STUCK: {} are executed since all is well", self.agreement.len() - before));
        }
        // A cluster in health doesn't begin again and again: who leads, leads, and who follows, follows.
        let unrest = self.unrest;
        self.run_until(self.now + 1000)?;
        if self.unrest > unrest {
            return Err(format!("UNREST: {} Prepares while all is well", self.unrest - unrest));
        }
        self.stall_leader()?;
        // The last messages are lost. Nothing follows that would tell.
        self.has_load = false;
        for _ in 0..1000 {
            if !self.pending.is_empty() {
                self.run_until(self.now + 1)?;
            }
        }
        self.reconnect_all();
        self.run_until(self.now + 2000)?;
        if !self.pending.is_empty() {
            return Err(format!("STUCK: batches {:?} are never executed", self.pending));
        }
        let answered = self.reads.answered;
        self.run_until(self.now + 500)?;
        if self.reads.answered == answered {
            return Err("STUCK: no read is answered".into());
        }
        for replica in &self.replicas {
            let Some(running) = &replica.running else { return Err("STUCK: a replica is down".into()) };
            if running.executed.get() != self.agreement.len() as u64 {
                let len = self.agreement.len();
                return Err(format!("STUCK: {} executed {} of {len}", replica.index, running.executed));
            }
            self.agreement.check_state(running.executed, running.digest)?;
        }
        Ok(())
    }
}
