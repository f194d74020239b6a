//! The search: by number of faults, then by number of steps.
//!
//! A step is taken at most once from each of the states that differ, so a way to a state is known as soon as the state
//! is, and nothing that can happen after it is searched again: the first way to it had no more faults.
//!
//! Of two steps that commute one order is enough: after `a`, the step `b` that was taken beside it sleeps for as long as
//! all that follows commutes with it, since the state that it would lead to is reached by `b` first, then `a`. This
//! (Godefroid's sleep sets) leaves steps out, but no state: each invariant is checked in every state that there is. Where
//! a state is reached again with less asleep, what slept the first time is taken now; without that, each of two ways could
//! rely on the other one. A step and the one that it sleeps for cost as much in either order, so that a state is first reached
//! with the fewest faults, and with these in the fewest steps, all the same.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use super::enabled::commute;
use super::report::{Counts, Explored, Violation};
use super::schedule::{Schedule, Step};
use super::spec::Spec;
use super::state::{Digest, State};
use super::story::tell;
use super::view::View;
use super::world::World;
use super::{Error, Exception, Invariant};

/// How a state was reached first.
struct Node {
    parent: usize,
    /// `None` at the start.
    step: Option<Step>,
    faults: u32,
    steps: u32,
    digest: Digest,
}

/// Steps to be taken from a state.
enum Which {
    /// All that are possible and awake, and nothing goes wrong.
    Good,
    /// These.
    Woken(Vec<Step>),
    /// All faults.
    Faults,
}

struct Task {
    node: usize,
    which: Which,
}

/// What is known of a state that was reached.
struct Known {
    node: usize,
    sleep: Rc<[Step]>,
}

