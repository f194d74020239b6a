//! Which calls ask archives, and what counts at their second look.

use super::{
    super::{
        WINDOW,
        native::{Message, Native, Stage},
    },
    held::{CALLER, Call, Held, replied, send, send_with},
};
use crate::{
    Policy, Store, Timestamp,
    attempt::inspection::inspected,
    error::IdempotencyError,
    idempotent,
    policy::Keep,
    runtime::Runtime as _,
    store::{Reply, State},
};
use ic_stable_structures::VectorMemory;
use std::{cell::Cell, time::Duration};

const POLICY: Policy = Policy::new().window(WINDOW).drift(Duration::ZERO);

fn opened(policy: Policy) -> Store<VectorMemory> {
    let start = Timestamp::from_nanos(0);
    Store::open(VectorMemory::default(), policy, start).expect("an empty memory")
}

thread_local! {
    static STORE: Store<VectorMemory> = opened(POLICY.archive(Keep::Replies));
    static WITH_QUOTA: Store<VectorMemory> = opened(POLICY.archive(Keep::Replies).quota(1, 1 << 20));
    static WITHOUT: Store<VectorMemory> = opened(POLICY);
    /// How often any method was run.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

type Answer = Result<u64, IdempotencyError>;

fn run(answer: u64) -> Answer {
    RUNS.set(RUNS.get() + 1);
    Ok(answer)
}

fn again(first: Answer) -> Answer {
    first.map(|answer| answer + 100)
}

#[idempotent(crate = crate, store = STORE, key = id, on_replay = again, cycles = 50)]
#[ic_cdk::update]
fn buy(id: String, amount: u64) -> Answer {
    let _ = id;
    run(amount)
}

#[idempotent(crate = crate, store = STORE, key = id, created_at = Timestamp::from_secs(*made))]
#[ic_cdk::update]
fn buy_in_time(id: String, made: u64) -> Answer {
    let _ = id;
    run(made)
}

#[idempotent(crate = crate, store = STORE, sequence = number, max_in_flight = 4, first_incomplete = *first)]
#[ic_cdk::update]
fn tick(number: u64, first: Option<u64>) -> Answer {
    let _ = first;
    run(number)
}

#[idempotent(crate = crate, store = WITH_QUOTA, key = id)]
#[ic_cdk::update]
fn buy_little(id: String) -> Answer {
    run(id.len() as u64)
}

#[idempotent(crate = crate, store = WITHOUT, key = id)]
#[ic_cdk::update]
fn buy_anywhere(id: String) -> Answer {
    run(id.len() as u64)
}

const SECOND: Duration = Duration::from_secs(1);

/// When what was made in the first second is too old.
const LATE: Duration = WINDOW.saturating_mul(2);

fn in_time(made: u64, at: Duration) -> Call {
    let attribute = &__idempotent_attribute_of_buy_in_time;
    send(&STORE, attribute, ("a".into(), made), at, |(id, made)| {
        buy_in_time(id, made)
    })
}

fn buy_with(cycles: u128) -> Call {
    let attribute = &__idempotent_attribute_of_buy;
    let arguments = ("a".to_owned(), 7);
    send_with(
        &STORE,
        attribute,
        (arguments, cycles),
        SECOND,
        |(id, amount)| buy(id, amount),
    )
}

#[test]
fn who_is_in_time_is_not_asked_about() {
    let held = STORE.with(Held::of);
    let made = LATE.as_secs();
    held.hold(
        &__idempotent_attribute_of_buy_in_time,
        &("a".into(), made),
        None,
        None,
    );
    assert_eq!(in_time(made, LATE).read::<Answer>(), Ok(made));
    assert_eq!((held.asked(), RUNS.get()), (0, 1));
}

#[test]
fn what_is_too_old_runs_never_and_is_answered_if_it_ran() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_buy_in_time;
    // The filter does not know it.
    assert_eq!(in_time(1, LATE).refusal(), IdempotencyError::TooOld);
    assert_eq!(held.asked(), 0);

    held.hold(attribute, &("a".into(), 1), None, None);
    let mut not_found = in_time(1, LATE);
    not_found.go_on(SECOND, 0);
    assert_eq!(not_found.refusal(), IdempotencyError::TooOld);

    held.hold(attribute, &("a".into(), 1), replied(&Answer::Ok(77)), None);
    let mut found = in_time(1, LATE);
    found.go_on(SECOND, 0);
    assert_eq!(found.read::<Answer>(), Ok(77));
    assert_eq!((held.asked(), RUNS.get()), (2, 0));
}

#[test]
fn cycles_are_taken_for_an_execution_and_for_nothing_else() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_buy;
    let arguments = ("a".to_owned(), 7);
    held.hold(attribute, &arguments, replied(&Answer::Ok(7)), None);
    let mut retry = buy_with(60);
    assert_eq!(retry.ic.cycles_available(), 60);
    retry.go_on(SECOND, 60);
    // As `on_replay` makes it.
    assert_eq!(retry.read::<Answer>(), Ok(107));
    assert_eq!(retry.ic.cycles_available(), 60);

    held.hold(attribute, &arguments, None, None);
    let mut poor = buy_with(49);
    poor.go_on(SECOND, 49);
    assert_eq!(
        poor.refusal(),
        IdempotencyError::CyclesRequired { cycles: 50 }
    );
    assert_eq!(poor.ic.cycles_available(), 49);
    assert_eq!(RUNS.get(), 0);

    let mut first = buy_with(60);
    assert_eq!(first.ic.cycles_available(), 60);
    first.go_on(SECOND, 60);
    assert_eq!(first.read::<Answer>(), Ok(7));
    assert_eq!((first.ic.cycles_available(), RUNS.get()), (10, 1));
    // The store knows it now, and asks nobody.
    let asked = held.asked();
    let again = buy_with(60);
    assert_eq!(again.read::<Answer>(), Ok(107));
    assert_eq!((again.ic.cycles_available(), held.asked()), (60, asked));
}

