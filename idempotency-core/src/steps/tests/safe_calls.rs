//! Safe calls as steps: cut off at every place, while their callee answers in every way.

use super::{
    super::{Ended, Journal, Steps, Verified},
    callee::{BLOCK, CALLEE, ENDPOINT, Fate, PLAIN, TRANSFER},
    ways::{End, explore_faults},
    world::{CALLER, World},
};
use crate::safe_call::{Outcome, Reason, SafeCall, TransferError};
use candid::Nat;
use futures_util::future::join;
use std::{cell::Cell, time::Duration};

async fn pay(steps: &Steps, name: &'static str, amount: u64) -> Outcome<Nat> {
    let transfer = steps.transfer(name, CALLER.into(), amount.into());
    let call = SafeCall::icrc1_transfer(CALLEE, &transfer);
    steps.call(name, call).await
}

/// Whether an outcome is true.
fn check<T>(end: &End<Outcome<T>>, method: &str) {
    let Ok(Ok(outcome)) = &end.result else {
        panic!("{:?}", end.result.as_ref().map(|_| ()));
    };
    let executed = end.world.effects().get(method).copied().unwrap_or(0);
    let (is_true, name) = match outcome {
        Outcome::Replied(_) => (executed == 1, "replied"),
        Outcome::Rejected(_) => (executed == 0, "rejected"),
        Outcome::NotExecuted(_) => (executed == 0, "not executed"),
        Outcome::StillUnknown { until, .. } => (executed <= 1 && until.is_none(), "unknown"),
        Outcome::ReplyLost { .. } => (false, "lost"),
    };
    assert!(
        is_true,
        "{name} though executed {executed} times: {:?}",
        end.faults
    );
}

fn is_live(fate: &Fate) -> bool {
    !matches!(fate, Fate::Refused | Fate::TooOld)
}

#[test]
fn a_transfer_is_made_once_and_ends_with_its_block() {
    let [refused, unknown] = [Cell::new(0), Cell::new(0)];
    let body = async |_, steps: Steps| Ok(pay(&steps, "pay", 5).await);
    let ways = explore_faults(2, 2, body, |end| {
        check(end, TRANSFER);
        match end.result.as_ref().unwrap().as_ref().unwrap() {
            Outcome::Replied(block) => assert_eq!(*block, Nat::from(BLOCK)),
            outcome => {
                assert!(
                    !end.faults.iter().all(is_live),
                    "{outcome:?}: {:?}",
                    end.faults
                );
                let is_rejected = matches!(outcome, Outcome::Rejected(_));
                let counted = if is_rejected { &refused } else { &unknown };
                counted.set(counted.get() + 1);
            }
        }
    });
    assert!(
        ways > 500 && refused.get() > 10 && unknown.get() > 10,
        "{ways} {refused:?} {unknown:?}"
    );
}

#[test]
fn an_endpoint_is_called_again_with_the_same_key() {
    let body = async |_, steps: Steps| {
        let call = SafeCall::endpoint(CALLEE, ENDPOINT, (steps.key("pay").to_vec(),));
        Ok(steps.call("pay", call).await)
    };
    let ways = explore_faults(2, 2, body, |end| {
        check(end, ENDPOINT);
        assert_eq!(
            end.result,
            Ok(Ok(Outcome::Replied(BLOCK))),
            "{:?}",
            end.faults
        );
    });
    assert!(ways > 300, "{ways}");
}

#[test]
fn a_plain_callee_is_never_called_again_in_doubt() {
    let parked = Cell::new(0);
    let body = async |_, steps: Steps| {
        let call = SafeCall::plain(CALLEE, PLAIN, (1u64,));
        Ok(steps.call("pay", call).await)
    };
    let ways = explore_faults(2, 2, body, |end: &End<Outcome<u64>>| {
        let Err(reason) = &end.result else {
            check(end, PLAIN);
            let is_in_doubt = |fate: &Fate| *fate != Fate::Transient;
            let Ok(Ok(outcome)) = &end.result else {
                unreachable!()
            };
            assert_eq!(
                matches!(outcome, Outcome::Replied(BLOCK)),
                !end.faults.iter().any(is_in_doubt)
            );
            return;
        };
        assert!(
            reason.starts_with("nobody knows whether step \"pay\""),
            "{reason}"
        );
        assert!(end.cuts > 0 && end.world.effects().values().all(|times| *times == 1));
        parked.set(parked.get() + 1);
    });
    assert!(ways > 50 && parked.get() > 10, "{ways} {parked:?}");
}