pub(super) struct Search<'a> {
    world: &'a mut World,
    spec: &'a Spec,
    invariants: &'a mut [Invariant],
    exceptions: &'a mut [Exception],
    nodes: Vec<Node>,
    /// States to go on from, as far as memory allows.
    states: HashMap<usize, State>,
    bytes: usize,
    known: HashMap<Digest, Known>,
    /// By faults and steps of what they lead to.
    tasks: BTreeMap<(u32, u32), VecDeque<Task>>,
    counts: Counts,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        world: &'a mut World,
        spec: &'a Spec,
        invariants: &'a mut [Invariant],
        exceptions: &'a mut [Exception],
    ) -> Self {
        Self {
            world,
            spec,
            invariants,
            exceptions,
            nodes: Vec::new(),
            states: HashMap::new(),
            bytes: 0,
            known: HashMap::new(),
            tasks: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Searches from the state that the world is in.
    pub(super) fn run(mut self) -> Result<Explored, Error> {
        let start = Node {
            parent: 0,
            step: None,
            faults: 0,
            steps: 0,
            digest: self.world.state.digest(),
        };
        let mut found = self.reach(start, Rc::default())?;
        while found.is_none()
            && let Some(task) = self.next_task()
        {
            found = self.work(task)?;
        }
        let violation = match found {
            Some((node, invariant, reason)) => Some(self.violation(node, invariant, reason)?),
            None => None,
        };
        Ok(Explored {
            counts: self.counts,
            violation,
        })
    }

    fn next_task(&mut self) -> Option<Task> {
        let mut first = self.tasks.first_entry()?;
        let task = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        task
    }

    fn plan(&mut self, node: usize, which: Which) {
        let Node { faults, steps, .. } = self.nodes[node];
        let more = u32::from(matches!(which, Which::Faults));
        let key = (faults + more, steps + 1);
        let task = Task { node, which };
        self.tasks.entry(key).or_default().push_back(task);
    }

    /// Takes the steps of a task; answers the violation that it found.
    fn work(&mut self, task: Task) -> Result<Option<(usize, usize, String)>, Error> {
        let Task { node, which } = task;
        let state = self.state(node)?;
        let asleep = match self.known.get(&self.nodes[node].digest) {
            Some(known) => Rc::clone(&known.sleep),
            None => Rc::default(),
        };
        let faults_follow = matches!(which, Which::Good) && self.may_fail(node);
        let good = state.steps(self.spec);
        // Those that other orders have in common with this one.
        let mut others: Vec<Step> = asleep.to_vec();
        let steps = match which {
            Which::Good => {
                let (sleeping, awake): (Vec<Step>, Vec<Step>) =
                    good.into_iter().partition(|step| asleep.contains(step));
                self.counts.commuted += sleeping.len() as u64;
                awake
            }
            Which::Woken(steps) => steps,
            Which::Faults => {
                others.extend(good.into_iter().filter(|step| !asleep.contains(step)));
                self.world.go_to(&state, self.spec)?;
                self.world.faults = self.faults_before(node);
                faults(self.world, self.spec, self.exceptions)
            }
        };
        for step in steps {
            let sleep: Rc<[Step]> = if self.spec.every_order {
                Rc::default()
            } else {
                let stay = others.iter().filter(|it| commute(it, &step, self.spec));
                stay.cloned().collect()
            };
            let found = self.take(node, &state, &step, sleep)?;
            if found.is_some() {
                return Ok(found);
            }
            // A fault never sleeps.
            if step.fault().is_none() {
                others.push(step);
            }
        }
        self.keep_or_drop(node, state, faults_follow);
        Ok(None)
    }

    fn take(
        &mut self,
        node: usize,
        state: &State,
        step: &Step,
        sleep: Rc<[Step]>,
    ) -> Result<Option<(usize, usize, String)>, Error> {
        self.world.go_to(state, self.spec)?;
        self.world.apply(step, self.spec)?;
        self.counts.steps += 1;
        self.counts.deliveries += u64::from(step.is_delivery());
        if let Some(kind) = step.fault() {
            *self.counts.faults.entry(kind).or_default() += 1;
        }
        let from = &self.nodes[node];
        let reached = Node {
            parent: node,
            step: Some(step.clone()),
            faults: from.faults + u32::from(step.fault().is_some()),
            steps: from.steps + 1,
            digest: self.world.state.digest(),
        };
        if self.spec.every_path {
            return self.reach(reached, sleep);
        }
        let Some(known) = self.known.get_mut(&reached.digest) else {
            return self.reach(reached, sleep);
        };
        self.counts.known += 1;
        self.counts.schedules += 1;
        let (stay, woken): (Vec<Step>, Vec<Step>) = known
            .sleep
            .iter()
            .cloned()
            .partition(|step| sleep.contains(step));
        if !woken.is_empty() {
            known.sleep = stay.into();
            let node = known.node;
            self.plan(node, Which::Woken(woken));
        }
        Ok(None)
    }

    /// Looks at a new state.
    fn reach(
        &mut self,
        node: Node,
        sleep: Rc<[Step]>,
    ) -> Result<Option<(usize, usize, String)>, Error> {
        let number = self.nodes.len();
        self.counts.states += 1;
        self.counts.longest = self.counts.longest.max(node.steps);
        let digest = node.digest;
        let too_long = node.steps >= self.spec.bounds.steps;
        let too_many = self.counts.states >= self.spec.bounds.states;
        self.nodes.push(node);
        let is_final = self.world.state.steps(self.spec).is_empty();
        if is_final {
            self.counts.finals += 1;
            self.counts.schedules += 1;
        }
        self.world.faults = self.faults_before(number);
        if let Some((invariant, reason)) = check(self.world, self.invariants, is_final) {
            return Ok(Some((number, invariant, reason)));
        }
        let known = Known {
            node: number,
            sleep,
        };
        self.known.insert(digest, known);
        let goes_on = !is_final || self.may_fail(number);
        if goes_on && (too_long || too_many) {
            self.counts.cut += 1;
            return Ok(None);
        }
        if !is_final {
            self.plan(number, Which::Good);
        }
        if self.may_fail(number) {
            self.plan(number, Which::Faults);
        }
        if goes_on {
            let state = self.world.state.clone();
            let parent = self.states.get(&self.nodes[number].parent);
            self.bytes += parent.map_or(0, |parent| state.bytes_beyond(parent));
            self.states.insert(number, state);
        }
        Ok(None)
    }

    fn may_fail(&self, node: usize) -> bool {
        self.nodes[node].faults < self.spec.most_faults
    }

    /// The state of a node, computed anew from the nearest one that was kept if it wasn't.
    fn state(&mut self, node: usize) -> Result<State, Error> {
        if let Some(state) = self.states.get(&node) {
            return Ok(state.clone());
        }
        let mut steps = Vec::new();
        let mut at = node;
        let start = loop {
            if let Some(state) = self.states.get(&at) {
                break state.clone();
            }
            steps.extend(self.nodes[at].step.clone());
            at = self.nodes[at].parent;
        };
        self.world.go_to(&start, self.spec)?;
        for step in steps.iter().rev() {
            self.world.apply(step, self.spec)?;
        }
        Ok(self.world.state.clone())
    }

    /// Drops the state of a node unless it is needed again, and there is room for it. The start always stays.
    fn keep_or_drop(&mut self, node: usize, state: State, needed: bool) {
        if node == 0 || needed && self.bytes < self.spec.bounds.memory {
            return;
        }
        if self.states.remove(&node).is_some() {
            let parent = self.states.get(&self.nodes[node].parent);
            let bytes = parent.map_or(0, |parent| state.bytes_beyond(parent));
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// The steps by which a state was first reached.
    fn way_to(&self, node: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = node;
        while let Some(step) = self.nodes[at].step.clone() {
            steps.push(step);
            at = self.nodes[at].parent;
        }
        steps.reverse();
        steps
    }

    fn faults_before(&self, node: usize) -> Vec<Step> {
        let mut steps = self.way_to(node);
        steps.retain(|step| step.fault().is_some());
        steps
    }

    fn violation(
        &mut self,
        node: usize,
        invariant: usize,
        reason: String,
    ) -> Result<Violation, Error> {
        let schedule = Schedule(self.way_to(node));
        let start = self.states.get(&0).cloned();
        if let Some(start) = start {
            self.world.go_to(&start, self.spec)?;
        }
        self.world.faults.clear();
        let story = follow(self.world, self.spec, self.exceptions, &schedule)?;
        Ok(Violation {
            invariant: self.invariants[invariant].name.clone(),
            reason,
            schedule,
            story,
        })
    }
}

/// The faults that are possible now, but for those that are left out.
fn faults(world: &mut World, spec: &Spec, exceptions: &mut [Exception]) -> Vec<Step> {
    let mut faults = world.state.faults(spec);
    for leaves_out in exceptions {
        faults.retain(|step| !leaves_out(&mut View { world }, step));
    }
    faults
}

/// Takes the steps of a schedule, and tells them.
pub(super) fn follow(
    world: &mut World,
    spec: &Spec,
    exceptions: &mut [Exception],
    schedule: &Schedule,
) -> Result<Vec<String>, Error> {
    let mut story = Vec::new();
    for step in &schedule.0 {
        let possible = world.state.steps(spec).contains(step)
            || faults(world, spec, exceptions).contains(step);
        let line = tell(step, &world.state, spec);
        if !possible {
            let number = story.len() + 1;
            return Err(Error::Impossible(format!("step {number}: {line}")));
        }
        world.apply(step, spec)?;
        world.faults.extend(step.fault().map(|_| step.clone()));
        story.push(line);
    }
    Ok(story)
}

/// The first invariant that doesn't hold, and why.
pub(super) fn check(
    world: &mut World,
    invariants: &mut [Invariant],
    is_final: bool,
) -> Option<(usize, String)> {
    for (number, invariant) in invariants.iter_mut().enumerate() {
        if invariant.at_the_end && !is_final {
            continue;
        }
        let mut view = View { world };
        if let Err(reason) = (invariant.holds)(&mut view) {
            return Some((number, reason));
        }
    }
    None
}
