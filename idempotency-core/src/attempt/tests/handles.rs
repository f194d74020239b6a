//! `endpoint!` leads to what calls of the method recorded: the attribute as users write it, run natively.

use super::{
    WINDOW,
    native::{Message, Native, Stage},
    user,
};
use crate::{
    Policy, Store, Timestamp,
    attempt::{
        attribute::Attribute,
        inspection::{Inspect, inspected},
        serve::{serve, serve_async},
    },
    endpoint,
    error::IdempotencyError,
    idempotent,
    sequence::FreedLane,
};
use candid::{Principal, utils::ArgumentEncoder};
use ic_stable_structures::VectorMemory;
use std::{
    future::{Future, pending},
    pin::pin,
    task::{Context, Waker},
};

thread_local! {
    static STORE: Store<VectorMemory> = Store::open(
        VectorMemory::default(),
        Policy::new().window(WINDOW),
        Timestamp::from_nanos(0),
    )
    .expect("an empty memory");
}

#[idempotent(crate = crate, store = STORE, sequence = number)]
#[ic_cdk::update]
fn step(number: u64) -> u64 {
    number
}

#[idempotent(crate = crate, store = STORE, sequence = number, lane = lane)]
#[ic_cdk::update]
fn step_in_lane(lane: u32, number: u64) -> u64 {
    number
}

#[idempotent(crate = crate, store = STORE, sequence = number, scope = global, name = "together")]
#[ic_cdk::update]
fn step_together(number: u64) -> u64 {
    number
}

#[idempotent(crate = crate, store = STORE, sequence = number, scope = account, lane = lane)]
#[ic_cdk::update]
fn step_of(account: String, lane: Option<u32>, number: u64) -> u64 {
    number
}

#[idempotent(crate = crate, store = STORE, sequence = number)]
#[ic_cdk::update]
async fn wait_in_order(number: u64) -> u64 {
    pending().await
}

#[idempotent(crate = crate, store = STORE, key = id)]
#[ic_cdk::update]
fn pay(id: Option<String>) -> u64 {
    7
}

#[idempotent(crate = crate, store = STORE, key = args, scope = global)]
#[ic_cdk::update(name = "pay_once")]
fn pay_all(to: String, amount: u64) -> u64 {
    to.len() as u64 + amount
}

/// The first message of a call.
fn first_message<A: ArgumentEncoder, R, S, I>(
    attribute: &Attribute<A, R, S, I>,
    caller: Principal,
    arguments: A,
) -> Native {
    let ic = Native::default();
    let message = Message {
        caller,
        deadline: 0,
        instructions: 0,
        method: attribute.endpoint.method,
        argument: candid::encode_args(arguments).expect("it encodes"),
    };
    ic.enter(Stage::First, message);
    ic
}

/// Calls a sync method.
fn send<A: ArgumentEncoder, R, S, I>(
    attribute: &'static Attribute<A, R, S, I>,
    caller: Principal,
    arguments: A,
    run: impl FnOnce(A) -> R + 'static,
) {
    let ic = first_message(attribute, caller, arguments);
    serve(&ic, &&STORE, &attribute.endpoint, run);
    ic.take_reply().expect("it is answered");
}

fn first_expiry() -> Option<Timestamp> {
    Some(
        STORE
            .with(Store::stats)
            .oldest_expiry
            .expect("there is a record"),
    )
}

#[test]
fn the_next_number_of_each_caller() {
    let next = |caller| endpoint!(step).of(caller).next_number();
    for number in 0..3 {
        assert_eq!(next(user(1)), Ok(number));
        let attribute = &__idempotent_attribute_of_step;
        send(attribute, user(1), (number,), |(number,)| step(number));
    }
    assert_eq!((next(user(1)), next(user(2))), (Ok(3), Ok(0)));
}

#[test]
fn the_next_number_of_each_lane() {
    let next = |lane: u32| {
        endpoint!(step_in_lane)
            .of(user(1))
            .lane(&lane)
            .next_number()
    };
    let attribute = &__idempotent_attribute_of_step_in_lane;
    send(attribute, user(1), (5, 0), |(lane, number)| {
        step_in_lane(lane, number)
    });
    assert_eq!((next(5), next(6)), (Ok(1), Ok(0)));
}

