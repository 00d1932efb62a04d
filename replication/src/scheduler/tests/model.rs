//! The model: which commands may begin is found by comparing all with all, and their outcome by executing them one by one.

use crate::scheduler::{BatchNumber, Footprints, Scheduler, Touch, Unit};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use skink_engine::command::Access;
use std::collections::BTreeMap;

/// What a command touches.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// These digests, and whether it writes them.
    Keys(Vec<(u32, bool)>),
    Everything,
}

/// What happens.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) batches: Vec<Vec<Shape>>,
    pub(super) workers: usize,
    /// What is done next, as long as there are some: admitting, asking, or executing one command of a unit.
    pub(super) steps: Vec<u16>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let key = || (prop_oneof![4 => 0_u32..6, 1 => any::<u32>()], any::<bool>());
    prop_oneof![
        8 => key().prop_map(|key| Shape::Keys(vec![key])),
        3 => prop::collection::vec(key(), 0..5).prop_map(Shape::Keys),
        1 => Just(Shape::Everything),
    ]
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let batches = prop::collection::vec(prop::collection::vec(shape(), 0..6), 1..12);
    (batches, 1_usize..6, prop::collection::vec(any::<u16>(), 0..120)).prop_map(|(batches, workers, steps)| Plan {
        batches,
        workers,
        steps,
    })
}

/// What is asked of a scheduler besides keeping the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    Safe,
    /// A batch may begin as soon as the batches before it that conflict with it are complete.
    Batch,
    /// The same of commands.
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Waiting,
    Begun,
    Complete,
}

#[derive(Debug, Clone)]
struct Member {
    batch: usize,
    shape: Shape,
    state: State,
    reply: Option<u64>,
}

/// The state that commands work on.
type Map = BTreeMap<u32, u64>;

fn conflicts(left: &Shape, right: &Shape, exactness: Exactness) -> bool {
    match (left, right) {
        (Shape::Keys(left), Shape::Keys(right)) => left.iter().any(|(digest, writes)| {
            right.iter().any(|(other, other_writes)| digest == other && (*writes || *other_writes))
        }),
        // One without keys has nothing to conflict by, but may be held up by one over everything.
        (Shape::Keys(keys), Shape::Everything) | (Shape::Everything, Shape::Keys(keys)) => {
            exactness != Exactness::Safe || !keys.is_empty()
        }
        (Shape::Everything, Shape::Everything) => true,
    }
}