#[test]
fn a_plain_callee_is_called_again_where_it_is_verified_that_it_did_nothing() {
    let body = async |world: World, steps: Steps| {
        let verify = async |key| {
            assert_eq!(key, steps.key("pay"));
            match world.ask(PLAIN).await {
                true => Verified::Ran(BLOCK),
                false => Verified::DidNotRun,
            }
        };
        let call = SafeCall::plain(CALLEE, PLAIN, (1u64,));
        Ok(steps.call("pay", call).verify(verify).await)
    };
    let ways = explore_faults(2, 2, body, |end| {
        check(end, PLAIN);
        if end.faults.iter().all(|fate| *fate == Fate::Transient) {
            assert_eq!(end.result, Ok(Ok(Outcome::Replied(BLOCK))));
        }
    });
    assert!(ways > 100, "{ways}");
}

#[test]
fn two_at_once() {
    let body = async |world: World, steps: Steps| {
        let other = async {
            steps.run("here", async || world.effect("here")).await;
            let call = SafeCall::endpoint(CALLEE, ENDPOINT, (steps.key("other").to_vec(),));
            steps.call("other", call).await
        };
        let (one, other): (_, Outcome<u64>) = join(pay(&steps, "one", 1), other).await;
        steps.run("end", async || world.effect("end")).await;
        Ok((one, other))
    };
    let ways = explore_faults(1, 1, body, |end| {
        if end.faults.iter().all(is_live) {
            let both = (Outcome::Replied(Nat::from(BLOCK)), Outcome::Replied(BLOCK));
            assert_eq!(end.result, Ok(Ok(both)), "{:?}", end.faults);
        }
        assert!(end.world.effects().values().all(|times| *times == 1));
    });
    assert!(ways > 100, "{ways}");
}

/// Runs a transfer whose attempts have these fates, the last for ever. Returns its outcome and the number of attempts at the method.
fn scripted(fates: &[Fate]) -> (Outcome<Nat>, u32, World) {
    let world = World::new();
    let (last, first) = fates.split_last().expect("a fate");
    let mut fates = first.iter().chain(std::iter::repeat(last));
    loop {
        let mut attempt = world.begin(async |steps| Ok(pay(&steps, "pay", 5).await));
        let ended = loop {
            let ended = attempt.message();
            world.commit();
            if ended.is_some() {
                break ended;
            }
            world.pass(Duration::from_secs(1));
            let fate = fates.next().expect("the last is repeated");
            world.decide(world.calls()[0], *fate);
        };
        drop(attempt);
        world.cut();
        match ended {
            Some(Ended::Finished(Ok(outcome))) => return (outcome, world.attempt(), world),
            Some(Ended::Asleep { until }) => {
                let left = until.as_nanos() - world.now().as_nanos();
                world.pass(Duration::from_nanos(left));
            }
            ended => panic!("{ended:?}"),
        }
    }
}

fn refused() -> Outcome<Nat> {
    Outcome::Rejected(Reason::Ledger(TransferError::InsufficientFunds {
        balance: 0u8.into(),
    }))
}

#[test]
fn a_pause_after_a_clean_reject_leaves_no_doubt() {
    let (outcome, attempts, _) = scripted(&[Fate::Transient, Fate::Transient, Fate::Refused]);
    assert_eq!((outcome, attempts), (refused(), 3));
    let (outcome, attempts, world) = scripted(&[Fate::Transient]);
    assert!(matches!(outcome, Outcome::NotExecuted(_)), "{outcome:?}");
    assert_eq!((attempts, world.did(TRANSFER)), (5, false));
}

