//! All ways in which a request can go.

use super::{
    super::{Ended, Journal, Steps},
    callee::Fate,
    world::World,
};
use std::{future::Future, time::Duration};

/// All sequences of choices, one after the other.
#[derive(Default)]
pub(crate) struct Choices {
    /// What was chosen, and among how many.
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    pub(crate) fn choose(&mut self, options: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, options));
        }
        let (choice, among) = self.taken[self.at];
        assert_eq!(among, options, "the same choices lead to the same place");
        self.at += 1;
        choice
    }

    pub(crate) fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, options)) = self.taken.pop() {
            if choice + 1 < options {
                self.taken.push((choice + 1, options));
                return true;
            }
        }
        false
    }
}

/// How a request ended.
pub(super) struct End<R> {
    pub(super) world: World,
    /// What became of its calls, where that was a fault.
    pub(super) faults: Vec<Fate>,
    /// What it ended with; `Err` why it is parked.
    pub(super) result: Result<Result<R, String>, String>,
    /// How often it was cut off.
    pub(super) cuts: u32,
}

/// Runs a request in each way there is with so many cuts at most, and returns the number of ways.
pub(super) fn explore<R: 'static, F: Future<Output = Result<R, String>> + 'static>(
    most_cuts: u32,
    body: impl Fn(World, Steps) -> F + Clone + 'static,
    check: impl Fn(&End<R>),
) -> u64 {
    explore_faults(most_cuts, 0, body, check)
}

/// As [`explore`], and with so many faults of safe calls at most.
pub(super) fn explore_faults<R: 'static, F: Future<Output = Result<R, String>> + 'static>(
    most_cuts: u32,
    most_faults: usize,
    body: impl Fn(World, Steps) -> F + Clone + 'static,
    check: impl Fn(&End<R>),
) -> u64 {
    let mut choices = Choices::default();
    let mut ways = 0;
    loop {
        check(&way(&mut choices, most_cuts, most_faults, &body));
        ways += 1;
        if !choices.next() {
            return ways;
        }
    }
}

fn way<R: 'static, F: Future<Output = Result<R, String>> + 'static>(
    choices: &mut Choices,
    most_cuts: u32,
    most_faults: usize,
    body: &(impl Fn(World, Steps) -> F + Clone + 'static),
) -> End<R> {
    let world = World::new();
    let mut cuts = 0;
    let mut faults = vec![];
    loop {
        let (body, of_body) = (body.clone(), world.clone());
        let mut attempt = world.begin(move |steps| body(of_body, steps));
        let ended = loop {
            world.pass(Duration::from_secs(1));
            let ended = attempt.message();
            if cuts < most_cuts && choices.choose(2) == 1 {
                // A trap: what the message did is undone, and it called nobody.
                cuts += 1;
                for number in world.calls() {
                    if choices.choose(2) == 1 {
                        world.execute(number);
                    }
                }
                break None;
            }
            world.commit();
            if ended.is_some() {
                break ended;
            }
            let calls = world.calls();
            assert!(!calls.is_empty(), "it waits for nothing");
            let answered = choices.choose(calls.len() + usize::from(cuts < most_cuts));
            match calls.get(answered) {
                Some(number) if faults.len() < most_faults => {
                    let fates = world.fates_of(*number);
                    let fate = fates[choices.choose(fates.len())];
                    world.decide(*number, fate);
                    faults.extend(Some(fate).filter(|fate| *fate != Fate::Answered));
                }
                Some(number) => world.decide(*number, Fate::Answered),
                None => {
                    cuts += 1;
                    for number in calls {
                        if choices.choose(2) == 1 {
                            world.execute(number);
                        }
                    }
                    break None;
                }
            }
        };
        drop(attempt);
        world.cut();
        let result = match ended {
            None => continue,
            Some(Ended::Asleep { until }) => {
                let now = world.now().as_nanos();
                // The time can come while another safe call is under way.
                let is_to_come = until.as_nanos() > now || !faults.is_empty();
                assert!(is_to_come, "asleep until a time that has come");
                world.pass(Duration::from_nanos(until.as_nanos().saturating_sub(now)));
                continue;
            }
            Some(Ended::Finished(result)) => Ok(result),
            Some(Ended::Parked { reason }) => Err(reason),
        };
        return End {
            world,
            faults,
            result,
            cuts,
        };
    }
}