/// What it answers depends on all that it reads, what it writes on that and on its number.
fn execute(map: &mut Map, shape: &Shape, number: usize) -> u64 {
    let mix = |sum: u64, value: u64| (sum ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    match shape {
        Shape::Keys(keys) => {
            let read = |sum, (digest, _): &(u32, bool)| mix(sum, map.get(digest).copied().unwrap_or(1));
            let reply = keys.iter().fold(7, read);
            for (digest, _) in keys.iter().filter(|(_, writes)| *writes) {
                map.insert(*digest, mix(reply, number as u64));
            }
            reply
        }
        Shape::Everything => {
            let reply = map.iter().fold(9, |sum, (digest, value)| mix(mix(sum, u64::from(*digest)), *value));
            map.values_mut().for_each(|value| *value = mix(*value, number as u64));
            map.insert(u32::MAX, reply);
            reply
        }
    }
}

/// A unit that is being executed.
struct Running {
    unit: Unit,
    /// Its commands' numbers in the model.
    members: std::ops::Range<usize>,
    executed: usize,
}

/// A run of a scheduler.
pub(super) struct Model {
    scheduler: Box<dyn Scheduler>,
    exactness: Exactness,
    workers: usize,
    members: Vec<Member>,
    /// Of each batch, where its members begin.
    begins: Vec<usize>,
    admitted: usize,
    running: Vec<Running>,
    map: Map,
}

impl Model {
    /// Runs a plan to its end and checks all of it.
    pub(super) fn run(plan: &Plan, scheduler: Box<dyn Scheduler>, exactness: Exactness) -> Result<(), TestCaseError> {
        let mut begins = vec![0];
        let mut members = Vec::new();
        for (batch, shapes) in plan.batches.iter().enumerate() {
            let member = |shape: &Shape| Member { batch, shape: shape.clone(), state: State::Coming, reply: None };
            members.extend(shapes.iter().map(member));
            begins.push(members.len());
        }
        let (workers, running) = (plan.workers, Vec::new());
        let mut model = Model { scheduler, exactness, workers, members, begins, admitted: 0, running, map: Map::new() };
        for step in &plan.steps {
            let (step, detail) = (step % 8, usize::from(step / 8));
            match step {
                0 => model.admit(),
                1..4 => drop(model.ask(detail % workers, 1 + detail / 8 % 5)?),
                _ => model.execute_one(detail),
            }
            model.check_counts()?;
        }
        model.finish()
    }

    fn admit(&mut self) {
        if self.admitted + 1 == self.begins.len() {
            return;
        }
        let range = self.begins[self.admitted]..self.begins[self.admitted + 1];
        let mut footprints = Footprints::default();
        for member in &mut self.members[range] {
            member.state = State::Waiting;
            match &member.shape {
                Shape::Everything => footprints.push_everything(),
                Shape::Keys(keys) => footprints.push_keys(keys.iter().map(|(digest, writes)| Touch {
                    digest: *digest,
                    access: if *writes { Access::Write } else { Access::Read },
                })),
            }
        }
        self.admitted += 1;
        self.scheduler.admit(BatchNumber::new(self.admitted as u64), &footprints);
    }

    /// Whether a command waits for another one.
    fn waits_for(&self, later: usize, earlier: usize) -> bool {
        let (later, earlier) = (&self.members[later], &self.members[earlier]);
        earlier.state != State::Complete && conflicts(&later.shape, &earlier.shape, self.exactness)
    }

    /// A worker asks; whether it got something.
    fn ask(&mut self, worker: usize, most: usize) -> Result<bool, TestCaseError> {
        let Some(unit) = self.scheduler.next_ready(worker, most) else {
            prop_assert_eq!(self.first_ready(), None, "nothing was given out, but this could begin");
            return Ok(false);
        };
        let commands = unit.commands();
        let begin = self.begins[unit.batch().get() as usize - 1];
        let members = begin + commands.start..begin + commands.end;
        prop_assert!(!members.is_empty() && members.end <= self.begins[unit.batch().get() as usize]);
        prop_assert!(members.len() <= most || self.exactness != Exactness::Command, "{:?}", members);
        let unbegun = self.members[members.clone()].iter().all(|member| member.state == State::Waiting);
        prop_assert!(unbegun, "{:?} begins twice", members);
        if self.exactness != Exactness::Safe {
            prop_assert_eq!(self.first_ready(), Some(members.start), "the earliest comes first");
        }
        for later in members.clone() {
            // Those of one unit are executed in their order; exact ones contain no conflicts all the same.
            let last = if self.exactness == Exactness::Command { later } else { members.start };
            let earlier = (0..last).find(|earlier| self.waits_for(later, *earlier));
            prop_assert_eq!(earlier, None, "command {} begins, but waits for this one", later);
        }
        self.members[members.clone()].iter_mut().for_each(|member| member.state = State::Begun);
        self.running.push(Running { unit, members, executed: 0 });
        Ok(true)
    }

    /// The first command that should be given out now.
    fn first_ready(&self) -> Option<usize> {
        let is_waiting = |number: &usize| self.members[*number].state == State::Waiting;
        let mut waiting = (0..self.members.len()).filter(is_waiting);
        match self.exactness {
            Exactness::Safe => None,
            Exactness::Command => waiting.find(|later| !(0..*later).any(|earlier| self.waits_for(*later, earlier))),
            Exactness::Batch => waiting.find(|first| {
                let whole = |batch: usize| &self.members[self.begins[batch]..self.begins[batch + 1]];
                let is_over_everything = |member: &Member| matches!(member.shape, Shape::Everything);
                let batch = self.members[*first].batch;
                // All of the other batch is there until its last command is complete.
                !(0..batch).any(|earlier| {
                    let is_there = whole(earlier).iter().any(|member| member.state != State::Complete);
                    let meets = |left: &Member| {
                        is_over_everything(left)
                            || whole(batch).iter().any(|right| conflicts(&left.shape, &right.shape, self.exactness))
                    };
                    is_there && (whole(earlier).iter().any(meets) || whole(batch).iter().any(is_over_everything))
                })
            }),
        }
    }

    /// Executes the next command of a unit, and completes the unit after its last one.
    fn execute_one(&mut self, choice: usize) {
        if self.running.is_empty() {
            return;
        }
        let place = choice % self.running.len();
        let running = &mut self.running[place];
        let number = running.members.start + running.executed;
        running.executed += 1;
        let is_over = running.executed == running.members.len();
        self.members[number].reply = Some(execute(&mut self.map, &self.members[number].shape, number));
        if is_over {
            let Running { unit, members, .. } = self.running.swap_remove(place);
            self.scheduler.complete(unit);
            self.members[members].iter_mut().for_each(|member| member.state = State::Complete);
        }
    }

    fn check_counts(&self) -> Result<(), TestCaseError> {
        let is_outstanding = |member: &&Member| [State::Waiting, State::Begun].contains(&member.state);
        prop_assert_eq!(self.scheduler.outstanding(), self.members.iter().filter(is_outstanding).count());
        Ok(())
    }

    /// Admits the rest, executes all, and compares the outcome.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while self.admitted + 1 < self.begins.len() {
            self.admit();
        }
        while self.scheduler.outstanding() > 0 {
            let mut has_moved = false;
            for worker in 0..self.workers {
                has_moved |= self.ask(worker, 2)?;
            }
            has_moved |= !self.running.is_empty();
            prop_assert!(has_moved, "stranded: {} commands wait for nothing", self.scheduler.outstanding());
            self.execute_one(0);
            self.check_counts()?;
        }
        let mut map = Map::new();
        for (number, member) in self.members.iter().enumerate() {
            prop_assert_eq!(member.reply, Some(execute(&mut map, &member.shape, number)), "reply of {}", number);
        }
        prop_assert_eq!(self.map, map);
        Ok(())
    }
}
