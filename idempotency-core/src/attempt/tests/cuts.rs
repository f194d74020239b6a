//! Every place where a call can be cut off, in every way, with everything that can come next: beside a model of ten lines.

use super::{
    WINDOW, awaits, call,
    endpoints::{Failure, Plan},
    ic,
    ic::{Ic, Method, Outcome},
    refusal,
};
use crate::error::IdempotencyError;
use std::{collections::BTreeMap, time::Duration};

const KEY: u64 = 7;
const MOST_AWAITS: u8 = 3;

/// How a call ends. Segment 0 is before its first await.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// By itself.
    None,
    /// A trap in this segment.
    Trap(u8),
    /// A trap in this segment, and another one in the cleanup.
    TrapTwice(u8),
    /// An upgrade after this segment.
    Upgrade(u8),
    /// An upgrade after this segment; then the answer comes.
    UpgradeAndAnswer(u8),
    /// Not yet: the answer after this segment does not come.
    Silence(u8),
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Retry,
    RetryAfterUpgrade,
    RetryAfterWindow,
    OtherArguments,
}

/// What is known of the request then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Absent,
    InProgress,
    Unknown,
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    method: Method,
    awaits: u8,
    fails: bool,
    cut: Cut,
    next: Next,
}

/// Every case in which the cut lies within the call.
fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (method, most_awaits) in [
        (Method::Sync, 0),
        (Method::Keep, MOST_AWAITS),
        (Method::Forget, MOST_AWAITS),
    ] {
        for awaits in 0..=most_awaits {
            let mut cuts = vec![Cut::None];
            cuts.extend((0..=awaits).flat_map(|at| [Cut::Trap(at), Cut::TrapTwice(at)]));
            cuts.extend((0..awaits).flat_map(|at| {
                [
                    Cut::Upgrade(at),
                    Cut::UpgradeAndAnswer(at),
                    Cut::Silence(at),
                ]
            }));
            for (cut, fails) in cuts.into_iter().flat_map(|cut| [(cut, false), (cut, true)]) {
                let nexts = [
                    Next::Retry,
                    Next::RetryAfterUpgrade,
                    Next::RetryAfterWindow,
                    Next::OtherArguments,
                ];
                cases.extend(nexts.map(|next| Case {
                    method,
                    awaits,
                    fails,
                    cut,
                    next,
                }));
            }
        }
    }
    cases
}

impl Case {
    fn plan(self) -> Plan {
        let (traps_in, traps_in_cleanup) = match self.cut {
            Cut::Trap(at) => (Some(at), false),
            Cut::TrapTwice(at) => (Some(at), true),
            _ => (None, false),
        };
        Plan {
            traps_in,
            traps_in_cleanup,
            fails: self.fails,
            ..awaits(self.awaits)
        }
    }

    /// How many segments of the call stand.
    fn segments(self) -> u8 {
        match self.cut {
            Cut::None => self.awaits + 1,
            Cut::Trap(at) | Cut::TrapTwice(at) => at,
            Cut::Upgrade(at) | Cut::UpgradeAndAnswer(at) | Cut::Silence(at) => at + 1,
        }
    }

    /// The model.
    fn known(self) -> Known {
        let is_forgotten = self.fails && self.awaits == 0 && self.method != Method::Keep;
        match (self.cut, self.next) {
            (Cut::None, _) if is_forgotten => Known::Absent,
            (Cut::None, _) => Known::Done,
            (Cut::Trap(0) | Cut::TrapTwice(0), _) => Known::Absent,
            (Cut::Trap(_) | Cut::Upgrade(_) | Cut::UpgradeAndAnswer(_), _) => Known::Unknown,
            (_, Next::RetryAfterUpgrade | Next::RetryAfterWindow) => Known::Unknown,
            (Cut::TrapTwice(_) | Cut::Silence(_), _) => Known::InProgress,
        }
    }

    /// The call, until it ends or is cut off; its outcome.
    fn run(self, ic: &mut Ic) -> Option<Outcome> {
        let first = ic.call(call(self.method, KEY, self.plan()));
        for segment in 0..self.awaits {
            match self.cut {
                Cut::Silence(at) if at == segment => return None,
                Cut::Upgrade(at) if at == segment => {
                    ic.upgrade();
                    return None;
                }
                Cut::UpgradeAndAnswer(at) if at == segment => {
                    ic.upgrade();
                    ic.answer(first, 1);
                    break;
                }
                Cut::Trap(at) | Cut::TrapTwice(at) if at <= segment => break,
                _ => ic.answer(first, 1),
            }
        }
        ic.outcome(first)
    }
}

/// G1–G5, G8: at every await, whatever cuts the call off there and whatever comes next.
#[test]
fn whatever_cuts_a_call_off_nothing_runs_twice_unasked() {
    let cases = cases();
    assert!(cases.len() > 500, "{}", cases.len());
    for case in cases {
        let mut ic = ic();
        let outcome = case.run(&mut ic);
        let stands: BTreeMap<_, _> = (0..case.segments()).map(|at| ((KEY, at), 1)).collect();
        assert_eq!(ic.effects(), stands, "{case:?}");

        let mut plan = case.plan();
        match case.next {
            Next::Retry => {}
            Next::RetryAfterUpgrade => ic.upgrade(),
            // The record is still there.
            Next::RetryAfterWindow => ic.pass(WINDOW + Duration::from_nanos(1)),
            Next::OtherArguments => plan.fails = !plan.fails,
        }
        let again = ic.call(call(case.method, KEY, plan));
        let known = case.known();
        if known == Known::Absent {
            let began = *ic.effects().get(&(KEY, 0)).unwrap_or(&0);
            let traps = plan.traps_in == Some(0);
            let first = u32::from(case.segments() > 0);
            assert_eq!(began, first + u32::from(!traps), "it runs: {case:?}");
            continue;
        }
        assert_eq!(ic.effects(), stands, "it does not run again: {case:?}");
        if matches!(case.next, Next::OtherArguments) {
            assert_eq!(
                refusal(&ic, again),
                Some(IdempotencyError::KeyReused),
                "{case:?}"
            );
            continue;
        }
        let said = refusal(&ic, again);
        match known {
            Known::Done => assert_eq!(ic.outcome(again), outcome, "{case:?}"),
            Known::InProgress => {
                assert!(
                    matches!(said, Some(IdempotencyError::InProgress { .. })),
                    "{case:?}"
                );
            }
            Known::Unknown | Known::Absent => {
                assert!(
                    matches!(said, Some(IdempotencyError::OutcomeUnknown { .. })),
                    "{case:?}"
                );
            }
        }
    }
}

/// G5, G6: an answer that comes when the window is over, and the record is gone, still ends its own attempt; a retry gets its reply.
#[test]
fn g5_an_attempt_that_ends_late_records_its_end() {
    let mut ic = ic();
    let first = ic.call(call(Method::Keep, KEY, awaits(1)));
    ic.pass(10 * WINDOW);
    assert_eq!(ic.stats().entries, 0);
    let between = ic.call(call(Method::Keep, KEY, awaits(1)));
    assert!(matches!(
        refusal(&ic, between),
        Some(IdempotencyError::OutcomeUnknown { .. })
    ));
    ic.answer(first, 5);
    let again = ic.call(call(Method::Keep, KEY, awaits(1)));
    assert_eq!(ic.outcome(again), ic.outcome(first));
    assert_ne!(super::reply(&ic, again), Err(Failure::Own));
    assert_eq!(ic.effects()[&(KEY, 0)], 1);
    ic.pass(Duration::from_secs(1));
}
