//! Every order in which calls with one request, the archives' answers, and what goes wrong can follow each other: the store, the canister's side of
//! its archives and the look-ups are the real ones, and a request's answer is what an archive had when it was asked.
//!
//! Each way is taken from the start to the end, and there the books must balance: the effect once at most, replies that are the same, and a store
//! in which those that were refused have left nothing.
mod check;
mod message;
mod start;
mod way;

use crate::{
    archive::tests::world,
    policy::{Keep, Policy},
    steps::tests::ways::Choices,
};
use start::Start;
use way::Way;

/// One call of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sends {
    /// Which of the keys.
    key: usize,
    /// With other arguments than the first one under this key.
    is_other: bool,
}

const SAME: Sends = Sends {
    key: 0,
    is_other: false,
};
const OTHER: Sends = Sends {
    key: 0,
    is_other: true,
};
const ANOTHER_KEY: Sends = Sends {
    key: 1,
    is_other: false,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A call is not executed, and the caller is told so.
    Refused,
    /// The answer to a call, or the call itself, is lost.
    Lost,
    /// The archives stop, and stay so.
    Stop,
    /// The archives are reinstalled: they are behind.
    Reinstall,
    /// The heap goes, and whoever waits in it.
    Upgrade,
}

const ALL: &[Fault] = &[
    Fault::Refused,
    Fault::Lost,
    Fault::Stop,
    Fault::Reinstall,
    Fault::Upgrade,
];

/// What is explored.
#[derive(Clone, Debug)]
struct Case {
    policy: Policy,
    is_async: bool,
    /// The request with the first key was executed long ago, and is archived. Otherwise the filter is wrong about it.
    is_archived: bool,
    /// There is room for one more request.
    is_almost_full: bool,
    calls: &'static [Sends],
    most_faults: usize,
    faults: &'static [Fault],
    /// How often a window passes, and what has expired is shipped.
    most_windows: u32,
}

impl Case {
    fn new(calls: &'static [Sends]) -> Self {
        Self {
            policy: world::policy(Keep::Replies),
            is_async: false,
            is_archived: false,
            is_almost_full: false,
            calls,
            most_faults: 0,
            faults: ALL,
            most_windows: 0,
        }
    }
}

/// Takes every way; how many there are.
fn explore(case: &Case) -> u64 {
    let start = Start::of(case);
    let mut choices = Choices::default();
    let mut ways = 0;
    loop {
        let mut way = Way::new(case, &start);
        loop {
            let possible = way.possible();
            if possible.is_empty() {
                break;
            }
            way.happen(possible[choices.choose(possible.len())]);
            way.check_effects();
        }
        way.check();
        ways += 1;
        if !choices.next() {
            return ways;
        }
    }
}

/// Explores cases, and says how many ways each has.
fn explore_all(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let ways = explore(&case);
        println!("{ways} ways: {case:?}");
    }
}

/// Sync and async, of a request that is archived, and of one about which the filter is wrong.
fn each(case: &Case) -> impl Iterator<Item = Case> {
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    kinds
        .map(|(is_async, is_archived)| Case {
            is_async,
            is_archived,
            ..case.clone()
        })
        .into_iter()
}

const PAIRS: [&[Sends]; 2] = [&[SAME, SAME], &[SAME, OTHER]];

/// G1, G2.
#[test]
fn three_calls() {
    explore_all(each(&Case::new(&[SAME, SAME, OTHER])));
}

/// G1, G2, G4: whatever goes wrong at whichever place.
#[test]
fn two_calls_and_a_fault() {
    for calls in PAIRS {
        explore_all(each(&Case {
            most_faults: 1,
            ..Case::new(calls)
        }));
    }
}

#[test]
fn three_calls_and_an_upgrade() {
    explore_all(each(&Case {
        most_faults: 1,
        faults: &[Fault::Upgrade],
        ..Case::new(&[SAME, SAME, OTHER])
    }));
}

/// A look-up is given up after three tries.
#[test]
fn one_call_and_three_faults() {
    explore_all(each(&Case {
        most_faults: 3,
        ..Case::new(&[SAME])
    }));
}

/// What ran is shipped and forgotten while others wait who asked before it ran.
#[test]
fn two_calls_while_it_is_shipped() {
    for calls in PAIRS {
        let case = Case {
            most_windows: 1,
            ..Case::new(calls)
        };
        let of_ids = Case {
            policy: world::policy(Keep::Ids),
            ..case.clone()
        };
        let with_a_fault = Case {
            most_faults: 1,
            faults: &[Fault::Lost, Fault::Upgrade],
            ..case.clone()
        };
        let is_async = Case {
            is_async: true,
            ..case.clone()
        };
        explore_all([of_ids, with_a_fault, is_async]);
    }
}

/// Only one of those that wait is counted, and has the room.
#[test]
fn requests_for_the_last_place() {
    let policy = world::policy(Keep::Replies);
    let with_quota = Case {
        policy: policy.quota(1, 1 << 20),
        ..Case::new(&[SAME, OTHER, ANOTHER_KEY])
    };
    let almost_full = Case {
        policy: policy.capacity(30),
        is_almost_full: true,
        ..with_quota.clone()
    };
    for case in [with_quota, almost_full] {
        let with_a_fault = Case {
            calls: &[SAME, ANOTHER_KEY],
            most_faults: 1,
            ..case.clone()
        };
        let is_async = Case {
            is_async: true,
            ..case.clone()
        };
        explore_all([case, with_a_fault, is_async]);
    }
}