/// A reply that `on_replay` has made already is not mapped again.
#[test]
fn a_reply_for_retries_is_sent_as_it_was_archived() {
    let held = STORE.with(Held::of);
    let made = candid::encode_one(Answer::Ok(555)).unwrap();
    let kept = State::Done(Reply::for_retries(made));
    let arguments = ("a".to_owned(), 7);
    held.hold(&__idempotent_attribute_of_buy, &arguments, Some(kept), None);
    let mut retry = buy_with(0);
    retry.go_on(SECOND, 0);
    assert_eq!(retry.read::<Answer>(), Ok(555));
}

#[test]
fn other_arguments_are_told_by_the_half_digests_of_an_archive() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_buy_in_time;
    held.hold(attribute, &("a".into(), 1), replied(&Answer::Ok(77)), None);
    // The key is the same, and the time is another.
    let mut other = in_time(2, LATE);
    other.go_on(SECOND, 0);
    assert_eq!(other.refusal(), IdempotencyError::KeyReused);
}

#[test]
fn a_number_that_is_too_old_is_answered_and_a_new_one_not_asked_about() {
    let held = STORE.with(Held::of);
    let attribute = &__idempotent_attribute_of_tick;
    let call = |number, first| {
        let run = |(number, first)| tick(number, first);
        send(&STORE, attribute, (number, first), SECOND, run)
    };
    // A client that goes on at 2 has the replies to those below, so the store lets them go.
    for (number, first) in [(0, None), (1, None), (2, Some(2))] {
        held.hold(attribute, &(number, first), replied(&Answer::Ok(900)), None);
        assert_eq!(call(number, first).read::<Answer>(), Ok(number));
    }
    // Its record is there.
    assert_eq!(call(2, Some(2)).read::<Answer>(), Ok(2));
    assert_eq!(held.asked(), 0);
    let too_old = IdempotencyError::SequenceTooOld { expected: 3 };
    held.hold(attribute, &(1, None), None, None);
    let mut late = call(0, None);
    late.go_on(SECOND, 0);
    assert_eq!(late.read::<Answer>(), Ok(900));
    let mut unknown = call(1, None);
    unknown.go_on(SECOND, 0);
    assert_eq!(unknown.refusal(), too_old);
    assert_eq!((held.asked(), RUNS.get()), (2, 3));
}

/// Who is over the quota is refused, but for what ran long ago.
#[test]
fn quotas_count_at_the_second_look() {
    let held = WITH_QUOTA.with(Held::of);
    let attribute = &__idempotent_attribute_of_buy_little;
    let call = |id: &str| {
        send(&WITH_QUOTA, attribute, (id.to_owned(),), SECOND, |(id,)| {
            buy_little(id)
        })
    };
    held.hold(attribute, &("late".into(),), None, None);
    held.hold(attribute, &("old".into(),), replied(&Answer::Ok(33)), None);
    let mut late = call("late");
    assert_eq!(call("first").read::<Answer>(), Ok(5));
    late.go_on(SECOND, 0);
    assert!(matches!(
        late.refusal(),
        IdempotencyError::QuotaExceeded { .. }
    ));
    assert!(matches!(
        call("other").refusal(),
        IdempotencyError::QuotaExceeded { .. }
    ));
    let mut old = call("old");
    old.go_on(SECOND, 0);
    assert_eq!(old.read::<Answer>(), Ok(33));
    assert_eq!(RUNS.get(), 1);
}

/// Nothing new runs in a heap that has not opened its archives; what the store knows is answered.
#[test]
fn without_its_archives_a_store_runs_nothing_new() {
    fn code(call: &Call) -> u32 {
        match call.refusal() {
            IdempotencyError::Other { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(code(&buy_with(60)), 9);
    assert_eq!(code(&in_time(1, LATE)), 9);
    assert_eq!(code(&in_time(1, SECOND)), 9);
    let attribute = &__idempotent_attribute_of_tick;
    let number = send(&STORE, attribute, (0, None), SECOND, |(number, first)| {
        tick(number, first)
    });
    assert_eq!(code(&number), 9);
    assert_eq!(RUNS.get(), 0);
}

#[test]
fn a_store_without_archives_asks_nobody() {
    let held = WITHOUT.with(Held::of);
    let attribute = &__idempotent_attribute_of_buy_anywhere;
    held.hold(attribute, &("a".into(),), replied(&Answer::Ok(33)), None);
    let call = send(&WITHOUT, attribute, ("a".into(),), SECOND, |(id,)| {
        buy_anywhere(id)
    });
    assert_eq!((call.read::<Answer>(), held.asked()), (Ok(1), 0));
}

/// `inspect!` must let through what an archive may answer.
#[test]
fn an_inspection_lets_through_what_an_archive_may_hold() {
    let attribute = &__idempotent_attribute_of_buy_in_time;
    let inspect = || {
        let ic = Native::default();
        ic.pass(LATE);
        let message = Message {
            caller: CALLER,
            deadline: 0,
            instructions: 0,
            method: "buy_in_time",
            argument: candid::encode_args(("a", 1u64)).unwrap(),
        };
        ic.enter(Stage::First, message);
        inspected(&ic, &[attribute])
    };
    // The method itself tells what is wrong.
    assert_eq!(inspect(), Ok(()));
    let held = STORE.with(Held::of);
    assert_eq!(inspect(), Err(IdempotencyError::TooOld));
    held.hold(attribute, &("a".into(), 1), None, None);
    assert_eq!(inspect(), Ok(()));
    assert_eq!(held.asked(), 0);
}
