//! `outcomes!` says what became of a call, to who made it.

use super::{
    WINDOW,
    native::{Message, Native, Stage},
    user,
};
use crate::{
    Policy, Store, Timestamp,
    attempt::{
        Nobody,
        attribute::Attribute,
        outcomes::{Ask, outcomes_in},
        serve::{serve, serve_async},
    },
    endpoint,
    error::IdempotencyError,
    idempotent,
    identity::{Identity, RequestKey, Scope},
    outcome::{Asked, Outcome, Verdict},
    store::Settlement,
};
use candid::{Principal, utils::ArgumentEncoder};
use ic_stable_structures::VectorMemory;
use serde_bytes::ByteBuf;
use std::{
    future::{Future, pending},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

thread_local! {
    static STORE: Store<VectorMemory> = Store::open(
        VectorMemory::default(),
        Policy::new().window(WINDOW).drift(Duration::ZERO),
        Timestamp::from_nanos(0),
    )
    .expect("an empty memory");
}

#[idempotent(crate = crate, store = STORE, key = id)]
#[ic_cdk::update]
fn give(id: Option<String>, amount: u64) -> u64 {
    amount + 1
}

#[idempotent(crate = crate, store = STORE, key = id, created_at = Timestamp::from_nanos(*made), on_replay = |first| first + 100)]
#[ic_cdk::update]
fn pay_in_time(id: String, made: u64) -> u64 {
    made
}

#[idempotent(crate = crate, store = STORE, key = id, scope = global)]
#[ic_cdk::update]
fn pay_together(id: String) {}

#[idempotent(crate = crate, store = STORE, sequence = number)]
#[ic_cdk::update]
fn count(number: u64) -> u64 {
    number
}

#[idempotent(crate = crate, store = STORE, sequence = number, max_in_flight = 4)]
#[ic_cdk::update]
fn step_freely(number: u64) {}

#[idempotent(crate = crate, store = STORE, key = id, on_replay = |first| first + 100)]
#[ic_cdk::update]
async fn linger(id: String) -> u64 {
    pending().await
}

#[idempotent(crate = crate, store = STORE, key = id, created_at = key)]
#[ic_cdk::update]
fn pay_by_uuid(id: Option<String>) -> Result<(), IdempotencyError> {
    Ok(())
}

const ENDPOINTS: [&dyn Ask; 7] = [
    &__idempotent_attribute_of_give,
    &__idempotent_attribute_of_pay_in_time,
    &__idempotent_attribute_of_pay_together,
    &__idempotent_attribute_of_count,
    &__idempotent_attribute_of_step_freely,
    &__idempotent_attribute_of_linger,
    &__idempotent_attribute_of_pay_by_uuid,
];

/// One message of a caller's, after a time.
fn message(caller: Principal, argument: Vec<u8>, at: Duration) -> Native {
    let ic = Native::default();
    ic.pass(at);
    let message = Message {
        caller,
        deadline: 0,
        instructions: 0,
        method: "",
        argument,
    };
    ic.enter(Stage::First, message);
    ic
}

fn encoded(arguments: impl ArgumentEncoder) -> Vec<u8> {
    candid::encode_args(arguments).expect("it encodes")
}

/// User 1 calls a sync method.
fn send<A: ArgumentEncoder + Clone, R, S, I>(
    attribute: &'static Attribute<A, R, S, I>,
    arguments: A,
    at: Duration,
    run: impl FnOnce(A) -> R + 'static,
) -> Vec<u8> {
    let ic = message(user(1), encoded(arguments), at);
    serve(&ic, &&STORE, &attribute.endpoint, run);
    ic.take_reply().expect("it is answered")
}

fn ask_as(
    caller: Principal,
    method: &str,
    arguments: impl ArgumentEncoder,
    at: Duration,
) -> Result<Outcome, IdempotencyError> {
    let asked = Asked {
        method: method.to_owned(),
        arg: ByteBuf::from(encoded(arguments)),
    };
    let ic = message(caller, vec![], at);
    let [outcome] = outcomes_in(&ic, &[asked], &ENDPOINTS)
        .try_into()
        .expect("one answer");
    outcome
}

fn ask(
    method: &str,
    arguments: impl ArgumentEncoder,
    at: Duration,
) -> Result<Outcome, IdempotencyError> {
    ask_as(user(1), method, arguments, at)
}

fn absent(at: Duration, verdict: Verdict) -> Result<Outcome, IdempotencyError> {
    Ok(Outcome::Absent {
        as_of: time(at),
        verdict,
    })
}

fn time(at: Duration) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() as u64)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const CAN_STILL_RUN: Verdict = Verdict::CanStillRun { until: None };

