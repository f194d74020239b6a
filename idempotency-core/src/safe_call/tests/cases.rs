//! Single cases: times, pauses, options, and what is hostile.

use super::world::{CALLEE, Fate, Kind, REPLY, START, World, finished};
use crate::{
    safe_call::{Account, Outcome, Reason, SafeCall, Transfer, TransferError, TransferFrom},
    time::Timestamp,
};
use candid::{CandidType, Deserialize, Nat, Principal};
use std::time::Duration;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds)
}

fn endpoint() -> SafeCall<crate::safe_call::Endpoint<u64>> {
    SafeCall::endpoint(CALLEE, "pay", (7u64,))
}

fn send<C: crate::safe_call::Callee>(call: &SafeCall<C>, world: &World) -> Outcome<C::Reply> {
    finished(call.send_over(world))
}

#[test]
fn pauses_double_up_to_a_minute() {
    let world = World::new(Kind::TrappingEndpoint, &[Fate::NotExecuted(2); 20]);
    let outcome = send(&endpoint().tries(10), &world);
    assert!(matches!(
        outcome,
        Outcome::NotExecuted(Reason::Reject { code: 2, .. })
    ));
    let pauses: Vec<u64> = world
        .pauses
        .borrow()
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_call_is_made_at_least_once() {
    let world = World::new(Kind::TrappingEndpoint, &[]);
    assert_eq!(send(&endpoint().tries(0), &world), Outcome::Replied(REPLY));
}

#[test]
fn each_attempt_is_the_same() {
    let world = World::new(
        Kind::TrappingEndpoint,
        &[Fate::Dropped, Fate::NotExecuted(0)],
    );
    let call = endpoint().cycles(5).timeout(20);
    assert_eq!(send(&call, &world), Outcome::Replied(REPLY));
    let sent = world.sent.borrow();
    assert_eq!(sent.len(), 3);
    for call in sent.iter() {
        assert_eq!((call.cycles, call.timeout), (5, Some(20)));
        assert_eq!(call.argument, candid::encode_one(7u64).unwrap());
    }
}

#[test]
fn no_repeat_is_sent_that_may_be_executed_after_the_window() {
    // 5 minutes, less a minute for the call and one for the clocks: until 180 s.
    for (delay, repeats, until) in [(50, 1, Some(at(180))), (60, 1, Some(at(180)))] {
        let fates = [Fate::Dropped, Fate::Dropped];
        let world = World::new(Kind::TrappingEndpoint, &fates).with_times(
            300,
            None,
            0,
            vec![delay; 9],
            vec![0; 9],
        );
        let outcome = send(&endpoint().tries(2), &world);
        let Outcome::StillUnknown { until: given, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((world.pauses.borrow().len(), given), (repeats, until));
    }
    let world = World::new(Kind::TrappingEndpoint, &[Fate::AnswerLost; 9]).with_times(
        300,
        None,
        0,
        vec![60; 9],
        vec![0; 9],
    );
    let outcome = send(&endpoint().tries(9), &world);
    assert!(
        matches!(outcome, Outcome::StillUnknown { until: None, .. }),
        "{outcome:?}"
    );
    // At 0, 61 and 123 s; the next would be at 187 s.
    assert_eq!(world.sent.borrow().len(), 3);
    assert_eq!(
        world.pauses.borrow().len(),
        2,
        "nobody waits for what is not sent"
    );
}

#[test]
fn a_window_that_is_shorter_than_an_attempt_allows_none_in_doubt() {
    let world = World::new(Kind::TrappingEndpoint, &[Fate::AnswerLost]);
    let outcome = send(&endpoint().window(Duration::from_secs(100)), &world);
    assert!(
        matches!(outcome, Outcome::StillUnknown { until: None, .. }),
        "{outcome:?}"
    );
    assert_eq!(world.sent.borrow().len(), 1);
}

#[test]
fn a_call_that_is_resumed_is_still_in_doubt() {
    let resumed = || endpoint().in_doubt_since(at(0));
    let world = World::new(Kind::TrappingEndpoint, &[Fate::NotExecuted(3)]);
    let outcome = send(&resumed(), &world);
    assert!(
        matches!(outcome, Outcome::StillUnknown { until: Some(_), .. }),
        "{outcome:?}"
    );

    let world = World::new(Kind::TrappingEndpoint, &[]);
    assert_eq!(send(&resumed(), &world), Outcome::Replied(REPLY));

    let world = World::new(Kind::TrappingEndpoint, &[]);
    world.pass(181);
    let not_asked = Outcome::StillUnknown {
        until: None,
        last: Reason::NotAsked,
    };
    assert_eq!(send(&resumed(), &world), not_asked);
    let world = World::new(Kind::Plain, &[]);
    let plain = SafeCall::plain(CALLEE, "pay", (7u64,)).in_doubt_since(at(0));
    assert_eq!(
        send::<crate::safe_call::Plain<u64>>(&plain, &world),
        not_asked
    );
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn too_old_is_certain_only_without_doubt() {
    let late = |world: &World| world.pass(600);
    let dated = || {
        endpoint()
            .created_at(at(0))
            .window(Duration::from_secs(400))
    };
    let old = |fates: &[Fate]| {
        World::new(Kind::TrappingEndpoint, fates).with_times(400, Some(START), 0, vec![], vec![])
    };
    let world = old(&[]);
    late(&world);
    let outcome = send(&dated(), &world);
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");

    let world = old(&[]);
    late(&world);
    let outcome = send(&dated().in_doubt_since(at(0)), &world);
    assert!(
        matches!(&outcome, Outcome::StillUnknown { until: None, last: Reason::Reject { message, .. } } if message.contains("TooOld")),
        "{outcome:?}"
    );
    assert_eq!(world.sent.borrow().len(), 1);
}

/// As where the callee remembers for less time than it was said to.
#[test]
fn too_old_proves_nothing_within_the_window_either() {
    let world = World::new(Kind::TrappingEndpoint, &[]);
    let world = world.with_times(400, Some(START), 0, vec![], vec![]);
    world.pass(600);
    let call = endpoint()
        .created_at(at(0))
        .window(Duration::from_secs(1_000));
    let outcome = send(&call.in_doubt_since(at(0)), &world);
    assert!(
        matches!(outcome, Outcome::StillUnknown { until: None, .. }),
        "{outcome:?}"
    );
}

/// The record of an earlier attempt may have expired, and the refusal be about another's.
#[test]
fn a_refusal_after_the_window_proves_nothing() {
    for (window, is_proof) in [(100, true), (50, false)] {
        let world = World::new(Kind::TrappingEndpoint, &[Fate::Dropped, Fate::Full]).with_times(
            window,
            Some(START),
            0,
            vec![60, 1],
            vec![],
        );
        let call = endpoint()
            .created_at(at(0))
            .window(Duration::from_secs(window));
        let outcome = send(&call.tries(2), &world);
        assert_eq!(world.sent.borrow().len(), 2);
        match is_proof {
            true => assert!(matches!(outcome, Outcome::NotExecuted(_)), "{outcome:?}"),
            false => assert!(
                matches!(outcome, Outcome::StillUnknown { until: None, .. }),
                "{outcome:?}"
            ),
        }
    }
}

/// A ledger with a shorter window than the caller believes.
#[test]
fn too_old_is_not_asked_again() {
    let world = World::new(Kind::Ledger, &[]).with_times(100, Some(START), 0, vec![], vec![]);
    world.pass(200);
    let transfer = Transfer {
        from_subaccount: None,
        to: CALLEE.into(),
        amount: 5u8.into(),
        fee: None,
        memo: vec![9],
        created_at: at(0),
    };
    let call = SafeCall::icrc1_transfer(CALLEE, &transfer).in_doubt_since(at(0));
    let outcome = send(&call, &world);
    assert_eq!(
        outcome,
        Outcome::StillUnknown {
            until: None,
            last: Reason::Ledger(TransferError::TooOld)
        }
    );
    assert_eq!(world.sent.borrow().len(), 1);
}

/// A method that answers with another type has run all the same; an endpoint may have answered with a refusal.
#[test]
fn a_reply_of_another_type() {
    let world = World::new(Kind::Plain, &[]);
    let outcome: Outcome<String> = send(&SafeCall::plain(CALLEE, "pay", ()), &world);
    assert!(
        matches!(
            outcome,
            Outcome::ReplyLost {
                executed_at: None,
                ..
            }
        ),
        "{outcome:?}"
    );

    let world = World::new(Kind::Plain, &[]);
    let outcome: Outcome<String> = send(&SafeCall::endpoint(CALLEE, "pay", ()), &world);
    assert!(
        matches!(
            outcome,
            Outcome::StillUnknown {
                last: Reason::Unreadable(_),
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(
        world.sent.borrow().len(),
        1,
        "the same bytes would come again"
    );
}

#[test]
fn a_ledger_reads_what_is_sent() {
    #[derive(CandidType, Deserialize, Debug, PartialEq)]
    struct WireAccount {
        owner: Principal,
        subaccount: Option<Vec<u8>>,
    }
    #[derive(CandidType, Deserialize)]
    struct TransferArgs {
        from_subaccount: Option<Vec<u8>>,
        to: WireAccount,
        amount: Nat,
        fee: Option<Nat>,
        memo: Option<Vec<u8>>,
        created_at_time: Option<u64>,
    }
    #[derive(CandidType, Deserialize)]
    struct TransferFromArgs {
        spender_subaccount: Option<Vec<u8>>,
        from: WireAccount,
        to: WireAccount,
        amount: Nat,
        created_at_time: Option<u64>,
    }
    let to = Account {
        owner: CALLEE,
        subaccount: Some([3; 32]),
    };
    let transfer = Transfer {
        from_subaccount: Some([2; 32]),
        to,
        amount: 5u8.into(),
        fee: Some(1u8.into()),
        memo: vec![9],
        created_at: at(0),
    };
    let args: TransferArgs = candid::decode_one(&transfer.encode().unwrap()).unwrap();
    assert_eq!(args.from_subaccount, Some(vec![2; 32]));
    assert_eq!(
        (args.to.owner, args.to.subaccount),
        (CALLEE, Some(vec![3; 32]))
    );
    assert_eq!((args.amount, args.fee), (5u8.into(), Some(1u8.into())));
    assert_eq!(args.memo, Some(vec![9]));
    assert_eq!(args.created_at_time, Some(START * 1_000_000_000));

    let transfer = TransferFrom {
        spender_subaccount: None,
        from: CALLEE.into(),
        to,
        amount: 5u8.into(),
        fee: None,
        memo: vec![],
        created_at: at(0),
    };
    let args: TransferFromArgs = candid::decode_one(&transfer.encode().unwrap()).unwrap();
    assert_eq!((args.from.owner, args.from.subaccount), (CALLEE, None));
    assert_eq!(
        (args.to.subaccount, args.spender_subaccount),
        (Some(vec![3; 32]), None)
    );
    assert_eq!(
        (args.amount, args.created_at_time),
        (5u8.into(), Some(START * 1_000_000_000))
    );
}

/// A ledger's refusal without any doubt before it is certain, and typed.
#[test]
fn a_refusal_of_a_ledger_is_given_as_it_is() {
    let transfer = Transfer {
        from_subaccount: None,
        to: CALLEE.into(),
        amount: 5u8.into(),
        fee: None,
        memo: vec![9],
        created_at: at(0),
    };
    let world = World::new(Kind::LedgerWithOtherFee, &[Fate::Full]);
    let expected_fee = 3u8.into();
    assert_eq!(
        send(&SafeCall::icrc1_transfer(CALLEE, &transfer), &world),
        Outcome::Rejected(Reason::Ledger(TransferError::BadFee { expected_fee }))
    );
}
