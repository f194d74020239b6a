//! What became of a call, where archives may know it.

use super::{
    super::{
        WINDOW,
        native::{Message, Native, Stage},
    },
    held::{CALLER, EXECUTED_AT, Held, replied, send},
};
use crate::{
    Policy, Store, Timestamp,
    attempt::outcomes::{Ask, outcomes_ever_in, outcomes_in},
    error::IdempotencyError,
    idempotent,
    outcome::{Asked, Outcome, Verdict},
    policy::Keep,
    store::State,
};
use candid::utils::{ArgumentEncoder, encode_args};
use ic_stable_structures::VectorMemory;
use serde_bytes::ByteBuf;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

const POLICY: Policy = Policy::new()
    .window(WINDOW)
    .drift(Duration::ZERO)
    .archive(Keep::Digests);

thread_local! {
    /// It may have forgotten what expired before the upgrade.
    static STORE: Store<VectorMemory> = {
        let memory = VectorMemory::default();
        let open = |at: Duration| {
            let at = Timestamp::from_nanos(at.as_nanos() as u64);
            Store::open(memory.clone(), POLICY, at).expect("it is sound")
        };
        open(Duration::ZERO);
        open(LATE)
    };
}

#[idempotent(crate = crate, store = STORE, key = id, on_replay = |first| first + 100)]
#[ic_cdk::update]
fn rent(id: String) -> u64 {
    id.len() as u64
}

#[idempotent(crate = crate, store = STORE, key = id, created_at = Timestamp::from_secs(*made))]
#[ic_cdk::update]
fn rent_in_time(id: String, made: u64) -> u64 {
    made + id.len() as u64
}

#[idempotent(crate = crate, store = STORE, sequence = number, max_in_flight = 4, first_incomplete = *first)]
#[ic_cdk::update]
fn turn(number: u64, first: Option<u64>) -> u64 {
    number + first.unwrap_or_default()
}

const ENDPOINTS: [&dyn Ask; 3] = [
    &__idempotent_attribute_of_rent,
    &__idempotent_attribute_of_rent_in_time,
    &__idempotent_attribute_of_turn,
];

type Answer = Result<Outcome, IdempotencyError>;

const SECOND: Duration = Duration::from_secs(1);

/// When what was made in the first second is too old.
const LATE: Duration = WINDOW.saturating_mul(2);

const FOR_EVER: Timestamp = Timestamp::from_nanos(u64::MAX);

fn asked(method: &str, arguments: impl ArgumentEncoder) -> Asked {
    Asked {
        method: method.to_owned(),
        arg: ByteBuf::from(encode_args(arguments).unwrap()),
    }
}

fn ic(at: Duration) -> Native {
    let ic = Native::default();
    ic.pass(at);
    let message = Message {
        caller: CALLER,
        deadline: 0,
        instructions: 1_000,
        method: "",
        argument: vec![],
    };
    ic.enter(Stage::First, message);
    ic
}

/// What a query says.
fn told(asked: Asked, at: Duration) -> Answer {
    outcomes_in(&ic(at), &[asked], &ENDPOINTS).remove(0)
}

/// What one that asks archives says, and how many messages that took.
fn told_ever(asked: &[Asked], at: Duration) -> (Vec<Answer>, u32) {
    let ic = ic(at);
    let mut outcomes = pin!(outcomes_ever_in(&ic, asked, &ENDPOINTS));
    for messages in 1.. {
        let polled = outcomes
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(outcomes) = polled {
            return (outcomes, messages);
        }
        ic.pass(SECOND);
    }
    unreachable!("it ends")
}

fn ever(asked: Asked, at: Duration) -> Answer {
    told_ever(&[asked], at).0.remove(0)
}

fn verdict(answer: &Answer) -> Verdict {
    match answer {
        Ok(Outcome::Absent { verdict, .. }) => *verdict,
        other => panic!("{other:?}"),
    }
}