#[test]
fn who_made_the_call_gets_its_reply() {
    let arguments = (Some("a".to_owned()), 5u64);
    let now = seconds(10);
    assert_eq!(
        ask("give", arguments.clone(), now),
        absent(now, CAN_STILL_RUN)
    );
    let attribute = &__idempotent_attribute_of_give;
    let reply = send(attribute, arguments.clone(), now, |(id, amount)| {
        give(id, amount)
    });
    match ask("give", arguments.clone(), seconds(20)) {
        Ok(Outcome::Done {
            reply: again,
            executed_at,
            guaranteed_until,
        }) => {
            assert_eq!((again.into_vec(), executed_at), (reply, time(now)));
            assert!(guaranteed_until >= time(now + WINDOW));
        }
        other => panic!("{other:?}"),
    }
    // Nobody else does, and none with other arguments.
    let other = ask_as(user(2), "give", arguments, now);
    assert_eq!(other, absent(now, CAN_STILL_RUN));
    let changed = ask("give", (Some("a"), 6u64), now);
    assert_eq!(changed, Err(IdempotencyError::KeyReused));
}

#[test]
fn what_all_share_all_are_told() {
    let now = seconds(0);
    let attribute = &__idempotent_attribute_of_pay_together;
    send(attribute, ("a".into(),), now, |(id,)| pay_together(id));
    let other = ask_as(user(2), "pay_together", ("a",), now);
    assert!(matches!(other, Ok(Outcome::Done { .. })), "{other:?}");
}

#[test]
fn a_reply_is_what_a_retry_gets() {
    let now = seconds(1);
    let arguments = ("a".to_owned(), 7u64);
    let attribute = &__idempotent_attribute_of_pay_in_time;
    let run = |(id, made)| pay_in_time(id, made);
    let first = send(attribute, arguments.clone(), now, run);
    let again = send(attribute, arguments.clone(), now, run);
    assert_ne!(first, again);
    match ask("pay_in_time", arguments, now) {
        Ok(Outcome::Done { reply, .. }) => assert_eq!(reply.into_vec(), again),
        other => panic!("{other:?}"),
    }
}

/// By its `created_at`, once that is too old.
#[test]
fn what_never_ran_and_what_may_have_run_are_told_apart() {
    let made = seconds(100);
    let nanos = made.as_nanos() as u64;
    let until = Some(time(made + WINDOW));
    let ask_at = |id: &str, at| ask("pay_in_time", (id, nanos), at);
    let early = made + WINDOW;
    assert_eq!(
        ask_at("b", made),
        absent(made, Verdict::CanStillRun { until })
    );
    assert_eq!(
        ask_at("b", early),
        absent(early, Verdict::CanStillRun { until })
    );
    let attribute = &__idempotent_attribute_of_pay_in_time;
    send(attribute, ("a".into(), nanos), made, |(id, made)| {
        pay_in_time(id, made)
    });
    // It is refused from now on, and the other one's record is still there.
    let late = early + Duration::from_nanos(1);
    assert_eq!(ask_at("b", late), absent(late, Verdict::NeverRan));
    assert!(matches!(ask_at("a", late), Ok(Outcome::Done { .. })));
    // When that is forgotten, nobody knows.
    let later = made + 2 * WINDOW;
    assert_eq!(STORE.with(|store| store.evict(time(later), 9)), Ok(1));
    for id in ["a", "b"] {
        assert_eq!(ask_at(id, later), absent(later, Verdict::MayHaveRun));
    }
    // Of what would have expired after that, it is known again.
    let made = made + WINDOW;
    let arguments = ("c", made.as_nanos() as u64);
    let at = made + 2 * WINDOW;
    assert_eq!(
        ask("pay_in_time", arguments, at),
        absent(at, Verdict::NeverRan)
    );
}

