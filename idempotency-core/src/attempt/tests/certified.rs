//! `certified::install` and `prove!` around a canister's messages.

use super::{
    WINDOW,
    native::{Message, Native, Stage, Trap},
    user,
};
use crate::{
    Policy, Store, Timestamp,
    attempt::{
        Nobody,
        outcomes::{Ask, proof_in},
        serve::{serve, serve_async},
    },
    certified::{
        CertifiedData, LABEL, Proof, Proven, Question,
        registry::{batch_in, install_in},
        verify,
    },
    error::IdempotencyError,
    idempotent,
    identity::{Identity, RequestKey, Scope},
    outcome::Asked,
};
use candid::Principal;
use ic_stable_structures::VectorMemory;
use serde_bytes::ByteBuf;
use std::{
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

const EVERY: Duration = Duration::from_secs(10);

fn opened(policy: Policy) -> Store<VectorMemory> {
    let policy = policy.window(WINDOW).drift(Duration::ZERO);
    let now = Timestamp::from_nanos(0);
    Store::open(VectorMemory::default(), policy, now).expect("an empty memory")
}

thread_local! {
    static STORE: Store<VectorMemory> = opened(Policy::new().certify(EVERY));
    static OTHER: Store<VectorMemory> = opened(Policy::new().certify(EVERY));
    static PLAIN: Store<VectorMemory> = opened(Policy::new());
}

#[idempotent(crate = crate, store = STORE, key = id)]
#[ic_cdk::update]
fn give_surely(id: String, amount: u64) -> u64 {
    amount + 1
}

#[idempotent(crate = crate, store = STORE, key = id)]
#[ic_cdk::update]
async fn linger_surely(id: String) -> u64 {
    pending().await
}

#[idempotent(crate = crate, store = PLAIN, key = id)]
#[ic_cdk::update]
fn give_plainly(id: String) {}

#[idempotent(crate = crate, store = STORE, key = id, on_replay = |first| first + 100)]
#[ic_cdk::update]
fn give_again(id: String, amount: u64) -> u64 {
    amount + 1
}

const ENDPOINTS: [&dyn Ask; 4] = [
    &__idempotent_attribute_of_give_again,
    &__idempotent_attribute_of_give_surely,
    &__idempotent_attribute_of_linger_surely,
    &__idempotent_attribute_of_give_plainly,
];

fn enter(ic: &Native, stage: Stage, caller: Principal, argument: Vec<u8>) {
    let message = Message {
        caller,
        deadline: 0,
        instructions: 0,
        method: "",
        argument,
    };
    ic.enter(stage, message);
}

fn give(ic: &Native, id: &str) {
    let argument = candid::encode_args((id, 7u64)).unwrap();
    enter(ic, Stage::First, user(1), argument);
    let endpoint = &__idempotent_attribute_of_give_surely.endpoint;
    serve(ic, &&STORE, endpoint, |(_, amount)| amount + 1);
    ic.take_reply().expect("it is answered");
}

fn asked(method: &str, argument: Vec<u8>) -> Asked {
    Asked {
        method: method.to_owned(),
        arg: ByteBuf::from(argument),
    }
}

fn proof(ic: &Native, caller: Principal, id: &str) -> Result<Proof, IdempotencyError> {
    proof_of(ic, "give_surely", caller, id)
}

fn proof_of(
    ic: &Native,
    method: &str,
    caller: Principal,
    id: &str,
) -> Result<Proof, IdempotencyError> {
    enter(ic, Stage::First, caller, vec![]);
    let argument = candid::encode_args((id, 7u64)).unwrap();
    proof_in(ic, &asked(method, argument), &ENDPOINTS)
}

fn proven(ic: &Native, caller: Principal, id: &str) -> Proven {
    let proof = proof(ic, caller, id).expect("it is certified");
    verified(ic, "give_surely", caller, id, &proof)
}

fn verified(ic: &Native, method: &str, caller: Principal, id: &str, proof: &Proof) -> Proven {
    assert_eq!(proof.certificate, ic.certified().to_vec());
    let key = RequestKey::of(&id.to_owned()).unwrap();
    let question = Question {
        identity: Identity::new(method, &Scope::Caller, &caller, &key).unwrap(),
        created_at: None,
    };
    let certified = CertifiedData {
        data: &ic.certified(),
        time: crate::runtime::Runtime::time(ic),
    };
    let path = [LABEL.as_bytes(), proof.label.as_bytes()];
    let reply = proof.reply.as_ref().map(|reply| reply.as_slice());
    verify(certified, &proof.witness, &path, &question, reply).expect("it is proved")
}

/// What timers do by now; without them, what the canister does itself.
fn run_timers(ic: &Native) {
    while let Some(timer) = ic.due() {
        timer();
    }
    if cfg!(not(feature = "timers")) {
        batch_in(ic, &&STORE).expect("the store is sound");
    }
}

fn is_absent(proven: &Proven) -> bool {
    matches!(proven, Proven::Absent { .. })
}

#[test]
fn the_first_change_is_certified_at_once_and_all_of_them_by_a_timer() {
    let ic = Native::default();
    ic.pass(Duration::from_secs(5));
    install_in(&ic, &OTHER, "other");
    install_in(&ic, &STORE, "this");
    let clean = ic.certified();
    give(&ic, "a");
    let open = ic.certified();
    assert_ne!(open, clean);
    ic.pass(Duration::from_secs(1));
    give(&ic, "b");
    // It is open since the first.
    assert_eq!(ic.certified(), open);
    assert!(is_absent(&proven(&ic, user(1), "a")));
    ic.pass(EVERY - Duration::from_secs(1));
    run_timers(&ic);
    assert_ne!(ic.certified(), open);
    for id in ["a", "b"] {
        assert!(matches!(proven(&ic, user(1), id), Proven::Done { .. }));
        // Nobody sees another's.
        assert!(is_absent(&proven(&ic, user(2), id)));
        assert_eq!(proof(&ic, user(2), id).unwrap().reply, None);
    }
    // While there are requests it is renewed, so that it says all of later times, too.
    for _ in 0..5 {
        ic.pass(Duration::from_secs(30 * 60));
        run_timers(&ic);
    }
    let now = crate::runtime::Runtime::time(&ic).as_nanos();
    let Proven::Absent { as_of, .. } = proven(&ic, user(1), "c") else {
        panic!("it is absent");
    };
    assert_eq!(as_of.as_nanos(), now - 1);
}

#[test]
fn the_reply_that_is_kept_is_proved() {
    let ic = Native::default();
    install_in(&ic, &STORE, "this");
    let argument = candid::encode_args(("a", 7u64)).unwrap();
    let endpoint = &__idempotent_attribute_of_give_again.endpoint;
    for expected in [8u64, 108] {
        enter(&ic, Stage::First, user(1), argument.clone());
        serve(&ic, &&STORE, endpoint, |(id, amount)| {
            give_again(id, amount)
        });
        let reply = ic.take_reply().expect("it is answered");
        assert_eq!(candid::decode_one::<u64>(&reply).unwrap(), expected);
    }
    ic.pass(EVERY);
    run_timers(&ic);
    let proof = proof_of(&ic, "give_again", user(1), "a").unwrap();
    let kept = proof.reply.as_ref().expect("it is kept");
    assert_eq!(kept.as_slice(), candid::encode_one(108u64).unwrap());
    let proven = verified(&ic, "give_again", user(1), "a", &proof);
    assert!(matches!(proven, Proven::Done { .. }));
}

/// Nothing can be certified in a cleanup callback: it would trap. A request that is cut off there has begun all the same.
#[test]
fn a_cleanup_certifies_nothing() {
    let ic = Native::default();
    ic.pass(Duration::from_secs(5));
    install_in(&ic, &STORE, "this");
    let argument = candid::encode_args(("a",)).unwrap();
    enter(&ic, Stage::First, user(1), argument);
    let endpoint = &__idempotent_attribute_of_linger_surely.endpoint;
    let begun = {
        let call = serve_async(
            ic.clone(),
            &STORE,
            endpoint,
            |(id,)| linger_surely(id),
            Nobody,
        );
        let mut call = pin!(call);
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        let begun = ic.certified();
        ic.pass(WINDOW);
        enter(&ic, Stage::Cleanup, user(1), vec![]);
        begun
    };
    assert_eq!(STORE.with(|store| store.stats().unknown), 1);
    assert_eq!(ic.certified(), begun);
}

#[test]
fn what_is_not_certified_is_not_proved() {
    let ic = Native::default();
    let code = |proof: Result<Proof, IdempotencyError>| match proof {
        Err(IdempotencyError::Other { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    // It was not installed.
    assert_eq!(code(proof(&ic, user(1), "a")), 6);
    install_in(&ic, &STORE, "this");
    let argument = candid::encode_args(("a",)).unwrap();
    enter(&ic, Stage::First, user(1), vec![]);
    let plain = proof_in(&ic, &asked("give_plainly", argument.clone()), &ENDPOINTS);
    assert_eq!(code(plain), 6);
    assert_eq!(code(proof_in(&ic, &asked("give", argument), &ENDPOINTS)), 4);
    let garbage = proof_in(&ic, &asked("give_surely", b"DIDL".to_vec()), &ENDPOINTS);
    assert_eq!(code(garbage), 3);
    // In a replicated message there is no certificate.
    enter(&ic, Stage::Timer, user(1), vec![]);
    let argument = candid::encode_args(("a", 7u64)).unwrap();
    let replicated = proof_in(&ic, &asked("give_surely", argument), &ENDPOINTS);
    assert_eq!(code(replicated), 6);
}

#[test]
fn a_store_is_installed_once_and_only_with_a_tree() {
    let ic = Native::default();
    install_in(&ic, &STORE, "this");
    for install in [
        (|ic: &Native| install_in(ic, &OTHER, "this")) as fn(&Native),
        |ic| install_in(ic, &PLAIN, "plain"),
    ] {
        let trapped = catch_unwind(AssertUnwindSafe(|| install(&ic)));
        let panic = trapped.expect_err("it traps");
        let Trap(text) = *panic.downcast().expect("it is a trap");
        assert!(text.contains("certified::install"), "{text}");
    }
}