fn code(answer: Answer) -> u32 {
    match answer {
        Err(IdempotencyError::Other { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

const CAN_STILL_RUN: Verdict = Verdict::CanStillRun { until: None };

#[test]
fn what_an_archive_holds_is_done_for_ever() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent;
    held.hold(attribute, &("a".into(),), replied(&5u64), None);
    let done = Outcome::Done {
        // As a retry gets it.
        reply: candid::encode_one(105u64).unwrap().into(),
        executed_at: EXECUTED_AT,
        guaranteed_until: FOR_EVER,
    };
    assert_eq!(ever(asked("rent", ("a",)), LATE), Ok(done));
    // It may run, or not: a query can't tell.
    assert_eq!(code(told(asked("rent", ("a",)), LATE)), 10);
}

#[test]
fn the_digest_of_a_reply_is_shown() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent;
    for digest in [None, Some([7; 32])] {
        held.hold(attribute, &("a".into(),), Some(State::ReplyDropped), digest);
        let dropped = Outcome::ReplyDropped {
            executed_at: EXECUTED_AT,
            guaranteed_until: FOR_EVER,
            digest: digest.map(|digest| ByteBuf::from(digest.to_vec())),
        };
        assert_eq!(ever(asked("rent", ("a",)), LATE), Ok(dropped));
    }
}

#[test]
fn who_asks_with_other_arguments_is_told_nothing() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent_in_time;
    held.hold(attribute, &("a".into(), 1), replied(&5u64), None);
    let other = ever(asked("rent_in_time", ("a", 2u64)), LATE);
    assert_eq!(other, Err(IdempotencyError::KeyReused));
}

/// A false positive of the filter.
#[test]
fn what_no_archive_holds_can_still_run() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent;
    held.hold(attribute, &("a".into(),), None, None);
    assert_eq!(verdict(&ever(asked("rent", ("a",)), LATE)), CAN_STILL_RUN);
    // The archive's answer comes a second later, and so does the outcome.
    match ever(asked("rent", ("a",)), LATE) {
        Ok(Outcome::Absent { as_of, .. }) => {
            assert_eq!(as_of.as_nanos(), (LATE + SECOND).as_nanos() as u64);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_too_old_never_ran_if_no_archive_holds_it() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent_in_time;
    // The store has lived longer than its archives: it may have forgotten what expired by then.
    let expiry = Timestamp::from_nanos((SECOND + WINDOW).as_nanos() as u64);
    let question = || asked("rent_in_time", ("a", 1u64));
    for (forgot_until, expected) in [
        (Timestamp::default(), Verdict::NeverRan),
        (
            Timestamp::from_nanos(expiry.as_nanos() - 1),
            Verdict::NeverRan,
        ),
        (expiry, Verdict::MayHaveRun),
        (FOR_EVER, Verdict::MayHaveRun),
    ] {
        held.set_forgot_until(forgot_until);
        assert_eq!(verdict(&told(question(), LATE)), expected);
        assert_eq!(verdict(&ever(question(), LATE)), expected);
    }
    assert_eq!(held.asked(), 0);

    held.set_forgot_until(Timestamp::default());
    held.hold(attribute, &("a".into(), 1), None, None);
    assert_eq!(verdict(&told(question(), LATE)), Verdict::MayHaveRun);
    assert_eq!(verdict(&ever(question(), LATE)), Verdict::NeverRan);
}

#[test]
fn a_number_that_was_used_is_asked_about_and_one_that_was_not_is_not() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_turn;
    let run = |(number, first)| turn(number, first);
    // A client that goes on at 2 has the replies to those below, so the store lets them go.
    for (number, first) in [(0, None), (1, None), (2, Some(2))] {
        send(&STORE, attribute, (number, first), LATE, run).reply();
    }
    for number in [0, 1, 4] {
        held.hold(attribute, &(number, None), replied(&7u64), None);
    }
    held.hold(attribute, &(1, None), None, None);
    let question = |number: u64| asked("turn", (number, None::<u64>));
    assert_eq!(verdict(&told(question(0), LATE)), Verdict::MayHaveRun);
    assert!(matches!(ever(question(0), LATE), Ok(Outcome::Done { .. })));
    // Its record may have been one that a lane gave up before there were archives.
    assert_eq!(verdict(&ever(question(1), LATE)), Verdict::MayHaveRun);
    let asked_before = held.asked();
    assert_eq!(verdict(&ever(question(4), LATE)), CAN_STILL_RUN);
    assert_eq!(verdict(&told(question(4), LATE)), CAN_STILL_RUN);
    assert_eq!(held.asked(), asked_before);
}

/// Each in the message of its own answer, and those that nobody is asked about at once.
#[test]
fn several_calls_are_answered_in_their_order() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent;
    send(&STORE, attribute, ("known".into(),), LATE, |(id,)| rent(id)).reply();
    held.hold(attribute, &("a".into(),), replied(&5u64), None);
    held.hold(attribute, &("b".into(),), None, None);
    let calls = ["a", "known", "b", "c"].map(|id| asked("rent", (id,)));
    let (answers, messages) = told_ever(&calls, LATE);
    assert_eq!((messages, held.asked()), (3, 2));
    assert!(matches!(
        answers[0],
        Ok(Outcome::Done {
            guaranteed_until: FOR_EVER,
            ..
        })
    ));
    assert!(
        matches!(&answers[1], Ok(Outcome::Done { guaranteed_until, .. }) if *guaranteed_until < FOR_EVER)
    );
    assert_eq!(
        [verdict(&answers[2]), verdict(&answers[3])],
        [CAN_STILL_RUN; 2]
    );
}

/// What runs while the archive is asked is seen.
#[test]
fn the_store_is_looked_through_when_the_archive_has_answered() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_rent;
    held.hold(attribute, &("a".into(),), None, None);
    let mut call = send(&STORE, attribute, ("a".into(),), LATE, |(id,)| rent(id));
    let ic = ic(LATE);
    let calls = [asked("rent", ("a",))];
    let mut outcomes = pin!(outcomes_ever_in(&ic, &calls, &ENDPOINTS));
    let mut context = Context::from_waker(Waker::noop());
    assert!(outcomes.as_mut().poll(&mut context).is_pending());
    call.go_on(SECOND, 0);
    call.reply();
    let Poll::Ready(outcomes) = outcomes.as_mut().poll(&mut context) else {
        panic!("the archive has answered");
    };
    assert!(
        matches!(outcomes[0], Ok(Outcome::Done { .. })),
        "{outcomes:?}"
    );
}

#[test]
fn nothing_is_said_of_what_archives_may_hold_that_were_not_opened() {
    let new = || asked("rent", ("a",));
    let too_old = || asked("rent_in_time", ("a", 1u64));
    assert_eq!(code(told(new(), LATE)), 10);
    assert_eq!(verdict(&told(too_old(), LATE)), Verdict::MayHaveRun);
    assert_eq!(code(ever(new(), LATE)), 9);
    assert_eq!(code(ever(too_old(), LATE)), 9);
}