#[test]
fn the_next_number_that_all_callers_share() {
    let attribute = &__idempotent_attribute_of_step_together;
    send(attribute, user(1), (0,), |(number,)| step_together(number));
    send(attribute, user(2), (1,), |(number,)| step_together(number));
    assert_eq!(endpoint!(step_together).next_number(), Ok(2));
    let until = |number: u64| endpoint!(step_together).guaranteed_until(&number);
    let both = [until(0), until(1)];
    assert_eq!(
        both,
        [(); 2].map(|()| Ok(first_expiry())),
        "the second caller does not take the reply of the first away"
    );
}

#[test]
fn the_next_number_of_a_scope_of_the_users_own() {
    let next = |account: &str, lane: Option<u32>| {
        let handle = endpoint!(step_of).of(account).lane(&lane);
        (handle.next_number(), handle.guaranteed_until(&0))
    };
    let attribute = &__idempotent_attribute_of_step_of;
    for lane in [None, Some(5)] {
        let arguments = ("main".into(), lane, 0);
        send(attribute, user(1), arguments, |(account, lane, number)| {
            step_of(account, lane, number)
        });
        assert_eq!(next("main", lane), (Ok(1), Ok(first_expiry())));
    }
    assert_eq!(next("main", Some(6)), (Ok(0), Ok(None)));
    assert_eq!(next("other", None), (Ok(0), Ok(None)));
}

#[test]
fn a_lane_that_waits_is_freed_when_nothing_runs_any_more() {
    let handle = endpoint!(wait_in_order).of(user(1));
    let since = Timestamp::from_nanos(0);
    let attribute = &__idempotent_attribute_of_wait_in_order;
    let ic = first_message(attribute, user(1), (0,));
    {
        let endpoint = &attribute.endpoint;
        let run = |(number,)| wait_in_order(number);
        let call = serve_async(ic, &STORE, endpoint, run, crate::attempt::Nobody);
        let call = pin!(call);
        let poll = call.poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        assert_eq!(handle.free_lane(0), Ok(FreedLane::Running { since }));
    }
    assert_eq!(handle.next_number(), Ok(0));
    assert_eq!(handle.free_lane(0), Ok(FreedLane::Freed { since }));
    assert_eq!(handle.free_lane(0), Ok(FreedLane::NotStuck { next: 1 }));
}

#[test]
fn until_when_a_request_is_remembered() {
    let of_key = |id: Option<&str>| endpoint!(pay).of(user(1)).guaranteed_until(&id);
    let attribute = &__idempotent_attribute_of_pay;
    send(attribute, user(1), (Some("a".into()),), |(id,)| pay(id));
    assert_eq!(of_key(Some("a")), Ok(first_expiry()));
    assert_eq!(of_key(Some("b")), Ok(None));
    assert_eq!(of_key(None), Err(IdempotencyError::MissingKey));
    let empty = of_key(Some(""));
    assert!(matches!(empty, Err(IdempotencyError::InvalidKey { .. })));

    let of_arguments =
        |to: &str, amount| endpoint!(pay_all).guaranteed_until(&(to.to_owned(), amount));
    let attribute = &__idempotent_attribute_of_pay_all;
    send(attribute, user(1), ("b".into(), 5), |(to, amount)| {
        pay_all(to, amount)
    });
    assert_eq!(of_arguments("b", 5), Ok(first_expiry()));
    assert_eq!(of_arguments("b", 6), Ok(None));
}

/// The same constants, as `inspect!` takes them.
#[test]
fn a_message_that_cannot_succeed_is_told_so_before_it_runs() {
    let attribute = &__idempotent_attribute_of_step;
    let endpoints: [&dyn Inspect; 2] = [&__idempotent_attribute_of_step_together, attribute];
    let inspect = |number| inspected(&first_message(attribute, user(1), (number,)), &endpoints);
    assert_eq!(inspect(0), Ok(()));
    for number in 0..2 {
        send(attribute, user(1), (number,), |(number,)| step(number));
    }
    STORE
        .with(|store| {
            store.evict(
                Timestamp::from_nanos(2 * WINDOW.as_nanos() as u64),
                u32::MAX,
            )
        })
        .expect("it is sound");
    assert_eq!(
        inspect(0),
        Err(IdempotencyError::SequenceTooOld { expected: 2 })
    );
    for number in [1, 2] {
        assert_eq!(inspect(number), Ok(()), "{number} is answered");
    }
    let other = first_message(&__idempotent_attribute_of_pay, user(1), (None::<String>,));
    assert_eq!(
        inspected(&other, &endpoints),
        Ok(()),
        "it is for none of these"
    );
}