#[test]
fn a_number_says_more() {
    let now = seconds(0);
    let attribute = &__idempotent_attribute_of_count;
    assert_eq!(ask("count", (0u64,), now), absent(now, CAN_STILL_RUN));
    for number in 0..2 {
        send(attribute, (number,), now, |(number,)| count(number));
    }
    // Its client has the reply to the one before.
    assert_eq!(ask("count", (0u64,), now), absent(now, Verdict::MayHaveRun));
    let done = ask("count", (1u64,), now);
    let Ok(Outcome::Done {
        guaranteed_until, ..
    }) = done
    else {
        panic!("{done:?}");
    };
    assert!(guaranteed_until >= time(WINDOW));
    // Later ones may come when those before have.
    assert_eq!(ask("count", (9u64,), now), absent(now, CAN_STILL_RUN));
    let attribute = &__idempotent_attribute_of_step_freely;
    send(attribute, (2,), now, |(number,)| step_freely(number));
    let late = 2 * WINDOW;
    STORE.with(|store| store.evict(time(late), 9)).unwrap();
    assert_eq!(ask("count", (1u64,), late), done, "it lies in the lane");
    for (method, number, verdict) in [
        ("count", 0u64, Verdict::MayHaveRun),
        ("count", 2, CAN_STILL_RUN),
        ("step_freely", 1, CAN_STILL_RUN),
        ("step_freely", 2, Verdict::MayHaveRun),
    ] {
        let outcome = ask(method, (number,), late);
        assert_eq!(outcome, absent(late, verdict), "{method} {number}");
    }
}

#[test]
fn what_runs_is_pending_and_what_is_cut_off_is_unknown() {
    let (begun, now) = (seconds(3), seconds(5));
    let (since, step) = (time(begun), None);
    {
        let ic = message(user(1), encoded(("a",)), begun);
        let endpoint = &__idempotent_attribute_of_linger.endpoint;
        let call = serve_async(ic, &STORE, endpoint, |(id,)| linger(id), Nobody);
        let call = pin!(call);
        let poll = call.poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        let outcome = ask("linger", ("a",), now);
        assert_eq!(
            outcome,
            Ok(Outcome::Pending {
                since,
                step: step.clone()
            })
        );
        let overdue = ask("linger", ("a",), now + WINDOW);
        assert_eq!(
            overdue,
            Ok(Outcome::Unknown {
                since,
                step: step.clone()
            })
        );
    }
    assert_eq!(
        ask("linger", ("a",), now),
        Ok(Outcome::Unknown { since, step })
    );
}

