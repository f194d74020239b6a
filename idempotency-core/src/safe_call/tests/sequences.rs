//! Every sequence of fates, and many with times: the outcome is right, and only one of the attempts has an effect.

use super::world::{CALLEE, CALLER, FATES, Failure, Fate, Kind, REPLY, START, World, finished};
use crate::{
    safe_call::{Outcome, SafeCall, Transfer},
    time::Timestamp,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Duration};

/// The name of an outcome, and the reply if there is one.
type End = (&'static str, Option<u64>);

fn end<T>(outcome: Outcome<T>, reply: impl FnOnce(T) -> u64) -> End {
    match outcome {
        Outcome::Replied(value) => ("Replied", Some(reply(value))),
        Outcome::ReplyLost { .. } => ("ReplyLost", None),
        Outcome::Rejected(_) => ("Rejected", None),
        Outcome::NotExecuted(_) => ("NotExecuted", None),
        Outcome::StillUnknown { .. } => ("StillUnknown", None),
    }
}

#[derive(Clone, Copy, Debug)]
struct Times {
    window: u64,
    created_at: Option<u64>,
    in_doubt_since: Option<u64>,
}

fn transfer(created_at: u64) -> Transfer {
    Transfer {
        from_subaccount: None,
        to: CALLER.into(),
        amount: 5u8.into(),
        fee: None,
        memo: vec![1],
        created_at: Timestamp::from_secs(created_at),
    }
}

fn run(kind: Kind, world: &World, tries: u32, times: Times) -> End {
    let window = Duration::from_secs(times.window);
    let doubt = times.in_doubt_since.map(Timestamp::from_secs);
    let created_at = times.created_at.map(Timestamp::from_secs);
    macro_rules! send {
        ($call:expr) => {{
            let mut call = $call.tries(tries);
            if let Some(since) = doubt {
                call = call.in_doubt_since(since);
            }
            finished(call.send_over(world))
        }};
    }
    macro_rules! endpoint {
        ($call:expr) => {{
            let mut call = $call.window(window);
            if let Some(created_at) = created_at {
                call = call.created_at(created_at);
            }
            send!(call)
        }};
    }
    match kind {
        Kind::Endpoint => {
            let call = SafeCall::endpoint(CALLEE, "pay", (7u64,)).refusal(
                |reply: &Result<u64, Failure>| match reply {
                    Err(Failure::Idempotency(error)) => Some(error),
                    Ok(_) => None,
                },
            );
            end(endpoint!(call), |reply| {
                reply.expect("refusals are no replies")
            })
        }
        Kind::TrappingEndpoint => end(
            endpoint!(SafeCall::endpoint(CALLEE, "pay", (7u64,))),
            |reply: u64| reply,
        ),
        Kind::Ledger | Kind::LedgerWithOtherFee | Kind::LedgerWithBlocks => {
            let transfer = transfer(times.created_at.expect("ledgers are dated"));
            let call = SafeCall::icrc1_transfer(CALLEE, &transfer).window(window);
            end(send!(call), |block| u64::try_from(&block.0).unwrap())
        }
        Kind::Plain => end(
            send!(SafeCall::plain(CALLEE, "pay", (7u64,))),
            |reply: u64| reply,
        ),
    }
}

/// What must hold of each run.
fn check(world: &World, end: End) -> Result<(), String> {
    let effects = world.effects();
    let expected = match end {
        ("Replied", reply) => {
            if reply != Some(REPLY) {
                return Err(format!("the reply is {reply:?}"));
            }
            1..=1
        }
        ("ReplyLost", _) => 1..=1,
        ("Rejected" | "NotExecuted", _) => 0..=0,
        _ => 0..=1,
    };
    if !expected.contains(&effects) {
        return Err(format!("{end:?}, and {effects} effects"));
    }
    let sent = world.sent.borrow();
    match sent.iter().all(|call| call == &sent[0]) {
        true => Ok(()),
        false => Err("a repeat differs".into()),
    }
}

/// Shows G16.
#[test]
fn each_sequence_of_four_fates_ends_in_one_outcome_that_is_right() {
    const KINDS: [Kind; 6] = [
        Kind::Endpoint,
        Kind::TrappingEndpoint,
        Kind::Ledger,
        Kind::LedgerWithOtherFee,
        Kind::LedgerWithBlocks,
        Kind::Plain,
    ];
    const TRIES: u32 = 4;
    let mut seen = BTreeSet::new();
    for kind in KINDS {
        for number in 0..FATES.len().pow(TRIES) {
            let fates =
                (0..TRIES).map(|place| FATES[number / FATES.len().pow(place) % FATES.len()]);
            let fates: Vec<Fate> = fates.collect();
            let world = World::new(kind, &fates);
            let times = Times {
                window: 24 * 3_600,
                created_at: kind.is_ledger().then_some(START),
                in_doubt_since: None,
            };
            let end = run(kind, &world, TRIES, times);
            check(&world, end).unwrap_or_else(|text| panic!("{kind:?}, {fates:?}: {text}"));
            let attempts = world.sent.borrow().len();
            let doubts = fates
                .iter()
                .take(attempts)
                .filter(|fate| fate.is_doubtful());
            let doubts = doubts.count();
            if doubts == 0 {
                assert_ne!(end.0, "StillUnknown", "{kind:?}, {fates:?}");
            }
            if kind == Kind::Plain && doubts > 0 {
                assert_eq!(end.0, "StillUnknown", "{fates:?}");
                assert!(
                    fates[attempts - 1].is_doubtful(),
                    "sent again in doubt: {fates:?}"
                );
            }
            seen.insert((format!("{kind:?}"), end.0));
        }
    }
    // Each end is reached where it can be.
    for kind in KINDS {
        for name in ["Replied", "Rejected", "NotExecuted", "StillUnknown"] {
            // Its blocks can always be had, and so it can always tell.
            if (kind, name) == (Kind::LedgerWithBlocks, "StillUnknown") {
                continue;
            }
            assert!(
                seen.contains(&(format!("{kind:?}"), name)),
                "{kind:?}: {name}"
            );
        }
    }
}

/// An endpoint that recognises repeats tells the end of whatever came before, unless that trapped in its midst.
#[test]
fn an_answer_at_last_ends_the_doubt() {
    for kind in [Kind::Endpoint, Kind::TrappingEndpoint, Kind::Ledger] {
        for fate in FATES {
            if matches!(fate, Fate::NotExecuted(1 | 3)) {
                continue;
            }
            let world = World::new(kind, &[fate, fate]);
            let times = Times {
                window: 24 * 3_600,
                created_at: (kind == Kind::Ledger).then_some(START),
                in_doubt_since: None,
            };
            let end = run(kind, &world, 5, times);
            match fate {
                Fate::TrapsLater if kind != Kind::Ledger => assert_eq!(end.0, "StillUnknown"),
                _ => assert_eq!(end, ("Replied", Some(REPLY)), "{kind:?}, {fate:?}"),
            }
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Endpoint),
        Just(Kind::TrappingEndpoint),
        Just(Kind::Ledger),
        Just(Kind::LedgerWithOtherFee),
        Just(Kind::LedgerWithBlocks),
        Just(Kind::Plain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Answers take up to a minute, pauses last for much longer than they should, clocks differ, and windows are short. Shows G16.
    #[test]
    fn nothing_is_executed_twice_when_time_passes(
        kind in kinds(),
        fates in proptest::collection::vec(proptest::sample::select(&FATES[..]), 0..8),
        delays in proptest::collection::vec(0u64..=60, 8),
        stalls in proptest::collection::vec(prop_oneof![0u64..10, 0u64..400], 8),
        window in prop_oneof![10u64..300, 300u64..2_000],
        is_dated: bool,
        skew in -50i64..=50,
        is_resumed: bool,
        rest in 0u64..1_000,
    ) {
        let created_at = (kind.is_ledger() || is_dated).then_some(START);
        let mut times = Times { window, created_at, in_doubt_since: None };
        let world = World::new(kind, &fates).with_times(window, created_at, skew, delays, stalls);
        let first = run(kind, &world, 3, times);
        // Late arrivals of the first run come in the second.
        let mut last = first;
        if is_resumed && first.0 == "StillUnknown" {
            world.pass(rest);
            times.in_doubt_since = Some(START);
            last = run(kind, &world, 3, times);
        }
        if let Err(text) = check(&world, last) {
            return Err(TestCaseError::fail(text));
        }
    }
}