#[test]
fn a_doubt_stays_over_pauses() {
    // The ledger looks at the balance before it looks for a duplicate.
    let (outcome, attempts, world) =
        scripted(&[Fate::Lost, Fate::Refused, Fate::Refused, Fate::Answered]);
    assert_eq!(outcome, Outcome::Replied(Nat::from(BLOCK)));
    assert_eq!((attempts, world.effects()[TRANSFER]), (4, 1));
    let (outcome, ..) = scripted(&[Fate::Dropped, Fate::Transient, Fate::TooOld]);
    assert!(
        matches!(outcome, Outcome::StillUnknown { until: None, .. }),
        "{outcome:?}"
    );
}

#[test]
fn a_callee_that_can_tell_is_asked_until_the_end_of_its_window_and_then_no_more() {
    for fate in [Fate::Dropped, Fate::TrapsFirst] {
        let (outcome, attempts, world) = scripted(&[fate]);
        assert!(
            matches!(outcome, Outcome::StillUnknown { until: None, .. }),
            "{outcome:?}"
        );
        // Each attempt at the method runs, is recorded and is paid for.
        assert!((30..80).contains(&attempts), "{attempts}");
        assert!(world.bytes() < 4_000, "{}", world.bytes());
        let day = Duration::from_secs(24 * 60 * 60).as_nanos() as u64;
        let passed = world.now().as_nanos() - 1_000_000_000_000;
        assert!(passed.abs_diff(day) < day / 24, "{passed}");
    }
}

/// Sends a transfer of 5, is cut off, and goes on with another amount.
fn changed(fate: Fate) -> Ended<Result<Outcome<Nat>, String>> {
    let world = World::new();
    let mut attempt = world.begin(async |steps| Ok(pay(&steps, "pay", 5).await));
    assert_eq!(attempt.message(), None);
    world.commit();
    world.decide(world.calls()[0], fate);
    attempt.message();
    world.commit();
    drop(attempt);
    world.cut();
    let mut attempt = world.begin(async |steps| Ok(pay(&steps, "pay", 6).await));
    if let Some(ended) = attempt.message() {
        assert!(world.calls().is_empty());
        return ended;
    }
    world.commit();
    world.decide(world.calls()[0], Fate::Answered);
    attempt.message().expect("it ends")
}

#[test]
fn another_call_is_not_made_for_one_in_doubt() {
    let Ended::Parked { reason } = changed(Fate::Lost) else {
        panic!("it was paid again");
    };
    assert!(
        reason.starts_with("safe call \"pay\" is now another one"),
        "{reason}"
    );
    // Nothing was done by the first.
    let paid = Outcome::Replied(Nat::from(BLOCK));
    assert_eq!(changed(Fate::Transient), Ended::Finished(Ok(paid)));
}

#[test]
fn a_step_that_becomes_a_safe_call_is_not_taken_for_one() {
    let world = World::new();
    let of_body = world.clone();
    let mut attempt = world.begin(async move |steps| {
        steps
            .run("pay", async || of_body.call("by hand").await)
            .await;
        Ok(Outcome::Replied(Nat::from(BLOCK)))
    });
    assert_eq!(attempt.message(), None);
    world.commit();
    drop(attempt);
    world.cut();
    let ended = world.run(async |steps| Ok(pay(&steps, "pay", 5).await));
    assert!(
        matches!(&ended, Ended::Parked { reason } if reason.starts_with("nobody knows")),
        "{ended:?}"
    );
}

#[test]
fn what_cannot_be_noted_is_not_sent() {
    for most in 0..200 {
        let world = World::new();
        world.limit(most);
        let mut attempt = world.begin(async |steps| Ok(pay(&steps, "pay", 5).await));
        let ended = attempt.message();
        world.commit();
        // The time, that it began, and what is sent.
        let needed = 13 + 5 + 34;
        assert_eq!(world.calls().is_empty(), most < needed, "{most}");
        match ended {
            Some(Ended::Parked { reason }) => {
                assert!(reason.contains("raise `max_journal_bytes`"), "{reason}")
            }
            ended => assert_eq!((ended, most >= needed), (None, true)),
        }
    }
}