/// It is the first reply, of which a retry gets what `on_replay` makes.
#[test]
fn what_an_operator_has_settled_is_told_as_a_retry_gets_it() {
    let now = seconds(5);
    {
        let ic = message(user(1), encoded(("a",)), now);
        let endpoint = &__idempotent_attribute_of_linger.endpoint;
        let call = serve_async(ic, &STORE, endpoint, |(id,)| linger(id), Nobody);
        let poll = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
    }
    let key = RequestKey::of("a").unwrap();
    let identity = Identity::new("linger", &Scope::Caller, &user(1), &key).unwrap();
    let settlement = Settlement::Done(encoded((5u64,)));
    STORE
        .with(|store| store.resolve(&identity, &settlement, time(now)))
        .unwrap();
    let operators = endpoint!(linger)
        .of(user(1))
        .outcome_at("a", None, time(now));
    for told in [ask("linger", ("a",), now), operators] {
        match told {
            Ok(Outcome::Done { reply, .. }) => assert_eq!(reply.into_vec(), encoded((105u64,))),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_can_not_be_asked_is_said() {
    let now = seconds(0);
    let unkeyed = ask("give", (None::<String>, 5u64), now);
    assert_eq!(unkeyed, Err(IdempotencyError::MissingKey));
    let empty = ask("give", (Some(""), 5u64), now);
    assert!(matches!(empty, Err(IdempotencyError::InvalidKey { .. })));
    let nobody = ask_as(Principal::anonymous(), "give", (Some("a"), 5u64), now);
    assert_eq!(nobody, Err(IdempotencyError::AnonymousRefused));
    for (method, code) in [("give", 3), ("no such method", 4)] {
        match ask(method, ("text",), now) {
            Err(IdempotencyError::Other { code: found, .. }) => assert_eq!(found, code),
            other => panic!("{other:?}"),
        }
    }
}

/// With a scope that is named, and by keys and numbers.
#[test]
fn an_operator_is_told_of_any_scope() {
    let now = seconds(10);
    let made = now.as_nanos() as u64;
    let of = |caller, at| {
        endpoint!(pay_in_time).of(caller).outcome_at(
            "a",
            Some(Timestamp::from_nanos(made)),
            time(at),
        )
    };
    let attribute = &__idempotent_attribute_of_pay_in_time;
    let arguments = ("a".to_owned(), made);
    send(attribute, arguments, now, |(id, made)| {
        pay_in_time(id, made)
    });
    match of(user(1), now) {
        // As a retry gets it.
        Ok(Outcome::Done {
            reply, executed_at, ..
        }) => assert_eq!(
            (reply.into_vec(), executed_at),
            (encoded((made + 100,)), time(now))
        ),
        other => panic!("{other:?}"),
    }
    let until = Some(time(now + WINDOW));
    let can_still_run = Verdict::CanStillRun { until };
    assert_eq!(of(user(2), now), absent(now, can_still_run));
    let late = now + WINDOW + seconds(1);
    assert_eq!(of(user(2), late), absent(late, Verdict::NeverRan));
    assert!(matches!(of(user(1), late), Ok(Outcome::Done { .. })));
    let together = endpoint!(pay_together).outcome_at("nobody's", None, time(now));
    assert_eq!(together, absent(now, CAN_STILL_RUN));
    let keyless = endpoint!(give)
        .of(user(1))
        .outcome_at(&None::<&str>, None, time(now));
    assert_eq!(keyless, Err(IdempotencyError::MissingKey));
}

#[test]
fn an_operator_is_told_of_a_number_by_its_lanes_rule() {
    let now = seconds(0);
    let attribute = &__idempotent_attribute_of_count;
    for number in 0..2 {
        send(attribute, (number,), now, |(number,)| count(number));
    }
    let attribute = &__idempotent_attribute_of_step_freely;
    send(attribute, (2,), now, |(number,)| step_freely(number));
    let late = 2 * WINDOW;
    STORE.with(|store| store.evict(time(late), 9)).unwrap();
    let counted = |number| {
        endpoint!(count)
            .of(user(1))
            .outcome_at(&number, None, time(late))
    };
    let free = |number| {
        endpoint!(step_freely)
            .of(user(1))
            .outcome_at(&number, None, time(late))
    };
    assert_eq!(counted(0), absent(late, Verdict::MayHaveRun));
    assert!(matches!(counted(1), Ok(Outcome::Done { .. })));
    assert_eq!(counted(2), absent(late, CAN_STILL_RUN));
    assert_eq!(free(1), absent(late, CAN_STILL_RUN));
    assert_eq!(free(2), absent(late, Verdict::MayHaveRun));
}

/// The first 48 bits of a UUIDv7 are milliseconds.
fn uuid(made: Duration, number: u8) -> String {
    let millis = format!("{:012x}", made.as_millis());
    format!(
        "{}-{}-7000-8000-0000000000{number:02x}",
        &millis[..8],
        &millis[8..]
    )
}

#[test]
fn a_key_that_bears_its_time_runs_once_for_ever() {
    let made = seconds(100);
    let attribute = &__idempotent_attribute_of_pay_by_uuid;
    let pay = |id: &str, at| {
        let ic = message(user(1), encoded((id,)), at);
        serve(&ic, &&STORE, &attribute.endpoint, |(id,)| pay_by_uuid(id));
        let reply = ic.take_reply().expect("it is answered");
        candid::decode_one::<Result<(), IdempotencyError>>(&reply).expect("it decodes")
    };
    let ask_at = |number, at| ask("pay_by_uuid", (uuid(made, number),), at);
    let until = Some(time(made + WINDOW));
    let can_still_run = absent(made, Verdict::CanStillRun { until });
    assert_eq!(ask_at(1, made), can_still_run);
    assert_eq!(pay(&uuid(made, 1), made), Ok(()));
    assert!(matches!(ask_at(1, made), Ok(Outcome::Done { .. })));
    let late = made + WINDOW + seconds(1);
    assert_eq!(ask_at(2, late), absent(late, Verdict::NeverRan));
    let late = late + WINDOW;
    assert_eq!(STORE.with(|store| store.evict(time(late), 9)), Ok(1));
    assert_eq!(pay(&uuid(made, 1), late), Err(IdempotencyError::TooOld));
    let early = pay(&uuid(late, 1), made);
    let now = time(made);
    assert_eq!(early, Err(IdempotencyError::CreatedInFuture { now }));
    for untimed in ["order 7", "f47ac10b-58cc-4372-a567-0e02b2c3d479", ""] {
        let asked = ask("pay_by_uuid", (untimed,), made).map(drop);
        for refused in [pay(untimed, made), asked] {
            let is_said = matches!(refused, Err(IdempotencyError::Other { code: 5, .. }));
            assert!(is_said, "{refused:?}");
        }
    }
    let keyless = ask("pay_by_uuid", (None::<String>,), made);
    assert_eq!(keyless, Err(IdempotencyError::MissingKey));
}
