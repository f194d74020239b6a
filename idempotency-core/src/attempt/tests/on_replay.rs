//! `on_replay`: what is kept is what a retry gets, made when the first reply is made.

use super::{
    POLICY,
    ic::TestStore,
    native::{CANISTER, Message, Native, Stage, Trap},
    user,
};
use crate::{
    access::StoreAccess as _,
    attempt::{
        durable::{serve_durable, serve_going_on},
        endpoint::{Compare, Description, Endpoint, Errors, OnReplay, Recognise, RequestId},
        resolution::{Asks, Nobody, OnUnknown, Resolution, Unknown},
        serve::{serve, serve_async},
    },
    codec,
    error::IdempotencyError,
    identity::{Identity, RequestKey, Scope},
    policy::Policy,
    store::{Lookup, Reply, Settlement, State, Store},
    time::Timestamp,
};
use candid::{CandidType, Deserialize};
use ic_stable_structures::VectorMemory;
use std::{
    cell::Cell,
    future::{Future, ready},
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
enum Failure {
    Own(String),
    Again(String),
    Idempotency(IdempotencyError),
}

type Answer = Result<String, Failure>;

/// A key, if there is one, and what the method answers.
type Arguments = (Option<u64>, Answer);

type Work = Endpoint<Arguments, Answer>;

const fn endpoint(errors: Errors, on_replay: Option<OnReplay<Answer>>) -> Work {
    Endpoint {
        method: "work",
        name: "work",
        required: false,
        anonymous: false,
        errors,
        is_candid: true,
        recognise: Recognise::Never,
        decode: codec::decode,
        describe: |(key, _)| Description {
            id: RequestId::of_key(key),
            created_at: None,
            scope: Scope::Global,
        },
        compare: Compare::Arguments,
        encode: codec::encode_one,
        is_error: Result::is_err,
        refuse: |error| Ok(Err(Failure::Idempotency(error))),
        on_replay,
        cycles: 0,
    }
}

/// Without `on_replay`.
const PLAIN: Work = endpoint(Errors::Keep, None);

const MAPPED: Work = endpoint(Errors::Keep, Some(AGAIN));
const FORGETS: Work = endpoint(Errors::Forget, Some(AGAIN));

/// With another `on_replay` than before.
const CHANGED: Work = endpoint(
    Errors::Keep,
    Some(OnReplay {
        both: |reply| codec::both_one(reply, backwards),
        again: |bytes| codec::map_one(bytes, backwards),
    }),
);

const AGAIN: OnReplay<Answer> = OnReplay {
    both: |reply| codec::both_one(reply, again),
    again: |bytes| codec::map_one(bytes, again),
};

thread_local! {
    /// How many times [`again`] was called.
    static MAPS: Cell<u32> = const { Cell::new(0) };
}

/// Twice as long.
fn again(first: Answer) -> Answer {
    MAPS.set(MAPS.get() + 1);
    let text = first.or_else(|failure| match failure {
        Failure::Own(text) => Ok(text),
        other => Err(other),
    })?;
    Err(Failure::Again(format!("{text}{text}")))
}

fn backwards(first: Answer) -> Answer {
    first.map(|text| text.chars().rev().collect())
}

fn done(text: &str) -> Answer {
    Ok(text.to_owned())
}

fn failed(text: &str) -> Answer {
    Err(Failure::Own(text.to_owned()))
}

fn twice(text: &str) -> Answer {
    Err(Failure::Again(format!("{text}{text}")))
}

fn refused(error: IdempotencyError) -> Answer {
    Err(Failure::Idempotency(error))
}

fn bytes(answer: &Answer) -> Vec<u8> {
    candid::encode_one(answer).unwrap()
}

/// A call that may wait for something.
type Begun = Pin<Box<dyn Future<Output = ()>>>;

/// What a call is answered with; or the text of its trap.
type Answered = Result<Vec<u8>, String>;

fn decoded(answered: &Answered) -> Answer {
    candid::decode_one(answered.as_ref().unwrap()).unwrap()
}

/// Short and long ones: in the record and outside, of one of the replies or of both.
const TEXTS: [&str; 4] = [
    "",
    "short",
    "some forty bytes, which are one record's",
    "a long one, of which each reply has no place in its record and lies outside",
];

struct Canister {
    memory: VectorMemory,
    policy: Policy,
    ic: Native,
    store: TestStore,
}

impl Canister {
    fn new(policy: Policy) -> Self {
        let (memory, ic) = (VectorMemory::default(), Native::default());
        let store = opened(&memory, policy);
        Self {
            memory,
            policy,
            ic,
            store,
        }
    }

    fn upgrade(&mut self) {
        self.store = opened(&self.memory, self.policy);
    }

    fn enter(&self, stage: Stage, key: Option<u64>, answer: &Answer) {
        let message = Message {
            caller: user(1),
            deadline: 0,
            instructions: 1_000,
            method: "work",
            argument: candid::encode_args((key, answer)).unwrap(),
        };
        self.ic.enter(stage, message);
    }

    /// A call of the sync method.
    fn call_with(&self, endpoint: &'static Work, key: Option<u64>, answer: &Answer) -> Answered {
        self.enter(Stage::First, key, answer);
        let message = || serve(&self.ic, &self.store, endpoint, |(_, answer)| answer);
        answered(&self.ic, message)
    }

    fn call(&self, endpoint: &'static Work, key: u64, answer: &Answer) -> Answered {
        self.call_with(endpoint, Some(key), answer)
    }

    /// The first message of a call of the async method, which then awaits an answer if it runs.
    fn begin(
        &self,
        endpoint: &'static Work,
        key: u64,
        answer: &Answer,
        on_unknown: impl OnUnknown<Arguments, Answer> + 'static,
    ) -> (Begun, Option<Vec<u8>>) {
        self.enter(Stage::First, Some(key), answer);
        let (ic, store) = (self.ic.clone(), self.store.clone());
        let its = ic.clone();
        let run = |(_, answer): Arguments| async move {
            its.outcall().await;
            answer
        };
        let mut call: Begun = Box::pin(serve_async(ic, store, endpoint, run, on_unknown));
        let is_over = poll(&mut call);
        let reply = self.ic.take_reply();
        assert_eq!(is_over, reply.is_some());
        (call, reply)
    }

    /// A call of the async method, and the answer to what it awaits if it runs.
    fn call_async(&self, endpoint: &'static Work, key: u64, answer: &Answer) -> Answered {
        let (mut call, reply) = self.begin(endpoint, key, answer, Nobody);
        match reply {
            Some(reply) => Ok(reply),
            None => {
                self.enter(Stage::Callback(0), Some(key), answer);
                answered(&self.ic, || assert!(poll(&mut call)))
            }
        }
    }

    /// A call of the durable method, with all that the canister sends to itself.
    fn call_durable(&self, endpoint: &'static Work, key: u64, answer: &Answer) -> Answered {
        self.enter(Stage::First, Some(key), answer);
        let (ic, store) = (self.ic.clone(), self.store.clone());
        let mut call: Begun = Box::pin(serve_durable(ic, store, endpoint, false));
        if poll(&mut call) {
            return Ok(self.ic.take_reply().unwrap());
        }
        let [attempt] = self.ic.take_sent().try_into().unwrap();
        let message = Message {
            caller: CANISTER,
            deadline: 0,
            instructions: 1_000,
            method: "",
            argument: attempt.call.argument,
        };
        self.ic.enter(Stage::First, message);
        self.ic.bring(attempt.call.cycles);
        let (ic, store) = (self.ic.clone(), self.store.clone());
        let run = |_, (_, answer): Arguments| ready(answer);
        let mut attempt: Begun = Box::pin(serve_going_on(ic, store, endpoint, run, Nobody));
        assert!(poll(&mut attempt));
        assert_eq!(self.ic.take_reply(), Some(vec![]));
        self.enter(Stage::Callback(0), Some(key), answer);
        answered(&self.ic, || assert!(poll(&mut call)))
    }

    /// What the record of a request holds.
    fn kept(&self, key: u64) -> Option<Reply> {
        match self
            .store
            .with(|store| store.lookup(&identity(key)).unwrap())
        {
            Lookup::Known(record) => match record.state {
                State::Done(reply) => Some(reply),
                State::ReplyDropped => None,
                State::Pending(_) => panic!("it has not ended"),
            },
            Lookup::Unknown(_) => panic!("it is not known"),
        }
    }

    fn entries(&self) -> u64 {
        self.store.with(|store| store.stats().entries)
    }
}

fn opened(memory: &VectorMemory, policy: Policy) -> TestStore {
    TestStore::new(Store::open(memory.clone(), policy, Timestamp::from_nanos(0)).unwrap())
}

fn identity(key: u64) -> Identity {
    let key = RequestKey::of(&key).unwrap();
    Identity::new("work", &Scope::Global, &user(1), &key).unwrap()
}

fn poll(call: &mut Begun) -> bool {
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    polled == Poll::Ready(())
}

/// What a message answers.
fn answered(ic: &Native, message: impl FnOnce()) -> Answered {
    match catch_unwind(AssertUnwindSafe(message)) {
        Ok(()) => Ok(ic.take_reply().unwrap()),
        Err(panic) => match panic.downcast::<Trap>() {
            Ok(trap) => Err(trap.0),
            Err(bug) => resume_unwind(bug),
        },
    }
}

/// G2: also after an upgrade.
#[test]
fn g2_what_a_retry_gets_is_kept_and_sent_byte_for_byte() {
    type Call = fn(&Canister, &'static Work, u64, &Answer) -> Answered;
    let ways: [Call; 2] = [Canister::call, Canister::call_async];
    for call in ways {
        let mut canister = Canister::new(POLICY);
        for (key, text) in (0..).zip(TEXTS) {
            assert_eq!(
                call(&canister, &MAPPED, key, &done(text)),
                Ok(bytes(&done(text)))
            );
            let again = Reply::for_retries(bytes(&twice(text)));
            assert_eq!(canister.kept(key), Some(again));
        }
        let maps = MAPS.get();
        for _ in 0..2 {
            for (key, text) in (0..).zip(TEXTS) {
                let retry = call(&canister, &MAPPED, key, &done(text));
                assert_eq!(retry, Ok(bytes(&twice(text))));
            }
            canister.upgrade();
        }
        assert_eq!(MAPS.get(), maps, "a retry is answered without it");
    }
}

#[test]
fn without_it_the_first_reply_is_kept() {
    let canister = Canister::new(POLICY);
    for (key, text) in (0..).zip(TEXTS) {
        for _ in 0..2 {
            let answer = canister.call(&PLAIN, key, &done(text));
            assert_eq!(answer, Ok(bytes(&done(text))));
            let kept = Reply::first(bytes(&done(text)));
            assert_eq!(canister.kept(key), Some(kept));
        }
    }
}

/// A record that holds the first reply, as older versions of the library kept it, too.
#[test]
fn a_first_reply_that_was_kept_is_mapped_by_what_the_method_has_now() {
    let mut canister = Canister::new(POLICY);
    for (key, text) in (0..).zip(TEXTS) {
        canister.call(&PLAIN, key, &done(text)).unwrap();
    }
    for (endpoint, expected) in [
        (&MAPPED, twice as fn(&str) -> Answer),
        (&CHANGED, |text| backwards(done(text))),
        (&PLAIN, done),
    ] {
        canister.upgrade();
        for (key, text) in (0..).zip(TEXTS) {
            let retry = canister.call(endpoint, key, &done(text));
            assert_eq!(retry, Ok(bytes(&expected(text))));
            assert_eq!(canister.kept(key), Some(Reply::first(bytes(&done(text)))));
        }
    }
}

#[test]
fn a_reply_for_retries_stays_as_it_is_whatever_the_method_has_now() {
    let mut canister = Canister::new(POLICY);
    for (key, text) in (0..).zip(TEXTS) {
        canister.call(&MAPPED, key, &done(text)).unwrap();
    }
    for endpoint in [&PLAIN, &CHANGED] {
        canister.upgrade();
        for (key, text) in (0..).zip(TEXTS) {
            let retry = canister.call(endpoint, key, &done(text));
            assert_eq!(retry, Ok(bytes(&twice(text))));
        }
    }
    // What is executed from now on is as the method says now.
    canister.call(&CHANGED, 10, &done("abc")).unwrap();
    let retry = canister.call(&CHANGED, 10, &done("abc"));
    assert_eq!(decoded(&retry), done("cba"));
}

#[test]
fn an_error_is_mapped_if_it_is_kept() {
    let canister = Canister::new(POLICY);
    let first = canister.call(&MAPPED, 1, &failed("poor"));
    assert_eq!(decoded(&first), failed("poor"));
    let retry = canister.call(&MAPPED, 1, &failed("poor"));
    assert_eq!(decoded(&retry), twice("poor"));
}

#[test]
fn what_is_not_kept_is_not_mapped() {
    let canister = Canister::new(POLICY);
    let maps = MAPS.get();
    for _ in 0..2 {
        let forgotten = canister.call(&FORGETS, 1, &failed("poor"));
        assert_eq!(decoded(&forgotten), failed("poor"));
        let keyless = canister.call_with(&FORGETS, None, &done("free"));
        assert_eq!(decoded(&keyless), done("free"));
    }
    assert_eq!((MAPS.get(), canister.entries()), (maps, 0));
}

/// The first caller is answered from the record, which another message has written.
#[test]
fn a_durable_methods_first_reply_is_kept_and_mapped_for_each_retry() {
    let canister = Canister::new(POLICY);
    for (key, text) in (0..).zip(TEXTS) {
        let first = canister.call_durable(&MAPPED, key, &done(text));
        assert_eq!(first, Ok(bytes(&done(text))));
        assert_eq!(canister.kept(key), Some(Reply::first(bytes(&done(text)))));
        for _ in 0..2 {
            let retry = canister.call_durable(&MAPPED, key, &done(text));
            assert_eq!(retry, Ok(bytes(&twice(text))));
        }
    }
}

/// It was async, and `on_replay` has gone with the same upgrade.
#[test]
fn a_method_that_became_durable_sends_what_was_kept() {
    let mut canister = Canister::new(POLICY);
    canister.call_async(&MAPPED, 1, &done("ab")).unwrap();
    canister.upgrade();
    for endpoint in [&MAPPED, &PLAIN] {
        let retry = canister.call_durable(endpoint, 1, &done("ab"));
        assert_eq!(decoded(&retry), twice("ab"));
    }
}

/// A call that an upgrade cuts off.
fn cut_off(key: u64) -> Canister {
    let mut canister = Canister::new(POLICY);
    let (call, reply) = canister.begin(&MAPPED, key, &done("lost"), Nobody);
    assert_eq!(reply, None);
    // No destructor runs.
    mem::forget(call);
    canister.upgrade();
    canister
}

#[test]
fn what_on_unknown_says_is_mapped_for_whoever_asks() {
    let canister = cut_off(1);
    let found = |_, _: Unknown| Resolution::Done(done("found"));
    let (_, retry) = canister.begin(&MAPPED, 1, &done("lost"), Asks(found));
    assert_eq!(retry, Some(bytes(&twice("found"))));
    let kept = Reply::for_retries(bytes(&twice("found")));
    assert_eq!(canister.kept(1), Some(kept));
    let later = canister.call_async(&MAPPED, 1, &done("lost"));
    assert_eq!(later, Ok(bytes(&twice("found"))));
    assert_eq!(
        canister.store.with(|store| store.stats().events.replayed),
        2
    );
}

/// Nobody knows the method's type there.
#[test]
fn what_an_operator_says_is_a_first_reply() {
    let canister = cut_off(1);
    let settlement = Settlement::Done(bytes(&done("found")));
    let now = Timestamp::from_nanos(0);
    let settled = (canister.store).with(|store| store.resolve(&identity(1), &settlement, now));
    assert!(settled.is_ok());
    assert_eq!(canister.kept(1), Some(Reply::first(bytes(&done("found")))));
    let retry = canister.call_async(&MAPPED, 1, &done("lost"));
    assert_eq!(retry, Ok(bytes(&twice("found"))));
}

const TEXT: &str = "some forty bytes, which are one record's";

/// As long as the first reply, and shorter than that for retries.
fn limited() -> Policy {
    POLICY.max_reply_bytes(bytes(&done(TEXT)).len() as u32)
}

/// G3: what can't be recorded has not happened.
#[test]
fn g3_what_is_kept_must_not_be_too_long_in_a_sync_method() {
    let canister = Canister::new(limited());
    assert_eq!(decoded(&canister.call(&PLAIN, 1, &done(TEXT))), done(TEXT));
    let text = canister.call(&MAPPED, 2, &done(TEXT)).unwrap_err();
    let length = bytes(&twice(TEXT)).len();
    let expected = format!("ReplyTooLarge: the reply for retries takes {length} bytes");
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!(canister.entries(), 1);
}

/// G4: what has happened is recorded, also where there is no room for the reply.
#[test]
fn g4_what_is_too_long_is_not_kept_after_an_await() {
    let canister = Canister::new(limited());
    let first = canister.call_async(&MAPPED, 1, &done(TEXT));
    assert_eq!(decoded(&first), done(TEXT));
    assert_eq!(canister.kept(1), None);
    let executed_at = Timestamp::from_nanos(0);
    let retry = canister.call_async(&MAPPED, 1, &done(TEXT));
    let dropped = IdempotencyError::ReplyDropped { executed_at };
    assert_eq!(decoded(&retry), refused(dropped));
}

/// What is sent to the first caller has no limit.
#[test]
fn a_first_reply_may_be_longer_than_what_is_kept() {
    fn shorter(first: Answer) -> Answer {
        first.map(|text| text[..1].to_owned())
    }
    const SHORTENED: Work = endpoint(
        Errors::Keep,
        Some(OnReplay {
            both: |reply| codec::both_one(reply, shorter),
            again: |bytes| codec::map_one(bytes, shorter),
        }),
    );
    let canister = Canister::new(limited());
    let long = TEXT.repeat(3);
    let first = canister.call(&SHORTENED, 1, &done(&long));
    assert_eq!(decoded(&first), done(&long));
    assert_eq!(
        decoded(&canister.call(&SHORTENED, 1, &done(&long))),
        done("s")
    );
}

#[test]
fn what_is_kept_outside_of_records_is_given_up_for_room() {
    let capacity_bytes = 20_000;
    let policy = (POLICY.max_reply_bytes(3_000).drop_replies()).capacity_bytes(capacity_bytes);
    let canister = Canister::new(policy);
    let long = TEXT.repeat(30);
    for key in 0..20 {
        let first = canister.call(&MAPPED, key, &done(&long));
        assert_eq!(decoded(&first), done(&long));
        let stats = canister.store.with(Store::stats);
        assert!(stats.bytes <= capacity_bytes);
    }
    let executed_at = Timestamp::from_nanos(0);
    let dropped = canister.call(&MAPPED, 0, &done(&long));
    let error = IdempotencyError::ReplyDropped { executed_at };
    assert_eq!(decoded(&dropped), refused(error));
    let held = canister.call(&MAPPED, 19, &done(&long));
    assert_eq!(decoded(&held), twice(&long));
}

/// In debug builds, so that a test of the canister finds it.
#[cfg(debug_assertions)]
#[test]
fn a_map_that_is_not_pure_is_found_out() {
    thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }
    fn counts(first: Answer) -> Answer {
        COUNT.set(COUNT.get() + 1);
        first.map(|text| format!("{text}, retry {}", COUNT.get()))
    }
    const IMPURE: Work = endpoint(
        Errors::Keep,
        Some(OnReplay {
            both: |reply| codec::both_one(reply, counts),
            again: |bytes| codec::map_one(bytes, counts),
        }),
    );
    let canister = Canister::new(POLICY);
    let text = canister.call(&IMPURE, 1, &done("paid")).unwrap_err();
    let expected = "on_replay of work has made two different replies of one";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(canister.entries(), 0);
    let text = canister.call_async(&IMPURE, 2, &done("paid")).unwrap_err();
    assert!(text.starts_with(expected), "{text}");
}
